"""Seconds and states of a withdrawal as Markdown, made from the code: ``python -m functions.revocation_reference``.

docs/revocation.md holds each block between two markers; a test compares them.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Mapping

from core.bootstrap import Config
from core.domain.key_policy import MAX_LEASE, MAX_OUTAGE_GRACE, KeyPolicy
from core.domain.receipts import ReceiptBounds
from core.domain.states import MEANINGS, RULES, TABLE, Rule, Signal, State
from core.service.kms_budget import SECONDS
from core.service.revocation.denials import Pace
from core.service.revocation.pauses import DENIED_FOR, SILENT_FOR
from core.service.revocation.turns import INTERVALS
from core.service.state_gate import REFUSAL_AGE
from core.service.timekeeper import MAX_SKEW
from functions.problems import status_of

MADE_BY = "made by `python -m functions.revocation_reference`"
ASKED = "only if the KMS unwraps for this very call"
"""What a state allows in which nothing cached serves."""
_FIXED = "fixed"


def blocks() -> Mapping[str, str]:
    """Every block with its markers, by name."""
    made: Mapping[str, Callable[[], str]] = {"seconds": seconds, "states": states}
    return {name: f"<!-- {name}: {MADE_BY} -->\n\n{make()}\n\n<!-- end of {name} -->" for name, make in made.items()}


def seconds() -> str:
    """A table of the times that a withdrawal hangs on, as they are if nothing is configured."""
    config, policy, pace = Config(), KeyPolicy(), Pace()
    bounds = ReceiptBounds(config.state_age, config.store_silence, config.longest_operation, MAX_SKEW)
    *first, last = (f"{pause:g}" for pause in INTERVALS)
    parts = (
        f"{max(bounds.state_age, bounds.store_silence):g} for the state, {bounds.longest_operation:g} for an operation"
        f" under way, {bounds.skew:g} for clocks"
    )
    return _table(
        ("what", "seconds", "who sets it"),
        (
            (
                "`lease`: an unwrapped key serves so long before the KMS is asked again; with 0 every call asks",
                f"{policy.lease:g}",
                f"the tenant, 0-{MAX_LEASE}; the operator caps it (`KEYSTEAD_MAX_LEASE`)",
            ),
            (
                "`outage_grace`: it serves so long, counted from its last unwrap, if the KMS does not answer then",
                f"{policy.outage_grace:g}",
                f"the tenant, 0-{MAX_OUTAGE_GRACE}; the operator caps it (`KEYSTEAD_MAX_OUTAGE_GRACE`)",
            ),
            ("a process relies so long on the state that it has read", f"{config.state_age:g}", _FIXED),
            ("on one that refuses, or in which each call asks the KMS, only", f"{REFUSAL_AGE:g}", _FIXED),
            ("on the last one, if the store does not answer", f"{config.store_silence:g}", _FIXED),
            (
                "the first refusal and the one that confirms it are apart, if the key itself is off",
                f"{pace.confirm_plain:g}",
                _FIXED,
            ),
            (
                "likewise, if a policy or an identity is to blame",
                f"{config.confirm_after:g}",
                "the operator (`KEYSTEAD_CONFIRM_AFTER`)",
            ),
            ("a key in trouble is asked again after", f"{', '.join(first)}, then every {last}", _FIXED),
            (
                f"a key that was used in the last {pace.lately / 60:g} minutes is asked every",
                f"{config.check_interval:g}",
                "the operator (`KEYSTEAD_CHECK_INTERVAL`)",
            ),
            ("a key that was not is asked every", f"{pace.idle:g}", _FIXED),
            ("requests do not ask again a KMS that was silent for", f"{SILENT_FOR:g}", _FIXED),
            ("nor one that refused for", f"{DENIED_FOR:g}", _FIXED),
            ("all calls to a KMS of one request take together at most", f"{SECONDS:g}", _FIXED),
            ("`not_served_after` of a receipt lies after the storing of `revoked` by", f"{bounds.total:g}", parts),
        ),
    )


def states() -> str:
    """What each state means, what the signals mean, and which signal leads where."""
    meanings = _table(
        ("state", "in words", "reading", "writing", "else callers hear", "what ends it"),
        (
            (f"`{state}`", rule.wording, _allowed(rule, rule.may_read), _allowed(rule, rule.may_write), *_told(rule))
            for state, rule in RULES.items()
        ),
    )
    signals = _table(("signal", "what happened"), ((f"`{signal}`", MEANINGS[signal]) for signal in Signal))
    return f"{meanings}\n\n### Signals\n\n{signals}\n\n### Transitions\n\n{transitions()}"


def transitions() -> str:
    """A table of the transitions; several targets of one signal from one state are told together."""
    targets: dict[tuple[Signal, frozenset[State]], list[State]] = {}
    for row in TABLE:
        targets.setdefault((row.signal, row.sources), []).append(row.target)
    return _table(
        ("signal", "takes a key from", "to"),
        ((f"`{signal}`", _names(sources), _names(found)) for (signal, sources), found in targets.items()),
    )


def _allowed(rule: Rule, allowed: bool) -> str:
    if not allowed:
        return "no"
    return ASKED if rule.proves else "yes"


def _told(rule: Rule) -> tuple[str, str]:
    heard = "" if rule.error is None else f"{status_of(rule.refusal())} `{rule.error.code}`"
    return heard, rule.remedy


def _names(found: Iterable[State]) -> str:
    known = frozenset(found)
    return ", ".join(f"`{state}`" for state in State if state in known)


def _table(head: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    lines = [f"| {' | '.join(cell or '-' for cell in row)} |" for row in (head, *rows)]
    return "\n".join([lines[0], "|---" * len(head) + "|", *lines[1:]])


if __name__ == "__main__":
    sys.stdout.write("\n\n".join(blocks().values()) + "\n")
