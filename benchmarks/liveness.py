"""Proves, before anything is timed, that every check of the warm path is on: otherwise its speed would mean nothing."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from benchmarks.ours import PAIRS, TENANT
from core.bootstrap import Application, Config, assemble, local_leaves
from core.domain.kek import Kek, KekDescription, UnwrappedKey, WrappedKey
from core.domain.states import State
from core.errors import KeySuspended
from core.ports import Clock, KeyProvider

CALLS = 1000


class NotLive(Exception):
    """A check that DESIGN 5 asks for does not happen on the warm path."""


class CountedClock:
    """A clock that counts how often it is read and can be moved.

    Args:
        clock: The real one.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self.reads = 0
        self.ahead = 0.0
        self.wall_ahead = 0.0

    def wall(self) -> float:
        """See `core.ports.Clock.wall`."""
        self.reads += 1
        return self._clock.wall() + self.ahead + self.wall_ahead

    def boot(self) -> float:
        """See `core.ports.Clock.boot`."""
        self.reads += 1
        return self._clock.boot() + self.ahead


class CountedProvider:
    """A key provider that counts unwraps.

    Args:
        provider: The real one.
    """

    def __init__(self, provider: KeyProvider) -> None:
        self._provider = provider
        self.unwraps = 0

    def wrap(self, kek: Kek, key: bytes, context: Mapping[str, str]) -> WrappedKey:
        """See `core.ports.KeyProvider.wrap`."""
        return self._provider.wrap(kek, key, context)

    def unwrap(self, wrapped: WrappedKey, context: Mapping[str, str]) -> UnwrappedKey:
        """See `core.ports.KeyProvider.unwrap`."""
        self.unwraps += 1
        return self._provider.unwrap(wrapped, context)

    def describe(self, kek: Kek) -> KekDescription:
        """See `core.ports.KeyProvider.describe`."""
        return self._provider.describe(kek)


class Unheard:
    """Takes the alarms that the check provokes, so that they do not stand in the benchmark's output."""

    def emit(self, event_type: str, subject: str, data: Mapping[str, Any]) -> None:
        """See `core.ports.Events.emit`."""


@dataclass(frozen=True)
class Liveness:
    """What was counted.

    Attributes:
        clock_reads_per_encrypt: Readings of a clock per warm encrypt; wall and boot clock count one each.
        clock_reads_per_decrypt: Likewise per warm decrypt, which checks before and after.
        unwraps_while_warm: Must be 0.
        unwraps: By what happened before the next call: how often it asked the KMS. Each must be 1.
        suspension_refused: Whether a suspension in the store refuses a warm key after ``state_age``.
    """

    clock_reads_per_encrypt: float
    clock_reads_per_decrypt: float
    unwraps_while_warm: int
    unwraps: Mapping[str, int]
    suspension_refused: bool


def check(data_dir: Path) -> Liveness:
    """Count, and insist.

    Args:
        data_dir: An empty directory.

    Raises:
        NotLive: A check is missing.
    """
    config = Config(data_dir=data_dir)
    leaves = local_leaves(config)
    clock, provider = CountedClock(leaves.clock), CountedProvider(leaves.platform)
    app = assemble(config, replace(leaves, clock=clock, events=Unheard(), platform=provider))
    try:
        app.tenants.create(TENANT)
        found = _count(app, clock, provider)
    finally:
        app.close()
    missing = [
        name
        for name, good in {
            "clocks before encrypting": found.clock_reads_per_encrypt >= 2,
            "clocks before and after decrypting": found.clock_reads_per_decrypt >= 4,
            "data keys cached at all": found.unwraps_while_warm == 0,
            **{f"a new unwrap after: {name}": count == 1 for name, count in found.unwraps.items()},
            "state read again": found.suspension_refused,
        }.items()
        if not good
    ]
    if missing:
        raise NotLive(f"{', '.join(missing)}: {asdict(found)}")
    return found


def _count(app: Application, clock: CountedClock, provider: CountedProvider) -> Liveness:
    encrypt, decrypt = app.encryption.encrypt, app.encryption.decrypt
    message = encrypt(TENANT, b"warm", PAIRS)
    decrypt(TENANT, message, PAIRS)
    before = provider.unwraps

    def reads(call: Callable[[], object]) -> float:
        start = clock.reads
        for _ in range(CALLS):
            call()
        return (clock.reads - start) / CALLS

    encrypting = reads(lambda: encrypt(TENANT, b"warm", PAIRS))
    decrypting = reads(lambda: decrypt(TENANT, message, PAIRS))
    warm = provider.unwraps - before

    def unwraps_after(happens: Callable[[], object], call: Callable[[], object]) -> int:
        encrypt(TENANT, b"warm", PAIRS)
        decrypt(TENANT, message, PAIRS)
        happens()
        start = provider.unwraps
        call()
        return provider.unwraps - start

    def lease_ends() -> None:
        clock.ahead += app.config.policy.lease + 1

    def clock_steps_back() -> None:
        clock.wall_ahead -= 1

    events = {"purge": lambda: app.gate.purge(TENANT), "lease over": lease_ends, "clock back": clock_steps_back}
    calls: dict[str, Callable[[], object]] = {
        "encrypt": lambda: encrypt(TENANT, b"warm", PAIRS),
        "decrypt": lambda: decrypt(TENANT, message, PAIRS),
    }
    unwraps = {
        f"{event}, {name}": unwraps_after(happens, call)
        for event, happens in events.items()
        for name, call in calls.items()
    }
    return Liveness(encrypting, decrypting, warm, unwraps, _suspension_refuses(app, clock))


def _suspension_refuses(app: Application, clock: CountedClock) -> bool:
    found = app.records.read(TENANT)
    if found is None:
        return False
    app.records.write(replace(found[0], state=State.SUSPENDED), expected_revision=found[1])
    clock.ahead += app.config.state_age + 1
    try:
        app.encryption.encrypt(TENANT, b"warm", PAIRS)
    except KeySuspended:
        return True
    return False
