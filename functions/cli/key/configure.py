"""``keystead key configure|validate|replace|revert``."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from core.errors import InvalidRequest
from functions.cli import options
from functions.cli.confirm import confirm
from functions.cli.exits import Exit
from functions.cli.findings import findings
from functions.cli.key.status import status_text
from functions.cli.output import counted
from functions.cli.progress import tell_long

if TYPE_CHECKING:
    from core.client.client import KeysteadClient
    from core.client.key_values import KeyConfigured, KeyStatus, Report

F = TypeVar("F", bound=Callable[..., Any])
PROVIDER = "aws_kms"
MOVING = "examining the key and putting the branch keys under it"
_ARN = "arn:aws:kms:eu-central-1:111122223333:key/1234abcd-12ab-34cd-56ef-1234567890ab"
_yes = click.option("--yes", is_flag=True, help="Do not ask.")
_as_json = click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")


def _key_options(command: F) -> F:
    """Add what names a key, as one argument ``target``."""
    for option in (
        click.option(
            "--reversible/--one-way", default=None, help="Keep the way back to the platform's key; first key only."
        ),
        click.option("--activate", "activation_date", default="", metavar="DATE", help="Not before; 2027-01-31, UTC."),
        click.option("--nickname", default=None, help="Name of the key for people; '' takes it away."),
        click.option("--role", "role_arn", default=None, metavar="ARN", help="Role through which the key is reached."),
        click.option("--arn", "key_arn", required=True, metavar="ARN", help="The KMS key; never an alias."),
    ):
        command = option(command)
    return command


@click.command(epilog=f"\b\nExample:\n  keystead key validate --arn {_ARN}\n")
@_key_options
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

    Tells of each check what was seen and what to do. Ends with 7 if the key could not be put to use.
    """
    where = options.target(url, token_file, ca_file, tenant)
    with where.connect() as client:
        tell_long("examining the key")
        report = client.validate_key(where.tenant_id(), provider=PROVIDER, **_completed(target, None))
    if as_json:
        click.echo(json.dumps(asdict(report)))
    else:
        click.echo(findings(report.checks))
        click.echo("\n" + _verdict(report))
    if not report.ok:
        ctx.exit(Exit.KEY_CHECK)


@click.command(epilog=f"\b\nExample:\n  keystead key configure --arn {_ARN} --nickname production\n")
@_key_options
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
    where = options.target(url, token_file, ca_file, tenant)
    with where.connect() as client:
        tenant_id = where.tenant_id()
        found = client.key_status(tenant_id)
        if not found.platform_key and target["key_arn"] not in _concerned(found):
            raise InvalidRequest(
                "the tenant has a key of its own already", hint="'keystead key replace' puts another in its place"
            )
        target = _completed(target, found)
        if found.platform_key and found.move is None and not (target["reversible"] or target["activation_date"]):
            discarded = f" (now scheduled: {found.pending.kek})" if found.pending else ""
            question = f"Put {tenant_id} under {target['key_arn']} for good, with no way back{discarded}?"
            confirm(question, yes=yes or not on_terminal())
        _configure(client, tenant_id, target, as_json=as_json)


@click.command(epilog=f"\b\nExample:\n  keystead key replace --arn {_ARN}\n")
@_key_options
@options.tenant_option
@_yes
@_as_json
@options.service_options
def replace(
    tenant: str, yes: bool, as_json: bool, url: str | None, token_file: Path | None, ca_file: Path | None, **target: Any
) -> None:
    """Put the tenant under another key of its own (scopes key:manage and key:read).

    As configure, for a tenant that has a key of its own already. If that one is gone, a new branch key is begun, and
    what was encrypted before stays unreadable until it returns.
    """
    if target["reversible"] is not None or target["activation_date"]:
        raise options.usage_error(
            "--reversible and --activate are for a tenant's first key", "leave them out: what was fixed then stays"
        )
    where = options.target(url, token_file, ca_file, tenant)
    with where.connect() as client:
        tenant_id = where.tenant_id()
        found = client.key_status(tenant_id)
        if found.platform_key:
            raise InvalidRequest(
                "the tenant has no key of its own yet", hint="'keystead key configure' puts it under its first one"
            )
        confirm(f"Replace the key {found.kek} of {tenant_id} by {target['key_arn']}?", yes=yes)
        _configure(client, tenant_id, _completed(target, found), as_json=as_json)


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


def _completed(target: dict[str, Any], found: KeyStatus | None) -> dict[str, Any]:
    """What is asked for, with what was not named taken over from the same key's configuration, if it has one."""
    arn = target["key_arn"]
    known: Any = None
    if found is not None and found.pending is not None and found.pending.kek == arn:
        known = found.pending
    elif found is not None and found.kek == arn:
        known = found
    left_out = {"nickname": "", "role_arn": "", "reversible": False}
    kept = {name: getattr(known, name, default) for name, default in left_out.items() if target[name] is None}
    return {**target, **kept}


def _verdict(report: Report) -> str:
    if report.ok:
        return "This key can be put to use."
    failed, skipped = (sum(check.result == result for check in report.checks) for result in ("fail", "skip"))
    return f"Not yet: {counted(failed, 'check')} failed" + (f", {skipped} not tried." if skipped else ".")


def _configure(client: KeysteadClient, tenant_id: str, target: dict[str, Any], *, as_json: bool) -> None:
    tell_long(MOVING)
    done = client.configure_key(tenant_id, provider=PROVIDER, **target)
    click.echo(json.dumps(asdict(done)) if as_json else "\n".join(_done(done)))


def _done(done: KeyConfigured) -> Sequence[str]:
    warned = [check for check in done.checks if check.result == "warn"]
    return [*([findings(warned), ""] if warned else []), status_text(done.key)]
