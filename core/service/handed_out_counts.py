"""How many data keys were handed out for each tenant, at most: a bound that no crash makes false (DESIGN 5, "Receipt").

A process reserves the numbers of a block of keys in the store before the first key of the block leaves. What it had not
used of a block when it ended counts as handed out.
"""

from __future__ import annotations

import hmac
import json
from collections.abc import Callable
from dataclasses import asdict, dataclass
from hashlib import sha256
from threading import Lock
from typing import Protocol

from core.domain.instants import parse_instant
from core.domain.timing import LONG_AGO, Instant
from core.domain.withdrawals import instant
from core.errors import Conflict, InvalidRequest, KeysteadError, StoreCorrupt, StoreUnavailable
from core.ports import Document, TenantStore
from core.service.lru import LruCache

DOCUMENT = "data-keys"
BLOCK = 64
"""Keys reserved by one write."""
ATTEMPTS = 20
_LABEL = b"keystead data key count v1\n"


class MacKey(Protocol):
    """Gives the key of 32 bytes that authenticates what this service alone may write."""

    def key(self) -> bytes:
        """The key."""
        ...


@dataclass(frozen=True, slots=True)
class HandedOut:
    """What is stored. Instants UTC, ``CREATE_TIME_FORMAT``, "" before the first key.

    Attributes:
        reserved: At most so many keys were handed out.
        since: When the first block was reserved: counting began.
        last: When the last one was.
    """

    reserved: int = 0
    since: str = ""
    last: str = ""


class _Block:
    # What is left of the block that a process has reserved for a tenant.
    __slots__ = ("failed_at", "failure", "highest", "left", "lock")

    def __init__(self) -> None:
        self.lock = Lock()
        self.left = 0
        self.highest = 0
        self.failure: KeysteadError | None = None
        self.failed_at = LONG_AGO


class HandedOutCounts:
    """Counts. Safe to use from many threads and processes.

    Args:
        store: Holds the counts.
        now: Reads both clocks.
        macs: Hold the key that authenticates them: receipts state them.
        limit: Most tenants whose blocks are kept in memory; a block let go of counts as handed out.
    """

    def __init__(self, store: TenantStore, now: Callable[[], Instant], macs: MacKey, *, limit: int = 10_000) -> None:
        self._store = store
        self._macs = macs
        self._now = now
        self._blocks: LruCache[str, _Block] = LruCache(limit)
        self._lock = Lock()

    def reserve(self, tenant_id: str, look_again: Callable[[], object]) -> None:
        """Count one key, before it leaves.

        Args:
            tenant_id: The tenant.
            look_again: Called after a block was reserved, before any key of it may leave; has to read the tenant's
                state anew. Who reads the count of a tenant already revoked thus misses no key: a block reserved later
                meets that state.

        Raises:
            StoreUnavailable: The key could not be counted, and must not leave.
            StoreCorrupt: Likewise: the stored count is none.
            As ``look_again`` besides; the block is given up then.
        """
        block, arrived = self._block(tenant_id), self._now()
        with block.lock:
            if not block.left:
                if block.failure is not None and block.failed_at.boot > arrived.boot:
                    # Another thread waited for the same silence while this one queued: once is enough.
                    raise block.failure.with_traceback(None)
                try:
                    block.highest = self._reserve(tenant_id, block.highest)
                    look_again()
                except KeysteadError as error:
                    block.failure, block.failed_at = error, self._now()
                    raise
                block.left, block.failure = BLOCK, None
            block.left -= 1

    def at_most(self, tenant_id: str) -> int:
        """The number of keys handed out so far that is not exceeded.

        Raises:
            StoreUnavailable, StoreCorrupt: It cannot be read.
        """
        return self.read(tenant_id).reserved

    def read(self, tenant_id: str) -> HandedOut:
        """What is stored.

        Raises:
            StoreUnavailable, StoreCorrupt: It cannot be read.
        """
        return self._handed_out(tenant_id, self._store.read(tenant_id, DOCUMENT))

    def _block(self, tenant_id: str) -> _Block:
        with self._lock:
            block = self._blocks.get(tenant_id)
            if block is None:
                block = _Block()
                self._blocks.put(tenant_id, block)
            return block

    def _reserve(self, tenant_id: str, highest: int) -> int:
        # `highest` is what this process has written: a store put back to an earlier time must not lower the count.
        for _ in range(ATTEMPTS):
            document = self._store.read(tenant_id, DOCUMENT)
            found, at = self._handed_out(tenant_id, document), instant(self._now().wall)
            after = HandedOut(max(found.reserved, highest) + BLOCK, found.since or at, at)
            revision = document.revision if document is not None else 0
            try:
                body = {**asdict(after), "mac": self._mac(tenant_id, after)}
                self._store.write(tenant_id, DOCUMENT, body, expected_revision=revision)
            except Conflict:
                continue  # another process reserved a block
            return after.reserved
        raise StoreUnavailable("too many processes hand out data keys of this tenant at once", retry_after=1)

    def _handed_out(self, tenant_id: str, document: Document | None) -> HandedOut:
        if document is None:
            return HandedOut()
        try:
            body = {**document.body}
            mac, found = body.pop("mac"), HandedOut(**body)
            parse_instant(found.since)
            parse_instant(found.last)
            authentic = hmac.compare_digest(mac.encode(), self._mac(tenant_id, found).encode())
            if authentic and type(found.reserved) is int and found.reserved >= 0:
                return found
        except (AttributeError, KeyError, TypeError, ValueError, InvalidRequest):
            pass
        raise StoreCorrupt("a tenant's stored count of data keys cannot be read")

    def _mac(self, tenant_id: str, count: HandedOut) -> str:
        text = json.dumps([tenant_id, count.reserved, count.since, count.last])
        return hmac.new(self._macs.key(), _LABEL + text.encode(), sha256).hexdigest()
