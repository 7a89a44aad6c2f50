"""``keystead suspend`` and ``keystead resume``: the kill switch."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

from functions.cli import options
from functions.cli.confirm import confirm
from functions.cli.output import printable

if TYPE_CHECKING:
    from core.client.key_values import KeyStatus


@click.command(epilog="\b\nExample:\n  keystead suspend --tenant acme --reason 'incident 4711'\n")
@options.tenant_option
@click.option("--reason", default="", metavar="TEXT", help="Why; stands in the audit chain, at most 200 characters.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@options.service_options
def suspend(
    tenant: str,
    reason: str,
    yes: bool,
    as_json: bool,
    url: str | None,
    token_file: Path | None,
    ca_file: Path | None,
) -> None:
    """Turn the kill switch on: nothing of the tenant's data is served until it is resumed.

    The key itself and the tenant's cloud are not touched, and nothing is lost. Asks first (scope key:suspend, or an
    operator's token with --tenant).
    """
    where = options.target(url, token_file, ca_file, tenant)
    with where.connect() as client:
        tenant_id = where.tenant_id()
        confirm(f"Stop serving all data of {tenant_id} until 'keystead resume'?", yes=yes)
        found = client.suspend_key(tenant_id, reason=reason)
    if as_json:
        click.echo(json.dumps(asdict(found)))
        return
    within = found.bounds.get("kill_switch")
    click.echo(_state(found))
    if within is not None and found.state == "suspended":
        click.echo(f"No process serves its data {within:g} s after that. Nothing is lost; 'keystead resume' ends it.")


@click.command(epilog="\b\nExample:\n  keystead resume --tenant acme\n")
@options.tenant_option
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@options.service_options
def resume(tenant: str, as_json: bool, url: str | None, token_file: Path | None, ca_file: Path | None) -> None:
    """Turn the kill switch off (scope key:manage).

    The key goes back to where it came from: one that its KMS refuses is not served by this.
    """
    where = options.target(url, token_file, ca_file, tenant)
    with where.connect() as client:
        found = client.resume_key(where.tenant_id())
    if as_json:
        click.echo(json.dumps(asdict(found)))
        return
    click.echo(_state(found))
    click.echo(printable(found.wording))
    if found.remedy:
        click.echo(printable(f"remedy: {found.remedy}"))


def _state(found: KeyStatus) -> str:
    return printable(f"{found.tenant_id}: {found.state} since {found.since}")
