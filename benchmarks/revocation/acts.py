"""What an act of withdrawal is: how a key comes to be, how it is withdrawn and given back, and what must follow."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from benchmarks.revocation.documented import Documented
from core.client.client import KeysteadClient
from core.domain.withdrawals import ACCESS_CAUSES


@dataclass(frozen=True, slots=True)
class OwnKey:
    """A tenant's key in its cloud.

    Attributes:
        target: What `KeysteadClient.configure_key` is told of it.
        names: What calls are about that the withdrawal has refused.
        withdraw: The act.
        give_back: Undoes it.
    """

    target: Mapping[str, Any]
    names: frozenset[str]
    withdraw: Callable[[], object]
    give_back: Callable[[], object]


@dataclass(frozen=True, slots=True)
class Tenant:
    """Whose key it is.

    Attributes:
        id: The tenant's.
        client: Of the tenant.
        operator: Of whoever runs the service.
    """

    id: str
    client: KeysteadClient
    operator: KeysteadClient


@dataclass(frozen=True, slots=True)
class Act:
    """A way to withdraw a key.

    Attributes:
        name: What is done.
        tenant: Id of the tenant that does it; of its own, so that acts do not meet.
        cloud: Where the key lies.
        make: Makes a key for a tenant.
        documented: What the cloud says of its own delay.
        cause: As the service must name it.
        state: In which the key must end.
        code: What callers must hear then.
        lease: Seconds, instead of the run's; None for the run's.
        token_life: Whether tokens that are out stay good: then the first refusal comes with the next token.
        kill_switch: Whether it is the service's own switch: nothing is refused by a cloud.
    """

    name: str
    tenant: str
    cloud: str
    make: Callable[[Tenant], OwnKey]
    documented: Documented
    cause: str = "disabled"
    state: str = "revoked"
    code: str = "key_revoked"
    lease: float | None = None
    token_life: bool = False
    kill_switch: bool = False

    @property
    def confirmed_late(self) -> bool:
        """Whether the service waits before it takes the refusal for confirmed."""
        return self.cause in ACCESS_CAUSES

    @property
    def has_receipt(self) -> bool:
        """Whether a receipt must follow."""
        return self.state == "revoked"
