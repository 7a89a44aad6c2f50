"""The service's own condition: which ways to tenants' KEKs are broken on our side, and since when.

For people to see; nothing is decided by it. Kept in the store, because whoever asks for it need not ask the process
that met the fault.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from core.domain.canaries import Pattern
from core.domain.tenants import SYSTEM
from core.domain.timing import Instant
from core.domain.withdrawals import instant
from core.errors import Conflict, StoreCorrupt, StoreUnavailable
from core.ports import TenantStore

DOCUMENT = "vendor-fault"
ATTEMPTS = 5


class VendorFaults:
    """Keeps the condition. What the store does not take now is written after the next look at a canary.

    Args:
        store: Holds it.
        now: Reads both clocks.
    """

    def __init__(self, store: TenantStore, now: Callable[[], Instant]) -> None:
        self._store = store
        self._now = now
        self._seen: frozenset[str] = frozenset()

    def condition(self) -> Mapping[str, str]:
        """The patterns whose canaries are refused, as text, and since when: UTC, ``CREATE_TIME_FORMAT``.

        Raises:
            StoreUnavailable, StoreCorrupt: It cannot be read now.
        """
        return self._read()[0]

    def begin(self, pattern: Pattern) -> None:
        """A pattern's canaries are refused."""
        since = instant(self._now().wall)
        self._change(lambda noted: {str(pattern): since} | noted)

    def end(self, pattern: Pattern) -> None:
        """A canary of a pattern serves. Asks the store only if this process has seen that it did not."""
        name = str(pattern)
        if name in self._seen:
            self._change(lambda noted: {other: since for other, since in noted.items() if other != name})

    def keep_only(self, patterns: frozenset[Pattern]) -> None:
        """Forget patterns that no canary is configured for any longer, and see what other processes noted."""
        known = frozenset(map(str, patterns))
        self._change(lambda noted: {name: since for name, since in noted.items() if name in known})

    def _change(self, change: Callable[[dict[str, str]], dict[str, str]]) -> None:
        for _ in range(ATTEMPTS):
            try:
                noted, revision = self._read()
                changed = change(noted)
                if changed == noted:
                    return
                self._store.write(SYSTEM, DOCUMENT, {"patterns": changed}, expected_revision=revision)
                self._seen = frozenset(changed)
            except Conflict:
                continue
            except (StoreUnavailable, StoreCorrupt):
                return
            return

    def _read(self) -> tuple[dict[str, str], int]:
        document = self._store.read(SYSTEM, DOCUMENT)
        if document is None:
            noted, revision = {}, 0
        else:
            found, revision = document.body.get("patterns"), document.revision
            pairs = found.items() if isinstance(found, Mapping) else ()
            noted = {name: since for name, since in pairs if isinstance(since, str)}
        self._seen = frozenset(noted)
        return noted, revision
