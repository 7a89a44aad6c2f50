"""What each call sends, and what it makes of the answer."""

import base64
import json

import httpx
import pytest

from core.client.client import KeysteadClient
from core.client.problems import UnexpectedAnswer
from core.client.transport import MAX_BODY
from core.errors import InvalidRequest, PayloadTooLarge
from tests.client.fake_service import client

TENANT = {
    "tenant_id": "acme",
    "display_name": "Acme",
    "state": "platform",
    "created": "c",
    "offering": "default",
    "unbound_policy_accepted": False,
}
ROTATION = {"tenant_id": "acme", "branch_key_id": "b", "version": "v", "sequence": 2, "created": "c"}
STATUS = {
    "tenant_id": "acme",
    "state": "platform",
    "cause": "",
    "since": "s",
    "wording": "w",
    "remedy": "",
    "provider": "local",
    "kek": "local:platform",
    "platform_key": True,
    "branch_key_id": "b",
    "active_version": "v",
    "active_sequence": 1,
    "active_created": "c",
    "versions": 1,
    "rotation_due": "d",
    "bounds": {"kms_answers": 60, "kms_silent": 900.0, "kill_switch": 10},
    "warnings": ["late"],
    "nickname": "",
    "role_arn": "",
    "entra_tenant": "",
    "kek_version": "",
    "kek_versions": [],
    "reversible": False,
    "exclusive_from": "",
    "pending": None,
    "move": None,
    "unreadable_versions": 0,
    "policy": {"lease": 60, "outage_grace": 900.0, "rotation_days": 90, "fallback": "", "approval": ""},
    "may_read": True,
    "may_write": True,
    "first_denial": "",
    "confirmed": "",
    "kms_code": "",
    "request_id": "",
    "receipt": "",
    "falls_back": False,
    "checked": "",
    "timeline": [],
    "a_later_member": None,
}
KEY = base64.b64encode(bytes(32)).decode()
BINARY = {"content-type": "application/octet-stream"}


class Recorder:
    def __init__(self, *answers: httpx.Response) -> None:
        self.answers = list(answers)
        self.requests: list[httpx.Request] = []

    def __call__(self, request: httpx.Request) -> httpx.Response:
        self.requests.append(request)
        return self.answers[len(self.requests) - 1]

    def again(self) -> "Recorder":
        """The same answers to other requests, which are kept in place of those before."""
        self.requests.clear()
        return self

    @property
    def lines(self) -> list[str]:
        return [f"{r.method} {r.url.raw_path.decode()}" for r in self.requests]


def asked(answer: httpx.Response) -> tuple[Recorder, KeysteadClient]:
    recorder = Recorder(answer)
    return recorder, client(recorder)


def test_create_tenant() -> None:
    recorder, service = asked(httpx.Response(201, json=TENANT))
    assert service.create_tenant("acme", display_name="Acme").display_name == "Acme"
    assert recorder.lines == ["PUT /v1/tenants/acme"]
    assert json.loads(recorder.requests[0].content) == {"display_name": "Acme"}


def test_show_tenant() -> None:
    recorder, service = asked(httpx.Response(200, json=TENANT))
    assert service.show_tenant("acme").state == "platform"
    assert recorder.lines == ["GET /v1/tenants/acme"]


def test_list_tenants_reads_every_page() -> None:
    recorder = Recorder(
        httpx.Response(200, json={"tenants": [TENANT], "next": "acme"}),
        httpx.Response(200, json={"tenants": [{**TENANT, "tenant_id": "globex"}], "next": None}),
    )
    assert [t.tenant_id for t in client(recorder).list_tenants()] == ["acme", "globex"]
    assert recorder.lines[1].endswith("?after=acme")


def test_list_tenants_does_not_go_round_in_circles() -> None:
    recorder = Recorder(*[httpx.Response(200, json={"tenants": [TENANT], "next": "acme"})] * 2)
    with pytest.raises(UnexpectedAnswer, match="forward"):
        list(client(recorder).list_tenants())


def test_key_status() -> None:
    recorder, service = asked(httpx.Response(200, json=STATUS))
    status = service.key_status("acme")
    assert status.bounds == {"kms_answers": 60.0, "kms_silent": 900.0, "kill_switch": 10.0}
    assert status.warnings == ("late",)
    assert status.platform_key is True
    assert recorder.lines == ["GET /v1/tenants/acme/key"]


@pytest.mark.parametrize("missing", [name for name in STATUS if STATUS[name] is not None])
def test_key_status_without_a_member(missing: str) -> None:
    _, service = asked(httpx.Response(200, json={k: v for k, v in STATUS.items() if k != missing}))
    with pytest.raises(UnexpectedAnswer, match=missing):
        service.key_status("acme")


@pytest.mark.parametrize("number", [10**400, float("nan"), float("inf"), True, "1"])
def test_a_bound_that_is_no_number(number: object) -> None:
    body = json.dumps({**STATUS, "bounds": {"kms_answers": number}}).encode()
    _, service = asked(httpx.Response(200, content=body, headers={"content-type": "application/json"}))
    with pytest.raises(UnexpectedAnswer):
        service.key_status("acme")


def test_rotate() -> None:
    recorder, service = asked(httpx.Response(200, json=ROTATION))
    assert service.rotate("acme").sequence == 2
    assert recorder.lines == ["POST /v1/tenants/acme/key/rotate"]


def test_encrypt_and_decrypt_send_raw_bytes_and_the_context_in_a_header() -> None:
    context = {"app": "crm", "ort": "Zürich"}
    for call, path in [("encrypt", "encrypt"), ("decrypt", "decrypt"), ("foreign", "decrypt")]:
        recorder, service = asked(httpx.Response(200, content=b"\x00out", headers=BINARY))
        if call == "encrypt":
            got = service.encrypt("acme", b"\xffin", context)
        else:
            got = service.decrypt("acme", b"\xffin", context, foreign=call == "foreign")
        assert got == b"\x00out"
        request = recorder.requests[0]
        assert recorder.lines == [f"POST /v1/tenants/acme/{path}"]
        assert request.content == b"\xffin"
        assert request.headers["content-type"] == "application/octet-stream"
        assert request.headers.get("keystead-foreign") == ("true" if call == "foreign" else None)
        assert json.loads(base64.b64decode(request.headers["keystead-context"])) == context


@pytest.mark.parametrize("letter", ["ü", "\x01", "\U0001f511"])
def test_the_largest_context_gets_through(letter: str) -> None:
    size = len(letter.encode())
    context = {f"key{n}": letter * (1000 // size) for n in range(7)}
    for call in ("encrypt", "decrypt", "foreign"):
        in_header = letter != "\x01"
        if in_header:
            answer = httpx.Response(200, content=b"out", headers=BINARY)
        else:
            answer = httpx.Response(200, json={"message" if call == "encrypt" else "plaintext": "b3V0"})
        recorder, service = asked(answer)
        if call == "encrypt":
            assert service.encrypt("acme", b"\xffin", context) == b"out"
        else:
            assert service.decrypt("acme", b"\xffin", context, foreign=call == "foreign") == b"out"
        request = recorder.requests[0]
        assert sum(len(name) + len(value) for name, value in request.headers.raw) < 20_000
        if in_header:
            assert json.loads(base64.b64decode(request.headers["keystead-context"])) == context
            continue
        assert "keystead-context" not in request.headers
        assert "keystead-foreign" not in request.headers
        name = "plaintext" if call == "encrypt" else "message"
        foreign = {"foreign": True} if call == "foreign" else {}
        assert json.loads(request.content) == {name: "/2lu", "context": context, **foreign}


def test_a_long_context_leaves_less_room() -> None:
    context = {f"key{n}": "\x01" * 1000 for n in range(7)}
    recorder = Recorder(httpx.Response(200, json={"message": ""}))
    with pytest.raises(PayloadTooLarge) as caught:
        client(recorder).encrypt("acme", bytes(MAX_BODY), context)
    assert not recorder.requests
    most = int(str(caught.value).partition("at most ")[2].split()[0])
    assert client(recorder).encrypt("acme", bytes(most), context) == b""
    assert len(recorder.requests[0].content) <= MAX_BODY


def test_no_context_sends_no_header() -> None:
    recorder, service = asked(httpx.Response(200, content=b"x", headers=BINARY))
    service.encrypt("acme", b"", {})
    assert "keystead-context" not in recorder.requests[0].headers


def test_an_answer_of_another_type_is_not_taken_for_data() -> None:
    _, service = asked(httpx.Response(200, text="<html>"))
    with pytest.raises(UnexpectedAnswer):
        service.decrypt("acme", b"x", {})


def test_what_cannot_be_right_is_refused_before_it_is_sent() -> None:
    recorder = Recorder()
    service = client(recorder)
    for tenant in ("", "ACME", "../acme", "a/b", "a?x", "-a", "a" * 64):
        with pytest.raises(InvalidRequest):
            service.show_tenant(tenant)
    for context in ({"tenant_id": "acme"}, {"keystead-use": "caller"}, {"aws-crypto-x": ""}, {"": "x"}):
        with pytest.raises(InvalidRequest):
            service.encrypt("acme", b"", context)
        with pytest.raises(InvalidRequest):
            service.new_data_key("acme", context)
    with pytest.raises(PayloadTooLarge):
        service.encrypt("acme", bytes(MAX_BODY + 1), {})
    assert not recorder.requests


def test_new_data_key_keeps_the_key_out_of_sight() -> None:
    secret = base64.b64encode(b"s" * 32).decode()
    recorder, service = asked(
        httpx.Response(200, json={"data_key": secret, "encrypted_data_key": "AAA=", "context": {"tenant_id": "acme"}})
    )
    grant = service.new_data_key("acme", {"app": "crm"})
    assert grant.data_key == b"s" * 32
    assert "ssss" not in repr(grant)
    assert recorder.lines == ["POST /v1/tenants/acme/data-keys"]
    assert json.loads(recorder.requests[0].content) == {"context": {"app": "crm"}}


@pytest.mark.parametrize("key", ["AAAA", "!!!!", "", KEY + "\n", 7, None])
def test_a_data_key_that_is_none(key: object) -> None:
    _, service = asked(httpx.Response(200, json={"data_key": key}))
    with pytest.raises(UnexpectedAnswer):
        service.open_data_key("acme", b"edk", {})


def test_open_data_key() -> None:
    recorder, service = asked(httpx.Response(200, json={"data_key": KEY}))
    context = {"tenant_id": "acme", "keystead-use": "caller"}
    assert service.open_data_key("acme", b"edk", context) == bytes(32)
    assert recorder.lines == ["POST /v1/tenants/acme/data-keys/decrypt"]
    assert json.loads(recorder.requests[0].content) == {"encrypted_data_key": "ZWRr", "context": context}
