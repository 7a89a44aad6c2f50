"""``keystead encrypt``."""

from __future__ import annotations

from pathlib import Path

import click

from functions.cli import options, output
from functions.cli.progress import progress


@click.command(
    epilog="""\b
Examples:
  keystead encrypt report.pdf -o report.pdf.keystead
  keystead encrypt report.pdf -c customer=4711 > report.pdf.keystead
  tar c photos | keystead encrypt - -o photos.tar.keystead
"""
)
@click.argument("file")
@click.option("-o", "--output", "target", metavar="FILE", help="Where to write; stdout if not given.")
@options.context_option
@options.tenant_option
@click.option("--force", is_flag=True, help="Replace the output if it exists.")
@options.service_options
def encrypt(
    file: str,
    target: str | None,
    context: dict[str, str],
    tenant: str,
    force: bool,
    url: str | None,
    token_file: Path | None,
    ca_file: Path | None,
) -> None:
    """Encrypt FILE, or stdin if FILE is -.

    The data stays on this machine: the service hands out a data key (scope data:keys), the file is encrypted here. The
    output appears only when it is whole.
    """
    from core.client.files import encrypt_stream

    where = options.target(url, token_file, ca_file, tenant)
    with (
        where.connect() as client,
        output.opened(file) as source,
        output.destination(file, target, force=force, private=False) as sink,
        progress("encrypting", source) as done,
    ):
        encrypt_stream(client, where.tenant_id(), source, sink, context, progress=done)
