"""What can be wrong with a tenant's Entra tenant, vault and key, and what its examination must say of it."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from core.domain.kek import Kek
from core.providers.azure_key_vault.checklist import NAMES, ROLES
from tests.providers.azure_key_vault.arrangements import (
    DAY,
    WRAPS,
    Arrange,
    at,
    faulty,
    fit,
    missing_as_of_late,
    named,
    rotating,
    then,
    without_certificate,
)
from tests.providers.azure_key_vault.failure_rows import entra_body
from tests.providers.azure_key_vault.stage import CLIENT_ID, DIRECTORY, HOME, OTHER_DIRECTORY


@dataclass(frozen=True)
class Case:
    """What is wrong, what does not pass then, and the check whose words must contain a piece of advice."""

    arrange: Arrange
    found: dict[str, str]
    check: str = ""
    words: str = ""


def after(name: str) -> dict[str, str]:
    return dict.fromkeys(NAMES[NAMES.index(name) + 1 :], "skip")


def stopped(name: str) -> dict[str, str]:
    """A check that fails, and everything after it, which is not tried."""
    return {name: "fail", **after(name)}


UNKNOWN = {"rotation": "warn"}
"""The narrow role does not read the rotation policy."""
NO_TOKEN = {"directory": "skip", **stopped("consent")}
UNFIT = {"round_trip": "skip", "permissions": "skip", "rotation": "skip"}
EVERYTHING = ("read", "wrap", "unwrap", "encrypt", "decrypt", "deleted", "rotationpolicy")

BLOCKED_TENANT = json.dumps(entra_body("invalid_request", 5000225)).encode()

FAULTS: dict[str, dict[str, Any]] = {
    "silent": {"reset": True},
    "throttling": {"status": 429, "code": "Throttled"},
    "in trouble": {"status": 503},
    "behind a proxy": {"body": b"<html>please log in</html>"},
    "answering nonsense": {"corrupt": "truncated"},
}

CASES: dict[str, Case] = {
    "as in the kit": Case(fit(size=3072), UNKNOWN, "rotation", "does not read the key's rotation policy"),
    "of 2048 bits": Case(fit(), UNKNOWN, "size", "3072 are recommended"),
    "in hardware": Case(fit(kty="RSA-HSM"), UNKNOWN, "type", "RSA-HSM"),
    "in a Managed HSM": Case(fit(hsm=True, kty="RSA-HSM"), UNKNOWN, "access_model", "Managed HSM"),
    "of AES": Case(fit(hsm=True, kty="oct-HSM", size=256), UNKNOWN, "size", "proved by a round trip"),
    "with access policies": Case(
        fit(access="policy", scope=""), {"access_model": "warn", **UNKNOWN}, "access_model", "Azure RBAC"
    ),
    "with a rotation policy that may be read": Case(
        rotating(fit(actions=("read", "wrap", "unwrap", "rotationpolicy"))), {}, "rotation", "makes new versions"
    ),
    "with a rotation policy that does nothing": Case(
        fit(actions=("read", "wrap", "unwrap", "rotationpolicy")), UNKNOWN, "rotation", "az keyvault key rotate"
    ),
    "in a Managed HSM, about to expire": Case(
        lambda stage: fit(hsm=True, kty="RSA-HSM", exp=int(stage.clock.wall()) + DAY)(stage),
        {"validity": "warn", **UNKNOWN},
        "validity",
        "expires on 2",
    ),
    "in a Managed HSM, expired": Case(
        lambda stage: fit(hsm=True, kty="RSA-HSM", exp=int(stage.clock.wall()) - DAY)(stage),
        {"validity": "fail", **UNFIT},
        "validity",
        "expired on 2",
    ),
    # Who we are, and where.
    "secret refused": Case(
        faulty("token", aadsts=7000215), {"identity": "fail", **NO_TOKEN, "consent": "skip"}, "identity", "operator"
    ),
    "certificate missing": Case(
        without_certificate, {"identity": "fail", **NO_TOKEN, "consent": "skip"}, "identity", "operator"
    ),
    "another cloud": Case(
        named(kek=Kek("https://kv-none.vault.azure.cn/keys/kek")), stopped("cloud"), "cloud", "in the cloud public"
    ),
    "the platform's own Entra tenant": Case(
        named(fit(directory=HOME), entra_tenant=HOME), stopped("directory"), "directory", "the platform's own"
    ),
    "another Entra tenant than the vault's": Case(
        named(entra_tenant=OTHER_DIRECTORY),
        {**stopped("directory"), "consent": "pass"},
        "directory",
        "does not belong to the Entra tenant " + OTHER_DIRECTORY,
    ),
    "not consented": Case(
        then(lambda stage, _: stage.emulator.withdraw_consent(CLIENT_ID, DIRECTORY)), NO_TOKEN, "consent", "az ad sp"
    ),
    "not consented, as told of late": Case(missing_as_of_late, NO_TOKEN, "consent", "consent link"),
    "application disabled": Case(
        then(lambda stage, _: stage.emulator.disable_application(CLIENT_ID, DIRECTORY)),
        NO_TOKEN,
        "consent",
        "Enterprise applications",
    ),
    "conditional access": Case(
        then(lambda stage, _: stage.emulator.set_conditional_access(CLIENT_ID, DIRECTORY)),
        NO_TOKEN,
        "consent",
        "conditional access",
    ),
    "no such Entra tenant": Case(
        named(entra_tenant="0" * 8 + "-0000-4000-8000-" + "0" * 12), NO_TOKEN, "consent", "no such Entra tenant"
    ),
    "refused without a reason": Case(
        faulty("token", status=400, code="access_denied"), NO_TOKEN, "consent", "gives no token: access_denied"
    ),
    "our Entra tenant blocked": Case(
        faulty("token", body=BLOCKED_TENANT, status=400, content_type="application/json"),
        NO_TOKEN,
        "consent",
        "Ask Microsoft",
    ),
    "no Key Vault there": Case(faulty("token", aadsts=500011), NO_TOKEN, "consent", "subscription belongs to"),
    "Entra silent": Case(faulty("token", reset=True), NO_TOKEN, "consent", "Try again later"),
    "Entra busy": Case(faulty("token", aadsts=90033), NO_TOKEN, "consent", "Try again later"),
    # The vault.
    "no such vault": Case(
        named(kek=Kek("https://kv-none.vault.azure.net/keys/kek")),
        {"directory": "skip", **stopped("reachable")},
        "reachable",
        "vault's name",
    ),
    **{
        f"vault {name}": Case(
            faulty("get", **fault), {"directory": "skip", **stopped("reachable")}, "reachable", "Try again later"
        )
        for name, fault in FAULTS.items()
    },
    "no external id": Case(
        named(external_id=""),
        {**dict.fromkeys(NAMES, "skip"), "proof_of_control": "fail"},
        "proof_of_control",
        "operator",
    ),
    # The key.
    "disabled": Case(fit(enabled=False), {"enabled": "fail", **UNFIT}, "enabled", "--enabled true"),
    "elliptic curve": Case(
        fit(kty="EC", size=256, key_ops=None),
        {"type": "fail", "size": "skip", "key_ops": "fail", **UNFIT},
        "type",
        "elliptic curve keys sign and cannot wrap",
    ),
    "AES of 128 bits": Case(
        fit(hsm=True, kty="oct-HSM", size=128), {"size": "fail", "round_trip": "fail", **UNKNOWN}, "size", "256 bits"
    ),
    "for signing": Case(
        fit(key_ops=("sign", "verify")), {"key_ops": "fail", **UNFIT}, "key_ops", "wrapKey and unwrapKey"
    ),
    "for wrapping only": Case(fit(key_ops=WRAPS[:1]), {"key_ops": "fail", **UNFIT}, "key_ops", "permit unwrapKey"),
    "for unwrapping only": Case(fit(key_ops=WRAPS[1:]), {"key_ops": "fail", **UNFIT}, "key_ops", "permit wrapKey"),
    "not valid yet": Case(at(DAY, "nbf"), {"validity": "fail", **UNFIT}, "validity", "not valid before 2"),
    "valid since yesterday": Case(at(-DAY, "nbf"), UNKNOWN),
    "expired": Case(at(-DAY, "exp"), {"validity": "fail", **UNFIT}, "validity", "expired on 2"),
    "about to expire": Case(at(DAY, "exp"), {"validity": "warn", **UNKNOWN}, "validity", "expires on 2"),
    "without purge protection": Case(
        fit(purge_protection=False), {"recovery": "warn", **UNKNOWN}, "recovery", "--enable-purge-protection"
    ),
    "without soft delete": Case(
        fit(soft_delete_days=0), {"recovery": "fail", **UNKNOWN}, "recovery", "soft delete is off"
    ),
    "kept for a week": Case(fit(soft_delete_days=7), {"recovery": "warn", **UNKNOWN}, "recovery", "for 7 days only"),
    "kept for a week, or purged": Case(
        fit(soft_delete_days=7, purge_protection=False),
        {"recovery": "warn", **UNKNOWN},
        "recovery",
        "for 7 days only, but also purged",
    ),
    # What the role allows.
    "reading only": Case(fit(actions=("read",)), {"round_trip": "fail", **UNKNOWN}, "round_trip", ROLES["vault"].name),
    "reading only in a Managed HSM": Case(
        fit(actions=("read",), hsm=True, kty="RSA-HSM"),
        {"round_trip": "fail", **UNKNOWN},
        "round_trip",
        ROLES["hsm"].id,
    ),
    "not unwrapping": Case(
        fit(actions=("read", "wrap")), {"round_trip": "fail", **UNKNOWN}, "round_trip", "refused unwrapkey"
    ),
    "firewall meanwhile": Case(
        faulty("unwrapkey", status=403, inner="ForbiddenByFirewall"),
        {"round_trip": "fail", **UNKNOWN},
        "round_trip",
        "through the vault's firewall",
    ),
    "deleted meanwhile": Case(
        faulty("wrapkey", status=404, code="KeyNotFound"), {"round_trip": "fail", **UNKNOWN}, "round_trip", "Recover"
    ),
    "disabled meanwhile": Case(
        faulty("unwrapkey", status=403, inner="KeyDisabled"), {"round_trip": "fail", **UNKNOWN}, "round_trip", "Enable"
    ),
    "silent when unwrapping": Case(
        faulty("unwrapkey", reset=True), {"round_trip": "fail", **UNKNOWN}, "round_trip", "Try again later"
    ),
    "unwrapping something else": Case(
        faulty("unwrapkey", corrupt="value"), {"round_trip": "fail", **UNKNOWN}, "round_trip", "do not belong together"
    ),
    "a role for the whole vault": Case(
        fit(scope=""), {"permissions": "warn", **UNKNOWN}, "permissions", "list the vault's other keys"
    ),
    "a broad role": Case(
        rotating(fit(actions=EVERYTHING, scope="", key_ops=None)),
        {"permissions": "warn"},
        "permissions",
        "encrypt with the key, list deleted keys, list the vault's other keys",
    ),
    "a broad role for AES": Case(
        fit(hsm=True, kty="oct-HSM", size=256, actions=(*EVERYTHING[:4], "deleted"), scope="", key_ops=None),
        {"permissions": "warn", **UNKNOWN},
        "permissions",
        "encrypt with the key, list deleted keys, list the vault's other keys Assign the role " + ROLES["hsm"].name,
    ),
    "a broad role of no effect": Case(fit(actions=EVERYTHING[:5]), UNKNOWN, "permissions", "refused, as it should be"),
    "a broad access policy": Case(
        fit(access="policy", scope="", actions=EVERYTHING[:6]),
        {"access_model": "warn", "permissions": "warn", **UNKNOWN},
        "permissions",
        "Leave get, wrapKey and unwrapKey",
    ),
    "permissions that cannot be told": Case(
        faulty("list-deleted", status=503), {"permissions": "warn", **UNKNOWN}, "permissions", "could not be told"
    ),
    "permissions behind a firewall": Case(
        faulty("list-deleted", status=403, inner="ForbiddenByFirewall"),
        {"permissions": "warn", **UNKNOWN},
        "permissions",
        "could not be told",
    ),
    "rotation that cannot be told": Case(
        faulty("rotationpolicy", reset=True), UNKNOWN, "rotation", "no answer of the service's own"
    ),
}
