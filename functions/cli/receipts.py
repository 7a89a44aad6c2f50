"""``keystead receipts``: what proves withdrawals, listed, shown and kept."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

from functions.cli import options
from functions.cli.output import printable

if TYPE_CHECKING:
    from core.client.client import KeysteadClient
    from core.client.withdrawals import ReceiptEntry

SUFFIX = ".receipt"
"""Of the files of ``--save``."""


@click.command(
    epilog="""\b
Examples:
  keystead receipts
  keystead receipts ID -o acme.receipt
  keystead receipts --save evidence
"""
)
@click.argument("receipt_id", metavar="[ID]", default="")
@click.option("-o", "--output", "target", type=click.Path(path_type=Path), metavar="FILE", help="Write the receipt ID.")
@click.option("--save", "directory", type=click.Path(path_type=Path), metavar="DIR", help="Write all, a file each.")
@click.option("--force", is_flag=True, help="Replace files that exist.")
@options.tenant_option
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object per receipt.")
@options.service_options
def receipts(
    receipt_id: str,
    target: Path | None,
    directory: Path | None,
    force: bool,
    tenant: str,
    as_json: bool,
    url: str | None,
    token_file: Path | None,
    ca_file: Path | None,
) -> None:
    """List the receipts of the tenant's withdrawals, or fetch them (scope audit:read).

    With ID, prints that receipt's signed statement, a compact JWS. With --save, writes every statement to a file of
    its id in DIR; what is there already is left alone. A statement is not verified here.
    """
    _check_use(receipt_id, target, directory, as_json=as_json)
    where = options.target(url, token_file, ca_file, tenant)
    with where.connect() as client:
        tenant_id = where.tenant_id()
        if directory is not None:
            _save(client, tenant_id, directory, force=force)
        elif target is not None:
            _write(client, tenant_id, receipt_id, target, force=force)
        elif receipt_id:
            found = client.receipt(tenant_id, receipt_id)
            told = json.dumps({**asdict(found.entry), "statement": found.statement})
            click.echo(told if as_json else found.statement)
        else:
            _list(tenant_id, client.receipts(tenant_id), as_json=as_json)


def _check_use(receipt_id: str, target: Path | None, directory: Path | None, *, as_json: bool) -> None:
    if target is not None and not receipt_id:
        raise options.usage_error("-o is for one receipt, and none is named", "keystead receipts ID -o FILE")
    if directory is not None and receipt_id:
        raise options.usage_error("--save writes every receipt", "write one with -o FILE")
    if as_json and (target is not None or directory is not None):
        raise options.usage_error("--json prints, -o and --save write", "leave one of them out")


def _list(tenant_id: str, entries: tuple[ReceiptEntry, ...], *, as_json: bool) -> None:
    if as_json:
        for entry in entries:
            click.echo(json.dumps(asdict(entry)))
        return
    if not entries:
        click.echo(f"{tenant_id}: no receipt; one is issued when a withdrawal is confirmed")
    for number, entry in enumerate(entries):
        click.echo(("\n" if number else "") + "\n".join(_lines(entry)))


def _lines(entry: ReceiptEntry) -> Iterator[str]:
    yield printable(f"{entry.id}  {entry.cause}")
    yield printable(f"  key         {entry.kek}")
    yield printable(f"  refused     {entry.first_denial}")
    yield printable(f"  confirmed   {entry.confirmed}")
    yield printable(f"  not served  after {entry.not_served_after}")
    surely = f" (the statement holds until {entry.holds_until})" if entry.reinstated else ""
    yield printable(f"  reinstated  {entry.reinstated or 'not since'}{surely}")
    yield printable(f"  issued      {entry.issued}")


def _write(client: KeysteadClient, tenant_id: str, receipt_id: str, target: Path, *, force: bool) -> None:
    from core.client.publish import SHARED, check_target, published

    check_target(target, overwrite=force)
    found = client.receipt(tenant_id, receipt_id)
    with published(target, overwrite=force, mode=SHARED) as file:
        file.write(found.statement.encode() + b"\n")
    click.echo(printable(f"{receipt_id}: written to {target}"))


def _save(client: KeysteadClient, tenant_id: str, directory: Path, *, force: bool) -> None:
    from core.client.publish import SHARED, published

    entries = client.receipts(tenant_id)
    directory.mkdir(exist_ok=True)
    for entry in entries:
        statement = client.receipt(tenant_id, entry.id).statement.encode() + b"\n"
        target = directory / f"{entry.id}{SUFFIX}"
        if _holds(target, statement):
            click.echo(printable(f"{entry.id}: there already, in {target}"))
            continue
        with published(target, overwrite=force, mode=SHARED) as file:
            file.write(statement)
        click.echo(printable(f"{entry.id}: written to {target}"))
    if not entries:
        _list(tenant_id, entries, as_json=False)


def _holds(target: Path, statement: bytes) -> bool:
    if not target.is_file():
        return False
    with target.open("rb") as file:
        return file.read(len(statement) + 1) == statement
