"""Keys as tenants make them, and what can happen to them before they are examined."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from core.domain.kek import KeyAccess
from core.providers.azure_key_vault.checklist import PROOF_TAG
from tests.providers.azure_key_vault.stage import CLIENT_ID, DIRECTORY, EXTERNAL_ID, Stage

Arrange = Callable[[Stage], KeyAccess]
DAY = 86_400
WRAPS = ("wrapKey", "unwrapKey")
ROTATES = {"lifetimeActions": [{"trigger": {"timeAfterCreate": "P90D"}, "action": {"type": "Rotate"}}]}


def fit(*, actions: Any = ("read", "wrap", "unwrap"), scope: Any = "kek", **more: Any) -> Arrange:
    """A key as the setup kit makes it, in a vault of its own, with a role on the key only.

    Args:
        actions: What the role allows.
        scope: The key it is for; "" for the whole vault.
        more: Of the vault, where vaults have it; else of the key.
    """
    of_vault = {name: more.pop(name) for name in [*more] if name in VAULT_OPTIONS}

    def arrange(stage: Stage) -> KeyAccess:
        vault = stage.new_vault(**of_vault)
        stage.emulator.revoke(vault, CLIENT_ID)
        given = {"size": 2048, "key_ops": WRAPS, "tags": {PROOF_TAG: EXTERNAL_ID}, **more}
        kek = stage.key(vault=vault, **given)
        stage.emulator.grant(vault, CLIENT_ID, scope, actions)
        return stage.access(kek)

    return arrange


VAULT_OPTIONS = frozenset({"directory", "hsm", "purge_protection", "soft_delete_days", "access", "cloud"})


def then(act: Callable[[Stage, str], object], access: Arrange | None = None) -> Arrange:
    """The same, after something was done about the key."""

    def arrange(stage: Stage) -> KeyAccess:
        found = (access or fit())(stage)
        act(stage, found.kek.locator)
        return found

    return arrange


def faulty(operation: str, access: Arrange | None = None, **fault: Any) -> Arrange:
    return then(lambda stage, _: stage.fault(operation, **fault), access)


def named(access: Arrange | None = None, **changes: Any) -> Arrange:
    """The same key, named or reached otherwise."""
    return lambda stage: replace((access or fit())(stage), **changes)


def at(seconds: int, name: str) -> Arrange:
    """A key with a date so many seconds from now."""
    return lambda stage: fit(**{name: int(stage.clock.wall()) + seconds})(stage)


def rotating(access: Arrange) -> Arrange:
    def act(stage: Stage, key: str) -> None:
        host, _, name = key.removeprefix("https://").partition("/keys/")
        stage.emulator.vaults.by_host[host].keys[name].rotation_policy = ROTATES

    return then(act, access)


def without_certificate(stage: Stage) -> KeyAccess:
    access = fit()(stage)
    stage.kms = stage.connector(
        replace(stage.settings, client_secret="", certificate_file="/nowhere/there-is-none.pem")
    )
    return access


def missing_as_of_late(stage: Stage) -> KeyAccess:
    """Entra's other way to say that there is no service principal."""
    stage.fault("token", aadsts=7000229, tenant=DIRECTORY)
    return fit()(stage)
