"""Counts every call that the service makes to a KMS or a store, and does something at a chosen one."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from core.bootstrap import Application, Leaves, assemble
from core.domain.kek import KeyAccess

When = Literal["before", "after"]
KMS = frozenset({"wrap", "unwrap", "describe"})


class Killed(BaseException):
    """The process ends here: nothing of ours may catch it."""


@dataclass
class Point:
    """One call, by its number among all calls."""

    number: int
    name: str


@dataclass
class Injector:
    """Wraps leaves. ``act`` runs at call ``at``, before or after it, and may raise.

    Attributes:
        at: Number of the call, from 0; -1 for none.
        when: Whether the call's effect has happened.
        act: What happens there; gets the call's name.
        points: Every call made while armed.
    """

    at: int = -1
    when: When = "before"
    act: Callable[[str], None] = lambda name: None
    points: list[Point] = field(default_factory=list)
    armed: bool = False

    def arm(self, at: int = -1, when: When = "before", act: Callable[[str], None] = lambda name: None) -> None:
        """Count from now on, and act at a call."""
        self.at, self.when, self.act, self.points, self.armed = at, when, act, [], True

    def wrap(self, leaf: Any, *names: str) -> Any:
        """A leaf whose named methods are counted."""
        return _Counted(self, leaf, frozenset(names))

    def call(self, name: str, function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        """One counted call."""
        if not self.armed:
            return function(*args, **kwargs)
        number = len(self.points)
        self.points.append(Point(number, name))
        if number == self.at and self.when == "before":
            self._act(name)
        result = function(*args, **kwargs)
        if number == self.at and self.when == "after":
            self._act(name)
        return result

    def _act(self, name: str) -> None:
        self.armed = False
        try:
            self.act(name)
        finally:
            self.armed = True


class _Counted:
    def __init__(self, injector: Injector, leaf: Any, names: frozenset[str]) -> None:
        self._injector, self._leaf, self._names = injector, leaf, names

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._leaf, name)
        if name not in self._names:
            return found
        return lambda *args, **kwargs: self._injector.call(name, found, *args, **kwargs)


class _Connector:
    def __init__(self, injector: Injector, connector: Any) -> None:
        self._injector, self._connector = injector, connector

    def connect(self, access: KeyAccess) -> Any:
        return self._injector.wrap(self._connector.connect(access), *KMS)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._connector, name)


def injected(app: Application, injector: Injector) -> Application:
    """A process over the same leaves whose calls are counted."""
    return assemble(app.config, injected_leaves(app.leaves, injector))


def injected_leaves(leaves: Leaves, injector: Injector) -> Leaves:
    """Leaves whose calls are counted."""
    return replace(
        leaves,
        key_store=injector.wrap(
            leaves.key_store,
            *("read", "list_versions", "read_fence", "create", "rotate", "replace_wrapping", "move_fence"),
        ),
        tenant_store=injector.wrap(leaves.tenant_store, "read", "write"),
        audit_log=injector.wrap(leaves.audit_log, "head", "append"),
        platform=injector.wrap(leaves.platform, *KMS),
        connectors={name: _Connector(injector, found) for name, found in leaves.connectors.items()},
    )
