"""``keystead emulator add-user|create-role``: who acts in the customer's account."""

from __future__ import annotations

import re

import click

from core.domain.arns import KeyArn, RoleArn
from core.errors import InvalidRequest
from functions.cli.emulator_control import ask, read_policy, url_option
from functions.emulators.defaults import CUSTOMER_ACCOUNT

_USER = re.compile(r"arn:aws[a-z-]{0,16}:iam::[0-9]{12}:user/[A-Za-z0-9+=,.@_/-]{1,128}")


@click.command(
    "add-user",
    epilog="""\b
Examples:
  eval "$(keystead emulator add-user)"
  keystead emulator add-user --arn arn:aws:iam::444455556666:user/officer
""",
)
@click.option("--arn", default=f"arn:aws:iam::{CUSTOMER_ACCOUNT}:user/officer", show_default=True, help="The user.")
@url_option
def add_user(arn: str, url: str) -> None:
    """Make an IAM user; prints its access key as shell commands.

    Key policies decide what it may do: in its own account, that of the setup kit leaves everything to it.
    """
    import secrets

    if not _USER.fullmatch(arn):
        raise InvalidRequest(
            "this is not the ARN of an IAM user", hint=f"it looks like arn:aws:iam::{CUSTOMER_ACCOUNT}:user/officer"
        )
    access_key_id, secret = f"AKIA{secrets.token_hex(8).upper()}", secrets.token_urlsafe(30)
    ask(url, "add-principal", {"arn": arn, "access_key_id": access_key_id, "secret_access_key": secret})
    click.echo(f"export AWS_ACCESS_KEY_ID={access_key_id}\nexport AWS_SECRET_ACCESS_KEY={secret}")


@click.command(
    "create-role",
    epilog="""\b
Example:
  keystead key setup --only trust_policy > trust.json
  keystead key setup --only role_policy > role.json
  keystead emulator create-role arn:aws:iam::111122223333:role/keystead-byok \\
    --trust trust.json --policy role.json --key ARN
""",
)
@click.argument("arn")
@click.option("--trust", required=True, help="File with the trust policy, - for stdin.")
@click.option("--policy", required=True, help="File with what the role may do, - for stdin.")
@click.option("--key", help="ARN of the key that stands for <KEY-ARN> in the policies.")
@url_option
def create_role(arn: str, trust: str, policy: str, key: str | None, url: str) -> None:
    """Make the role ARN as a customer would.

    <YOUR-ACCOUNT>, which a setup kit leaves to be filled in, stands for the account in ARN.
    """
    account, names = RoleArn.parse(arn).account, str(KeyArn.parse(key)) if key else ""
    body = {
        "arn": arn,
        "trust_policy": read_policy(trust, account, names),
        "policies": {"use": read_policy(policy, account, names)},
    }
    ask(url, "create-role", body)
