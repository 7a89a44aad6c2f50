"""What runs on a schedule, by one entry: `Schedules.run`. Safe to repeat, to overlap, and to be cut short.

``check`` pages through all tenants: asks the keys that are due, finishes what is half done, tests the canaries. It
keeps how far it got, so that the next run goes on there. ``watch`` looks only at tenants whose key this process knows
to be in trouble, and is cheap enough for twice a second.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import suppress
from dataclasses import dataclass, field
from threading import Lock

from core.domain.tenants import SYSTEM
from core.domain.timing import Instant
from core.errors import InvalidRequest, KeysteadError
from core.ports import TenantStore
from core.service.revocation.checks import RevocationChecks
from core.service.revocation.guard import VendorFaultGuard
from core.service.revocation.upkeep import Upkeep
from core.service.revocation.watch import Watch
from core.service.tenant_records import TenantRecords

NAMES = ("check", "watch")
CURSOR = "schedule:check"
PAGE = 100
THREADS = 8
"""Keys asked at one time: one KMS that hangs must not hold up the others."""
log = logging.getLogger("keystead.schedule")


@dataclass(slots=True)
class Ran:
    """What a run did.

    Attributes:
        name: Of the schedule.
        tenants: Tenants looked at.
        failed: Tenants whose check failed, by error code.
        finished: Whether it came to the end; if not, the next run goes on where this one stopped.
    """

    name: str
    tenants: int = 0
    failed: dict[str, int] = field(default_factory=dict)
    finished: bool = True


class Schedules:
    """Runs schedules.

    Args:
        records: Page through the tenants.
        store: Keeps how far a run got.
        checks: Check keys.
        upkeep: Finishes what is half done.
        guard: Tests the canaries.
        watch: Knows the tenants in trouble.
        now: Reads both clocks.
    """

    def __init__(
        self,
        *,
        records: TenantRecords,
        store: TenantStore,
        checks: RevocationChecks,
        upkeep: Upkeep,
        guard: VendorFaultGuard,
        watch: Watch,
        now: Callable[[], Instant],
    ) -> None:
        self._records = records
        self._store = store
        self._checks = checks
        self._upkeep = upkeep
        self._guard = guard
        self._watch = watch
        self._now = now
        self._pools: dict[str, ThreadPoolExecutor] = {}
        self._running: set[tuple[str, str]] = set()
        self._lock = Lock()

    def run(self, name: str, seconds: float, stopping: Callable[[], bool] = lambda: False) -> Ran:
        """Run a schedule.

        Args:
            name: ``check`` or ``watch``.
            seconds: Time it may take; what has begun then is not waited for.
            stopping: Whether to begin nothing more.

        Raises:
            InvalidRequest: There is no such schedule.
            StoreUnavailable, StoreCorrupt: The tenants cannot be read.
        """
        if name not in NAMES:
            raise InvalidRequest("there is no such schedule", hint=f"there are: {', '.join(NAMES)}")
        deadline = self._now().plus(seconds)
        end, ran = deadline.boot, Ran(name)
        if name == "watch":
            urgent, patient = self._watch.due()
            self._each(urgent, self._look, ran, end, stopping, "watch")
            self._each(patient, self._look, ran, end, stopping, "watch-silent")
            return ran
        self._guard.retest(deadline)
        after = self._cursor()
        while not stopping() and self._now().boot < end:
            # A record that is damaged fails its own check, and nobody else's.
            page = self._records.ids(after=after, limit=PAGE)
            if not self._each(page, self._look_and_mend, ran, end, stopping):
                break
            after = page[-1] if len(page) == PAGE else ""
            self._keep(after)
            if not after:
                return ran
        ran.finished = False
        return ran

    def close(self) -> None:
        """Let go of the threads; what runs is not waited for longer than its KMS budget."""
        with self._lock:
            pools, self._pools = list(self._pools.values()), {}
        for pool in pools:
            pool.shutdown(wait=True, cancel_futures=True)

    def _look(self, tenant_id: str) -> None:
        self._checks.check(tenant_id)

    def _look_and_mend(self, tenant_id: str) -> None:
        state = self._checks.check(tenant_id)
        if state is not None:
            self._upkeep.mend(tenant_id)

    def _each(
        self,
        tenants: Iterable[str],
        act: Callable[[str], None],
        ran: Ran,
        end: float,
        stopping: Callable[[], bool],
        pool: str = "check",
    ) -> bool:
        # Gives whether all of them were begun. Each pool has threads of its own: neither all tenants' check nor KMSes
        # that do not answer hold up those whose key was withdrawn.
        futures: list[Future[str]] = []
        begun = True
        for tenant_id in tenants:
            if stopping() or self._now().boot >= end:
                begun = False
                break
            with self._lock:
                if (pool, tenant_id) in self._running:
                    continue  # an earlier run still waits for its KMS
                self._running.add((pool, tenant_id))
            futures.append(self._submit(pool, tenant_id, act))
        ran.tenants += len(futures)
        done, _ = wait(futures, timeout=max(0.0, end - self._now().boot))
        for future in done:
            code = future.result()
            if code:
                ran.failed[code] = ran.failed.get(code, 0) + 1
        return begun

    def _submit(self, name: str, tenant_id: str, act: Callable[[str], None]) -> Future[str]:
        with self._lock:
            if name not in self._pools:
                self._pools[name] = ThreadPoolExecutor(THREADS, thread_name_prefix=f"keystead-{name}")
            return self._pools[name].submit(self._guarded, name, tenant_id, act)

    def _guarded(self, pool: str, tenant_id: str, act: Callable[[str], None]) -> str:
        try:
            act(tenant_id)
        except KeysteadError as error:
            log.warning("a check failed", extra={"fields": {"tenant": tenant_id, "code": error.code}})
            self._watch.later(tenant_id, 5.0)
            return error.code
        except Exception:
            log.exception("a check broke", extra={"fields": {"tenant": tenant_id}})
            self._watch.later(tenant_id, 20.0)
            return "internal"
        finally:
            with self._lock:
                self._running.discard((pool, tenant_id))
        return ""

    def _cursor(self) -> str:
        document = self._store.read(SYSTEM, CURSOR)
        after = "" if document is None else document.body.get("after", "")
        return after if isinstance(after, str) else ""

    def _keep(self, after: str) -> None:
        # Lost, it costs a second look.
        with suppress(KeysteadError):
            document = self._store.read(SYSTEM, CURSOR)
            revision = 0 if document is None else document.revision
            self._store.write(SYSTEM, CURSOR, {"after": after}, expected_revision=revision)
