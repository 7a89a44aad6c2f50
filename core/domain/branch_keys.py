"""Branch key rows: hv-1 records of the AWS hierarchical keyring, and our MAC over each.

A row's attributes go to the KMS as encryption context exactly as they are stored, so they are frozen once written
(AWS Encryption SDK specification, ``framework/branch-key-store.md``). One plain attribute, ``tenant_id``, is ours.
"""

from __future__ import annotations

import hmac
from dataclasses import dataclass, field
from hashlib import sha256
from struct import pack

from core.domain.context import TENANT_KEY
from core.domain.kek import Kek

ACTIVE = "branch:ACTIVE"
VERSION_PREFIX = "branch:version:"
HIERARCHY_VERSION = "1"
UUID_BYTES = 16
CREATE_TIME_FORMAT = "%Y-%m-%dT%H:%M:%S.%fZ"
_MAC_LABEL = b"keystead branch key row v1"


@dataclass(frozen=True, slots=True)
class BranchKeyRow:
    """One stored wrapping of one branch key version.

    Attributes:
        branch_key_id: Random UUID as text.
        type: ``branch:ACTIVE`` or ``branch:version:<uuid>``.
        version: ``branch:version:<uuid>`` in the ACTIVE row, else None.
        kek: The KEK that wraps it; stored as ``kms-arn``.
        create_time: UTC, microseconds, ``CREATE_TIME_FORMAT``.
        tenant_id: The tenant that owns it.
        enc: The wrapped branch key.
    """

    branch_key_id: str
    type: str
    version: str | None
    kek: Kek
    create_time: str
    tenant_id: str
    enc: bytes = field(repr=False)

    @property
    def version_id(self) -> str:
        """The version's UUID as text, whichever row this is."""
        return (self.version or self.type).removeprefix(VERSION_PREFIX)

    def attributes(self) -> dict[str, str]:
        """Every attribute but ``enc``, as hv-1 names and strings."""
        out = {
            "branch-key-id": self.branch_key_id,
            "type": self.type,
            "create-time": self.create_time,
            "hierarchy-version": HIERARCHY_VERSION,
            "kms-arn": self.kek.locator,
            TENANT_KEY: self.tenant_id,
        }
        if self.version is not None:
            out["version"] = self.version
        return out

    def kms_context(self, table_name: str) -> dict[str, str]:
        """The encryption context this row is wrapped under.

        Args:
            table_name: The logical key store name; chosen once per deployment, never stored in the row.
        """
        return {**self.attributes(), "tablename": table_name}


@dataclass(frozen=True, slots=True)
class RowMac:
    """Authenticates a row and its place in time; kept in an item of its own beside the row.

    Attributes:
        revision: The tenant's configuration revision when the row was written.
        sequence: Counts the ACTIVE versions of a branch key from 1; the number of the row's version.
        tag: 32 bytes, HMAC-SHA256.
    """

    revision: int
    sequence: int
    tag: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class StoredRow:
    """A row and its MAC, as read together. ``mac`` is None where the item is missing."""

    row: BranchKeyRow
    mac: RowMac | None


def row_mac(mac_key: bytes, table_name: str, row: BranchKeyRow, revision: int, sequence: int) -> RowMac:
    """Authenticate a row.

    Args:
        mac_key: 32 bytes, wrapped by the platform KEK at rest.
        table_name: The logical key store name.
        row: The row.
        revision: The tenant's configuration revision.
        sequence: The version's number, from 1.
    """
    mac = hmac.new(mac_key, _MAC_LABEL, sha256)
    mac.update(pack(">QQ", revision, sequence))
    for part in (
        table_name,
        row.branch_key_id,
        row.type,
        row.version or "",
        row.kek.locator,
        row.create_time,
        row.tenant_id,
    ):
        encoded = part.encode()
        mac.update(pack(">I", len(encoded)) + encoded)
    mac.update(pack(">I", len(row.enc)) + row.enc)
    return RowMac(revision, sequence, mac.digest())


def is_version_id(text: str) -> bool:
    """Whether a text is a UUID in its one canonical form."""
    try:
        return version_text(version_bytes(text)) == text
    except ValueError:
        return False


def version_bytes(version_id: str) -> bytes:
    """The 16 bytes of a version's UUID.

    Raises:
        ValueError: The text is not that of a UUID.
    """
    # Not by the module uuid: it finds out about the platform when it is loaded, and a cold function waits for that.
    found = bytes.fromhex(version_id.replace("-", ""))
    if len(found) != UUID_BYTES:
        raise ValueError("a UUID has 16 bytes")
    return found


def version_text(version: bytes) -> str:
    """The text of a version's UUID of 16 bytes, in its one canonical form."""
    text = version.hex()
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"
