"""A KMS key: its states, its backing keys, and what they do to bytes."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from functions.emulators.aws_errors import AwsError
from functions.emulators.kms_specs import ENCRYPT, SYMMETRIC, algorithms, new_material
from functions.emulators.policies import Policy

DAY = 86400.0
MAGIC = b"\x01KSE"
TAG_BYTES = 16
_HEADER = len(MAGIC) + TAG_BYTES + 4
_IV = 12
_STATE_TEXTS: Mapping[str, str] = {
    "PendingDeletion": "pending deletion",
    "PendingImport": "pending import",
    "PendingReplicaDeletion": "pending replica deletion",
}


@dataclass(frozen=True, slots=True)
class Grant:
    """A grant on a key."""

    grant_id: str
    token: str
    grantee: str
    operations: tuple[str, ...]
    name: str
    created: float
    context_equals: Mapping[str, str] | None = None
    context_subset: Mapping[str, str] | None = None

    def allows(self, principals: frozenset[str], operation: str, context: Mapping[str, str] | None) -> bool:
        """Whether it lets one of these principals do an operation with a context (None: it takes none)."""
        if self.grantee not in principals or operation not in self.operations:
            return False
        if context is None:
            return True
        if self.context_equals is not None and dict(self.context_equals) != dict(context):
            return False
        return self.context_subset is None or self.context_subset.items() <= context.items()


@dataclass(slots=True)
class Key:
    """A key of one account in one Region. Instants are seconds since the epoch."""

    arn: str
    policy: Policy
    created: float
    spec: str = SYMMETRIC
    usage: str = ENCRYPT
    origin: str = "AWS_KMS"
    custom_key_store_id: str | None = None
    multi_region: bool = False
    manager: str = "CUSTOMER"
    description: str = ""
    rotation: bool = False
    rotation_days: int = 365
    enabled: bool = True
    forced_state: str | None = None
    deletion_date: float | None = None
    deletion_days: int = 0
    valid_to: float | None = None
    backing: list[bytes] = field(default_factory=list, repr=False)
    grants: dict[str, Grant] = field(default_factory=dict)
    tag: bytes = field(init=False, repr=False)

    def __post_init__(self) -> None:
        # What its ciphertexts name it by.
        self.tag = hashlib.sha256(self.arn.encode()).digest()[:TAG_BYTES]
        self.backing = self.backing or [new_material(self.spec)]

    @property
    def account(self) -> str:
        """The owner."""
        return self.arn.split(":")[4]

    @property
    def region(self) -> str:
        """Where it lives."""
        return self.arn.split(":")[3]

    @property
    def key_id(self) -> str:
        """The last part of its ARN."""
        return self.arn.rpartition("/")[2]

    @property
    def material_id(self) -> str:
        """Names the newest backing key."""
        return hashlib.sha256(f"{self.arn}#{len(self.backing)}".encode()).hexdigest()

    def state(self, now: float) -> str:
        """The state, by what was done to it and by the clock."""
        if self.deletion_date is not None:
            return "PendingDeletion"
        if self.forced_state is not None:
            return self.forced_state
        if self.valid_to is not None and self.valid_to <= now:
            return "PendingImport"
        return "Enabled" if self.enabled else "Disabled"

    def gone(self, now: float) -> bool:
        """Whether its waiting period is over."""
        return self.deletion_date is not None and self.deletion_date <= now

    def require_enabled(self, now: float, pending_deletion_code: str) -> None:
        """Refuse the use of a key in any other state.

        Raises:
            AwsError: ``DisabledException`` or ``KMSInvalidStateException``.
        """
        state = self.state(now)
        if state == "Disabled":
            raise AwsError("DisabledException", f"{self.arn} is disabled.")
        if state == "PendingDeletion":
            raise AwsError(pending_deletion_code, f"{self.arn} is pending deletion.")
        if state != "Enabled":
            raise wrong_state(self.arn, state)

    def require_symmetric(self) -> None:
        """Refuse cryptography that this type of key does not do.

        Raises:
            AwsError: ``InvalidKeyUsageException``.
        """
        if self.spec != SYMMETRIC or self.usage != ENCRYPT:
            raise AwsError("InvalidKeyUsageException", f"{self.arn} is {self.spec} for {self.usage}.")

    def encrypt(self, plaintext: bytes, context: Mapping[str, str]) -> bytes:
        """Encrypt under the newest backing key, bound to a context."""
        header = MAGIC + self.tag + (len(self.backing) - 1).to_bytes(4, "big")
        iv = os.urandom(_IV)
        return header + iv + AESGCM(self.backing[-1]).encrypt(iv, plaintext, header + _canonical(context))

    def decrypt(self, blob: bytes, context: Mapping[str, str]) -> bytes:
        """Decrypt what any backing key made.

        Raises:
            AwsError: ``InvalidCiphertextException``: bytes and context do not belong together.
        """
        version, header, iv = int.from_bytes(blob[_HEADER - 4 : _HEADER], "big"), blob[:_HEADER], blob[_HEADER:]
        if len(iv) < _IV + 16 or version >= len(self.backing):
            raise bad_ciphertext()
        try:
            return AESGCM(self.backing[version]).decrypt(iv[:_IV], iv[_IV:], header + _canonical(context))
        except InvalidTag:
            raise bad_ciphertext() from None

    def metadata(self, now: float) -> dict[str, Any]:
        """KeyMetadata, with the fields that the real service leaves out left out."""
        state = self.state(now)
        found: dict[str, Any] = {
            "AWSAccountId": self.account,
            "KeyId": self.key_id,
            "Arn": self.arn,
            "CreationDate": instant(self.created),
            "Enabled": state == "Enabled",
            "Description": self.description,
            "KeyUsage": self.usage,
            "KeyState": state,
            "Origin": self.origin,
            "KeyManager": self.manager,
            "CustomerMasterKeySpec": self.spec,
            "KeySpec": self.spec,
            "MultiRegion": self.multi_region,
            **algorithms(self.spec, self.usage),
        }
        if self.deletion_date is not None:
            found["DeletionDate"] = instant(self.deletion_date)
        if self.valid_to is not None and state != "PendingImport":
            found["ValidTo"] = instant(self.valid_to)
        if self.origin == "EXTERNAL" and state != "PendingImport":
            found["ExpirationModel"] = (
                "KEY_MATERIAL_DOES_NOT_EXPIRE" if self.valid_to is None else "KEY_MATERIAL_EXPIRES"
            )
        if self.custom_key_store_id is not None:
            found["CustomKeyStoreId"] = self.custom_key_store_id
        if self.multi_region:
            primary = {"Arn": self.arn, "Region": self.region}
            found["MultiRegionConfiguration"] = {
                "MultiRegionKeyType": "PRIMARY",
                "PrimaryKey": primary,
                "ReplicaKeys": [],
            }
        if self.spec == SYMMETRIC and self.custom_key_store_id is None:
            found["CurrentKeyMaterialId"] = self.material_id
        return found


def tag_of(blob: bytes) -> bytes:
    """The tag of the key that a ciphertext names.

    Raises:
        AwsError: ``InvalidCiphertextException``: it is none of ours.
    """
    if len(blob) < _HEADER + _IV + 16 or blob[: len(MAGIC)] != MAGIC:
        raise bad_ciphertext()
    return blob[len(MAGIC) : len(MAGIC) + TAG_BYTES]


def bad_ciphertext() -> AwsError:
    """The refusal of a ciphertext; like the real service's, it has no text."""
    return AwsError("InvalidCiphertextException")


def wrong_state(arn: str, state: str) -> AwsError:
    """The refusal of an operation that a state does not allow."""
    return AwsError("KMSInvalidStateException", f"{arn} is {_STATE_TEXTS.get(state, state.lower())}.")


def instant(seconds: float) -> datetime:
    """Seconds since the epoch as the SDK gives them."""
    return datetime.fromtimestamp(seconds, UTC)


def _canonical(context: Mapping[str, str]) -> bytes:
    texts = [text.encode() for pair in sorted(context.items()) for text in pair]
    return b"".join(len(text).to_bytes(4, "big") + text for text in texts)
