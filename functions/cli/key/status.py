"""``keystead key status``, which is ``keystead status`` too."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

from functions.cli import options
from functions.cli.key.withdrawal import withdrawal
from functions.cli.output import counted, printable

if TYPE_CHECKING:
    from core.client.key_values import KeyStatus

BOUNDS = {
    "kms_answers": "if the KMS that holds the key answers, and refuses it",
    "kms_silent": "if the KMS does not answer at all",
    "kill_switch": "if the key is blocked in this service (kill switch)",
}
"""What each bound of a key's status is the worst case of."""


@click.command(epilog="\b\nExample:\n  keystead status --tenant acme\n")
@options.tenant_option
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@options.service_options
def status(tenant: str, as_json: bool, url: str | None, token_file: Path | None, ca_file: Path | None) -> None:
    """Show the state of the tenant's key, and how fast a withdrawal takes effect (scope key:read)."""
    where = options.target(url, token_file, ca_file, tenant)
    with where.connect() as client:
        found = client.key_status(where.tenant_id())
    click.echo(json.dumps(asdict(found)) if as_json else status_text(found))


def status_text(found: KeyStatus) -> str:
    """A key's status for people, line by line."""
    return "\n".join(printable(f"{name:<12}  {text}").rstrip() for name, text in _lines(found) if text)


def version_of(locator: str) -> str:
    """The last part of the identifier of a key's version."""
    return locator.rpartition("/")[2]


def _lines(found: KeyStatus) -> Iterator[tuple[str, str]]:
    yield "tenant", found.tenant_id
    yield "state", f"{found.state} since {found.since}" + (f" ({found.cause})" if found.cause else "")
    yield "", found.wording
    how = (
        "its KMS is not asked while it is suspended"
        if found.state == "suspended"
        else "'keystead check' asks the KMS now"
    )
    if found.checked:
        yield "checked", f"{found.checked} ({how})"
    elif not found.platform_key:
        yield "", f"(as recorded; {how})"
    yield "remedy", found.remedy
    yield from withdrawal(found)
    yield "key", found.kek + (" (the platform's)" if found.platform_key else "")
    yield "nickname", found.nickname
    yield "role", found.role_arn
    yield "entra tenant", found.entra_tenant
    yield "key version", version_of(found.kek_version)
    older = [locator for locator in found.kek_versions if locator != found.kek_version]
    if older:
        yield "still in use", f"{counted(len(older), 'older key version')}, which must stay enabled"
        yield from (("", f"  {locator}") for locator in older)
    if not found.platform_key:
        yield "going back", "to the platform's key is " + ("possible" if found.reversible else "not possible")
    if found.exclusive_from:
        yield "exclusive", f"only your key opens every copy from {found.exclusive_from} on"
    if found.pending is not None:
        pending = found.pending
        yield "scheduled", pending.kek + (f" ({pending.nickname})" if pending.nickname else "")
        through = pending.role_arn or (pending.entra_tenant and f"Entra tenant {pending.entra_tenant}")
        yield "", f"  from {pending.activation} on" + (f", through {through}" if through else "")
        yield "", "  then with" + ("" if pending.reversible else "out") + " a way back to the platform's key"
    if found.move is not None:
        move = found.move
        yield "under way", f"{move.rewrapped} of {counted(move.total, 'version')} rewrapped"
        yield "", f"  from {move.moving_from}"
        yield "", f"  to   {move.moving_to}"
    yield "branch key", found.branch_key_id
    yield "version", f"{found.active_sequence} ({found.active_version}) since {found.active_created}"
    yield "readable", counted(found.versions, "version")
    if found.unreadable_versions:
        yield "unreadable", counted(found.unreadable_versions, "version") + ", until the former key returns"
    yield "rotation due", found.rotation_due
    yield from _policy(found)
    yield from bounds(found)
    for text in found.warnings:
        yield "warning", text


def bounds(found: KeyStatus) -> Iterator[tuple[str, str]]:
    """Labels and texts of the published worst cases."""
    yield "withdrawal", "once the key is withdrawn, no data is served after at most"
    for bound, seconds in found.bounds.items():
        yield "", f"  {seconds:g} s {BOUNDS.get(bound, f'({bound})')}"


def _policy(found: KeyStatus) -> Iterator[tuple[str, str]]:
    tuned = found.policy
    yield (
        "policy",
        f"lease {tuned.lease:g} s, outage grace {tuned.outage_grace:g} s, a new version after "
        + counted(tuned.rotation_days, "day"),
    )
    if tuned.fallback == "platform":
        yield "", "new data goes under the platform's key while this one cannot be reached"
    if tuned.approval == "second_person":
        yield "", "what weakens the tenant's control takes two people"
