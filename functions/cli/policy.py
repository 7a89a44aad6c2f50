"""``keystead policy``."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from core.domain.key_policy import MAX_LEASE, MAX_OUTAGE_GRACE, MAX_ROTATION_DAYS
from functions.cli import options
from functions.cli.key.status import bounds
from functions.cli.output import counted, printable

if TYPE_CHECKING:
    from core.client.key_values import KeyStatus

NONE = "none"
"""What takes a choice away."""
_FALLBACK = {
    "": "new data is refused while the key cannot be reached",
    "platform": "new data goes under the platform's key while the tenant's cannot be reached",
}
_APPROVAL = {"": "one person suffices", "second_person": "what weakens the tenant's control takes two people"}


@click.command(
    epilog="""\b
Examples:
  keystead policy
  keystead policy --lease 30 --grace 300
  keystead policy --fallback platform --approval second_person
"""
)
@click.option(
    "--lease",
    type=click.IntRange(0, MAX_LEASE),
    metavar="SECONDS",
    help="How long a branch key serves before the KMS is asked again.",
)
@click.option(
    "--grace",
    type=click.IntRange(0, MAX_OUTAGE_GRACE),
    metavar="SECONDS",
    help="How long it serves while the KMS does not answer.",
)
@click.option(
    "--rotation-days",
    type=click.IntRange(1, MAX_ROTATION_DAYS),
    metavar="DAYS",
    help="Age at which a new branch key version is made.",
)
@click.option(
    "--fallback",
    type=click.Choice(["platform", NONE]),
    help="What new data goes under while the key cannot be reached.",
)
@click.option(
    "--approval", type=click.Choice(["second_person", NONE]), help="Who confirms what weakens the tenant's control."
)
@options.tenant_option
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@options.service_options
def policy(
    lease: int | None,
    grace: int | None,
    rotation_days: int | None,
    fallback: str | None,
    approval: str | None,
    tenant: str,
    as_json: bool,
    url: str | None,
    token_file: Path | None,
    ca_file: Path | None,
) -> None:
    """Show how the tenant's key is used, or change it.

    Without an option it shows (scope key:read); with one it changes that and nothing else (scope key:manage; an
    operator's token only tightens). What the operator's caps forbid is refused. If the tenant wants two people, what
    loosens is kept as a proposal until another person gives the same command.
    """
    changes: dict[str, Any] = {
        "lease": lease,
        "outage_grace": grace,
        "rotation_days": rotation_days,
        "fallback": _choice(fallback),
        "approval": _choice(approval),
    }
    where = options.target(url, token_file, ca_file, tenant)
    with where.connect() as client:
        tenant_id = where.tenant_id()
        if all(value is None for value in changes.values()):
            found = client.key_status(tenant_id)
        else:
            found = client.set_policy(tenant_id, **changes)
    if as_json:
        told = {"tenant_id": found.tenant_id, "policy": asdict(found.policy), "bounds": dict(found.bounds)}
        click.echo(json.dumps(told))
    else:
        click.echo("\n".join(printable(f"{name:<12}  {text}").rstrip() for name, text in _lines(found)))


def _choice(given: str | None) -> str | None:
    return "" if given == NONE else given


def _lines(found: KeyStatus) -> Iterator[tuple[str, str]]:
    tuned = found.policy
    yield "tenant", found.tenant_id
    yield "lease", _told(f"{tuned.lease:g} s", "a branch key serves so long before the KMS is asked again")
    yield "grace", _told(f"{tuned.outage_grace:g} s", "it serves so long while the KMS does not answer")
    yield "rotation", _told(counted(tuned.rotation_days, "day"), "age at which a new branch key version is made")
    yield "fallback", _told(tuned.fallback or NONE, _FALLBACK.get(tuned.fallback, ""))
    yield "approval", _told(tuned.approval or NONE, _APPROVAL.get(tuned.approval, ""))
    yield from bounds(found)


def _told(value: str, meaning: str) -> str:
    return f"{value:<13}  {meaning}"
