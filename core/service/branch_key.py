"""One unwrapped branch key version and its lease (DESIGN 5, rule 1)."""

from __future__ import annotations

from threading import Lock

from core.domain.branch_keys import StoredRow, version_bytes
from core.domain.encrypted_data_key import WrappingKeys
from core.domain.timing import Instant
from core.service.tenant_view import TenantView

UNCACHED_USE = 5.0
"""Seconds for which a key unwrapped under ``lease=0`` serves the calls that asked for it."""
_terms = Lock()


class BranchKey:
    """An unwrapped branch key version and its lease.

    Args:
        stored: The verified row it came from.
        key: 32 bytes.
        view: The tenant's view when it was asked for.
        generation: The view's at that time.
        asked: Both clocks before the unwrap request was sent.
        lasting: Whether it may serve calls that did not ask for it, for its lease; else it serves for a moment.
    """

    __slots__ = (
        "asked",
        "boot_until",
        "branch_key_id",
        "generation",
        "key",
        "lasting",
        "sequence",
        "stored",
        "version",
        "version_id",
        "view",
        "wall_until",
        "wrapping",
    )

    def __init__(
        self, stored: StoredRow, key: bytes, view: TenantView, generation: float, asked: Instant, *, lasting: bool
    ) -> None:
        self.stored = stored
        self.branch_key_id = stored.row.branch_key_id
        self.version_id = stored.row.version_id
        self.sequence = stored.mac.sequence if stored.mac else 0
        self.version = version_bytes(self.version_id)
        self.key = key
        self.wrapping = WrappingKeys(key)
        self.view = view
        self.generation = generation
        self.asked = asked
        self.lasting = lasting
        self.wall_until, self.boot_until = asked.plus(view.record.lease if lasting else UNCACHED_USE)

    def __repr__(self) -> str:
        return f"<BranchKey {self.branch_key_id} version {self.version_id}>"

    @property
    def cacheable(self) -> bool:
        """Whether it may serve calls that did not ask for it."""
        return self.lasting and self.generation == self.view.generation

    def renew(self, asked: Instant, lease: float, generation: float) -> None:
        """Let it serve for another lease, unless that was asked for under an older generation than it serves by.

        Args:
            asked: Both clocks before the new unwrap request was sent.
            lease: Seconds.
            generation: The view's at that time: before ``lease`` was read.
        """
        with _terms:
            if generation >= self.generation:
                self.asked = asked
                self._serve(asked.plus(lease), generation)

    def extend(self, until: Instant, generation: float) -> None:
        """Let it serve on, unless that was decided under an older generation than it serves by.

        Args:
            until: Both clocks when it ends.
            generation: The view's at that time: before ``until`` was reckoned.
        """
        with _terms:
            if generation >= self.generation:
                self._serve(until, generation)

    def _serve(self, until: Instant, generation: float) -> None:
        self.wall_until, self.boot_until = until
        self.generation = generation  # last: who finds it finds its terms

    def serves(self, tick: tuple[float, float]) -> bool:
        """Whether it may be used now: lease running, and no purge or lapse since it was asked for."""
        return tick[0] < self.wall_until and tick[1] < self.boot_until and self.generation == self.view.generation
