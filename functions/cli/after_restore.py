"""``keystead after-restore``: what has to be done when the store was restored from a backup, before it serves."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import click

from core.domain.states import State
from core.errors import KeysteadError
from functions.cli import options
from functions.cli.audit_copies import CopyFiles
from functions.cli.audit_export import SYSTEM, tenant_ids
from functions.cli.confirm import confirm
from functions.cli.exits import Exit, exit_for
from functions.cli.local_service import WHO, opened, operator
from functions.cli.output import counted, printable

if TYPE_CHECKING:
    from core.domain.audit_copies import ChainCopy
    from core.service.revocation.store_restores import AfterRestore


@click.command(
    name="after-restore",
    epilog="""\b
Examples:
  keystead after-restore --audit chains.jsonl
  keystead after-restore --audit chains.jsonl --yes --json
""",
)
@click.option(
    "--audit",
    "copy_files",
    multiple=True,
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Copies of the audit chains that are newer than the backup, from 'keystead audit export'. Repeat for more.",
)
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object per tenant.")
@options.data_option
@click.pass_context
def after_restore(ctx: click.Context, copy_files: Sequence[Path], yes: bool, as_json: bool, data: Path | None) -> None:
    """Believe nothing that a restored backup says of tenants' keys: run this before the service is started again.

    Every tenant with a key of its own goes into 'hold': its KMS is asked anew for every call until a check has found
    out whether the key still serves, so a key that was withdrawn after the backup was made protects its data as
    before. Kill switches that were on are turned on again: the audit chain knows of them, as far as it was not
    restored with the rest, and the copies that were kept elsewhere. A tenant whose key was changed after the backup is
    suspended as well. Only ever tightens; running it twice does no harm. Give the copies the first time: what is done
    without them goes into the chain, and then its lost entries cannot be put back. Works on the store itself.
    """
    copies = CopyFiles(copy_files)
    worst = Exit.OK
    with opened(data) as application:
        ids = list(tenant_ids(application))
        unknown = _unknown(ids, copies)
        question = f"Put every key of {counted(len(ids), 'tenant')} into hold until its KMS was asked?"
        confirm(f"{unknown} {question}" if unknown else question, yes=yes)
        # All of them first, whatever is wrong with a copy, or ends this command.
        hold = partial(application.store_restores.hold, subject=WHO, end_receipts=False)
        before = {tenant_id: hold(tenant_id) for tenant_id in ids}
        news = False
        for chain in dict.fromkeys([*copies.chains, *ids]):
            reads: Sequence[Callable[[], ChainCopy | None]] = [*copies.read(chain)] or [_nothing]
            for number, read in enumerate(reads):
                try:
                    done = application.keystead.store_restored(operator(), chain, read())
                except (KeysteadError, OSError) as error:
                    # One tenant's record may be damaged: the others are to be put in order all the same.
                    code = _told(chain, error)
                    worst = worst or code
                    continue
                news |= bool(done.entries or done.reasons or done.lost)
                if done.before == State.HOLD.value:
                    done = replace(done, before=before.pop(chain, None) or done.before)
                if number == 0 or done.entries or done.before != done.after:
                    click.echo(json.dumps(asdict(done)) if as_json else _lines(done))
    if unknown:
        click.echo(f"note: {unknown}", err=True)
    elif copy_files and not news:
        click.echo("note: the copies hold nothing new: are they newer than the backup?", err=True)
    if worst:
        ctx.exit(worst)


def _nothing() -> None:
    """Read no copy."""


def _told(chain: str, error: KeysteadError | OSError) -> Exit:
    if isinstance(error, OSError):
        click.echo(printable(f"{chain}: error: {error.filename}: {error.strerror}"), err=True)
        return Exit.FAILED
    click.echo(printable(f"{chain}: error: {error.detail}"), err=True)
    if error.hint:
        click.echo(printable(f"{chain}: hint: {error.hint}"), err=True)
    return exit_for(error)


def _unknown(ids: Sequence[str], copies: CopyFiles) -> str:
    # What nobody can tell about tenants without a copy, for people; "" if all have one.
    without = sum(tenant_id not in copies.chains for tenant_id in ids)
    if not without:
        return ""
    which = f"There is no copy of the audit chain of {without} of {counted(len(ids), 'tenant')}"
    return f"{which}: kill switches turned on, and keys changed, after the backup are not known unless the chain is."


def _lines(done: AfterRestore) -> str:
    if done.tenant_id == SYSTEM:
        first = f"{SYSTEM}: the operator's chain"
    elif not done.after:
        first = f"{done.tenant_id}: is not in the store"
    elif done.before == done.after:
        first = f"{done.tenant_id}: {done.after}, unchanged"
    else:
        first = f"{done.tenant_id}: {done.before} -> {done.after}"
    if done.entries:
        first += f"; {counted(done.entries, 'entry', 'entries')} of the audit chain put back"
    more = [*(f"  suspended: {reason}" for reason in done.reasons), *(f"  lost: {what}" for what in done.lost)]
    return "\n".join(printable(line) for line in (first, *more))
