"""The unwrapped branch keys that a process holds, and which of them serve while a KMS is silent (DESIGN 5, rule 1).

A version's key may lie here twice, by the ACTIVE row and by its version's own. Each row keeps its own lease, and so its
own checks; but in silence it counts when the key was last proved, by whichever of both.
"""

from __future__ import annotations

from collections.abc import Callable
from hmac import compare_digest

from core.domain.branch_keys import ACTIVE, VERSION_PREFIX, StoredRow
from core.domain.kek import Kek
from core.domain.states import RULES
from core.domain.timing import Instant
from core.service.branch_key import BranchKey
from core.service.lru import LruCache
from core.service.revocation.pauses import SILENT_FOR
from core.service.tenant_view import TenantView

Slot = tuple[str, str, str]
"""Tenant id, branch key id, type of the row."""


class HeldKeys:
    """Keeps unwrapped branch keys.

    Args:
        limit: Most keys kept.
        now: Reads both clocks.
    """

    def __init__(self, limit: int, now: Callable[[], Instant]) -> None:
        self._keys: LruCache[Slot, BranchKey] = LruCache(limit)
        self._now = now

    def find(self, slot: Slot) -> BranchKey | None:
        """What was unwrapped by a row, whether it still serves or not."""
        return self._keys.get(slot)

    def keep(self, slot: Slot, key: BranchKey) -> None:
        """Keep what was just unwrapped by a row.

        The ACTIVE row holds its version's key, so reading what was just written asks no KMS. An object of its own:
        renewing it by the version's row must not spare the ACTIVE row its checks.
        """
        self._keys.put(slot, key)
        if slot[2] == ACTIVE:
            twin = BranchKey(key.stored, key.key, key.view, key.generation, key.asked, lasting=True)
            self._keys.put(_version_slot(slot, key.version_id), twin)

    def renew(self, slot: Slot, key: BranchKey, stored: StoredRow, asked: Instant, generation: float) -> None:
        """Let a key serve for another lease that was unwrapped again: data keys that hang on it live on.

        Args:
            slot: Whose key it is.
            key: What `find` gave.
            stored: The row that was unwrapped now.
            asked, generation: As `BranchKey.renew`.
        """
        lease = key.view.record.lease
        key.stored = stored
        key.renew(asked, lease, generation)
        twin = self._keys.get(_version_slot(slot, key.version_id))
        if slot[2] == ACTIVE and twin is not None and key.view.holds(twin.generation) and twin.asked <= asked:
            twin.renew(asked, lease, generation)

    def in_grace(self, view: TenantView, slot: Slot, stored: StoredRow | None) -> BranchKey | None:
        """What may serve by a row although its KMS is silent: the key proved last, until its grace is over.

        Args:
            view: The tenant's view.
            slot: Whose row.
            stored: The row as just read, or None if it was not.
        """
        if not caches(view):
            return None
        own = self._held(view, slot)
        version_id = (
            stored.row.version_id if stored else own.version_id if own else slot[2].removeprefix(VERSION_PREFIX)
        )
        other = _version_slot(slot, version_id) if slot[2] == ACTIVE else (slot[0], slot[1], ACTIVE)
        twin = self._held(view, other)
        if twin is not None and twin.version_id == version_id and (own is None or own.asked.boot < twin.asked.boot):
            own = twin
        if own is None or not self._now().before(_end_of_grace(own, view, stored)):
            return None
        return own

    def extend(self, view: TenantView, slot: Slot, stored: StoredRow, generation: float) -> BranchKey | None:
        """As `in_grace`, to serve until the KMS is asked again.

        Args:
            view, slot: Likewise.
            stored: The row as just read.
            generation: The view's when the KMS was asked.
        """
        found = self.in_grace(view, slot, stored)
        if found is None:
            return None
        if found is not self._keys.get(slot):
            found = BranchKey(stored, found.key, view, generation, found.asked, lasting=True)
            self._keys.put(slot, found)
        elif found.version_id == stored.row.version_id:
            found.stored = stored
        # Counted from now: the silence may have taken as long as the KMS's time-out.
        now, end = self._now(), _end_of_grace(found, view, stored)
        if not found.serves(now):  # another thread may have been granted what this one was not
            again = now.plus(SILENT_FOR)
            found.extend(Instant(min(again.wall, end.wall), min(again.boot, end.boot)), generation)
        return found

    def contradicts(self, view: TenantView, slot: Slot, stored: StoredRow, key: bytes) -> bool:
        """Whether what is held of a row's version, by either row, is another key than its KMS gives now."""
        version_id = stored.row.version_id
        slots = ((slot[0], slot[1], ACTIVE), _version_slot(slot, version_id))
        held = [found for found in (self._held(view, one) for one in slots) if found is not None]
        return any(found.version_id == version_id and not compare_digest(found.key, key) for found in held)

    def served(self, tenant_id: str, kek: Kek) -> bool:
        """Whether a KEK, in its version, has unwrapped for a tenant what is still held."""
        return any(
            key.stored.row.kek == kek and key.view.tenant_id == tenant_id and key.view.holds(key.generation)
            for key in self._keys.values()
        )

    def _held(self, view: TenantView, slot: Slot) -> BranchKey | None:
        key = self._keys.get(slot)
        return key if key is not None and view.holds(key.generation) else None


def caches(view: TenantView) -> bool:
    """Whether an unwrapped key may serve calls that did not ask for it (DESIGN 5, rules 1 and 3)."""
    return view.record.lease > 0 and not RULES[view.record.state].proves


def _version_slot(slot: Slot, version_id: str) -> Slot:
    return slot[0], slot[1], VERSION_PREFIX + version_id


def _end_of_grace(key: BranchKey, view: TenantView, stored: StoredRow | None) -> Instant:
    # By the KEK that is silent now: the row may have been wrapped anew since the key was unwrapped.
    record, kek = view.record, (stored or key.stored).row.kek
    return key.asked.plus(max(record.lease, record.grace(kek.locator)))
