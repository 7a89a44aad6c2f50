"""How the commands of ``keystead emulator azure`` reach an emulator that is running: its address, its authority, files
that a setup kit writes."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import click

from core.domain.vaults import VaultKey
from core.errors import InvalidRequest
from functions.cli.emulator_control import ask
from functions.cli.options import usage_error
from functions.cli.output import opened

F = TypeVar("F", bound=Callable[..., Any])
DEFAULT_PORT = 4598
DEFAULT_ADDRESS = f"127.0.0.1:{DEFAULT_PORT}"
STARTER = "keystead emulator keyvault"
HINT = f"'{STARTER}' starts one; --address names another"
MAX_TAGS_FILE = 64 * 1024


@dataclass(frozen=True, slots=True)
class Running:
    """A running emulator.

    Attributes:
        address: ``127.0.0.1:<port>``.
        ca_file: PEM file with its certificate authority.
    """

    address: str
    ca_file: Path

    def ask(self, name: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
        """Ask the control API; as `functions.cli.emulator_control.ask`."""
        return ask(f"https://{self.address}", name, body, ca_file=self.ca_file, hint=HINT)


def running(address: str | None, ca_file: Path | None) -> Running:
    """Put the options and the environment together; options win.

    Raises:
        click.UsageError: The address is not one of this machine, or the authority is not known.
        SettingsError: A variable of the environment cannot be read.
    """
    from functions.settings import Settings, is_loopback

    settings = Settings.from_env()
    where = address or settings.azure_emulator or DEFAULT_ADDRESS
    host, _, port = where.rpartition(":")
    if not (is_loopback(host.strip("[]")) and port.isascii() and port.isdigit() and 0 < int(port) < 65536):
        raise usage_error(f"an emulator is on this machine, at an address like {DEFAULT_ADDRESS}", "--address names it")
    known = ca_file or settings.azure_emulator_ca
    if not known:
        raise usage_error(
            "the emulator's certificate authority is not known: --ca-file, or KEYSTEAD_AZURE_EMULATOR_CA",
            f"'{STARTER}' prints it",
        )
    return Running(where, Path(known))


def emulator_options(command: F) -> F:
    """Add --address and --ca-file, which name a running emulator."""
    for option in (
        click.option(
            "--ca-file", type=click.Path(path_type=Path), help="Its certificate authority [KEYSTEAD_AZURE_EMULATOR_CA]."
        ),
        click.option(
            "--address",
            help=f"The running emulator [KEYSTEAD_AZURE_EMULATOR, else {DEFAULT_ADDRESS}].",
            metavar="HOST:PORT",
        ),
    ):
        command = option(command)
    return command


def vault_of(identifier: str) -> tuple[str, str]:
    """The vault and the key's name in an identifier; of a vault alone, "" for the name.

    Raises:
        InvalidRequest: It is neither.
    """
    if "/keys/" not in identifier:
        return VaultKey.of(identifier, "any").vault_url, ""
    key = VaultKey.parse(identifier)
    return key.vault_url, key.name


def read_tags(source: str) -> dict[str, str]:
    """Read a key's tags, as the document ``tags`` of a setup kit has them.

    Args:
        source: File, or ``-`` for stdin.

    Raises:
        InvalidRequest: It is no JSON object of texts, or longer than 64 KiB.
        OSError: It cannot be read.
    """
    with opened(source) as file:
        data = file.read(MAX_TAGS_FILE + 1)
    try:
        found = json.loads(data) if len(data) <= MAX_TAGS_FILE else None
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict) or not all(isinstance(value, str) for value in found.values()):
        raise InvalidRequest("the tags are no JSON object of texts", hint='such as {"keystead-proof": "..."}')
    return found
