"""``keystead emulator azure``: the hands of a customer whose keys are in the emulated Azure."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from core.domain.vaults import CLOUDS
from functions.cli.emulator_azure_access import ACCESS
from functions.cli.emulator_azure_control import emulator_options, read_tags, running, vault_of
from functions.cli.output import printable

VAULT = "https://acme-kv.vault.azure.net"
KEY = f"{VAULT}/keys/kek"
ENTRA = "11112222-3333-4444-5555-666677778888"


@click.group(epilog=f"\b\nExample:\n  keystead emulator azure create-key {KEY}\n")
def azure() -> None:
    """Act on a running 'keystead emulator keyvault', as a customer does in Azure."""


@azure.command(
    "create-vault", epilog=f"\b\nExample:\n  keystead emulator azure create-vault acme-kv --entra-tenant {ENTRA}\n"
)
@click.argument("name")
@click.option("--entra-tenant", required=True, metavar="ID", help="Entra tenant that the vault belongs to.")
@click.option("--cloud", type=click.Choice([*CLOUDS]), default="public", show_default=True, help="Microsoft's cloud.")
@click.option("--hsm", is_flag=True, help="Make a Managed HSM.")
@click.option(
    "--access",
    type=click.Choice(["rbac", "policy"]),
    default="rbac",
    show_default=True,
    help="By roles or by policies.",
)
@click.option(
    "--purge-protection/--no-purge-protection",
    default=True,
    show_default=True,
    help="Deleted keys stay for their time.",
)
@click.option(
    "--soft-delete-days", type=click.IntRange(0, 90), default=90, show_default=True, help="0: deleted for good."
)
@emulator_options
def create_vault(address: str | None, ca_file: Path | None, entra_tenant: str, **given: Any) -> None:
    """Make the vault NAME; prints its address."""
    found = running(address, ca_file).ask("create-vault", {"tenant": entra_tenant, **given})
    click.echo(printable(str(found["vault_url"])))


@azure.command(
    "create-key",
    epilog=f"""\b
Examples:
  keystead emulator azure create-key {KEY} --size 2048
  keystead key setup azure_key_vault --only tags | keystead emulator azure create-key {KEY} --tags -
""",
)
@click.argument("key")
@click.option("--kty", default="RSA", show_default=True, help="RSA, RSA-HSM, oct-HSM, EC.")
@click.option("--size", type=click.IntRange(1), help="Bits [3072 of RSA, 256 of the others].")
@click.option("--op", "key_ops", multiple=True, help="Operation that it permits; repeat for more [wrapKey, unwrapKey].")
@click.option("--disabled", is_flag=True, help="Make it disabled.")
@click.option("--nbf", type=int, help="Not valid before: seconds since the epoch.")
@click.option("--exp", type=int, help="Expires: seconds since the epoch.")
@click.option("--tags", help="File with its tags, - for stdin; the document 'tags' of a setup kit.")
@emulator_options
def create_key(
    key: str,
    kty: str,
    size: int | None,
    key_ops: Sequence[str],
    disabled: bool,
    tags: str | None,
    address: str | None,
    ca_file: Path | None,
    **instants: int | None,
) -> None:
    """Make the key KEY, or a new version of it; prints the version's identifier."""
    url, name = vault_of(key)
    body: dict[str, Any] = {
        "vault_url": url,
        "name": name,
        "kty": kty,
        "size": size or (3072 if kty.startswith("RSA") else 256),
        "enabled": not disabled,
        **{name: value for name, value in instants.items() if value is not None},
        # Of a curve, which does neither of the two, all that it can.
        **({} if kty.startswith("EC") and not key_ops else {"key_ops": [*key_ops] or ["wrapKey", "unwrapKey"]}),
        **({"tags": read_tags(tags)} if tags is not None else {}),
    }
    click.echo(printable(str(running(address, ca_file).ask("create-key", body)["kid"])))


@azure.command("rotate-key", epilog=f"\b\nExample:\n  keystead emulator azure rotate-key {KEY}\n")
@click.argument("key")
@emulator_options
def rotate_key(key: str, address: str | None, ca_file: Path | None) -> None:
    """Make a new version of the key KEY as a rotation policy does; prints the version's identifier."""
    click.echo(printable(str(running(address, ca_file).ask("rotate-key", {"key": key})["kid"])))


@azure.command("set-tags", epilog=f"\b\nExample:\n  keystead emulator azure set-tags {KEY} --tags tags.json\n")
@click.argument("key")
@click.option("--tags", required=True, help="File with the tags, - for stdin; they replace all others.")
@emulator_options
def set_tags(key: str, tags: str, address: str | None, ca_file: Path | None) -> None:
    """Replace the tags of the key KEY."""
    running(address, ca_file).ask("set-tags", {"key": key, "tags": read_tags(tags)})


@azure.command(
    "set-attributes", epilog=f"\b\nExample:\n  keystead emulator azure set-attributes {KEY} --exp 1800000000\n"
)
@click.argument("key")
@click.option("--nbf", type=int, help="Not valid before: seconds since the epoch.")
@click.option("--exp", type=int, help="Expires: seconds since the epoch.")
@click.option("--op", "key_ops", multiple=True, help="Operation that it permits; repeat for more.")
@emulator_options
def set_attributes(
    key: str, nbf: int | None, exp: int | None, key_ops: Sequence[str], address: str | None, ca_file: Path | None
) -> None:
    """Change what is given of the key KEY, or of one version of it."""
    given = {"nbf": nbf, "exp": exp, "key_ops": [*key_ops] or None}
    body = {"key": key, **{name: value for name, value in given.items() if value is not None}}
    running(address, ca_file).ask("set-attributes", body)


@azure.command("keys", epilog="\b\nExample:\n  keystead emulator azure keys --json\n")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object per line.")
@emulator_options
def keys(as_json: bool, address: str | None, ca_file: Path | None) -> None:
    """List the versions of all keys and their states."""
    for vault in running(address, ca_file).ask("world")["vaults"]:
        for key in vault["keys"]:
            state = "deleted" if key["deleted"] else "enabled" if key["attributes"]["enabled"] else "disabled"
            click.echo(json.dumps(key) if as_json else printable(f"{key['key']['kid']}  {state}"))


def _acts_on_key(name: str, what: str) -> None:
    """Add a command that does one thing to a key, and says no more."""

    @azure.command(name, help=what, epilog=f"\b\nExample:\n  keystead emulator azure {name} {KEY}\n")
    @click.argument("key")
    @emulator_options
    def act(key: str, address: str | None, ca_file: Path | None) -> None:
        running(address, ca_file).ask(name, {"key": key})


_acts_on_key("disable-key", "Disable the key KEY, or one version of it: the customer withdraws it.")
_acts_on_key("enable-key", "Enable the key KEY, or one version of it, again.")
_acts_on_key("delete-key", "Delete the key KEY; it can be recovered for as long as the vault keeps it.")
_acts_on_key("recover-key", "Recover the deleted key KEY.")
_acts_on_key("purge-key", "Purge the deleted key KEY: it is gone for good.")
for command in ACCESS:
    azure.add_command(command)
