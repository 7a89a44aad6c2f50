"""``keystead emulator keyvault``: a Key Vault, and the Entra that lets into it, of this machine's own."""

from __future__ import annotations

import shlex
import threading
from pathlib import Path
from typing import TYPE_CHECKING

import click

from core.errors import InvalidRequest
from functions.cli.app import Terminated
from functions.cli.emulator_azure_control import DEFAULT_PORT
from functions.settings import LOCAL_AZURE

if TYPE_CHECKING:
    from functions.emulators.azure_wire import AzureEmulatorServer
    from functions.emulators.azure_world import AzureEmulator

_PEM = b"-----BEGIN CERTIFICATE-----"


@click.command(
    epilog="""\b
Examples:
  keystead emulator keyvault
  keystead emulator keyvault --port 4700 --data ./keyvault.json
"""
)
@click.option("--port", type=click.IntRange(0, 65535), default=DEFAULT_PORT, show_default=True, help="0: a free one.")
@click.option("--data", type=click.Path(path_type=Path), help="Keep all there is in this file; else in memory only.")
@click.option(
    "--ca-file",
    type=click.Path(path_type=Path),
    help="Write the certificate authority here [beside --data, else a temporary file].",
)
def keyvault(port: int, data: Path | None, ca_file: Path | None) -> None:
    """Serve Azure Key Vault and Microsoft Entra ID on loopback, until Ctrl-C or SIGTERM.

    It refuses what Azure refuses: disabled keys, dates, roles, access policies, firewalls, applications that were not
    let in. Vaults have their real addresses, over TLS by an authority of its own. It protects nothing: its keys are
    test keys, kept in the clear. It listens on 127.0.0.1 only. 'keystead emulator azure' acts on it.
    """
    from functions.emulators.azure_wire import serve

    emulated = _emulator(data)
    emulated.add_application(*LOCAL_AZURE)
    if data is not None:
        emulated.save(data)
    save = None if data is None else lambda: emulated.save(data)
    if ca_file is None and data is not None:
        ca_file = data.with_suffix(".ca.pem")
    if ca_file is not None:
        _check_target(ca_file)
    try:
        server = serve(emulated, port, ca_file=ca_file, on_change=save)
    except OSError as error:
        raise InvalidRequest(
            f"port {port} of 127.0.0.1 cannot be listened on: {error.strerror}", hint="name another: --port, 0 for any"
        ) from None
    with server:
        try:
            click.echo(_banner(server, data))
            threading.Event().wait()
        except (KeyboardInterrupt, Terminated):
            click.echo("stopped", err=True)


def _check_target(ca_file: Path) -> None:
    """Refuse to write an authority over something else, or where nothing can be written.

    Raises:
        InvalidRequest: The file holds no certificate.
        OSError: It cannot be written.
    """
    with ca_file.open("a+b") as file:
        file.seek(0)
        if file.read(len(_PEM)) not in (b"", _PEM):
            raise InvalidRequest(f"{ca_file} is there, and no certificate authority", hint="name another: --ca-file")


def _emulator(data: Path | None) -> AzureEmulator:
    import time

    from functions.emulators.azure_world import AzureEmulator

    if data is None or not data.exists():
        return AzureEmulator(time.time)
    try:
        return AzureEmulator.load(data, time.time)
    except ValueError as error:
        raise InvalidRequest(str(error), hint="name another file: --data") from None


def _banner(server: AzureEmulatorServer, data: Path | None) -> str:
    kept = "Keys are in memory only." if data is None else f"Keys are kept in {data.resolve()}, in the clear."
    return "\n".join(
        [
            f"An emulated Azure Key Vault and Entra serve at {server.dial}, for this machine only. {kept}",
            "It is for trying things out: it protects nothing.",
            f"Keystead is the application {LOCAL_AZURE[0]} here. In the shell of the service, and in yours:",
            "",
            f"  export KEYSTEAD_AZURE_EMULATOR={server.dial}",
            f"  export KEYSTEAD_AZURE_EMULATOR_CA={shlex.quote(str(Path(server.ca_file).resolve()))}",
            "",
            "Ctrl-C stops it.",
        ]
    )
