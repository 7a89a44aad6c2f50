"""``keystead rotate`` and ``keystead check``: what is due for keys."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

from core.errors import AccessDenied, KeysteadError, Unauthenticated
from functions.cli import options
from functions.cli.exits import Exit, exit_for
from functions.cli.key.status import version_of
from functions.cli.key.withdrawal import withdrawal
from functions.cli.output import counted, printable

if TYPE_CHECKING:
    from core.client.client import KeysteadClient
    from core.client.key_values import KeyStatus


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


@click.command(epilog="\b\nExamples:\n  keystead check --tenant acme\n  keystead check --json\n")
@click.option("-t", "--tenant", default="", help="Tenant [KEYSTEAD_TENANT, else the token's, else all].")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object per line.")
@options.service_options
@click.pass_context
def check(
    ctx: click.Context, tenant: str, as_json: bool, url: str | None, token_file: Path | None, ca_file: Path | None
) -> None:
    """Have the KMS asked now, and do what is due for keys.

    Tells what was found: a key that its KMS refuses is no failure of this command. Activates keys whose date has come,
    finishes changes that were interrupted, fetches what a key that returned gives back, and takes up a new version of a
    key in Azure Key Vault.

    For one tenant (scope key:manage, or an operator's token), or with an operator's token and no tenant for all of
    them, a line each. Ends with the code of the first failure, after all were tried.
    """
    where = options.target(url, token_file, ca_file, tenant)
    with where.connect() as client:
        one = where.tenant or options.claimed_tenant(where.token)
        if one:
            # To ask without the scope would be a refusal on record.
            may_read = not as_json and "key:read" in options.claimed_scopes(where.token)
            before = client.key_status(one).kek_version if may_read else ""
            found = client.check_key(one)
            click.echo(json.dumps(asdict(found)) if as_json else "\n".join(_found(found, before)))
            return
        codes = [_check_one(client, other.tenant_id, as_json=as_json) for other in client.list_tenants()]
    ctx.exit(next((code for code in codes if code), Exit.OK))


def _check_one(client: KeysteadClient, tenant_id: str, *, as_json: bool) -> Exit:
    """Check one of many, and say how it went.

    Raises:
        KeysteadError: The others will fail alike.
    """
    from core.client.problems import ServiceUnreachable

    try:
        found = client.check_key(tenant_id)
    except (Unauthenticated, AccessDenied, ServiceUnreachable):
        raise
    except KeysteadError as error:
        failure = {"tenant_id": tenant_id, "code": error.code, "detail": error.detail, "hint": error.hint}
        text = f"{tenant_id:<24}  failed            {error.code}: {error.detail}"
        click.echo(json.dumps(failure) if as_json else printable(text))
        return exit_for(error)
    click.echo(json.dumps(asdict(found)) if as_json else _line(found))
    return Exit.OK


def _found(found: KeyStatus, before: str) -> Iterator[str]:
    """What was found of one key: its line, and below it what is wrong."""
    yield _line(found, before)
    told = [("", found.wording), ("remedy", found.remedy)] if found.remedy else []
    for name, text in (*told, *withdrawal(found)):
        if text:
            yield printable(f"  {name:<12}  {text}").rstrip()


def _line(found: KeyStatus, before: str = "") -> str:
    notes = [*([found.cause] if found.cause else []), *found.warnings]
    if found.kek_version:
        version = f"key version {version_of(found.kek_version)}"
        notes.insert(0, f"new {version} taken up" if before not in ("", found.kek_version) else version)
    if found.pending is not None:
        notes.append(f"another key from {found.pending.activation} on")
    if found.unreadable_versions:
        notes.append(f"{counted(found.unreadable_versions, 'version')} unreadable")
    return printable(f"{found.tenant_id:<24}  {found.state:<16}  {'; '.join(notes)}").rstrip()
