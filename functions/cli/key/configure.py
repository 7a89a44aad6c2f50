"""``keystead key configure|validate|replace|revert``."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from core.errors import InvalidRequest
from functions.cli import options
from functions.cli.confirm import confirm
from functions.cli.exits import Exit
from functions.cli.findings import findings
from functions.cli.key.naming import configured, key_options, named, says_nothing
from functions.cli.key.status import status_text
from functions.cli.output import counted
from functions.cli.progress import tell_long

if TYPE_CHECKING:
    from core.client.client import KeysteadClient
    from core.client.key_values import KeyConfigured, KeyStatus, Report

MOVING = "examining the key and putting the branch keys under it"
_ARN = "arn:aws:kms:eu-central-1:111122223333:key/1234abcd-12ab-34cd-56ef-1234567890ab"
_AZURE = (
    "--vault-url https://acme-kv.vault.azure.net --key-name kek \\\n"
    "    --entra-tenant 11112222-3333-4444-5555-666677778888"
)
_yes = click.option("--yes", is_flag=True, help="Do not ask.")
_as_json = click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")


def _examples(command: str, more: str = "") -> str:
    return f"\b\nExamples:\n  keystead key {command} --arn {_ARN}{more}\n  keystead key {command} {_AZURE}{more}\n"


@click.command(epilog=_examples("validate"))
@key_options(first=True)
@options.tenant_option
@_as_json
@options.service_options
@click.pass_context
def validate(
    ctx: click.Context,
    /,
    tenant: str,
    as_json: bool,
    url: str | None,
    token_file: Path | None,
    ca_file: Path | None,
    **target: Any,
) -> None:
    """Examine a key without putting it to use (scope key:manage).

    Without a key, the tenant's own, as it is configured or scheduled (scope key:read, too). Tells of each check what
    was seen and what to do. Ends with 7 if the key could not be put to use.
    """
    asked = None if says_nothing(target) else named(target).completed(None)
    where = options.target(url, token_file, ca_file, tenant)
    with where.connect() as client:
        if asked is None:
            asked = named({**target, **configured(client.key_status(where.tenant_id()))}).completed(None)
        tell_long("examining the key")
        report = client.validate_key(where.tenant_id(), **asked)
    if as_json:
        click.echo(json.dumps(asdict(report)))
    else:
        click.echo(findings(report.checks))
        click.echo("\n" + _verdict(report))
    if not report.ok:
        ctx.exit(Exit.KEY_CHECK)


@click.command(epilog=_examples("configure", " --nickname production"))
@key_options(first=True)
@options.tenant_option
@_yes
@_as_json
@options.service_options
def configure(
    tenant: str, yes: bool, as_json: bool, url: str | None, token_file: Path | None, ca_file: Path | None, **target: Any
) -> None:
    """Put the tenant under a key of its own (scopes key:manage and key:read).

    Examines the key, puts every branch key version under it and makes a new one that was never under another; with
    --activate, on that date. Nothing is changed if the key does not pass. Interrupted, the same command goes on; what
    it does not name of the same key stays as it is. On a terminal it asks before a step without a way back.
    """
    key = named(target)
    where = options.target(url, token_file, ca_file, tenant)
    with where.connect() as client:
        tenant_id = where.tenant_id()
        found = client.key_status(tenant_id)
        if not found.platform_key and key.locator not in _concerned(found):
            raise InvalidRequest(
                "the tenant has a key of its own already", hint="'keystead key replace' puts another in its place"
            )
        asked = key.completed(found)
        if found.platform_key and found.move is None and not (asked["reversible"] or asked["activation_date"]):
            discarded = f" (now scheduled: {found.pending.kek})" if found.pending else ""
            question = f"Put {tenant_id} under {key.locator} for good, with no way back{discarded}?"
            confirm(question, yes=yes or not on_terminal())
        _configure(client, tenant_id, asked, as_json=as_json)


@click.command(epilog=_examples("replace"))
@key_options(first=False)
@options.tenant_option
@_yes
@_as_json
@options.service_options
def replace(
    tenant: str, yes: bool, as_json: bool, url: str | None, token_file: Path | None, ca_file: Path | None, **target: Any
) -> None:
    """Put the tenant under another key of its own (scopes key:manage and key:read).

    As configure, for a tenant that has a key of its own already, in the same cloud or another. If that one is gone, a
    new branch key is begun, and what was encrypted before stays unreadable until it returns.
    """
    if target["reversible"] is not None or target["activation_date"]:
        raise options.usage_error(
            "--reversible and --activate are for a tenant's first key", "leave them out: what was fixed then stays"
        )
    key = named(target)
    where = options.target(url, token_file, ca_file, tenant)
    with where.connect() as client:
        tenant_id = where.tenant_id()
        found = client.key_status(tenant_id)
        if found.platform_key:
            raise InvalidRequest(
                "the tenant has no key of its own yet", hint="'keystead key configure' puts it under its first one"
            )
        asked = key.completed(found)
        confirm(f"Replace the key {found.kek} of {tenant_id} by {key.locator}?", yes=yes)
        _configure(client, tenant_id, asked, as_json=as_json)


@click.command(epilog="\b\nExample:\n  keystead key revert --tenant acme\n")
@options.tenant_option
@_yes
@_as_json
@options.service_options
def revert(
    tenant: str, yes: bool, as_json: bool, url: str | None, token_file: Path | None, ca_file: Path | None
) -> None:
    """Cancel a key that is scheduled, or go back to the platform's key (scope key:manage).

    Going back is possible only if the key was configured with --reversible.
    """
    where = options.target(url, token_file, ca_file, tenant)
    with where.connect() as client:
        tenant_id = where.tenant_id()
        confirm(
            f"Cancel the scheduled key of {tenant_id}, or put {tenant_id} back under the platform's key, which its "
            "operator controls?",
            yes=yes,
        )
        tell_long("putting the branch keys under the platform's key")
        found = client.revert_key(tenant_id)
    click.echo(json.dumps(asdict(found)) if as_json else status_text(found))


def on_terminal() -> bool:
    """Whether a person can be asked."""
    return sys.stdin.isatty()


def _concerned(status: KeyStatus) -> tuple[str, ...]:
    # The key in force, and the one that a change under way is leaving: naming either goes on with it, or takes it back.
    return (status.kek,) if status.move is None else (status.kek, status.move.moving_from)


def _verdict(report: Report) -> str:
    if report.ok:
        return "This key can be put to use."
    failed, skipped = (sum(check.result == result for check in report.checks) for result in ("fail", "skip"))
    return f"Not yet: {counted(failed, 'check')} failed" + (f", {skipped} not tried." if skipped else ".")


def _configure(client: KeysteadClient, tenant_id: str, asked: dict[str, Any], *, as_json: bool) -> None:
    tell_long(MOVING)
    done = client.configure_key(tenant_id, **asked)
    click.echo(json.dumps(asdict(done)) if as_json else "\n".join(_done(done)))


def _done(done: KeyConfigured) -> Sequence[str]:
    warned = [check for check in done.checks if check.result == "warn"]
    return [*([findings(warned), ""] if warned else []), status_text(done.key)]
