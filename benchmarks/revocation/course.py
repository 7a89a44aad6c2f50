"""The course of one act: the key is withdrawn under load, given back, and everything in between is timed."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from benchmarks.revocation.acts import Act, OwnKey, Tenant
from benchmarks.revocation.refusals import Refusals
from benchmarks.revocation.service import Deployment
from benchmarks.revocation.use import Caller, Outcome, Use
from core.client.client import KeysteadClient
from core.domain import receipts
from core.domain.instants import parse_instant
from core.errors import KeysteadError

LOOK_EVERY = 0.1
"""Seconds between two looks at the list of receipts."""


@dataclass(frozen=True, slots=True)
class Pace:
    """How a run is set up. Seconds.

    Attributes:
        lease: Of the tenants.
        confirm: How long the service waits before a refusal by policy or identity counts as confirmed.
        apart: Up to how much later, by chance, the second worker begins to use a key.
        warm: How long the keys are used before anything happens.
        withdrawn: How long a withdrawn key stays so once its state is final, so that probing has slowed down.
        jitter: Up to how much longer, by chance, so that the giving back meets any phase between two probes.
        patience: For everything that is waited for, beyond what the settings say.
        after: How long a key is used after it is reinstated.
    """

    lease: float
    confirm: float
    apart: float
    warm: float
    withdrawn: float
    jitter: float
    patience: float
    after: float


@dataclass
class Timing:
    """What was measured. Seconds; None where it did not come to that.

    Attributes:
        act: Its name.
        tenant: The tenant.
        cloud: Where the key lies.
        documented: What the cloud says of its own delay, in a few words.
        expected: ``state``, ``cause`` and ``code`` in which it must end.
        token_life: Whether tokens that are out stay good.
        refused_after: From the act to the cloud's first refusal: here the cloud's own delay is none.
        served_after: By worker: from the first refusal to the last answer that was served; of the kill switch, from
            when it was acknowledged.
        served_begun_after: By worker: calls sent after the act was done that were served.
        held_after: From the first refusal to the state ``hold``.
        final_after: From there to the state in which it must end.
        receipt_after: From there to the receipt in the list that the service gives out.
        restored_after: By worker: from the giving back to the first of the calls that were all served from then on.
        heard: Error codes by how often callers heard them while the key was withdrawn.
        failed_before: Calls before the act that were not served.
        failed_after: Calls after the restoration that were not served.
        messages: Messages encrypted in all.
        lost: Of them, not to be decrypted afterwards, over both workers; or decrypted to something else.
        states: The stored states in order.
        cause: Of the withdrawal, as the receipt, or the status, names it.
        receipt: What the verified receipt states, or None.
        problems: What else was not as it must be.
    """

    act: str
    tenant: str
    cloud: str
    documented: str
    expected: Mapping[str, str]
    token_life: bool = False
    refused_after: float | None = None
    served_after: dict[str, float] = field(default_factory=dict)
    served_begun_after: dict[str, int] = field(default_factory=dict)
    held_after: float | None = None
    final_after: float | None = None
    receipt_after: float | None = None
    restored_after: dict[str, float | None] = field(default_factory=dict)
    heard: dict[str, int] = field(default_factory=dict)
    failed_before: int = 0
    failed_after: int = 0
    messages: int = 0
    lost: int = 0
    states: list[str] = field(default_factory=list)
    cause: str = ""
    receipt: Mapping[str, Any] | None = None
    problems: list[str] = field(default_factory=list)


class Course:
    """One act, from the key's making to its end.

    Args:
        act: The act.
        deployment: The service.
        refusals: What the cloud refused.
        pace: How long everything takes.
        chance: From 0 to 1.
    """

    def __init__(self, act: Act, deployment: Deployment, refusals: Refusals, pace: Pace, chance: float) -> None:
        self._act = act
        self._deployment = deployment
        self._refusals = refusals
        self._pace = pace
        self._chance = chance
        expected = {"state": act.state, "cause": act.cause, "code": act.code}
        self._timing = Timing(act.name, act.tenant, act.cloud, act.documented.brief, expected, act.token_life)
        self._lease = pace.lease if act.lease is None else act.lease

    def set_up(self) -> OwnKey:
        """Create the tenant, and put it under a key."""
        return with_own_key(self._deployment, self._act.tenant, self._act.make, self._lease)

    def use(self) -> tuple[Use, ...]:
        """Begin to use the key."""
        return self._deployment.use(self._act.tenant, self._pace.apart * self._chance)

    def run(self, key: OwnKey, uses: Sequence[Use]) -> Timing:
        """Withdraw the key and give it back; everything that was measured."""
        timing = self._timing
        began = time.monotonic()
        key.withdraw()
        done = time.monotonic()
        before = [outcome for use in uses for outcome in use.outcomes if outcome.asked < began]
        timing.failed_before = sum(not outcome.served and not self._overtaken(outcome, began) for outcome in before)
        refused = done if self._act.kill_switch else self._refused(key, began)
        if refused is not None:
            self._ended(uses, began, done, refused)
            time.sleep(self._pace.withdrawn + self._pace.jitter * self._chance)
        returning = time.monotonic()
        key.give_back()
        self._restored(uses, began, returning)
        return timing

    def _overtaken(self, outcome: Outcome, began: float) -> bool:
        # A call that was under way when the key was withdrawn may be refused for that, and for nothing else.
        return outcome.answered >= began and outcome.code == self._act.code

    def _refused(self, key: OwnKey, began: float) -> float | None:
        # A token or a session that is out is used for at most another lease.
        refused = self._refusals.first(key.names, began, 2 * self._lease + self._pace.patience)
        if refused is None:
            self._timing.problems.append("the cloud refused nothing")
        else:
            self._timing.refused_after = refused - began
        return refused

    def _ended(self, uses: Sequence[Use], began: float, done: float, refused: float) -> None:
        act, pace, timing, observer = self._act, self._pace, self._timing, self._deployment.observer
        seconds = pace.patience + (pace.confirm if act.confirmed_late else 0)
        final = observer.wait(act.tenant, act.state, began, seconds)
        timing.final_after = None if final is None else final - refused
        held = observer.wait(act.tenant, "hold", began, 0)
        timing.held_after = None if held is None else held - refused
        if act.has_receipt:
            self._receipt(began, refused)
        for use in uses:
            if use.wait(began, served=False, seconds=pace.patience) is None:
                timing.problems.append(f"{use.worker} goes on serving")
        for use in uses:
            served = [outcome for outcome in use.since(began) if outcome.served]
            last = max((outcome.answered for outcome in served), default=refused)
            timing.served_after[use.worker] = max(0.0, last - refused)
            timing.served_begun_after[use.worker] = sum(outcome.asked >= done for outcome in served)
        status = self._deployment.client(act.tenant).key_status(act.tenant)
        timing.cause = status.cause
        if status.state != act.state:
            timing.problems.append(f"the status says {status.state}")

    def _receipt(self, began: float, refused: float) -> None:
        client, timing, tenant_id = self._deployment.client(self._act.tenant), self._timing, self._act.tenant
        deadline = time.monotonic() + self._pace.patience
        while not (found := client.receipts(tenant_id)):
            if time.monotonic() > deadline:
                timing.problems.append("there is no receipt")
                return
            time.sleep(LOOK_EVERY)
        timing.receipt_after = time.monotonic() - refused
        timing.receipt = stated(client, tenant_id, found[-1].id, self._deployment.jwks())
        if timing.receipt["tenant_id"] != tenant_id or len(found) != 1:
            timing.problems.append("the receipt is another one")
        if parse_instant(timing.receipt["first_denial"]) < time.time() - (time.monotonic() - began):
            timing.problems.append("the receipt's first denial is older than the act")

    def _restored(self, uses: Sequence[Use], began: float, returning: float) -> None:
        pace, timing = self._pace, self._timing
        for use in uses:
            restored = use.wait(returning, served=True, seconds=pace.patience)
            timing.restored_after[use.worker] = None if restored is None else restored - returning
        time.sleep(pace.after)
        heard: Counter[str] = Counter()
        for use in uses:
            restored = timing.restored_after[use.worker]
            later = float("inf") if restored is None else returning + restored
            for outcome in use.since(began):
                heard[outcome.code] += not outcome.served and outcome.answered < later
                timing.failed_after += not outcome.served and outcome.answered >= later
            if timing.receipt is not None:
                self._check_promise(use, timing.receipt, returning)
        timing.heard = {code: count for code, count in heard.items() if count}
        timing.states = [state for _, state in self._deployment.observer.states(self._act.tenant)]
        for use in uses:
            use.stop()
        timing.messages, timing.lost = count_lost(self._deployment, self._act.tenant, uses)

    def _check_promise(self, use: Use, receipt: Mapping[str, Any], returning: float) -> None:
        # What the receipt promises: nothing is served from an instant on, until the key was given back.
        epoch = time.time() - time.monotonic()
        promised = parse_instant(receipt["not_served_after"]) - epoch
        if any(outcome.served and promised < outcome.answered < returning for outcome in use.outcomes):
            self._timing.problems.append(f"{use.worker} served after what the receipt says")


def with_own_key(
    deployment: Deployment,
    tenant_id: str,
    make: Callable[[Tenant], OwnKey],
    lease: float,
    outage_grace: float | None = None,
) -> OwnKey:
    """Create a tenant, and put it under a key of its own.

    Args:
        deployment: The service.
        tenant_id: The tenant.
        make: Makes the key.
        lease: Seconds.
        outage_grace: Seconds; None leaves it as it is.
    """
    deployment.operator.create_tenant(tenant_id)
    client = deployment.client(tenant_id)
    key = make(Tenant(tenant_id, client, deployment.operator))
    client.configure_key(tenant_id, **key.target)
    client.set_policy(tenant_id, lease=lease, outage_grace=outage_grace)
    return key


def stated(client: KeysteadClient, tenant_id: str, receipt_id: str, jwks: Mapping[str, Any]) -> Mapping[str, Any]:
    """Fetch a receipt, verify it with the keys that the service publishes, and give what it states.

    Raises:
        InvalidRequest: It does not verify.
    """
    return receipts.verify(client.receipt(tenant_id, receipt_id).statement, jwks)


def count_lost(deployment: Deployment, tenant_id: str, uses: Sequence[Use]) -> tuple[int, int]:
    """Decrypt everything that was ever encrypted, through both workers.

    Returns:
        How many messages there are, and how many of the decryptions went wrong.
    """
    messages, lost, token = [message for use in uses for message in use.messages], 0, deployment.token(tenant_id)
    for url in deployment.urls.values():
        caller = Caller(url, token)
        try:
            lost += sum(bool(code) for code in caller.decrypt_all(messages))
        except (OSError, KeysteadError):
            lost += len(messages)
        finally:
            caller.close()
    return len(messages), lost
