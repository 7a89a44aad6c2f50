"""A tenant's share of the places and threads: whose KMS hangs delays and shuts out nobody else."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections import Counter
from collections.abc import Callable, Coroutine, Iterable
from contextlib import ExitStack
from functools import partial
from typing import Any

import pytest

from core.errors import TooManyRequests
from functions.handlers import Handler
from functions.identity import Identity
from functions.local.app import Endpoint, HostCheck, asgi_app
from functions.local.shares import Shares
from functions.local.slots import Owner, Slots
from functions.local.workers import CallerLeft, Workers
from tests.functions import tokens
from tests.functions.asgi import acall
from tests.functions.fakes import FakeKeystead

ACME, BETA = Owner("acme", data=True), Owner("beta", data=True)
STEERING = Owner("acme", data=False)


class Hanging(FakeKeystead):
    """A service whose every encryption for acme waits until it is let go."""

    def __init__(self) -> None:
        super().__init__()
        self.entered = threading.Semaphore(0)
        self.let_go = threading.Semaphore(0)
        self.done: Counter[str] = Counter()

    def encrypt(self, caller: Any, tenant_id: str, plaintext: bytes, context: Any) -> bytes:
        if tenant_id == "acme":
            self.entered.release()
            assert self.let_go.acquire(timeout=60)
        self.done[tenant_id] += 1
        return super().encrypt(caller, tenant_id, plaintext, context)

    async def hold(self, number: int) -> None:
        """Wait until so many more encryptions hang."""
        for _ in range(number):
            assert await asyncio.to_thread(self.entered.acquire, timeout=60)


class Host:
    """The endpoint over a service that hangs."""

    def __init__(self, **limits: Any) -> None:
        self.service = Hanging()
        handler = Handler(self.service.as_keystead(), Identity([tokens.issuer()]))
        self.endpoint = Endpoint(handler, HostCheck(), **limits)
        self.app = asgi_app(self.endpoint, on_close=lambda: None)

    def ask(self, tenant_id: str, operation: str = "encrypt") -> asyncio.Task[Any]:
        """Begin a request."""
        token = tokens.bearer(tokens.mint(tenant_id=tenant_id))
        if operation == "show":
            return asyncio.create_task(acall(self.app, "GET", f"/v1/tenants/{tenant_id}", [token]))
        headers = [token, ("content-type", "application/octet-stream")]
        return asyncio.create_task(acall(self.app, "POST", f"/v1/tenants/{tenant_id}/{operation}", headers, [b"x"]))

    def run(self, story: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Tell a story; nothing of it may be left."""

        async def told() -> None:
            try:
                await story()
            finally:
                self.service.let_go.release(1000)
            # The threads are done with a request before the loop has heard of it.
            await settle(lambda: not self.endpoint.working_for and not self.endpoint.held)

        asyncio.run(told())
        self.endpoint.close()


async def settle(reached: Callable[[], object]) -> None:
    """Let the loop run until something is so."""
    async with asyncio.timeout(60):
        while not reached():  # noqa: ASYNC110 - what other threads do is told to no one else
            await asyncio.sleep(0.001)


def statuses(answers: Iterable[Any]) -> Counter[int]:
    return Counter(answer.status for answer in answers)


def test_a_tenant_whose_requests_hang_delays_nobody_else() -> None:
    host = Host()

    async def story() -> None:
        hanging = [host.ask("acme") for _ in range(100)]
        await host.service.hold(4)
        others = await asyncio.gather(*(host.ask("beta") for _ in range(20)), host.ask("gamma", "show"))
        assert statuses(others) == {200: 21}
        assert not host.service.entered.acquire(blocking=False), "a quarter of sixteen threads is four"
        assert host.service.done["acme"] == 0
        host.service.let_go.release(100)
        assert statuses(await asyncio.gather(*hanging)) == {200: 100}

    host.run(story)


def test_a_flood_of_one_tenant_leaves_places_for_others_and_for_its_own_kill_switch() -> None:
    host = Host()

    async def story() -> None:
        hanging = [host.ask("acme") for _ in range(128)]
        await host.service.hold(4)
        await settle(lambda: sum(task.done() for task in hanging) == 16)
        refused = [task.result() for task in hanging if task.done()]
        assert statuses(refused) == {429: 16}
        assert statuses(await asyncio.gather(*(host.ask("beta") for _ in range(8)))) == {200: 8}
        steering = host.ask("acme", "show")
        await settle(lambda: host.endpoint.held == 113)
        host.service.let_go.release()
        assert (await steering).status == 200
        assert host.service.done["acme"] == 1, "it waited for one of a hundred only"

    host.run(story)


def test_operators_share_one_bucket_apart_from_the_tenants() -> None:
    host = Host(threads=4)
    operator = tokens.bearer(tokens.mint(tenant_id=None, scope="platform:operate"))

    async def story() -> None:
        hanging = host.ask("acme")
        await host.service.hold(1)
        assert (await acall(host.app, "GET", "/v1/tenants/acme", [operator])).status == 200
        assert not hanging.done()

    host.run(story)


@pytest.mark.parametrize("threads", [1, 3, 4])
def test_every_tenant_has_a_thread_however_few_there_are(threads: int) -> None:
    host = Host(threads=threads)

    async def story() -> None:
        hanging = [host.ask("acme") for _ in range(3)]
        await host.service.hold(1)
        host.service.let_go.release(3)
        assert statuses(await asyncio.gather(*hanging)) == {200: 3}

    host.run(story)


def test_a_request_cut_off_while_it_waits_leaves_the_queue() -> None:
    host = Host(threads=4)

    async def story() -> None:
        first, second, third = (host.ask("acme") for _ in range(3))
        await host.service.hold(1)
        second.cancel()
        assert (await second).status == 503
        host.service.let_go.release(2)
        assert statuses(await asyncio.gather(first, third)) == {200: 2}
        assert host.service.done["acme"] == 2

    host.run(story)


def test_work_that_cannot_be_interrupted_counts_until_it_ends() -> None:
    host = Host(threads=4)

    async def story() -> None:
        first, second = host.ask("acme"), host.ask("acme")
        await host.service.hold(1)
        first.cancel()
        assert (await first).status == 503
        assert (await host.ask("beta")).status == 200
        assert not host.service.entered.acquire(blocking=False), "the thread is still acme's"
        assert host.endpoint.working_for == 1
        host.service.let_go.release()
        await host.service.hold(1)
        host.service.let_go.release()
        assert (await second).status == 200

    host.run(story)


def test_work_cut_off_before_a_thread_began_it_is_never_begun() -> None:
    workers = Workers(1, 1, "test")
    entered, let_go, begun = threading.Event(), threading.Event(), threading.Event()

    def hang() -> None:
        entered.set()
        assert let_go.wait(60)

    async def story() -> None:
        first = asyncio.create_task(workers.run(ACME, hang, never))
        await asyncio.to_thread(entered.wait)
        second = asyncio.create_task(workers.run(BETA, begun.set, never))
        await settle(lambda: workers.tenants == 2)
        second.cancel()
        with pytest.raises(asyncio.CancelledError):
            await second
        let_go.set()
        await first
        await settle(lambda: not workers.tenants)

    asyncio.run(story())
    workers.close()
    assert not begun.is_set()


async def never() -> None:
    await asyncio.Event().wait()


def test_work_that_fails_gives_its_place_back() -> None:
    workers = Workers(1, 1, "test")

    def fail() -> None:
        raise ValueError

    async def story() -> None:
        for _ in range(3):
            with pytest.raises(ValueError):
                await workers.run(ACME, fail, never)
        assert workers.tenants == 0
        workers.close()
        with pytest.raises(RuntimeError):
            await workers.run(ACME, fail, never)
        assert workers.tenants == 0

    asyncio.run(story())


class Line:
    """A connection whose end can be told; it gives a whole body first, as servers do."""

    def __init__(self) -> None:
        self.body = [{"type": "http.request", "body": b"x", "more_body": False}]
        self.listening, self.gone = asyncio.Event(), asyncio.Event()
        self.heard: list[Any] = []

    async def receive(self) -> Any:
        if self.body:
            return self.body.pop()
        self.listening.set()
        await self.gone.wait()
        return {"type": "http.disconnect"}

    async def send(self, message: Any) -> None:
        self.heard.append(message)


@pytest.mark.parametrize("operation", ["encrypt", "show"])
def test_a_caller_that_leaves_while_it_waits_is_let_go(caplog: pytest.LogCaptureFixture, operation: str) -> None:
    caplog.set_level(logging.INFO, "keystead.request")
    host = Host(threads=4, patience=0)
    path = "/v1/tenants/acme" + ("/encrypt" if operation == "encrypt" else "")
    pairs = [("host", "localhost"), ("content-type", "application/octet-stream"), tokens.bearer(tokens.mint())]
    headers = [(name.lower().encode(), value.encode()) for name, value in pairs[: 3 if operation == "encrypt" else 9]]
    method = "POST" if operation == "encrypt" else "GET"
    scope = {"type": "http", "method": method, "path": path, "query_string": b"", "headers": headers}

    async def story() -> None:
        hanging = host.ask("acme")
        await host.service.hold(1)
        line = Line()
        waiting = asyncio.create_task(host.endpoint(scope, line.receive, line.send))
        await line.listening.wait()
        assert host.endpoint.held == 2
        line.gone.set()
        await waiting
        assert (line.heard, host.endpoint.held) == ([], 1)
        host.service.let_go.release()
        assert (await hanging).status == 200
        assert len(host.service.callers) == 1

    host.run(story)
    codes = [record.fields.get("code") for record in caplog.records if record.name == "keystead.request"]  # type: ignore[attr-defined]
    assert codes.count("client_disconnected") == 1


def test_whoever_is_listened_to_no_more_is_served_in_turn() -> None:
    workers = Workers(4, 1, "test", patience=0)
    entered, let_go = threading.Event(), threading.Event()
    looked = asyncio.Event()

    def hang() -> str:
        entered.set()
        assert let_go.wait(60)
        return "first"

    async def looking() -> None:
        looked.set()
        await never()

    async def story() -> None:
        first = asyncio.create_task(workers.run(ACME, hang, never))
        await asyncio.to_thread(entered.wait)
        second = asyncio.create_task(workers.run(ACME, lambda: "second", looking))
        await looked.wait()
        let_go.set()
        assert [await first, await second] == ["first", "second"]
        assert workers.tenants == 0

    asyncio.run(story())
    workers.close()


def test_left_callers_are_told_by_an_error() -> None:
    workers = Workers(4, 1, "test", patience=0)
    entered, let_go = threading.Event(), threading.Event()

    def hang() -> None:
        entered.set()
        assert let_go.wait(60)

    async def left() -> None:
        return

    async def story() -> None:
        first = asyncio.create_task(workers.run(ACME, hang, never))
        await asyncio.to_thread(entered.wait)
        with pytest.raises(CallerLeft):
            await workers.run(ACME, hang, left)
        let_go.set()
        await first
        assert workers.tenants == 0

    asyncio.run(story())
    workers.close()


def test_places_go_to_the_queues_in_turn_and_within_each_in_order() -> None:
    shares: Shares[str] = Shares(2)
    assert [shares.enter(ACME, "a"), shares.enter(STEERING, "b")] == [True, True]
    for owner, work in [(ACME, "d1"), (ACME, "d2"), (ACME, "d3"), (STEERING, "s1"), (STEERING, "s2")]:
        assert not shares.enter(owner, work)
    assert [shares.leave(ACME) for _ in range(5)] == ["s1", "d1", "s2", "d2", "d3"]
    assert not shares.enter(ACME, "d4"), "whoever was next holds the places"
    assert [shares.leave(ACME) for _ in range(2)] == ["d4", None]
    assert len(shares) == 1
    assert [shares.leave(STEERING), len(shares)] == [None, 0]


def test_tenants_do_not_wait_for_one_another() -> None:
    shares: Shares[str] = Shares(1)
    assert [shares.enter(ACME, "a"), shares.enter(ACME, "b"), shares.enter(BETA, "c")] == [True, False, True]
    assert [shares.leave(BETA), len(shares)] == [None, 1]
    assert [shares.leave(ACME), shares.leave(ACME), len(shares)] == ["b", None, 0]


def test_what_is_dropped_is_not_begun() -> None:
    shares: Shares[str] = Shares(1)
    assert not shares.drop(ACME, "a")
    assert shares.enter(ACME, "a")
    assert not shares.drop(ACME, "a"), "it may begin already"
    for work in ("b", "c", "d"):
        assert not shares.enter(ACME, work)
    assert [shares.drop(ACME, "c"), shares.drop(ACME, "c"), shares.drop(STEERING, "b")] == [True, False, False]
    assert [shares.leave(ACME) for _ in range(3)] == ["b", "d", None]
    assert shares.enter(ACME, "e")


@pytest.mark.parametrize("other", [False, True])
def test_what_waits_when_the_pool_closes_is_done(other: bool) -> None:
    workers = Workers(1, 1, "test")
    entered, let_go = threading.Event(), threading.Event()

    def hang() -> str:
        entered.set()
        assert let_go.wait(60)
        return "done"

    async def story() -> None:
        tasks = [asyncio.create_task(workers.run(ACME, hang, never))]
        await asyncio.to_thread(entered.wait)
        tasks += [asyncio.create_task(workers.run(ACME, hang, never)) for _ in range(3)]
        tasks += [asyncio.create_task(workers.run(BETA, hang, never))] * other
        await asyncio.sleep(0)
        closing = asyncio.create_task(asyncio.to_thread(workers.close))
        await settle(lambda: workers._closed)
        with pytest.raises(RuntimeError):
            await workers.run(Owner("gamma", data=True), hang, never)
        let_go.set()
        assert await asyncio.gather(*tasks) == ["done"] * len(tasks)
        await closing
        assert workers.tenants == 0

    asyncio.run(story())


def test_a_busy_tenant_does_not_keep_the_threads_it_has() -> None:
    workers = Workers(1, 1, "test")
    order: list[str] = []
    entered, let_go = threading.Event(), threading.Event()

    def hang() -> None:
        entered.set()
        assert let_go.wait(60)

    async def story() -> None:
        tasks = [asyncio.create_task(workers.run(ACME, hang, never))]
        await asyncio.to_thread(entered.wait)
        tasks += [
            asyncio.create_task(workers.run(owner, partial(order.append, owner.tenant_id), never))
            for owner in (ACME, ACME, BETA)
        ]
        await settle(lambda: workers.tenants == 2)
        let_go.set()
        await asyncio.gather(*tasks)
        assert (order, workers.tenants) == (["beta", "acme", "acme"], 0)

    asyncio.run(story())
    workers.close()


@pytest.mark.parametrize(
    ("places", "held"),
    [(1, [1, 0]), (2, [2, 0]), (3, [3, 0]), (8, [7, 1, 0]), (16, [14, 2, 0]), (128, [112, 14, 2, 0])],
)
def test_the_next_owner_finds_a_place(places: int, held: list[int]) -> None:
    slots = Slots(places)
    with ExitStack() as stack:
        for number, expected in enumerate(held):
            for _ in range(expected):
                stack.enter_context(slots.hold(Owner(f"t{number}", data=True)))
            with pytest.raises(TooManyRequests), slots.hold(Owner(f"t{number}", data=True)):
                pass
        assert slots.held == sum(held)
    assert slots.held == 0
    assert not slots._holding


def test_places_that_are_nobodys_count_alike() -> None:
    slots = Slots(8)
    with ExitStack() as stack:
        for _ in range(8):
            stack.enter_context(slots.hold())
        with pytest.raises(TooManyRequests), slots.hold():
            pass
    assert not slots._holding
