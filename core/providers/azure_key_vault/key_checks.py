"""What the newest version of a key tells of its fitness to be a tenant's KEK.

Sources: Azure Key Vault, "About keys" (types, sizes); NIST SP 800-57 part 1, table 2.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from core.providers._troubles import Trouble
from core.providers.azure_key_vault.attributes import RSA_BITS, KeyAttributes
from core.providers.azure_key_vault.calls import Answer
from core.providers.azure_key_vault.checklist import OPERATIONS, Checklist
from core.providers.azure_key_vault.early_warnings import recovery_trouble, validity_trouble

FITNESS = ("enabled", "type", "size", "key_ops", "validity")
"""Checks without which a round trip makes no sense."""
RSA_TYPES = ("RSA", "RSA-HSM")
AES_TYPE = "oct-HSM"
AES_BITS = 256
RECOMMENDED_BITS = 3072
RBAC_HEADER = "x-ms-keyvault-rbac-assignment-id"
"""Sent by vaults with Azure RBAC; nothing else on the data plane tells how a vault decides."""
_CREATE = f"Create a key of type RSA or RSA-HSM with {RECOMMENDED_BITS} bits, as in the setup kit."


def check_key(checks: Checklist, found: KeyAttributes, answer: Answer) -> None:
    """Note what a key tells of itself.

    Args:
        checks: Where to note it.
        found: Of its newest version.
        answer: The same, as the vault told it.
    """
    if found.enabled:
        checks.passed("enabled", "the key's newest version is enabled")
    else:
        checks.failed(
            "enabled",
            "the key's newest version is disabled",
            "Enable it: az keyvault key set-attributes --enabled true.",
        )
    _check_type(checks, found, answer.body["key"])
    missing = [name for name in OPERATIONS if name not in found.operations]
    if missing:
        checks.failed(
            "key_ops",
            f"the key does not permit {' and '.join(missing)}",
            f"Permit both: az keyvault key set-attributes --ops {' '.join(OPERATIONS)}.",
        )
    else:
        checks.passed("key_ops", "the key permits wrapKey and unwrapKey")
    _note(checks, "validity", validity_trouble(found), "the key is valid and does not expire")
    _note(checks, "recovery", recovery_trouble(found), "a deleted key can be recovered, and not be purged before")


def check_access_model(checks: Checklist, answer: Answer, *, is_hsm: bool) -> None:
    """Note how the vault decides who may use its keys."""
    if is_hsm:
        checks.passed("access_model", "a Managed HSM has roles of its own")
    elif answer.headers.get(RBAC_HEADER):
        checks.passed("access_model", "the vault decides by roles of Azure RBAC")
    else:
        checks.warned(
            "access_model",
            "the vault does not say that it decides by roles of Azure RBAC, so it seems to have access policies",
            "Move to Azure RBAC when you can: access policies are the older way, and cover all keys of a vault. The "
            "change voids every policy, so assign the role first.",
        )


def _check_type(checks: Checklist, found: KeyAttributes, key: Mapping[str, Any]) -> None:
    if found.type in RSA_TYPES:
        checks.passed("type", f"the key's type is {found.type}")
        _check_rsa_size(checks, found.bits)
    elif found.type == AES_TYPE:
        checks.passed("type", f"the key's type is {found.type}")
        _check_aes_size(checks, key.get("key_size"))
    elif found.type in ("EC", "EC-HSM"):
        checks.failed("type", f"the key's type is {found.type}: elliptic curve keys sign and cannot wrap", _CREATE)
    else:
        checks.failed("type", "the key's type is none of RSA, RSA-HSM and oct-HSM", _CREATE)


def _check_rsa_size(checks: Checklist, bits: int) -> None:
    if bits not in RSA_BITS:
        checks.failed("size", f"the key has {bits or 'an unknown number of'} bits", _CREATE)
    elif bits < RECOMMENDED_BITS:
        # Not a warning: it is safe today, and what will end that is years away and told to everybody. Whoever has to
        # keep to it could do nothing about a warning at each examination.
        checks.passed("size", f"the key has {bits} bits, which serve; for a new key {RECOMMENDED_BITS} are recommended")
    else:
        checks.passed("size", f"the key has {bits} bits")


def _check_aes_size(checks: Checklist, told: object) -> None:
    if type(told) is int and told != AES_BITS:
        fail_aes_size(checks, f"the key has {told} bits")
    elif type(told) is int:
        checks.passed("size", f"the key has {told} bits")
    else:
        checks.passed("size", f"not told of a key of this type, and proved by a round trip that takes {AES_BITS} bits")


def fail_aes_size(checks: Checklist, observed: str) -> None:
    """Note that an AES key has another size than it must have."""
    checks.failed("size", observed, f"Create a key of type {AES_TYPE} with {AES_BITS} bits.")


def _note(checks: Checklist, name: str, trouble: Trouble | None, fine: str) -> None:
    if trouble is None:
        checks.passed(name, fine)
    else:
        note = checks.failed if trouble.fatal else checks.warned
        note(name, trouble.observed, trouble.remedy)
