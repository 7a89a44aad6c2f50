"""Whose turn it is to ask a tenant's KMS, and when: one document per tenant, for the whole fleet (DESIGN 5, rule 4).

It only sets a pace. Nothing that must be true hangs on it: it carries no MAC, and a document that makes no sense counts
as none.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from typing import Any

from core.domain.timing import Instant
from core.errors import Conflict, KeysteadError
from core.ports import TenantStore
from core.service.timekeeper import MAX_SKEW

DOCUMENT = "key-check"
INTERVALS = (1.0, 2.0, 5.0, 10.0, 20.0)
"""Seconds between one probe of a key in trouble and the next; the last one for as long as it lasts. DESIGN says 30 and
60; a restoration within 30 s, clocks that differ and a look at the state included, wants 20."""
LATEST, MOST = 1e11, 1_000_000
"""What numbers in the document are believed."""
FLAPPING = 600.0
"""Seconds within which trouble that begins anew is counted."""
LONGEST = 1000.0
"""Seconds: a turn farther ahead was written by a clock that was wrong, and counts as due."""
STEADY = 300.0
"""Seconds within which a KMS that falls silent again is not asked at the quickest pace once more."""


@dataclass(frozen=True, slots=True)
class Turn:
    """The document.

    Attributes:
        due: Seconds since the epoch: when the key may be asked again.
        attempts: Probes since the trouble began.
        began: Seconds since the epoch: when the trouble began; 0 for none yet.
        checked: When the key was last asked, likewise.
        described: When its KMS was last asked what it can tell of it, likewise.
        warnings: What it told, as sentences.
        flaps: How often trouble began again soon after it had begun.
    """

    due: float = 0
    attempts: int = 0
    began: float = 0
    checked: float = 0
    described: float = 0
    warnings: tuple[str, ...] = ()
    flaps: int = 0

    @classmethod
    def from_body(cls, body: Mapping[str, Any]) -> Turn:
        """Read the JSON form; one that makes no sense is none."""
        try:
            found = cls(**{**body, "warnings": tuple(body.get("warnings", ()))})
            times = (found.due, found.began, found.checked, found.described)
            counts = (found.attempts, found.flaps)
            if (
                all(type(number) in (int, float) and 0 <= number <= LATEST for number in times)
                and all(type(count) is int and 0 <= count <= MOST for count in counts)
                and all(type(text) is str for text in found.warnings)
            ):
                return found
        except TypeError:
            pass
        return cls()


class Turns:
    """Hands out turns.

    Args:
        store: Holds the documents.
        now: Reads both clocks.
        intervals: As `INTERVALS`.
    """

    def __init__(
        self, store: TenantStore, now: Callable[[], Instant], intervals: tuple[float, ...] = INTERVALS
    ) -> None:
        self._store = store
        self._now = now
        self._intervals = intervals

    def read(self, tenant_id: str) -> Turn:
        """The turn as it stands.

        Raises:
            StoreUnavailable, StoreCorrupt: It cannot be read.
        """
        return self._read(tenant_id)[0]

    def due(self, turn: Turn, *, trouble: bool) -> bool:
        """Whether a key may be asked now.

        Args:
            turn: As read.
            trouble: Whether the key is in trouble: then no turn is far ahead, whatever a wrong clock wrote.
        """
        return not 0 < turn.due - self._now().wall <= (self._intervals[-1] + MAX_SKEW if trouble else LONGEST)

    def take(self, tenant_id: str, *, trouble: bool, forced: bool = False) -> Turn | None:
        """Take the turn, if it is due and nobody else takes it.

        Args:
            tenant_id: The tenant.
            trouble: As in `due`.
            forced: Take it whether due or not.

        Returns:
            The turn as it was; None if it is not ours.

        Raises:
            StoreUnavailable, StoreCorrupt: The document cannot be read or written.
        """
        turn, revision = self._read(tenant_id)
        if not forced and not self.due(turn, trouble=trouble):
            return None
        pause = self._intervals[min(turn.attempts, len(self._intervals) - 1)]
        taken = replace(turn, due=self._now().wall + pause, attempts=min(turn.attempts + 1, MOST))
        try:
            self._store.write(tenant_id, DOCUMENT, asdict(taken), expected_revision=revision)
        except Conflict:
            return turn if forced else None
        return turn

    def begin(self, tenant_id: str, *, steady: bool = False) -> None:
        """Ask quickly from now on: the key is in trouble. Best effort.

        Args:
            tenant_id: The tenant.
            steady: Keep the pace if the last trouble began not long ago.
        """
        now = self._now().wall

        def change(turn: Turn) -> Turn:
            attempts = turn.attempts if steady and 0 <= now - turn.began < STEADY else 0
            pause = self._intervals[min(attempts, len(self._intervals) - 1)]
            flaps = min(turn.flaps + 1, MOST) if 0 <= now - turn.began < FLAPPING else 0
            return replace(turn, due=now + pause, attempts=attempts, began=now, flaps=flaps)

        self._change(tenant_id, change)

    def note(self, tenant_id: str, **fields: Any) -> None:
        """Change fields of the document. Best effort."""
        self._change(tenant_id, lambda turn: replace(turn, **fields))

    def _change(self, tenant_id: str, change: Callable[[Turn], Turn]) -> None:
        # What is lost here costs one more or one less question.
        with suppress(KeysteadError):
            turn, revision = self._read(tenant_id)
            self._store.write(tenant_id, DOCUMENT, asdict(change(turn)), expected_revision=revision)

    def _read(self, tenant_id: str) -> tuple[Turn, int]:
        document = self._store.read(tenant_id, DOCUMENT)
        return (Turn(), 0) if document is None else (Turn.from_body(document.body), document.revision)
