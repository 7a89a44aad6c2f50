"""``keystead audit export``: copies of the audit chains, to be kept elsewhere than the store."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import click

from core.errors import NotFound, StoreCorrupt
from functions.cli import options
from functions.cli.exits import Exit
from functions.cli.local_service import opened
from functions.cli.output import counted, printable

if TYPE_CHECKING:
    from core.bootstrap import Application
    from core.domain.audit_copies import ChainCopy

SYSTEM = "_system"


@click.command(
    epilog="""\b
Examples:
  keystead audit export -o chains.jsonl
  keystead audit export --tenant acme > acme.jsonl
"""
)
@click.option("-t", "--tenant", default="", help="Only this chain; _system is the operator's. All if not given.")
@click.option("-o", "--output", type=click.Path(path_type=Path), metavar="FILE", help="Where to, if not to stdout.")
@click.option("-f", "--force", is_flag=True, help="Replace the output if it exists.")
@options.data_option
@click.pass_context
def export(ctx: click.Context, tenant: str, output: Path | None, force: bool, data: Path | None) -> None:
    """Copy the audit chains: one line of JSON per chain, with a signed checkpoint that vouches for its entries.

    Keep the copies where the store is not, and make them more often than backups: after a restore,
    'keystead after-restore --audit FILE' learns from them which kill switches were turned on since the backup.
    """
    from core.client.publish import check_target, published

    if output is not None:
        check_target(output, overwrite=force)
    broken: list[str] = []
    with opened(data) as application:
        copies = _copies(application, tenant, broken)
        if output is None:
            for copy in copies:
                click.echo(copy.to_line())
        else:
            chains = entries = 0
            with published(output, overwrite=force) as file:
                for copy in copies:
                    file.write(copy.to_line().encode() + b"\n")
                    chains, entries = chains + 1, entries + len(copy.entries)
            told = f"{counted(chains, 'chain')} with {counted(entries, 'entry', 'entries')} written to {output}"
            click.echo(told, err=True)
    if broken:
        ctx.exit(Exit.INTEGRITY)


def _copies(application: Application, tenant: str, broken: list[str]) -> Iterator[ChainCopy]:
    for chain in [tenant] if tenant else [SYSTEM, *tenant_ids(application)]:
        try:
            copy = application.audit_copies.make(chain)
        except StoreCorrupt as error:
            if tenant:
                raise
            # The others are worth the more to have.
            broken.append(chain)
            click.echo(printable(f"error: {error.detail}; it was left out"), err=True)
            continue
        if copy.entries:
            yield copy
        elif tenant:
            raise NotFound(f"there is no audit chain of {tenant}")


def tenant_ids(application: Application) -> Iterator[str]:
    """The ids of all tenants of a store, whatever is in their records, tombstones among them."""
    after = ""
    while page := application.records.ids(after=after, limit=100):
        yield from page
        after = page[-1]
