"""``keystead decrypt``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

import click

from functions.cli import options, output
from functions.cli.progress import progress

if TYPE_CHECKING:
    from core.client.client import KeysteadClient


@click.command(
    epilog="""\b
Examples:
  keystead decrypt report.pdf.keystead -o report.pdf
  keystead decrypt report.pdf.keystead -c customer=4711 > report.pdf
  keystead decrypt from-elsewhere.bin --foreign -o data.bin
"""
)
@click.argument("file")
@click.option("-o", "--output", "target", metavar="FILE", help="Where to write; stdout if not given.")
@options.context_option
@options.tenant_option
@click.option("--force", is_flag=True, help="Replace the output if it exists.")
@click.option("--foreign", is_flag=True, help="Accept a message that another writer of the format made.")
@options.service_options
def decrypt(
    file: str,
    target: str | None,
    context: dict[str, str],
    tenant: str,
    force: bool,
    foreign: bool,
    url: str | None,
    token_file: Path | None,
    ca_file: Path | None,
) -> None:
    """Decrypt FILE, or stdin if FILE is -.

    The context must be exactly the pairs given when encrypting. A message made by 'keystead encrypt' is decrypted on
    this machine, whatever its length (scope data:keys); any other is sent to the service (scope data:decrypt, at most
    4 MiB). The output appears only after the end of the message was read and found right.
    """
    where = options.target(url, token_file, ca_file, tenant)
    with (
        where.connect() as client,
        output.opened(file) as source,
        output.destination(file, target, force=force, private=True) as sink,
    ):
        _decrypt(client, where.tenant_id(), source, sink, context, foreign=foreign)


def _decrypt(
    client: KeysteadClient, tenant_id: str, source: BinaryIO, sink: BinaryIO, context: dict[str, str], *, foreign: bool
) -> None:
    from core.client.files import decrypt_stream, is_callers
    from core.client.transport import MAX_BODY
    from core.domain.message_header import MAX_HEADER, parse_header
    from core.domain.streaming import read_fully

    if not foreign:
        head = read_fully(source, MAX_HEADER)
        rest = Resumed(head, source)
        if is_callers(parse_header(head)):
            with progress("decrypting", source) as done:
                decrypt_stream(client, tenant_id, rest, sink, context, progress=done)
            return
    else:
        rest = Resumed(b"", source)
    # One byte more than can be sent is enough for the client to refuse it.
    message = read_fully(rest, MAX_BODY + 1)
    sink.write(client.decrypt(tenant_id, message, context, foreign=foreign))


class Resumed:
    """A stream whose start was read already.

    Args:
        head: What was read.
        source: The rest.
    """

    def __init__(self, head: bytes, source: BinaryIO) -> None:
        self._head = head
        self._source = source

    def read(self, size: int, /) -> bytes:
        """At most ``size`` bytes; b"" at the end."""
        if self._head:
            data, self._head = self._head[:size], self._head[size:]
            return data
        return self._source.read(size)
