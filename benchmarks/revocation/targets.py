"""What a run must reach. A number here is a promise of the project's: change it only with the promise."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence

from benchmarks.revocation.course import Timing
from benchmarks.revocation.outage import BRIEF, PATIENT, Weathered
from benchmarks.revocation.run import Bystander
from benchmarks.targets import Verdict

REFUSED_WITHIN, RESTORED_WITHIN, SWITCHED_WITHIN = 60, 30, 10
"""Seconds."""
TOKEN_LIFE = 65
"""Seconds from a removed consent to the last answer: a token is used for one lease, and an operation takes 5 s."""
NEVER = float("inf")


def judge(timings: Sequence[Timing], bystanders: Sequence[Bystander], switch: str, at_once: str) -> list[Verdict]:
    """Every target of the withdrawals.

    Args:
        timings: Of the acts.
        bystanders: Tenants that did nothing.
        switch: Tenant that turned the kill switch.
        at_once: Tenant whose lease is 0.
    """
    withdrawn = [timing for timing in timings if timing.tenant != switch and not timing.token_life]
    on_tokens = [timing for timing in timings if timing.token_life]
    switched = [timing for timing in timings if timing.tenant == switch]
    without = [timing for timing in timings if timing.tenant == at_once]
    return [
        _slowest("last answer served after the cloud's first refusal", REFUSED_WITHIN, withdrawn, _served),
        _slowest("last answer served after Entra consent was removed", TOKEN_LIFE, on_tokens, _since_act),
        _slowest("last answer served after the kill switch was acknowledged", SWITCHED_WITHIN, switched, _served),
        _count("lease 0, served of the calls that came after the act", (_begun(timing) for timing in without)),
        _slowest("first answer served after the key was given back", RESTORED_WITHIN, timings, _restored),
        _count("acts without the right state, code, cause or verified receipt", (bool(wrong(t)) for t in timings)),
        _count("calls that failed before an act or after its end", (t.failed_before + t.failed_after for t in timings)),
        _count("calls of other tenants that failed", (sum(each.failed.values()) for each in bystanders)),
        _count("messages lost", (*(each.lost for each in timings), *(each.lost for each in bystanders))),
    ]


def judge_outage(found: Sequence[Weathered], recovery: float) -> list[Verdict]:
    """Every target of the outage.

    Args:
        found: What became of the tenants.
        recovery: Seconds that all may take to serve again.
    """
    patient = [each for each in found if each.kind == PATIENT]
    brief = [each for each in found if each.kind == BRIEF]
    recovered = [seconds for each in found for seconds in (*each.recovered_after.values(), each.active_after)]
    return [
        _count("shapes of trouble that did not come about", (not each.broken for each in found)),
        _count("keys taken for withdrawn", (each.taken_for_withdrawn for each in found)),
        _count("calls inside the outage grace that failed", (sum(each.failed.values()) for each in patient)),
        _count("tenants served beyond their grace", (not each.failed for each in brief)),
        _count("refusals beyond it other than 503 with Retry-After", (_unlike(each) for each in brief)),
        Verdict(
            "until the last tenant serves again, and its state says so",
            recovery,
            False,
            _largest(recovered),
            "s",
            about_speed=False,
        ),
        _count("messages lost", (each.lost for each in found)),
    ]


def wrong(timing: Timing) -> list[str]:
    """What of an act's consequences is not as it must be; empty if all is well."""
    found = [*timing.problems]
    for what, seen, expected in (
        ("state", timing.states[-2:-1], [timing.expected["state"]]),
        ("cause", timing.cause, timing.expected["cause"]),
        ("codes", {*timing.heard}, {timing.expected["code"]}),
        ("end", timing.states[-1:], ["active"]),
    ):
        if seen != expected:
            found.append(f"{what}: {seen}, not {expected}")
    return found


def _served(timing: Timing) -> float:
    return _largest([*timing.served_after.values()])


def _since_act(timing: Timing) -> float:
    return NEVER if timing.refused_after is None else timing.refused_after + _served(timing)


def _restored(timing: Timing) -> float:
    return _largest([*timing.restored_after.values()])


def _begun(timing: Timing) -> int:
    return sum(timing.served_begun_after.values()) if timing.served_begun_after else 1


def _unlike(each: Weathered) -> int:
    return each.without_retry_after + _others(each.failed)


def _others(failed: Mapping[str, int]) -> int:
    return sum(count for code, count in failed.items() if code != "key_unreachable")


def _largest(values: Sequence[float | None]) -> float:
    return max((NEVER if value is None else value for value in values), default=NEVER)


def _slowest(name: str, limit: float, timings: Sequence[Timing], of: Callable[[Timing], float]) -> Verdict:
    if len(timings) > 1:
        worst = max(timings, key=of)
        name = f"{name}, worst of {len(timings)} ({worst.act}, {worst.cloud})"
    return Verdict(name, limit, False, _largest([of(timing) for timing in timings]), "s", about_speed=False)


def _count(name: str, found: Iterable[int]) -> Verdict:
    return Verdict(name, 0, False, sum(found), "", about_speed=False)
