"""The Protocols that leaves implement. Each has one conformance suite in tests/conformance, run against every leaf.

Anything but the listed exceptions escaping from a leaf is a bug in the leaf. Two need no listing. Any method of a
store raises `StoreCorrupt` where it meets stored data that no store wrote. Any method raises `InternalError`, before it
changes anything, for arguments that break its contract: a key that is not 32 bytes, a row without a MAC, a body that is
not JSON, an id that is not valid Unicode.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from core.domain.audit import AuditEntry, AuditHead
    from core.domain.branch_keys import StoredRow
    from core.domain.checks import Report
    from core.domain.kek import Kek, KekDescription, KeyAccess, UnwrappedKey, WrappedKey


class Clock(Protocol):
    """Reads the wall clock and the boot clock. Two methods, because every operation reads both twice."""

    def wall(self) -> float:
        """Seconds since the epoch."""
        ...

    def boot(self) -> float:
        """Seconds since boot, suspension included."""
        ...


class KeyProvider(Protocol):
    """Wraps and unwraps 32-byte keys under KEKs that live in a KMS. It neither creates nor deletes KEKs."""

    def wrap(self, kek: Kek, key: bytes, context: Mapping[str, str]) -> WrappedKey:
        """Wrap a key.

        Args:
            kek: The KEK to use; where there are versions, the version.
            key: 32 bytes.
            context: Bound to the result; the same pairs are needed to unwrap.

        Returns:
            The wrapped key, naming the KEK (and its version where there are versions).

        Raises:
            Denial: The KMS answered no.
            Silence: The KMS did not answer (`OwnFault`: and the trouble is ours).
        """
        ...

    def unwrap(self, wrapped: WrappedKey, context: Mapping[str, str]) -> UnwrappedKey:
        """Unwrap a key.

        Raises:
            WrapMismatch: Bytes, KEK and context do not belong together.
            Denial: The KMS answered no.
            Silence: The KMS did not answer.
        """
        ...

    def describe(self, kek: Kek) -> KekDescription:
        """Tell what can be known of a KEK without using it.

        Args:
            kek: The KEK; where there are versions, one of them, or the key itself to learn of its newest.

        Raises:
            Denial: There is no such KEK, or we may not ask.
            Silence: The KMS did not answer.
        """
        ...


class KeyConnector(Protocol):
    """Reaches the KEKs that tenants hold in one cloud, each through the tenant's own access and no other's."""

    def connect(self, access: KeyAccess) -> KeyProvider:
        """A provider for one tenant's KEK. Does no I/O.

        Args:
            access: Whose key, and how it is reached.

        Returns:
            A provider that serves this KEK only: any other gives InternalError before anything is sent.

        Raises:
            InvalidRequest: The access does not name a key of this cloud.
        """
        ...

    def examine(self, access: KeyAccess, context: Mapping[str, str]) -> Report:
        """Find out whether a key can be put to use, by using it; changes nothing.

        Args:
            access: Whose key, and how it is reached.
            context: What a row of this tenant would be wrapped under; contains ``tenant_id``.

        Returns:
            Every check of this cloud by name, in the same order whatever was found; denials and silences are
            observations, never exceptions.

        Raises:
            InvalidRequest: The access does not name a key of this cloud.
        """
        ...

    def setup_kit(self, tenant_id: str, external_id: str, entra_tenant: str = "") -> Mapping[str, Any]:
        """What a tenant does in its own cloud to let this service use a key: policies and commands, filled in.

        Args:
            tenant_id: The tenant that the policies are bound to.
            external_id: As in `KeyAccess`.
            entra_tenant: Azure: the tenant's Entra tenant, if it is known already.

        Returns:
            ``identity`` (whom the policies name), ``documents`` (name -> JSON document) and ``steps`` (each ``title``,
            ``text``, ``commands``).

        Raises:
            Silence: Our own identity cannot be told now.
        """
        ...


class KeyStore(Protocol):
    """Branch key rows, their MACs and the fence of each branch key. Reads are strongly consistent.

    Version rows are append-only; only a row's wrapping may be replaced, by compare-and-set on the old ``enc``. Every
    write is one transaction, conditional on the fence.
    """

    def read(self, branch_key_id: str, row_type: str) -> StoredRow | None:
        """One row with its MAC, or None.

        Args:
            branch_key_id: The branch key.
            row_type: ``branch:ACTIVE`` or ``branch:version:<uuid>``.

        Raises:
            StoreUnavailable: The store did not answer.
            StoreCorrupt: The item does not have the form of a row.
        """
        ...

    def list_versions(self, branch_key_id: str) -> Sequence[StoredRow]:
        """All version rows (not ACTIVE), ordered by MAC sequence, then type.

        Raises:
            StoreUnavailable, StoreCorrupt: As in `read`.
        """
        ...

    def read_fence(self, branch_key_id: str) -> int | None:
        """The configuration revision row writes must name, or None where no branch key was created.

        Raises:
            StoreUnavailable: The store did not answer.
        """
        ...

    def create(self, version: StoredRow, active: StoredRow, fence: int) -> None:
        """Write the first version of a branch key, its ACTIVE row and its fence, all or nothing.

        Raises:
            Conflict: The branch key exists.
            StoreUnavailable: The store did not answer; it may have written.
        """
        ...

    def rotate(self, version: StoredRow, active: StoredRow, *, expected_active_enc: bytes, fence: int) -> None:
        """Add a version row and put the ACTIVE row in the old one's place, all or nothing.

        Raises:
            Conflict: The fence differs, the ACTIVE row's ``enc`` is not the expected one, or the version exists.
            StoreUnavailable: The store did not answer; it may have written.
        """
        ...

    def replace_wrapping(self, row: StoredRow, *, expected_enc: bytes, fence: int) -> None:
        """Put another wrapping of the same version in a row's place.

        Raises:
            Conflict: The fence differs, or the stored ``enc`` is not the expected one.
            StoreUnavailable: The store did not answer; it may have written.
        """
        ...

    def move_fence(self, branch_key_id: str, *, expected: int, new: int) -> None:
        """Raise the fence, so that row writes under an older configuration fail from now on.

        Raises:
            Conflict: The fence is not the expected one.
            StoreUnavailable: The store did not answer; it may have written.
        """
        ...


@dataclass(frozen=True, slots=True)
class Document:
    """A tenant's document as stored.

    Attributes:
        tenant_id: Partition: a tenant id or ``_system``.
        name: Name within the partition.
        revision: Counts writes from 1.
        body: JSON object.
    """

    tenant_id: str
    name: str
    revision: int
    body: Mapping[str, Any]


class TenantStore(Protocol):
    """Documents of a tenant, each with a revision. Reads are strongly consistent."""

    def read(self, tenant_id: str, name: str) -> Document | None:
        """One document, or None.

        Raises:
            StoreUnavailable: The store did not answer.
            StoreCorrupt: What is stored is not a document.
        """
        ...

    def write(self, tenant_id: str, name: str, body: Mapping[str, Any], *, expected_revision: int) -> Document:
        """Create (``expected_revision=0``) or replace a document.

        For ``core.domain.tenants.RECORD`` the store applies ``check_first`` or ``check_rewrite``.

        Returns:
            The document as stored, with its new revision.

        Raises:
            Conflict: The stored revision is not the expected one, or ``check_rewrite`` refuses.
            StoreUnavailable: The store did not answer; it may have written.
        """
        ...

    def list_tenants(self, *, after: str = "", limit: int = 100) -> Sequence[Document]:
        """Tenant records in order of tenant id, from the first id greater than ``after``.

        Raises:
            StoreUnavailable: The store did not answer.
        """
        ...


class AuditLog(Protocol):
    """Append-only chains of entries."""

    def head(self, chain: str) -> AuditHead:
        """The end of a chain; ``EMPTY_HEAD`` where there is none.

        Raises:
            StoreUnavailable: The store did not answer.
        """
        ...

    def append(self, entry: AuditEntry) -> None:
        """Append an entry whose ``sequence`` and ``previous`` continue the head, moving the head with it.

        Raises:
            Conflict: The head has moved.
            StoreUnavailable: The store did not answer; it may have written.
        """
        ...

    def read(self, chain: str, *, after: int = 0, limit: int = 100) -> Sequence[AuditEntry]:
        """Entries in order of sequence, from the first above ``after``, exactly as stored.

        Raises:
            StoreUnavailable: The store did not answer.
            StoreCorrupt: What is stored does not have the form of an entry.
        """
        ...


class Events(Protocol):
    """Tells the outside of state changes and alarms."""

    def emit(self, event_type: str, subject: str, data: Mapping[str, Any]) -> None:
        """Publish a CloudEvents 1.0 event; never raises.

        Args:
            event_type: Such as ``keystead.alarm.store_corrupt``.
            subject: Tenant id or ``_system``.
            data: Facts as JSON values; never a secret.
        """
        ...


class Signer(Protocol):
    """Signs statements that others verify without us."""

    def sign(self, payload: Mapping[str, Any]) -> str:
        """A compact JWS over the payload's JSON, with ``kid`` in its header.

        Raises:
            Denial: The signing key's KMS answered no.
            Silence: It did not answer.
        """
        ...

    def jwks(self) -> Mapping[str, Any]:
        """The public keys, retired ones included, as a JWK set."""
        ...
