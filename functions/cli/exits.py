"""Exit codes: one table, used by the program, its help and docs/cli.md."""

from __future__ import annotations

from collections.abc import Mapping
from enum import IntEnum

from core.errors import (
    AccessDenied,
    ContextMismatch,
    KeyCheckFailed,
    KeysteadError,
    KeyWithheld,
    MessageInvalid,
    StoreCorrupt,
    TooManyRequests,
    Unauthenticated,
    Unavailable,
)
from functions.settings import SettingsError


class Exit(IntEnum):
    """How the program ends."""

    OK = 0
    FAILED = 1
    USAGE = 2
    AUTH = 3
    WITHHELD = 4
    UNAVAILABLE = 5
    INTEGRITY = 6
    KEY_CHECK = 7
    INTERRUPTED = 130
    BROKEN_PIPE = 141
    TERMINATED = 143


MEANINGS: Mapping[Exit, str] = {
    Exit.OK: "done",
    Exit.FAILED: "refused or failed; no output file was written",
    Exit.USAGE: "wrong use of the command, or a setting that cannot be used",
    Exit.AUTH: "no token, a token that is not accepted, or one that does not allow this",
    Exit.WITHHELD: "the tenant's key is withheld: revoked, suspended or blocked",
    Exit.UNAVAILABLE: "something does not answer: try again",
    Exit.INTEGRITY: "a message, its context, an audit chain or stored data does not hold",
    Exit.KEY_CHECK: "a key did not pass its examination; nothing was changed",
    Exit.INTERRUPTED: "interrupted from the keyboard",
    Exit.BROKEN_PIPE: "the reader of the output went away",
    Exit.TERMINATED: "terminated by a signal",
}

# The first class an error is an instance of decides; any other error is FAILED.
_BY_CLASS: tuple[tuple[type[KeysteadError], Exit], ...] = (
    (SettingsError, Exit.USAGE),
    (Unauthenticated, Exit.AUTH),
    (AccessDenied, Exit.AUTH),
    (KeyWithheld, Exit.WITHHELD),
    (KeyCheckFailed, Exit.KEY_CHECK),
    (Unavailable, Exit.UNAVAILABLE),
    (TooManyRequests, Exit.UNAVAILABLE),
    (MessageInvalid, Exit.INTEGRITY),
    (ContextMismatch, Exit.INTEGRITY),
    (StoreCorrupt, Exit.INTEGRITY),
)


def exit_for(error: KeysteadError) -> Exit:
    """The exit code an error ends the program with."""
    return next((code for cls, code in _BY_CLASS if isinstance(error, cls)), Exit.FAILED)
