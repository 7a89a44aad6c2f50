"""Makes branch key versions: fresh key, wrapped, unwrapped and compared, then stored in one conditional transaction."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from hmac import compare_digest
from uuid import uuid4

from core.domain.branch_keys import ACTIVE, CREATE_TIME_FORMAT, VERSION_PREFIX, BranchKeyRow, StoredRow
from core.domain.kek import KEY_BYTES, Kek, WrappedKey
from core.domain.tenants import TenantRecord
from core.domain.timing import Instant
from core.errors import Conflict, InternalError, ProviderSignal, StoreCorrupt, WrapMismatch
from core.ports import KeyStore
from core.service.providers import Providers
from core.service.row_macs import RowMacs


class BranchKeyWriter:
    """Writes versions of branch keys under a tenant's KEK.

    Args:
        store: Takes the rows.
        providers: Reach the KEK.
        macs: Authenticate the rows.
        now: Reads both clocks.
        table_name: The logical key store name, part of every wrap's context.
    """

    def __init__(
        self, store: KeyStore, providers: Providers, macs: RowMacs, now: Callable[[], Instant], table_name: str
    ) -> None:
        self._store = store
        self._providers = providers
        self._macs = macs
        self._now = now
        self._table_name = table_name

    def create(self, record: TenantRecord, kek: Kek | None = None) -> None:
        """Write a tenant's first branch key version, unless it is there.

        Args:
            record: The tenant's record, just read.
            kek: The KEK in force, or its version, to wrap under; None for its newest.

        Raises:
            KeyRevoked, KeyUnreachable, VendorFault: The KEK does not serve.
            StoreUnavailable: A store did not answer; calling again is safe.
        """
        version, active = self._new_version(record, 1, kek or self._providers.newest(record).kek)
        try:
            self._store.create(version, active, record.configuration_revision)
        except Conflict:
            return  # another process was first; one of the two keys is as good as the other

    def rotate(self, record: TenantRecord, current: StoredRow, kek: Kek) -> StoredRow:
        """Write a new ACTIVE version in the place of the current one.

        Args:
            record: The tenant's record, just read.
            current: The ACTIVE row, just read and verified.
            kek: The KEK in force, or its version, to wrap under.

        Returns:
            The new ACTIVE row.

        Raises:
            Conflict: Another rotation or a change of configuration was first.
            KeyRevoked, KeyUnreachable, VendorFault: The KEK does not serve.
            StoreUnavailable: A store did not answer; the rotation may have happened.
        """
        if current.mac is None:
            raise InternalError("an unverified row cannot be rotated")
        version, active = self._new_version(record, current.mac.sequence + 1, kek)
        self._store.rotate(version, active, expected_active_enc=current.row.enc, fence=record.configuration_revision)
        return active

    def rewrap(self, record: TenantRecord, stored: StoredRow, kek: Kek) -> None:
        """Put a version under the tenant's KEK in force, in place of the wrapping it has.

        Args:
            record: The tenant's record, just read.
            stored: The version's row, just read and verified, under another KEK of the tenant, or another version.
            kek: The KEK in force, or its version, to wrap under.

        Raises:
            Conflict: The row was rewrapped meanwhile, or the configuration changed.
            Denial, Silence: The KEK that it lies under gave no key.
            KeyRevoked, KeyUnreachable, VendorFault: The KEK in force does not serve.
            StoreCorrupt: It does not unwrap.
            StoreUnavailable: A store did not answer; it may have written.
        """
        row, mac = stored.row, stored.mac
        if mac is None:
            raise InternalError("an unverified row cannot be rewrapped")
        provider = self._providers.of(record, row.kek)
        try:
            key = provider.unwrap(WrappedKey(row.kek, row.enc), row.kms_context(self._table_name)).key
        except WrapMismatch:
            raise StoreCorrupt("a stored branch key row does not unwrap") from None
        rewrapped = self._wrap(record, replace(row, kek=kek, enc=b""), key)
        self._store.replace_wrapping(
            self._macs.stored(rewrapped, record.configuration_revision, mac.sequence),
            expected_enc=row.enc,
            fence=record.configuration_revision,
        )

    def _new_version(self, record: TenantRecord, sequence: int, kek: Kek) -> tuple[StoredRow, StoredRow]:
        version = VERSION_PREFIX + str(uuid4())
        create_time = datetime.fromtimestamp(self._now().wall, UTC).strftime(CREATE_TIME_FORMAT)
        key = os.urandom(KEY_BYTES)
        rows = []
        for row_type, names in ((version, None), (ACTIVE, version)):
            unwrapped = BranchKeyRow(
                branch_key_id=record.branch_key_id,
                type=row_type,
                version=names,
                kek=kek,
                create_time=create_time,
                tenant_id=record.tenant_id,
                enc=b"",
            )
            row = self._wrap(record, unwrapped, key)
            rows.append(self._macs.stored(row, record.configuration_revision, sequence))
        return rows[0], rows[1]

    def _wrap(self, record: TenantRecord, row: BranchKeyRow, key: bytes) -> BranchKeyRow:
        provider, context = self._providers.of(record, row.kek), row.kms_context(self._table_name)
        try:
            wrapped = provider.wrap(row.kek, key, context)
            if wrapped.kek != row.kek:
                raise InternalError("the KMS wrapped under another key than the one it was asked to use")
            if not compare_digest(provider.unwrap(wrapped, context).key, key):
                raise InternalError("the KMS does not give back what it wrapped")
        except WrapMismatch:
            raise InternalError("the KMS does not take back what it wrapped") from None
        except ProviderSignal as signal:
            raise self._providers.refusal(record.tenant_id, row.kek, signal) from None
        return replace(row, enc=wrapped.ciphertext)
