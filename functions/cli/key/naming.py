"""How a key is named on the command line: by the options of one cloud, from which the cloud follows."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

import click

from core.domain.kek import Kek, ProviderName
from core.domain.vaults import VaultKey
from functions.cli.options import usage_error

if TYPE_CHECKING:
    from core.client.key_values import KeyStatus

F = TypeVar("F", bound=Callable[..., Any])
HINT = "AWS KMS: --arn, --role; Azure Key Vault: --vault-url, --key-name, --entra-tenant"
_OPTIONS: Mapping[ProviderName, Mapping[str, str]] = {
    "aws_kms": {"key_arn": "--arn", "role_arn": "--role"},
    "azure_key_vault": {"vault_url": "--vault-url", "key_name": "--key-name", "entra_tenant": "--entra-tenant"},
}
_ACCESS: Mapping[ProviderName, str] = {"aws_kms": "role_arn", "azure_key_vault": "entra_tenant"}
"""How a key is reached: the option that may be left out where it is known already."""


@dataclass(frozen=True, slots=True)
class Named:
    """A key as the options name it, and what is asked for beside.

    Attributes:
        provider: Its cloud.
        locator: As the key's status shows it.
        asked: What the call takes; None stands for what was not said.
    """

    provider: ProviderName
    locator: str
    asked: Mapping[str, Any]

    def completed(self, found: KeyStatus | None) -> dict[str, Any]:
        """What the call takes, with what was not said taken over from the same key's configuration, if it has one.

        Args:
            found: The tenant's key as it is; None if that is not to be looked at.

        Raises:
            click.UsageError: The Entra tenant is not known.
        """
        known: Any = None
        if found is not None and found.pending is not None and found.pending.kek == self.locator:
            known = found.pending
        elif found is not None and found.kek == self.locator:
            known = found
        left_out = {"nickname": "", _ACCESS[self.provider]: "", "reversible": False}
        kept = {name: getattr(known, name, default) for name, default in left_out.items() if self.asked[name] is None}
        asked = {"provider": self.provider, **self.asked, **kept}
        if self.provider == "azure_key_vault" and not asked["entra_tenant"]:
            raise usage_error(
                "--entra-tenant is missing: the id of the Entra tenant that the vault belongs to",
                "az account show --query tenantId",
            )
        return asked


def key_options(*, first: bool) -> Callable[[F], F]:
    """Add what names a key, as arguments that `named` puts together.

    Args:
        first: Whether what is fixed with a tenant's first key may be said; else the options are known but not shown.
    """
    options = (
        click.option(
            "--reversible/--one-way",
            default=None,
            hidden=not first,
            help="Keep the way back to the platform's key; first key only.",
        ),
        click.option(
            "--activate",
            "activation_date",
            default="",
            metavar="DATE",
            hidden=not first,
            help="Not before; 2027-01-31, UTC.",
        ),
        click.option("--nickname", default=None, help="Name of the key for people; '' takes it away."),
        click.option("--entra-tenant", metavar="ID", help="Azure: id of the Entra tenant that the vault belongs to."),
        click.option("--key-name", metavar="NAME", help="Azure: the key in that vault, or its whole identifier."),
        click.option("--vault-url", metavar="URL", help="Azure: the vault, or the Managed HSM."),
        click.option("--role", "role_arn", metavar="ARN", help="AWS: role through which the key is reached."),
        click.option("--arn", "key_arn", metavar="ARN", help="AWS: the KMS key; never an alias."),
    )

    def add(command: F) -> F:
        for option in options:
            command = option(command)
        return command

    return add


def says_nothing(target: Mapping[str, Any]) -> bool:
    """Whether options name no key at all.

    Args:
        target: Arguments of `key_options`.
    """
    return all(target[name] is None for names in _OPTIONS.values() for name in names)


def configured(found: KeyStatus) -> dict[str, Any]:
    """The options that name the tenant's key as it is, or the scheduled one.

    Raises:
        click.UsageError: It is the platform's.
    """
    if found.pending is None and found.platform_key:
        raise usage_error("no key is named, and the tenant has none of its own", HINT)
    key = found if found.pending is None else found.pending
    names: dict[str, Any] = dict.fromkeys((name for names in _OPTIONS.values() for name in names), None)
    if Kek(key.kek).versioned:
        return {**names, "key_name": key.kek, "entra_tenant": key.entra_tenant}
    return {**names, "key_arn": key.kek, "role_arn": key.role_arn or None}


def named(target: Mapping[str, Any]) -> Named:
    """Put the options together.

    Args:
        target: Arguments of `key_options`.

    Raises:
        click.UsageError: They name no key, or are of two clouds.
        InvalidRequest: They name a key in Azure that cannot be.
    """
    clouds = [cloud for cloud, names in _OPTIONS.items() if any(target[name] is not None for name in names)]
    if not clouds:
        raise usage_error("no key is named: --arn, or --vault-url and --key-name", HINT)
    if len(clouds) > 1:
        first, second = (
            next(option for name, option in _OPTIONS[cloud].items() if target[name] is not None) for cloud in clouds
        )
        raise usage_error(f"{first} and {second} are of two clouds, and a key lies in one", HINT)
    (provider,) = clouds
    foreign = {name for cloud, names in _OPTIONS.items() if cloud != provider for name in names}
    asked = {name: value for name, value in target.items() if name not in foreign}
    if provider == "aws_kms":
        if not asked["key_arn"]:
            raise usage_error("--arn is missing: the KMS key", HINT)
        return Named(provider, asked["key_arn"], asked)
    if not asked["key_name"]:
        raise usage_error("--key-name is missing: the key in that vault", HINT)
    key = VaultKey.of(asked["vault_url"] or "", asked["key_name"])
    return Named(provider, str(key.key), {**asked, "vault_url": asked["vault_url"] or key.vault_url})
