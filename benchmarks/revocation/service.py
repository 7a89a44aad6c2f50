"""Two service processes over one data directory, whoever speaks to them, and who looks at the store behind them."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import httpx

from benchmarks.revocation.use import PLAINTEXT, Token, Use
from core.bootstrap import Config, build
from core.client.client import KeysteadClient
from core.errors import KeysteadError
from functions.cli import token as tokens
from functions.cli.demo.service import ServiceProcess

WORKERS = ("worker 1", "worker 2")
LOOK_EVERY = 0.05
"""Seconds between two looks at the store."""
SET_UP_TOGETHER = 4
"""Tenants whose keys are set up at one time."""
TOKEN_LIFETIME = 2 * 3600
SERVED_WITHIN = 60.0
"""Seconds in which a worker serves a tenant for the first time, on a machine however busy."""


class NotServed(Exception):
    """A worker does not serve a tenant although nothing is wrong with its key."""


def wait_until_served(uses: Iterable[Use]) -> None:
    """Wait until all are served: a worker that does not hold a key yet has none to measure, or to serve in a grace.

    Raises:
        NotServed: One is not, for a minute.
    """
    for use in uses:
        if use.wait(0, served=True, seconds=SERVED_WITHIN) is None:
            raise NotServed(f"{use.tenant_id} is not served by {use.worker}")


class Observer:
    """Notes when tenants' stored states change. Reads the store beside the service, so the service is not disturbed.

    Args:
        data: The service's data directory.
    """

    def __init__(self, data: Path) -> None:
        self._application = build(Config(data_dir=data))
        self._states: dict[str, list[tuple[float, str]]] = {}
        self._watched: tuple[str, ...] = ()
        self._stopping = threading.Event()
        self._changed = threading.Condition()
        self._thread = threading.Thread(target=self._run, name="observer", daemon=True)
        self._thread.start()

    def watch(self, tenant_id: str) -> None:
        """Begin to look at a tenant."""
        with self._changed:
            self._watched = (*self._watched, tenant_id)

    def states(self, tenant_id: str) -> Sequence[tuple[float, str]]:
        """A tenant's states, oldest first, each with when it was first seen, as `time.monotonic`."""
        with self._changed:
            return [*self._states.get(tenant_id, ())]

    def wait(self, tenant_id: str, state: str, since: float, seconds: float) -> float | None:
        """Wait for a state; gives when it was first seen, at an instant or later, or None if it did not come."""
        deadline = time.monotonic() + seconds
        with self._changed:
            while True:
                for at, found in self._states.get(tenant_id, ()):
                    if at >= since and found == state:
                        return at
                left = deadline - time.monotonic()
                if left <= 0:
                    return None
                self._changed.wait(left)

    def close(self) -> None:
        """Stop looking."""
        self._stopping.set()
        self._thread.join()
        self._application.close()

    def _run(self) -> None:
        while not self._stopping.wait(LOOK_EVERY):
            for tenant_id in self._watched:
                self._look(tenant_id)

    def _look(self, tenant_id: str) -> None:
        try:
            found = self._application.records.read(tenant_id)
        except KeysteadError:
            return  # a busy store; the next look comes soon
        if found is None:
            return
        with self._changed:
            states = self._states.setdefault(tenant_id, [])
            if not states or states[-1][1] != found[0].state:
                states.append((time.monotonic(), str(found[0].state)))
                self._changed.notify_all()


class Deployment:
    """The two processes.

    Args:
        data: Their data directory.
        services: The processes, running.
        observer: Looks at their store.
        every: Seconds from one call of a `Use` to its next.
    """

    def __init__(self, data: Path, services: Sequence[ServiceProcess], observer: Observer, every: float) -> None:
        self.data = data
        self.observer = observer
        self.urls = dict(zip(WORKERS, (service.url for service in services), strict=True))
        self._clients: dict[str, KeysteadClient] = {}
        self._every = every
        self._lock = threading.Lock()
        self._uses: list[Use] = []

    @property
    def operator(self) -> KeysteadClient:
        """The operator's client."""
        return self.client("")

    def client(self, tenant_id: str) -> KeysteadClient:
        """A client of a tenant with every scope that a tenant can have, or of the operator; to the first worker."""
        with self._lock:
            if tenant_id not in self._clients:
                self._clients[tenant_id] = KeysteadClient(self.urls[WORKERS[0]], self.token(tenant_id).bearer)
            return self._clients[tenant_id]

    def token(self, tenant_id: str) -> Token:
        """A token of a tenant, or of the operator."""
        scopes = tokens.expand(("app", "admin") if tenant_id else ("operator",))
        minted = tokens.mint(self.data, f"bench-{tenant_id or 'operator'}", tenant_id or None, scopes, TOKEN_LIFETIME)
        return Token(tenant_id, minted)

    def use(self, tenant_id: str, later: float = 0) -> tuple[Use, ...]:
        """Begin to use a tenant's key through both workers.

        Args:
            tenant_id: The tenant.
            later: How many seconds later the second one begins: so that leases do not end in both at the same time.
        """
        token, message = self.token(tenant_id), self.client(tenant_id).encrypt(tenant_id, PLAINTEXT, {})
        uses = tuple(
            Use(worker, url, token, message, every=self._every, later=later * number)
            for number, (worker, url) in enumerate(self.urls.items())
        )
        self.observer.watch(tenant_id)
        with self._lock:
            self._uses += uses
        for use in uses:
            use.messages.append(message)
            use.start()
        return uses

    def jwks(self) -> Mapping[str, Any]:
        """The set of public keys that the service publishes."""
        answer = httpx.get(f"{self.urls[WORKERS[0]]}/.well-known/jwks.json", trust_env=False, timeout=30)
        found: dict[str, Any] = answer.raise_for_status().json()
        return found

    def stop(self) -> None:
        """End every use, and close the clients."""
        with self._lock:
            uses, self._uses = self._uses, []
        for use in uses:
            use.stop()
        while self._clients:
            self._clients.popitem()[1].close()


@contextmanager
def deployed(directory: Path, variables: Mapping[str, str], *, every: float) -> Iterator[Deployment]:
    """Two processes of the service that live as long as the block.

    Args:
        directory: Empty; for their data and what they print.
        variables: Their whole environment.
        every: As in `Deployment`.
    """
    data = directory / "data"
    with ExitStack() as stack:
        services = []
        for worker in WORKERS:
            output = directory / worker.replace(" ", "-")
            output.mkdir()
            service = ServiceProcess(data, output, variables)
            stack.callback(service.stop)
            service.start()
            services.append(service)
        observer = Observer(data)
        stack.callback(observer.close)
        deployment = Deployment(data, services, observer, every)
        stack.callback(deployment.stop)
        yield deployment
