"""``keystead tenant create|list|show|update``."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

from functions.cli import options
from functions.cli.output import printable

if TYPE_CHECKING:
    from core.client.values import Tenant


@click.group()
def tenant() -> None:
    """Create, list, show and change tenants (scope platform:operate)."""


@tenant.command(epilog="\b\nExample:\n  keystead tenant create acme --name 'Acme Ltd'\n")
@click.argument("tenant_id")
@click.option("--name", default="", help="Name for people.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@options.service_options
def create(
    tenant_id: str, name: str, as_json: bool, url: str | None, token_file: Path | None, ca_file: Path | None
) -> None:
    """Create the tenant TENANT_ID; one that exists is shown as it is.

    An id is 1 to 63 lower-case letters, digits and hyphens. It cannot be changed, and is never used again.
    """
    with options.target(url, token_file, ca_file).connect() as client:
        found = client.create_tenant(tenant_id, display_name=name)
    click.echo(json.dumps(asdict(found)) if as_json else _lines([found]))


@tenant.command("list", epilog="\b\nExample:\n  keystead tenant list --json\n")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object per line.")
@options.service_options
def list_(as_json: bool, url: str | None, token_file: Path | None, ca_file: Path | None) -> None:
    """List all tenants."""
    with options.target(url, token_file, ca_file).connect() as client:
        found = list(client.list_tenants())
    if found:
        click.echo("\n".join(json.dumps(asdict(t)) for t in found) if as_json else _lines(found))


@tenant.command(epilog="\b\nExample:\n  keystead tenant show acme\n")
@click.argument("tenant_id")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@options.service_options
def show(tenant_id: str, as_json: bool, url: str | None, token_file: Path | None, ca_file: Path | None) -> None:
    """Show the tenant TENANT_ID."""
    with options.target(url, token_file, ca_file).connect() as client:
        found = client.show_tenant(tenant_id)
    click.echo(json.dumps(asdict(found)) if as_json else _lines([found]))


@tenant.command(epilog="\b\nExample:\n  keystead tenant update acme --offering 'Healthcare Shield'\n")
@click.argument("tenant_id")
@click.option("--name", help="Name for people.")
@click.option("--offering", help="What the tenant has bought: says in which clouds its key may lie.")
@click.option(
    "--accept-unbound-policy/--require-bound-policy",
    "accept_unbound_policy",
    default=None,
    help="Whether a key policy that is not bound to the tenant may pass.",
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@options.service_options
def update(
    tenant_id: str,
    name: str | None,
    offering: str | None,
    accept_unbound_policy: bool | None,
    as_json: bool,
    url: str | None,
    token_file: Path | None,
    ca_file: Path | None,
) -> None:
    """Change what the operator knows of the tenant TENANT_ID."""
    if name is None and offering is None and accept_unbound_policy is None:
        raise options.usage_error("there is nothing to change", "give --name, --offering or --accept-unbound-policy")
    with options.target(url, token_file, ca_file).connect() as client:
        found = client.update_tenant(
            tenant_id, display_name=name, offering=offering, accept_unbound_policy=accept_unbound_policy
        )
    click.echo(json.dumps(asdict(found)) if as_json else _lines([found]))


def _lines(tenants: Iterable[Tenant]) -> str:
    return "\n".join(
        printable(f"{t.tenant_id:<24}  {t.state:<16}  {t.created}  {t.offering:<16}  {_notes(t)}").rstrip()
        for t in tenants
    )


def _notes(found: Tenant) -> str:
    notes = [found.display_name, "(unbound key policies accepted)" if found.unbound_policy_accepted else ""]
    return "  ".join(note for note in notes if note)
