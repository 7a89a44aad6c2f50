"""``keystead emulator azure`` continued: who may use the keys, from where, and what goes wrong."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from functions.cli.emulator_azure_control import emulator_options, running, vault_of
from functions.cli.options import usage_error
from functions.emulators.azure_faults import CORRUPTIONS
from functions.settings import LOCAL_AZURE

VAULT = "https://acme-kv.vault.azure.net"
ENTRA = "11112222-3333-4444-5555-666677778888"
_client_id = click.option(
    "--client-id", default=LOCAL_AZURE[0], show_default=True, metavar="ID", help="The application."
)


def _acts_on_tenant(name: str, what: str, fixed: dict[str, Any] | None = None, call: str = "") -> click.Command:
    """A command that does one thing to an application in an Entra tenant, and says no more."""

    @click.command(name, help=what, epilog=f"\b\nExample:\n  keystead emulator azure {name} {ENTRA}\n")
    @click.argument("entra_tenant")
    @_client_id
    @emulator_options
    def act(entra_tenant: str, client_id: str, address: str | None, ca_file: Path | None) -> None:
        body = {"client_id": client_id, "tenant": entra_tenant, **(fixed or {})}
        running(address, ca_file).ask(call or name, body)

    return act


@click.command(
    epilog=f"""\b
Examples:
  keystead emulator azure grant {VAULT}
  keystead emulator azure grant {VAULT}/keys/kek --action read --action unwrap
"""
)
@click.argument("vault_or_key")
@_client_id
@click.option("--action", "actions", multiple=True, help="What it may do; repeat for more [read, wrap, unwrap].")
@emulator_options
def grant(vault_or_key: str, client_id: str, actions: Sequence[str], address: str | None, ca_file: Path | None) -> None:
    """Let the application use the keys of a vault, or one key: a role assignment or an access policy."""
    url, name = vault_of(vault_or_key)
    body: dict[str, Any] = {"vault_url": url, "client_id": client_id, "key": name}
    if actions:
        body["actions"] = [*actions]
    running(address, ca_file).ask("grant", body)


@click.command(epilog=f"\b\nExample:\n  keystead emulator azure revoke {VAULT}\n")
@click.argument("vault")
@_client_id
@emulator_options
def revoke(vault: str, client_id: str, address: str | None, ca_file: Path | None) -> None:
    """Take all that the application may do in a vault away."""
    running(address, ca_file).ask("revoke", {"vault_url": vault_of(vault)[0], "client_id": client_id})


@click.command("set-network", epilog=f"\b\nExample:\n  keystead emulator azure set-network {VAULT} firewall\n")
@click.argument("vault")
@click.argument("network", type=click.Choice(["open", "firewall", "private"]))
@emulator_options
def set_network(vault: str, network: str, address: str | None, ca_file: Path | None) -> None:
    """Say from where a vault can be reached: from anywhere, not from here, or by private link only."""
    running(address, ca_file).ask("set-network", {"vault_url": vault_of(vault)[0], "network": network})


def _acts_on_vault(name: str, what: str) -> click.Command:
    @click.command(name, help=what, epilog=f"\b\nExample:\n  keystead emulator azure {name} {VAULT}\n")
    @click.argument("vault")
    @emulator_options
    def act(vault: str, address: str | None, ca_file: Path | None) -> None:
        running(address, ca_file).ask(name, {"vault_url": vault_of(vault)[0]})

    return act


@click.command(
    epilog="""\b
Examples:
  keystead emulator azure fault --operation unwrapkey --status 429 --times 3
  keystead emulator azure fault --operation token --aadsts 90033
  keystead emulator azure fault --hang
"""
)
@click.option("--operation", default="*", show_default=True, help="Such as get, wrapkey, unwrapkey, token; * is any.")
@click.option("--key", help="Only calls that name this key.")
@click.option("--status", type=click.IntRange(100, 599), help="Refuse with this HTTP status.")
@click.option("--code", help="Refuse with this error code.")
@click.option("--inner", help="Refuse with this inner code.")
@click.option("--aadsts", type=click.IntRange(1), help="Refuse a token with this number of Entra's.")
@click.option("--challenge", is_flag=True, help="Refuse the token, with a challenge.")
@click.option("--times", type=click.IntRange(1), help="How often [until cleared].")
@click.option("--after", type=click.IntRange(0), help="Matching calls that pass first.")
@click.option("--latency", type=click.FloatRange(0, 600), help="Seconds before the answer.")
@click.option("--hang", is_flag=True, help="Do not answer.")
@click.option("--dropped", is_flag=True, help="End the connection instead of answering.")
@click.option("--reset", is_flag=True, help="Break the connection instead of answering.")
@click.option("--lost", is_flag=True, help="Act, then break the connection.")
@click.option("--drip", type=click.FloatRange(0, 60), help="Act, then answer byte by byte, so many seconds apart.")
@click.option("--redirect", help="Answer with a redirect to this address.")
@click.option("--body", help="Answer with this text, as a proxy would.")
@click.option("--corrupt", type=click.Choice([*filter(None, CORRUPTIONS)]), help="Act, then damage the answer.")
@emulator_options
def fault(address: str | None, ca_file: Path | None, **given: Any) -> None:
    """Order a fault; several may be in force."""
    wanted = {name: value for name, value in given.items() if value not in (None, False)}
    if not {*wanted} - {"operation", "key", "times", "after"}:
        raise usage_error("nothing is to go wrong", "--status 429, --hang, --reset, --aadsts and the like say what")
    running(address, ca_file).ask("fault", wanted)


@click.command("clear-faults", epilog="\b\nExample:\n  keystead emulator azure clear-faults\n")
@emulator_options
def clear_faults(address: str | None, ca_file: Path | None) -> None:
    """End all faults, and let go what hangs."""
    running(address, ca_file).ask("clear-faults", {})


ACCESS: tuple[click.Command, ...] = (
    _acts_on_tenant("consent", "Let the application into the Entra tenant ENTRA_TENANT; it is made if need be."),
    _acts_on_tenant("withdraw-consent", "Remove the application from the Entra tenant ENTRA_TENANT."),
    _acts_on_tenant("disable-application", "Disable the application in the Entra tenant ENTRA_TENANT."),
    _acts_on_tenant("enable-application", "Enable the application in the Entra tenant ENTRA_TENANT again."),
    _acts_on_tenant(
        "block-access",
        "Have conditional access of the Entra tenant ENTRA_TENANT block the application.",
        {"blocked": True},
        "set-conditional-access",
    ),
    _acts_on_tenant(
        "unblock-access",
        "Have conditional access of the Entra tenant ENTRA_TENANT let the application in again.",
        {"blocked": False},
        "set-conditional-access",
    ),
    _acts_on_vault("delete-vault", "Delete the vault VAULT: its name leads nowhere, its role assignments are lost."),
    _acts_on_vault("recover-vault", "Recover the deleted vault VAULT, without its role assignments."),
    grant,
    revoke,
    set_network,
    fault,
    clear_faults,
)
"""The commands, for `functions.cli.emulator_azure`."""
