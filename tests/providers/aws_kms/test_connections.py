"""Connections: none is kept for a tenant between operations, none outlives its call, and none takes a detour."""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from urllib3.util import connection

from core.domain.kek import Kek, KeyAccess, WrappedKey
from core.errors import Denial, KeysteadError, Silence
from core.providers.aws_kms import AwsKms, AwsSettings
from core.providers.aws_kms.clients import POOLED
from functions.emulators.kms import DEFAULT_REGION, Fault
from tests.conformance.key_provider import KEY
from tests.providers.aws_kms.stage import CONTEXT, Stage, StageClock


def sockets_to(stage: Stage) -> int:
    """Sockets of this process that are connected to the emulator, from the client's side."""
    port, found = int(stage.settings.endpoint_url.rpartition(":")[2]), 0
    for name in Path("/proc/self/fd").iterdir():
        try:
            if not name.is_socket():
                continue
            with socket.socket(fileno=os.dup(int(name.name))) as copy:
                found += copy.family == socket.AF_INET and copy.getpeername()[1] == port
        except OSError:  # closed meanwhile, or not connected
            continue
    return found


def context_of(tenant: str) -> dict[str, str]:
    return {**CONTEXT, "tenant_id": tenant}


def use(stage: Stage, access: KeyAccess) -> None:
    provider, context = stage.kms.connect(access), context_of(access.tenant_id)
    assert provider.unwrap(provider.wrap(access.kek, KEY, context), context).key == KEY


def test_after_use_no_connection_is_kept(stage: Stage) -> None:
    access = stage.access(stage.key())
    provider = stage.kms.connect(access)
    wrapped = provider.wrap(access.kek, KEY, CONTEXT)
    assert sockets_to(stage) == 0
    provider.describe(access.kek)
    assert sockets_to(stage) == 0
    assert provider.unwrap(wrapped, CONTEXT).key == KEY
    stage.emulator.disable_key(access.kek.locator)
    with pytest.raises(Denial):
        provider.unwrap(wrapped, CONTEXT)
    stage.emulator.add_fault(Fault("Decrypt", body=b"x", status=200))
    with pytest.raises(Silence):
        provider.unwrap(wrapped, CONTEXT)
    assert sockets_to(stage) == 0


def test_many_tenants_share_what_is_kept(stage: Stage) -> None:
    for number in range(40):
        tenant = f"t{number}"
        use(stage, stage.access(stage.key(tenant=tenant), tenant=tenant))
        assert sockets_to(stage) == 0
    arn = stage.role_key()
    stage.role([arn])
    for revision in range(20):
        use(stage, stage.role_access(arn, revision=revision))
    assert sockets_to(stage) <= 1  # to STS, as ourselves


def test_an_operation_makes_its_calls_over_one_connection(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[object] = []
    create = connection.create_connection

    def counted(*given: Any, **more: Any) -> socket.socket:
        made.append(given)
        return create(*given, **more)

    monkeypatch.setattr(connection, "create_connection", counted)
    access = stage.access(stage.key())
    provider = stage.kms.connect(access)
    wrapped = provider.wrap(access.kek, KEY, CONTEXT)
    stage.emulator.disable_key(access.kek.locator)
    made.clear()
    with pytest.raises(Denial):
        provider.unwrap(wrapped, CONTEXT)
    assert stage.made("Decrypt", "DescribeKey")[-2:] == ["Decrypt", "DescribeKey"]
    assert len(made) == 1


def test_threads_share_a_client_that_rests_between_calls(stage: Stage) -> None:
    access = stage.access(stage.key())
    provider = stage.kms.connect(access)
    wrapped = provider.wrap(access.kek, KEY, CONTEXT)

    def work(_: int) -> None:
        for _ in range(25):
            assert provider.unwrap(wrapped, CONTEXT).key == KEY

    with ThreadPoolExecutor(POOLED["kms"]) as pool:
        list(pool.map(work, range(POOLED["kms"])))
    assert stage.attempts()["Decrypt"] == 25 * POOLED["kms"]  # none had to be repeated
    assert sockets_to(stage) == 0


def test_an_emulator_is_not_reached_through_a_proxy(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
        monkeypatch.setenv(name.lower(), "http://127.0.0.1:9")
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
    arn = stage.role_key()
    stage.role([arn])
    stage.kms = stage.connector(stage.settings)
    use(stage, stage.role_access(arn))
    stage.kms.close()


def test_aws_itself_may_be_reached_through_one(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:9")
    monkeypatch.delenv("NO_PROXY", raising=False)
    monkeypatch.delenv("no_proxy", raising=False)
    kms = stage.connector(replace(stage.settings, endpoint_url=""))
    client = kms.connect(stage.access(stage.key()))._session._kms._made()
    proxies = client._endpoint.http_session._proxy_config
    assert proxies.proxy_url_for(client.meta.endpoint_url) == "http://127.0.0.1:9"
    kms.close()


@contextmanager
def dripping(head: bytes) -> Iterator[tuple[str, threading.Event]]:
    """A server that answers with a byte now and then, for ever, until it is told to break off."""
    ended, good = threading.Event(), threading.Event()
    listener = socket.create_server(("127.0.0.1", 0))

    def drip(connection: socket.socket) -> None:
        with connection:
            try:
                connection.recv(65536)
                if good.is_set():
                    connection.sendall(b"HTTP/1.1 503 x\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
                    return
                connection.sendall(head)
                while not ended.wait(0.05):
                    connection.sendall(b" ")
            except OSError:
                return

    def serve() -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            threading.Thread(target=drip, args=(connection,), daemon=True).start()

    server = threading.Thread(target=serve, daemon=True)
    server.start()
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}", good
    finally:
        ended.set()
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        server.join()


HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/x-amz-json-1.1\r\n"


@pytest.mark.parametrize(
    "head",
    [
        HEAD + b"Content-Length: 100000\r\n\r\n",
        HEAD + b"Connection: close\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nx-filler: ",
        b"",
    ],
    ids=["body", "body to the end", "header", "before anything"],
)
def test_a_call_that_is_given_up_ends(head: bytes) -> None:
    with dripping(head) as (url, good):
        left = [0.4]
        settings = AwsSettings(frozenset({DEFAULT_REGION}), endpoint_url=url, access_key_id="a", secret_access_key="b")
        kms = AwsKms(settings, StageClock(), remaining=lambda: left[0])
        arn = f"arn:aws:kms:{DEFAULT_REGION}:111122223333:key/00000000-0000-4000-8000-000000000000"
        provider = kms.connect(KeyAccess("acme", 1, Kek(arn)))
        for _ in range(3):
            with pytest.raises(KeysteadError) as raised:
                provider.unwrap(WrappedKey(Kek(arn), b"x" * 100), CONTEXT)
            assert type(raised.value) is Silence
            assert "time was up" in raised.value.detail
        for thread in [thread for thread in threading.enumerate() if thread.name == "aws-Decrypt"]:
            thread.join(30)
            assert not thread.is_alive()
        good.set()
        left[0] = 2.5
        with pytest.raises(Silence, match="503"):
            provider.unwrap(WrappedKey(Kek(arn), b"x" * 100), CONTEXT)
        kms.close()


def test_a_call_that_is_given_up_takes_no_other_with_it(stage: Stage) -> None:
    """Both use one tenant's client: the one hangs, the other is answered while the first is cut."""
    access = stage.access(stage.key())
    provider = stage.kms.connect(access)
    wrapped = provider.wrap(access.kek, KEY, CONTEXT)
    stage.emulator.add_fault(Fault("Decrypt", hang=True, times=1))
    stage.emulator.add_fault(Fault("Encrypt", latency=0.6))
    stage.time_left = 0.3

    def gives_up() -> type[Exception]:
        with pytest.raises(KeysteadError) as raised:
            provider.unwrap(wrapped, CONTEXT)
        return type(raised.value)

    with ThreadPoolExecutor(1) as pool:
        hung = pool.submit(gives_up)
        while "Decrypt" not in stage.made():
            threading.Event().wait(0.001)
        stage.time_left = 2.5
        assert provider.wrap(access.kek, KEY, CONTEXT).ciphertext
        assert hung.result() is Silence
    assert stage.attempts()["Encrypt"] == 2
