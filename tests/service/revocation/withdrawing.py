"""A World with a tenant under a KEK of its own, whose KMS a test can have deny, or be silent."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from core.bootstrap import Application, Config
from core.domain.canaries import Canary
from core.domain.kek import Kek
from core.domain.key_policy import KeyPolicy
from core.domain.key_target import KeyTarget
from core.domain.states import State
from core.domain.tenants import TenantRecord
from core.domain.withdrawals import Withdrawal
from core.errors import Denial, KeysteadError, OwnFault, ProviderSignal, Silence
from tests.service.world import OTHER_KEK, World

CANARY = Kek("local:canary")


class FixedMacKey:
    """A key for MACs, where no service is around."""

    def key(self) -> bytes:
        return b"m" * 32


MACS = FixedMacKey()
PLAIN = ("disabled", "deleted", "pending_deletion", "not_found")
ACCESS = ("policy", "identity")


@dataclass
class Owned:
    """A world, its tenant's KEK, and what the KMS says of it.

    Attributes:
        policy: The tenant's knobs.
        canary: Whether the operator has a canary.
        signal: What the KMS raises for the tenant's KEK, or None.
        canary_signal: Likewise for the canary.
        asked: Every call about the tenant's KEK: operation and the row's type.
    """

    policy: KeyPolicy = field(default_factory=KeyPolicy)
    canary: bool = False
    signal: Callable[[], ProviderSignal] | None = None
    canary_signal: Callable[[], ProviderSignal] | None = None
    asked: list[tuple[str, str]] = field(default_factory=list)
    count: int = 0

    def __post_init__(self) -> None:
        canaries = (Canary(CANARY.locator),) if self.canary else ()
        self.world = World(config=Config(policy=self.policy, canaries=canaries))
        self.world.kms.keys[CANARY.locator] = bytes(32)
        self.world.tenant()
        self.world.app.key_configuration.configure("acme", KeyTarget(OTHER_KEK.locator), {})
        self.message = self.world.encrypt()
        self.world.kms.trouble = self._trouble

    @property
    def app(self) -> Application:
        """The first process."""
        return self.world.app

    @property
    def record(self) -> TenantRecord:
        """The tenant's record as stored."""
        return self.app.tenants.read("acme")

    @property
    def state(self) -> State:
        """The state as stored."""
        return self.record.state

    @property
    def withdrawal(self) -> Withdrawal:
        """The withdrawal as stored."""
        found = self.record.withdrawal
        assert found is not None
        return found

    def deny(self, cause: str = "disabled", code: str = "DisabledException") -> None:
        """Have the KMS refuse the tenant's KEK; every request has an id of its own."""

        def denial() -> Denial:
            self.count += 1
            return Denial("no", cause=cause, kms_code=code, request_id=f"r-{self.count}")

        self.signal = denial

    def silence(self) -> None:
        """Have it not answer."""
        self.signal = lambda: Silence("no answer")

    def own_fault(self) -> None:
        """Have our own credentials be at fault."""
        self.signal = lambda: OwnFault("expired", kms_code="ExpiredToken")

    def serve(self) -> None:
        """Have it serve again."""
        self.signal = None

    def outcome(self, app: Application | None = None) -> str:
        """What a caller gets: ``ok`` or the error's code."""
        try:
            plaintext = (app or self.app).encryption.decrypt("acme", self.message, {})
        except KeysteadError as error:
            return error.code
        assert plaintext == b"secret"
        return "ok"

    def expire_lease(self) -> None:
        """Let every lease end."""
        self.world.clock.advance(self.policy.lease + 1)

    def check(self, *, forced: bool = True) -> State | None:
        """Check the key."""
        return self.app.checks.check("acme", forced=forced)

    def revoke(self, cause: str = "disabled") -> None:
        """Take the tenant to ``revoked``."""
        self.deny(cause)
        self.check()
        self.world.clock.advance(61)
        self.check()
        assert self.state is State.REVOKED

    def _trouble(self, operation: str, context: Mapping[str, str]) -> None:
        about = context.get("kms-arn", "")
        if about == OTHER_KEK.locator:
            self.asked.append((operation, context.get("type", "")))
            if self.signal is not None:
                raise self.signal()
        if about == CANARY.locator and self.canary_signal is not None:
            raise self.canary_signal()
