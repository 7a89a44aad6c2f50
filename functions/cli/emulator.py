"""``keystead emulator``: a KMS of this machine's own, and the hands of the customer whose keys are in it.

What is about Azure is in modules of its own.
"""

from __future__ import annotations

import json
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from core.domain.arns import KeyArn
from core.errors import InvalidRequest
from functions.cli.app import HELP, Terminated
from functions.cli.emulator_azure import azure
from functions.cli.emulator_control import ask, read_policy, url_option
from functions.cli.emulator_identities import add_user, create_role
from functions.cli.emulator_keyvault import keyvault
from functions.cli.options import usage_error
from functions.cli.output import printable
from functions.emulators.defaults import CUSTOMER_ACCOUNT, DEFAULT_PORT, DEFAULT_REGION
from functions.emulators.faults import CORRUPTIONS

if TYPE_CHECKING:
    from functions.emulators.kms import KmsEmulator

SIGNING_AGE = 900
"""Seconds that a request's date may differ from this machine's clock; as at AWS, clients sign with the time."""


@click.group(context_settings=HELP)
def emulator() -> None:
    """Emulated clouds for this machine: try out BYOK and revocation without an account in AWS or Azure.

    kms and keyvault serve one each; azure acts on the latter, all others on the former.
    """


for command in (add_user, create_role, keyvault, azure):
    emulator.add_command(command)


@emulator.command(
    epilog="""\b
Examples:
  keystead emulator kms
  keystead emulator kms --port 4600 --data ./kms.json
"""
)
@click.option("--port", type=click.IntRange(0, 65535), default=DEFAULT_PORT, show_default=True, help="0: a free one.")
@click.option("--data", type=click.Path(path_type=Path), help="Keep keys and roles in this file; else in memory only.")
def kms(port: int, data: Path | None) -> None:
    """Serve AWS KMS and STS on loopback, until Ctrl-C or SIGTERM.

    It refuses what AWS refuses: key states, key policies, encryption contexts, cross-account rules. It protects
    nothing: its keys are test keys, kept in the clear. It listens on 127.0.0.1 only.
    """
    from functions.emulators.kms import LOCAL_ACCESS_KEY_ID, LOCAL_PRINCIPAL, LOCAL_SECRET_ACCESS_KEY
    from functions.emulators.wire import serve

    emulated = _emulator(data)
    emulated.add_principal(LOCAL_ACCESS_KEY_ID, LOCAL_SECRET_ACCESS_KEY, LOCAL_PRINCIPAL)
    if data is not None:
        emulated.save(data)
    save = None if data is None else lambda: emulated.save(data)
    try:
        server = serve(emulated, port, max_age=SIGNING_AGE, on_change=save)
    except OSError as error:
        raise InvalidRequest(
            f"port {port} of 127.0.0.1 cannot be listened on: {error.strerror}", hint="name another: --port, 0 for any"
        ) from None
    with server:
        try:
            click.echo(_banner(server.url, data, LOCAL_PRINCIPAL))
            threading.Event().wait()
        except (KeyboardInterrupt, Terminated):
            click.echo("stopped", err=True)


@emulator.command(
    "create-key",
    epilog="""\b
Examples:
  keystead emulator create-key --policy key-policy.json
  keystead key setup --only key_policy | keystead emulator create-key --policy -
""",
)
@click.option(
    "--policy", help="File with the key policy, - for stdin; without it only the key's own account may use it."
)
@click.option("--account", default=CUSTOMER_ACCOUNT, show_default=True, help="Account of the customer.")
@click.option("--region", default=DEFAULT_REGION, show_default=True, help="Region of the key.")
@url_option
def create_key(policy: str | None, account: str, region: str, url: str) -> None:
    """Make a key as a customer would; prints its ARN.

    <YOUR-ACCOUNT>, which a setup kit leaves to be filled in, stands for the account.
    """
    body: dict[str, Any] = {"account": account, "region": region}
    if policy is not None:
        body["policy"] = read_policy(policy, account)
    click.echo(printable(str(ask(url, "create-key", body)["arn"])))


@emulator.command("disable-key", epilog="\b\nExample:\n  keystead emulator disable-key ARN\n")
@click.argument("arn")
@url_option
def disable_key(arn: str, url: str) -> None:
    """Disable the key ARN: the customer withdraws it."""
    ask(url, "disable-key", {"arn": arn})


@emulator.command("enable-key", epilog="\b\nExample:\n  keystead emulator enable-key ARN\n")
@click.argument("arn")
@url_option
def enable_key(arn: str, url: str) -> None:
    """Enable the key ARN again."""
    ask(url, "enable-key", {"arn": arn})


@emulator.command("schedule-deletion", epilog="\b\nExample:\n  keystead emulator schedule-deletion ARN --days 7\n")
@click.argument("arn")
@click.option("--days", type=click.IntRange(7, 30), default=30, show_default=True, help="Waiting period.")
@url_option
def schedule_deletion(arn: str, days: int, url: str) -> None:
    """Schedule the key ARN for deletion; it cannot be used from now on."""
    ask(url, "schedule-key-deletion", {"arn": arn, "days": days})


@emulator.command("cancel-deletion", epilog="\b\nExample:\n  keystead emulator cancel-deletion ARN\n")
@click.argument("arn")
@url_option
def cancel_deletion(arn: str, url: str) -> None:
    """Cancel the deletion of the key ARN; it is disabled then, until it is enabled."""
    ask(url, "cancel-key-deletion", {"arn": arn})


@emulator.command("put-policy", epilog="\b\nExample:\n  keystead emulator put-policy ARN --policy key-policy.json\n")
@click.argument("arn")
@click.option("--policy", required=True, help="File with the key policy, - for stdin.")
@url_option
def put_policy(arn: str, policy: str, url: str) -> None:
    """Replace the policy of the key ARN."""
    ask(url, "put-key-policy", {"arn": arn, "policy": read_policy(policy, KeyArn.parse(arn).account)})


@emulator.command(epilog="\b\nExample:\n  keystead emulator keys --json\n")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object per line.")
@url_option
def keys(as_json: bool, url: str) -> None:
    """List the keys and their states."""
    for key in ask(url, "keys")["keys"]:
        click.echo(json.dumps(key) if as_json else printable(f"{key['Arn']}  {key['KeyState']}"))


@emulator.command(
    epilog="""\b
Examples:
  keystead emulator fault --operation Decrypt --code ThrottlingException --times 3
  keystead emulator fault --hang
"""
)
@click.option("--operation", default="*", show_default=True, help="Such as Decrypt or AssumeRole; * is any.")
@click.option("--code", help="Refuse with this error.")
@click.option("--status", type=click.IntRange(100, 599), help="HTTP status [the one that goes with the code].")
@click.option("--times", type=click.IntRange(1), help="How often [until cleared].")
@click.option("--after", type=click.IntRange(0), help="Matching calls that pass first.")
@click.option("--key", "key_arn", help="Only calls that name this key.")
@click.option("--latency", type=click.FloatRange(0, 600), help="Seconds before the answer.")
@click.option("--hang", is_flag=True, help="Do not answer.")
@click.option("--reset", is_flag=True, help="Break the connection.")
@click.option("--lost", is_flag=True, help="Act, then break the connection.")
@click.option("--body", help="Answer with this text, as a proxy would.")
@click.option("--corrupt", type=click.Choice([*filter(None, CORRUPTIONS)]), help="Act, then damage the answer.")
@url_option
def fault(url: str, **given: Any) -> None:
    """Order a fault; several may be in force."""
    wanted = {name: value for name, value in given.items() if value not in (None, False)}
    if not {*wanted} & {"code", "latency", "hang", "reset", "lost", "body", "corrupt"}:
        raise usage_error(
            "nothing is to go wrong", "give --code, --latency, --hang, --reset, --lost, --body or --corrupt"
        )
    ask(url, "fault", wanted)


@emulator.command("clear-faults", epilog="\b\nExample:\n  keystead emulator clear-faults\n")
@url_option
def clear_faults(url: str) -> None:
    """End all faults, and let go what hangs."""
    ask(url, "clear-faults", {})


def _emulator(data: Path | None) -> KmsEmulator:
    import time

    from functions.emulators.kms import KmsEmulator

    if data is None or not data.exists():
        return KmsEmulator(time.time)
    try:
        return KmsEmulator.load(data, time.time)
    except ValueError as error:
        raise InvalidRequest(str(error), hint="name another file: --data") from None


def _banner(url: str, data: Path | None, principal: str) -> str:
    kept = "Keys are in memory only." if data is None else f"Keys are kept in {data.resolve()}, in the clear."
    return "\n".join(
        [
            f"An emulated AWS KMS serves at {url}, for this machine only. {kept}",
            "It is for trying things out: it protects nothing.",
            f"Keystead is {principal} here. In the shell of the service:",
            "",
            f"  export KEYSTEAD_AWS_ENDPOINT_URL={url}",
            "",
            "Ctrl-C stops it.",
        ]
    )
