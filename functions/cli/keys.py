"""``keystead rotate`` and ``keystead status``."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

import click

from functions.cli import options
from functions.cli.output import printable

BOUNDS = {
    "kms_answers": "if the KMS that holds the key answers, and refuses it",
    "kms_silent": "if the KMS does not answer at all",
    "kill_switch": "if the key is blocked in this service (kill switch)",
}
"""What each bound of a key's status is the worst case of."""


@click.command(epilog="\b\nExample:\n  keystead rotate --tenant acme\n")
@options.tenant_option
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@options.service_options
def rotate(tenant: str, as_json: bool, url: str | None, token_file: Path | None, ca_file: Path | None) -> None:
    """Make a new version of the tenant's branch key (scope key:manage).

    New data is encrypted under it at once; what older versions encrypted still decrypts.
    """
    where = options.target(url, token_file, ca_file, tenant)
    with where.connect() as client:
        found = client.rotate(where.tenant_id())
    text = f"{found.tenant_id}: version {found.sequence} ({found.version}) since {found.created}"
    click.echo(json.dumps(asdict(found)) if as_json else printable(text))


@click.command(epilog="\b\nExample:\n  keystead status --tenant acme\n")
@options.tenant_option
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@options.service_options
def status(tenant: str, as_json: bool, url: str | None, token_file: Path | None, ca_file: Path | None) -> None:
    """Show the state of the tenant's key, and how fast a withdrawal takes effect (scope key:read)."""
    where = options.target(url, token_file, ca_file, tenant)
    with where.connect() as client:
        found = client.key_status(where.tenant_id())
    if as_json:
        click.echo(json.dumps(asdict(found)))
        return
    lines = [
        ("tenant", found.tenant_id),
        ("state", f"{found.state} since {found.since}" + (f" ({found.cause})" if found.cause else "")),
        ("", found.wording),
        ("remedy", found.remedy),
        ("key", f"{found.kek}" + (" (the platform's)" if found.platform_key else "")),
        ("branch key", found.branch_key_id),
        ("version", f"{found.active_sequence} ({found.active_version}) since {found.active_created}"),
        ("readable", f"{found.versions} version" + ("s" if found.versions != 1 else "")),
        ("rotation due", found.rotation_due),
        ("withdrawal", "once the key is withdrawn, no data is served after at most"),
        *(("", f"  {seconds:g} s {BOUNDS.get(bound, f'({bound})')}") for bound, seconds in found.bounds.items()),
        *(("warning", text) for text in found.warnings),
    ]
    click.echo("\n".join(printable(f"{name:<12}  {text}").rstrip() for name, text in lines if text))
