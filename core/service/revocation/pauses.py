"""Times in which requests of this process do not ask a KEK (DESIGN 5, rules 3 and 4)."""

from __future__ import annotations

from dataclasses import dataclass

from core.domain.timing import Instant
from core.errors import KeysteadError

SILENT_FOR = 5.0
"""Seconds for which a KMS that was silent is not asked again by requests."""
DENIED_FOR = 1.0
"""Seconds for which a KMS that denied is not asked again by requests."""


@dataclass(frozen=True, slots=True)
class Pause:
    """A time in which requests of this process do not ask a KEK.

    Attributes:
        began: When it was silent, or denied.
        until: The end.
        error: What requests hear that hold no key.
        silent: Whether it was silent: then cached keys serve on inside the grace.
    """

    began: Instant
    until: Instant
    error: KeysteadError
    silent: bool
