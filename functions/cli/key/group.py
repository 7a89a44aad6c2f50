"""The command group ``keystead key``."""

from __future__ import annotations

import click

from functions.cli.key.configure import configure, replace, revert, validate
from functions.cli.key.documents import export, setup
from functions.cli.key.status import status


@click.group()
def key() -> None:
    """Bring, examine, replace and take back the tenant's own key (scope key:manage)."""


for command in (setup, validate, configure, status, replace, revert, export):
    key.add_command(command)
