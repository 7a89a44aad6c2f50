"""Makes and checks the MACs that authenticate stored branch key rows.

The MAC key lies in the tenant store, wrapped by the platform KEK: whoever can write the stores but not use that KEK
cannot plant a row (DESIGN 4). Losing it would refuse every row, so it is made once and never replaced silently.
"""

from __future__ import annotations

import os
from base64 import b64decode, b64encode
from hmac import compare_digest
from threading import Lock
from typing import TYPE_CHECKING

from core.domain.branch_keys import BranchKeyRow, RowMac, StoredRow, row_mac
from core.domain.kek import KEY_BYTES, Kek, WrappedKey
from core.domain.tenants import SYSTEM
from core.errors import Conflict, InternalError, ProviderSignal, StoreCorrupt, WrapMismatch
from core.service.providers import Providers

if TYPE_CHECKING:
    from core.ports import TenantStore

DOCUMENT = "row-mac-key"


class RowMacs:
    """Holds the row MAC key once it was unwrapped.

    Args:
        store: Keeps the wrapped key.
        providers: Reach the platform KEK.
        table_name: The logical key store name.
    """

    def __init__(self, store: TenantStore, providers: Providers, table_name: str) -> None:
        self._store = store
        self._providers = providers
        self._table_name = table_name
        self._context = {"keystead-purpose": "row-mac-key", "tablename": table_name}
        self._lock = Lock()
        self._key: bytes | None = None

    def __repr__(self) -> str:
        return "<RowMacs>"

    def stored(self, row: BranchKeyRow, revision: int, sequence: int) -> StoredRow:
        """A row with its MAC, ready to store.

        Raises:
            VendorFault, KeyUnreachable: The platform KEK does not serve.
            StoreUnavailable, StoreCorrupt: The wrapped MAC key cannot be had.
        """
        return StoredRow(row, row_mac(self.key(), self._table_name, row, revision, sequence))

    def holds(self, stored: StoredRow) -> bool:
        """Whether a stored row is as this service wrote it.

        Raises:
            As `stored`.
        """
        mac = stored.mac
        if mac is None:
            return False
        expected: RowMac = row_mac(self.key(), self._table_name, stored.row, mac.revision, mac.sequence)
        return compare_digest(expected.tag, mac.tag)

    def key(self) -> bytes:
        """The MAC key, for what is authenticated beside rows; 32 bytes that stay in this service.

        Raises:
            As `stored`.
        """
        if self._key is None:
            with self._lock:
                if self._key is None:
                    self._key = self._load()
        return self._key

    def _load(self) -> bytes:
        document = self._store.read(SYSTEM, DOCUMENT)
        if document is None:
            # Made anew beside existing tenants it would refuse their rows, and split a fleet that still holds the old.
            if self._store.list_tenants(limit=1):
                raise StoreCorrupt("the row MAC key is missing from a store that has tenants")
            self._create()
            document = self._store.read(SYSTEM, DOCUMENT)
            if document is None:
                raise StoreCorrupt("the row MAC key vanished after it was written")
        try:
            wrapped = WrappedKey(Kek(document.body["kek"]), b64decode(document.body["wrapped"], validate=True))
        except (KeyError, TypeError, ValueError):
            raise StoreCorrupt("the stored row MAC key cannot be read") from None
        if wrapped.kek != self._providers.platform_kek:
            raise StoreCorrupt("the stored row MAC key is not wrapped by the platform's key")
        try:
            key = self._providers.platform.unwrap(wrapped, self._context).key
        except WrapMismatch:
            raise StoreCorrupt("the stored row MAC key does not unwrap") from None
        except ProviderSignal as signal:
            raise self._providers.refusal(SYSTEM, wrapped.kek, signal) from None
        if len(key) != KEY_BYTES:
            raise StoreCorrupt("the stored row MAC key has a wrong length")
        return key

    def _create(self) -> None:
        kek, key = self._providers.platform_kek, os.urandom(KEY_BYTES)
        provider = self._providers.platform
        try:
            wrapped = provider.wrap(kek, key, self._context)
            if not compare_digest(provider.unwrap(wrapped, self._context).key, key):
                raise InternalError("the platform's key does not give back what it wrapped")
        except ProviderSignal as signal:
            raise self._providers.refusal(SYSTEM, kek, signal) from None
        body = {"kek": wrapped.kek.locator, "wrapped": b64encode(wrapped.ciphertext).decode()}
        try:
            self._store.write(SYSTEM, DOCUMENT, body, expected_revision=0)
        except Conflict:
            return  # another process made it first; its key is the one to use
