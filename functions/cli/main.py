"""The console script ``keystead``."""

from __future__ import annotations

import click

from functions.cli.after_restore import after_restore
from functions.cli.app import HELP, Cli, exit_code_table
from functions.cli.audit import audit
from functions.cli.audit_export import export
from functions.cli.decrypt import decrypt
from functions.cli.demo.command import demo
from functions.cli.emulator import emulator
from functions.cli.encrypt import encrypt
from functions.cli.inspect_message import inspect
from functions.cli.key.group import key
from functions.cli.key.status import status
from functions.cli.keys import check, rotate
from functions.cli.kill_switch import resume, suspend
from functions.cli.policy import policy
from functions.cli.receipt_verify import receipt
from functions.cli.receipts import receipts
from functions.cli.serve import serve
from functions.cli.tenant import tenant
from functions.cli.timeline import timeline
from functions.cli.token import token


@click.group(
    cls=Cli,
    context_settings={**HELP, "max_content_width": 100},
    epilog=f"""\b
Examples:
  keystead serve                                     start the service on this machine
  export KEYSTEAD_TOKEN=$(keystead token -t demo)    be an application of the tenant demo
  keystead encrypt report.pdf -o report.keystead     encrypt a file of any length
  keystead decrypt report.keystead -o report.pdf     and decrypt it
  keystead key setup                                 bring a key of your own: what to do first

\b
Exit codes:
{exit_code_table()}
""",
)
@click.version_option(package_name="keystead", message="keystead %(version)s")
def cli() -> None:
    """Keystead: every customer holds the key to its own data."""


for command in (
    serve,
    demo,
    token,
    tenant,
    encrypt,
    decrypt,
    inspect,
    key,
    rotate,
    status,
    check,
    policy,
    suspend,
    resume,
    timeline,
    receipts,
    receipt,
    audit,
    after_restore,
    emulator,
):
    cli.add_command(command)
audit.add_command(export)


def main() -> None:
    """Run the program; ends the process with a code of `functions.cli.exits`."""
    cli.main()
