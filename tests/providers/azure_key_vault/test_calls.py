"""Budgets and answers without end: nobody waits longer than they have, and no thread lives on."""

from __future__ import annotations

import threading
from functools import partial

import pytest

from core.errors import Denial, KeysteadError, Silence
from core.providers.azure_key_vault.adapters import MAX_BODY, _bounded
from core.providers.azure_key_vault.calls import Answer, Request
from core.providers.azure_key_vault.failures import Failure
from tests.conformance.key_provider import KEY
from tests.providers.azure_key_vault.stage import CONTEXT, Stage

OPERATIONS = ("token", "challenge", "get", "wrapkey", "unwrapkey")


def ended() -> None:
    """Every thread of a call has ended, as nothing holds it any longer."""
    for thread in [thread for thread in threading.enumerate() if thread.name.startswith("azure-")]:
        thread.join(30)
        assert not thread.is_alive()


def gives_up(stage: Stage, operation: str, **fault: object) -> None:
    kek = stage.key()
    wrapped = stage.connector().connect(stage.access(kek)).wrap(kek, KEY, CONTEXT)
    if operation == "challenge":
        from azure.keyvault.keys._shared import http_challenge_cache

        http_challenge_cache.clear()
    provider = stage.kms.connect(stage.access(kek))
    stage.time_left = 0.4
    stage.fault(operation, **fault)
    with pytest.raises(KeysteadError) as raised:
        provider.wrap(kek, KEY, CONTEXT) if operation in ("get", "wrapkey") else provider.unwrap(wrapped, CONTEXT)
    assert type(raised.value) is Silence
    assert "time was up" in raised.value.detail
    stage.time_left = 2.5


@pytest.mark.parametrize("operation", OPERATIONS)
def test_a_hang_ends_with_the_budget(stage: Stage, operation: str) -> None:
    gives_up(stage, operation, hang=True)
    ended()


@pytest.mark.parametrize("operation", ["token", "get", "unwrapkey"])
def test_an_answer_byte_by_byte_ends_with_the_budget(stage: Stage, operation: str) -> None:
    gives_up(stage, operation, drip=0.05)
    ended()


@pytest.mark.parametrize("operation", ["token", "get", "unwrapkey"])
@pytest.mark.parametrize("status", [200, 403])
def test_an_answer_without_end_is_not_read(stage: Stage, operation: str, status: int) -> None:
    kek = stage.key()
    provider = stage.kms.connect(stage.access(kek))
    wrapped = provider.wrap(kek, KEY, CONTEXT)
    body = b'{"error": {"code": "Forbidden", "message": "' + b"x" * MAX_BODY + b'"}}'
    stage.fault(
        operation, body=body, status=status, content_type="application/json", headers={"x-ms-request-id": "1-2-3"}
    )
    with pytest.raises(KeysteadError) as raised:
        provider.wrap(kek, KEY, CONTEXT) if operation == "get" else provider.unwrap(wrapped, CONTEXT)
    assert type(raised.value) is Silence
    stage.emulator.clear_faults()
    assert provider.unwrap(wrapped, CONTEXT).key == KEY


@pytest.mark.parametrize("operation", ["token", "unwrapkey"])
def test_a_compressed_answer_is_not_unpacked(stage: Stage, operation: str) -> None:
    kek = stage.key()
    provider = stage.kms.connect(stage.access(kek))
    wrapped = provider.wrap(kek, KEY, CONTEXT)
    stage.fault(operation, body=b"\x1f\x8b" + bytes(100), status=200, headers={"Content-Encoding": "gzip"})
    with pytest.raises(KeysteadError) as raised:
        provider.unwrap(wrapped, CONTEXT)
    assert type(raised.value) is Silence


class Endless:
    def __init__(self) -> None:
        self.read_bytes = 0

    def read(self, amount: int, *, decode_content: bool) -> bytes:
        assert not decode_content
        self.read_bytes += amount
        return bytes(amount)


def test_what_is_read_of_an_endless_answer_is_bounded() -> None:
    raw = Endless()
    with pytest.raises(ValueError, match="too long"):
        _bounded(raw)
    assert MAX_BODY < raw.read_bytes <= 2 * MAX_BODY


def test_without_time_nothing_is_sent(stage: Stage) -> None:
    kek = stage.key()
    provider = stage.kms.connect(stage.access(kek))
    wrapped = provider.wrap(kek, KEY, CONTEXT)
    stage.emulator.clear_calls()
    for stage.time_left in (0.0, -3.0):
        for use in (
            partial(provider.unwrap, wrapped, CONTEXT),
            partial(provider.wrap, kek, KEY, CONTEXT),
            partial(provider.describe, kek),
        ):
            with pytest.raises(Silence):
                use()
    assert stage.made() == []


def test_a_slow_token_leaves_less_to_the_key(stage: Stage) -> None:
    kek = stage.key()
    provider = stage.kms.connect(stage.access(kek))
    wrapped = provider.wrap(kek, KEY, CONTEXT)
    stage.time_left = 0.8
    stage.fault("token", latency=0.5)
    stage.fault("unwrapkey", latency=0.5)
    with pytest.raises(Silence, match="unwrapkey: time was up"):
        provider.unwrap(wrapped, CONTEXT)


def test_attributes_that_hang_do_not_hide_the_denial(stage: Stage) -> None:
    kek = stage.key()
    provider = stage.kms.connect(stage.access(kek))
    wrapped = provider.wrap(kek, KEY, CONTEXT)
    stage.time_left = 0.6
    stage.fault("unwrapkey", status=403, inner="SomethingNew")
    stage.fault("get", hang=True)
    with pytest.raises(Denial) as raised:
        provider.unwrap(wrapped, CONTEXT)
    assert (raised.value.cause, raised.value.kms_code) == ("unknown", "SomethingNew")


def test_a_call_that_is_given_up_takes_no_other_with_it(stage: Stage) -> None:
    """Both use one client: the one hangs, the other is answered while the first is cut."""
    kek = stage.key()
    provider = stage.kms.connect(stage.access(kek, lease=600))
    wrapped = provider.wrap(kek, KEY, CONTEXT)
    stage.fault("unwrapkey", hang=True, times=1)
    stage.fault("wrapkey", latency=0.8)
    stage.time_left = 0.4
    raised: list[BaseException] = []

    def hang() -> None:
        try:
            provider.unwrap(wrapped, CONTEXT)
        except Silence as error:
            raised.append(error)

    hung = threading.Thread(target=hang)
    hung.start()
    while not any(thread.name == "azure-unwrapkey" for thread in threading.enumerate()):
        threading.Event().wait(0.001)
    stage.time_left = 2.5
    assert provider.wrap(kek, KEY, CONTEXT).ciphertext
    hung.join()
    assert [type(error) for error in raised] == [Silence]
    assert stage.attempts()["wrapkey"] == 2


def test_connections_are_closed_between_operations(stage: Stage) -> None:
    kek = stage.key()
    access = stage.access(kek, lease=600)
    provider = stage.kms.connect(access)
    wrapped = provider.wrap(kek, KEY, CONTEXT)
    from core.providers.azure_key_vault.sessions import SessionKey

    session = stage.kms._sessions.get(SessionKey.of(access))._session
    assert session is not None
    adapter = session.client._wire._session.get_adapter(f"{stage.vault}/")
    for _ in range(2):
        assert len(adapter.poolmanager.pools) == 0
        provider.unwrap(wrapped, CONTEXT)


def test_a_visit_that_ends_leaves_the_connections_of_others(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    kek = stage.key()
    access = stage.access(kek, lease=600)
    provider = stage.kms.connect(access)
    wrapped = provider.wrap(kek, KEY, CONTEXT)
    from core.providers.azure_key_vault.sessions import SessionKey

    session = stage.kms._sessions.get(SessionKey.of(access))._session
    assert session is not None
    client, inside, release = session.client, threading.Event(), threading.Event()
    ask, rest = client._ask, client._wire.rest
    rested: list[bool] = []

    def wait(request: Request) -> Answer | Failure:
        inside.set()
        assert release.wait(10)
        return ask(request)

    def note() -> None:
        rested.append(release.is_set())
        rest()

    monkeypatch.setattr(client._wire, "rest", note)
    monkeypatch.setattr(client, "_ask", wait)
    other = threading.Thread(target=provider.unwrap, args=(wrapped, CONTEXT))
    other.start()
    assert inside.wait(10)
    client.rest()
    assert rested == []
    release.set()
    other.join()
    assert rested == [True]
