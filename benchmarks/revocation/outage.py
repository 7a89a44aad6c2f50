"""An outage of the KMS in every shape at once: no key may be taken for withdrawn, and all must serve again by itself.

For each shape of trouble there are two tenants, whose calls to the KMS meet it for as long as the outage lasts: a
patient one, whose outage grace is longer than it, and a brief one, whose grace ends before it does. The patient ones
tighten their grace right before, which is no reason to refuse them.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.revocation.aws import AwsCustomers
from benchmarks.revocation.course import count_lost, with_own_key
from benchmarks.revocation.microburst import microburst
from benchmarks.revocation.refusals import Refusals, TimedKms
from benchmarks.revocation.service import SET_UP_TOGETHER, Deployment, deployed, wait_until_served
from benchmarks.revocation.use import Use
from functions.emulators.kms import LOCAL_ACCESS_KEY_ID, LOCAL_PRINCIPAL, LOCAL_SECRET_ACCESS_KEY
from functions.emulators.wire import serve

_PAGE = "<html><title>Portal</title><body>Please sign in to use this network.</body></html>\r\n"
HOLD_MS = 3_600_000
"""Longer than any run: a call that is held is never answered."""
CALLS: Mapping[str, Mapping[str, Any]] = {
    "throttled": {"error": {"code": "ThrottlingException"}},
    "500": {"error": {"code": "KMSInternalException", "status": 500}},
    "503": {"error": {"code": "ServiceUnavailableException", "status": 503}},
    "reset": {"reset": True},
    "late": {"latency": 4000},
    "blackhole": {"timeout_ms": HOLD_MS},
    "corrupted-200": {"response": {"corrupt_bytes": 16}},
    "cut-200": {"response": {"truncate_frac": 0.5}},
    "lost-200": {"response": {"abort_frac": 0.3}},
}
"""Shapes of trouble that befall calls, by name: what microburst does to each."""
BYTES: Mapping[str, str] = {"page-403": "403 Forbidden", "page-200": "200 OK"}
"""Pages of somebody in between, by name: with which status."""
PATIENT, BRIEF = "patient", "brief"
SERVED_STATES = frozenset({"active", "degraded", "unreachable"})
"""In which a key may be while its KMS is out."""


@dataclass(frozen=True, slots=True)
class Scale:
    """How long everything takes. Seconds.

    Attributes:
        outage: The outage.
        lease: Of the tenants.
        patient: Outage grace of those that bear all of it.
        brief: And of those that do not.
        shapes: Shapes of trouble that there are brief tenants for.
        recovery: How long all may take to serve again.
        warm: How long keys are used before, at least.
        every: From one call of a `Use` to its next.
    """

    outage: float
    lease: float
    patient: float
    brief: float
    shapes: frozenset[str]
    recovery: float
    warm: float
    every: float


@dataclass
class Weathered:
    """What became of one tenant. Seconds.

    Attributes:
        tenant: The tenant.
        trouble: What befell its calls.
        kind: ``patient`` or ``brief``.
        broken: Calls to its KMS that were broken.
        served: Calls of the tenant that were served during the outage.
        failed: Others, by error code.
        first_failed: By worker: from the last call that its KMS answered before the outage, at the latest, to the first
            failure; absent where there was none.
        without_retry_after: Failures that did not say when to come again.
        slowest: The longest that one of its calls took during the outage.
        recovered_after: By worker: from the end of the outage until it serves; None if it does not.
        active_after: From the end of the outage until its state is ``active``; None if it is not.
        states: The stored states in order.
        receipts: Receipts issued.
        messages: Messages encrypted.
        lost: Of them, not to be decrypted afterwards, over both workers.
    """

    tenant: str
    trouble: str
    kind: str
    broken: int = 0
    served: int = 0
    failed: dict[str, int] = field(default_factory=dict)
    first_failed: dict[str, float] = field(default_factory=dict)
    without_retry_after: int = 0
    slowest: float = 0
    recovered_after: dict[str, float | None] = field(default_factory=dict)
    active_after: float | None = None
    states: list[str] = field(default_factory=list)
    receipts: int = 0
    messages: int = 0
    lost: int = 0

    @property
    def taken_for_withdrawn(self) -> bool:
        """Whether the outage was taken for a withdrawal, which it is not."""
        return bool(self.receipts or not {*self.states} <= SERVED_STATES)


def run(directory: Path, scale: Scale, say: Callable[[str], None]) -> list[Weathered]:
    """Let the outage happen.

    Args:
        directory: Empty.
        scale: How long everything takes.
        say: Told what is under way.

    Returns:
        What became of each tenant.

    Raises:
        NotStarted: microburst is not set up.
        NotServed: A worker does not serve a tenant before there is an outage.
    """
    kms = TimedKms(Refusals())
    kms.add_principal(LOCAL_ACCESS_KEY_ID, LOCAL_SECRET_ACCESS_KEY, LOCAL_PRINCIPAL)
    with ExitStack() as stack:
        server = stack.enter_context(serve(kms))
        calls = stack.enter_context(microburst(f"127.0.0.1:{server.port}", directory))
        pages = stack.enter_context(microburst(calls.address, directory, as_bytes=True))
        variables = {"KEYSTEAD_AWS_ENDPOINT_URL": f"http://{pages.address}"}
        deployment = stack.enter_context(deployed(directory, variables, every=scale.every))
        customers = AwsCustomers(server.url)
        say("keys of their own for the tenants")
        found = [
            Weathered(f"{kind}-{trouble}", trouble, kind)
            for trouble in (*CALLS, *BYTES)
            for kind in (PATIENT, BRIEF)
            if kind == PATIENT or trouble in scale.shapes
        ]
        with ThreadPoolExecutor(SET_UP_TOGETHER) as pool:
            keks = list(pool.map(lambda each: _set_up(each, deployment, customers, scale), found))
        arns = {each.tenant: kek for each, kek in zip(found, keks, strict=True)}
        uses = {each.tenant: deployment.use(each.tenant) for each in found}
        time.sleep(scale.warm)
        wait_until_served(use for tenant in uses.values() for use in tenant)
        say("stricter graces, of which the second worker hears when there is nobody to ask any more")
        for each in found:
            if each.kind == PATIENT:
                deployment.client(each.tenant).set_policy(each.tenant, outage_grace=scale.patient)
        time.sleep(2 * scale.every)
        say(f"an outage of {scale.outage:g} s")
        began = time.monotonic()
        calls.break_calls([_call(arns[each.tenant], CALLS[each.trouble]) for each in _in(found, CALLS)])
        pages.break_calls([_page(arns[each.tenant], BYTES[each.trouble]) for each in _in(found, BYTES)])
        time.sleep(scale.outage)
        mending = time.monotonic()  # it takes a moment, in which the first may serve again
        for proxy, shapes in ((calls, CALLS), (pages, BYTES)):
            for each, broken in zip(_in(found, shapes), proxy.broken(), strict=True):
                each.broken = broken
            proxy.mend()
        ended = time.monotonic()
        say("the KMS answers again")
        for each in found:
            _weathered(each, uses[each.tenant], began, ended, scale)
        for each in found:
            left = ended + scale.recovery - time.monotonic()
            active = deployment.observer.wait(each.tenant, "active", mending, left)
            each.active_after = None if active is None else max(0.0, active - ended)
        for each in found:
            _after(each, uses[each.tenant], deployment)
    return found


def _set_up(each: Weathered, deployment: Deployment, customers: AwsCustomers, scale: Scale) -> str:
    grace = 2 * scale.patient if each.kind == PATIENT else scale.brief
    key = with_own_key(deployment, each.tenant, customers.disabled, scale.lease, outage_grace=grace)
    return str(key.target["key_arn"])


def _in(found: Sequence[Weathered], shapes: Mapping[str, Any]) -> list[Weathered]:
    return [each for each in found if each.trouble in shapes]


def _call(arn: str, effect: Mapping[str, Any]) -> dict[str, Any]:
    return {"body": f"KeyId == '{arn}'", **effect}


def _page(arn: str, status: str) -> dict[str, Any]:
    head = f"HTTP/1.1 {status}\r\nContent-Type: text/html\r\nContent-Length: {len(_PAGE)}\r\nConnection: close\r\n\r\n"
    return {"payload": arn, "respond": {"data": head + _PAGE, "then": "close"}}


def _weathered(each: Weathered, uses: Sequence[Use], began: float, ended: float, scale: Scale) -> None:
    failed: Counter[str] = Counter()
    for use in uses:
        meanwhile = [outcome for outcome in use.since(began) if outcome.asked < ended]
        each.served += sum(outcome.served for outcome in meanwhile)
        failures = [outcome for outcome in meanwhile if not outcome.served]
        failed.update(outcome.code for outcome in failures)
        each.without_retry_after += sum(not outcome.retry_after.isdigit() for outcome in failures)
        each.slowest = max(each.slowest, *(outcome.answered - outcome.asked for outcome in meanwhile))
        if failures:
            each.first_failed[use.worker] = failures[0].answered - began
        recovered = use.wait(ended, served=True, seconds=ended + scale.recovery - time.monotonic())
        each.recovered_after[use.worker] = None if recovered is None else recovered - ended
    each.failed = dict(failed)


def _after(each: Weathered, uses: Sequence[Use], deployment: Deployment) -> None:
    for use in uses:
        use.stop()
    each.states = [state for _, state in deployment.observer.states(each.tenant)]
    each.receipts = len(deployment.client(each.tenant).receipts(each.tenant))
    each.messages, each.lost = count_lost(deployment, each.tenant, uses)
