"""One reading of every input, and errors that name places, never values."""

from __future__ import annotations

import base64
import difflib
import json
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.domain.context import MAX_PAIRS
from core.errors import InvalidRequest, PayloadTooLarge, UnsupportedMediaType
from core.service.keystead import MAX_BATCH
from functions import strict_json
from functions.decoding import RawBody, check_length, media_type, read_body, read_context, read_query
from functions.messages import MAX_BODY, Request
from functions.models.base import Model, decode_base64
from functions.models.requests import AuditPage, DecryptBatch, EncryptBatch, EncryptBody
from functions.route import Route
from functions.routes import ROUTES
from functions.strict_json import MAX_PARTS, parse_json

BY_NAME = {route.operation: route for route in ROUTES}
ENCRYPT = BY_NAME["encrypt"]
CANARY = "canary-7f3a"


@given(st.binary(max_size=100))
def test_base64_round_trip(data: bytes) -> None:
    assert decode_base64(base64.b64encode(data).decode()) == data


@given(st.text(max_size=12))
def test_base64_has_one_encoding_of_everything(text: str) -> None:
    try:
        decoded = decode_base64(text)
    except ValueError:
        return
    assert base64.b64encode(decoded).decode() == text


@pytest.mark.parametrize("text", ["A", "AA", "AAA", "AAA=A", "AA=A", "AB==", "AAB=", "=AAA", "AAAA=", "A A=", "AA==\n"])
def test_base64_refuses(text: str) -> None:
    with pytest.raises(ValueError, match="must be"):
        decode_base64(text)


def test_base64url_is_named_as_such() -> None:
    with pytest.raises(ValueError, match="not base64url"):
        decode_base64("__--")


def refused(body: bytes | str, route: Route = ENCRYPT) -> str:
    data = body if isinstance(body, bytes) else body.encode()
    with pytest.raises(InvalidRequest) as caught:
        read_body(route, "application/json", {}, data)
    said = f"{caught.value.detail} {caught.value.hint}"
    assert CANARY not in said
    assert caught.value.__context__ is None or caught.value.__suppress_context__
    return said


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ("", "plaintext: field required"),
        ("{", "not valid JSON (line 1 column 2)"),
        ("[]", "the whole"),
        ("null", "the whole"),
        (f'"{CANARY}"', "the whole"),
        (b'\xef\xbb\xbf{"plaintext":""}', "not valid JSON"),
        ('{"plaintext":""}'.encode("utf-16"), "not UTF-8"),
        (b'{"plaintext":"\xff"}', "not UTF-8"),
        (f'{{"plaintext":"","plaintext":"{CANARY}"}}', "names a field twice"),
        ('{"plaintext":"","context":{"a":"1","a":"2"}}', "names a field twice"),
        ('{"plaintext":NaN}', "NaN"),
        ('{"plaintext":-Infinity}', "NaN and Infinity"),
        ('{"plaintext":"","context":{"a":"\\ud800"}}', "lone surrogate"),
        ('{"plaintext":"","context":{"\\uDFFF":"a"}}', "lone surrogate"),
        ('{"plaintext":' + "[" * 100_000, "nested too deeply"),
        ('{"plaintext":' + "9" * 100_000 + "}", "too many digits"),
        ('{"plaintext":' + "9" * 16 + "}", "too many digits"),
        ('{"plaintext":1e999}', "plaintext: must be a string"),
        ('{"plaintext":7}', "plaintext: must be a string"),
        (f'{{"plaintext":"{CANARY}!"}}', "plaintext: must be base64"),
        (f'{{"plaintext":"","{CANARY}":1}}', "*: unknown field"),
        ('{"plaintext":"","contex":{}}', "unknown field (did you mean context?)"),
        ('{"plaintext":"","context":[]}', "context: "),
        (f'{{"plaintext":"","context":{{"{CANARY}":1}}}}', "context.*: "),
        (f'{{"plaintext":"","context":{{"a":"{CANARY}","b":null}}}}', "context.*: "),
        ('{"plaintext":"","items":[]}', "never both"),
        ('{"context":{},"items":[{"plaintext":""}]}', "never both"),
        ('{"items":[]}', "items: "),
        ('{"items":{}}', "items: "),
        (f'{{"items":[{{"plaintext":""}},{{"plaintext":"{CANARY}"}}]}}', "items[1].plaintext: must be base64"),
        (json.dumps({"items": [{"plaintext": ""}] * 101}), "at most 100 items"),
        (json.dumps({"items": [{}] * 100}), "and 95 more"),
        (json.dumps({"plaintext": "", "context": {str(n): "" for n in range(33)}}), "context: "),
    ],
)
def test_bodies_that_are_refused(body: bytes | str, said: str) -> None:
    assert said in refused(body)


@pytest.fixture
def validated(monkeypatch: pytest.MonkeyPatch) -> list[object]:
    """What pydantic got to see."""
    seen: list[object] = []

    def record(_model: type[Model], document: object) -> Model:
        seen.append(document)
        return EncryptBody(plaintext=b"")

    monkeypatch.setattr(Model, "model_validate", classmethod(record))
    return seen


PAIRS = {f"k{n}": 1 for n in range(4000)}


@pytest.mark.parametrize(
    ("document", "said"),
    [
        ({"items": [{}] * 4000}, "items: at most 100 items"),
        ({"items": [[]] * 100_000}, "items: at most 100 items"),
        ({"items": PAIRS}, "items: at most 100 pairs"),
        ({"items": [{"plaintext": ""}, PAIRS]}, "items[1]: has too many unknown fields"),
        ({"items": [{"plaintext": "", "context": PAIRS}]}, "items[0].context: at most 32 pairs"),
        ({"plaintext": "", "context": PAIRS}, "context: at most 32 pairs"),
        (PAIRS, "the whole: has too many unknown fields"),
    ],
)
def test_what_is_too_much_is_not_validated(document: object, said: str, validated: list[object]) -> None:
    assert said in refused(json.dumps(document))
    assert validated == []


@pytest.mark.parametrize(
    "body",
    [
        b'{"items":[' + b"{}," * 100_000 + b"{}]}",
        b'{"items":[' + b"0," * 100_000 + b"0]}",
        b'{"items":[' + b"0.5," * 100_000 + b"0]}",
        json.dumps({str(n): 1 for n in range(100_000)}).encode(),
        json.dumps({"plaintext": "", "context": {str(n): "" for n in range(100_000)}}).encode(),
    ],
    ids=["objects", "integers", "floats", "names", "pairs"],
)
def test_parsing_gives_up_early(body: bytes, validated: list[object], monkeypatch: pytest.MonkeyPatch) -> None:
    steps: list[int] = []
    real = strict_json._Reader._count

    def count(reader: strict_json._Reader, parts: int) -> None:
        steps.append(parts)
        real(reader, parts)

    monkeypatch.setattr(strict_json._Reader, "_count", count)
    assert "more parts than any valid input" in refused(body)
    assert len(steps) <= MAX_PARTS + 1
    assert validated == []


def test_the_largest_batch_is_read() -> None:
    item = {"message": "", "context": {f"{n}": "" for n in range(MAX_PAIRS)}, "foreign": False}
    body = json.dumps({"items": [item] * MAX_BATCH}).encode()
    assert isinstance(read_body(BY_NAME["decrypt"], "application/json", {}, body), DecryptBatch)
    objects_and_names = 2 + MAX_BATCH * (2 + len(item) + MAX_PAIRS)
    assert objects_and_names * 2 < MAX_PARTS * 1.2


def test_long_names_are_not_compared(monkeypatch: pytest.MonkeyPatch) -> None:
    compared: list[int] = []

    def matches(word: str, _known: object, n: int) -> list[str]:
        compared.append(len(word) * n)
        return []

    monkeypatch.setattr(difflib, "get_close_matches", matches)
    refused(json.dumps({"plaintext": "", "x" * 1_000_000: 1}))
    assert compared == [64]


def test_strictness_of_flags() -> None:
    assert "foreign: " in refused('{"message":"","foreign":"true"}', BY_NAME["decrypt"])
    assert "foreign: " in refused('{"message":"","foreign":1}', BY_NAME["decrypt"])


def test_escaped_pairs_of_surrogates_are_text() -> None:
    body = read_body(ENCRYPT, "application/json", {}, b'{"plaintext":"","context":{"a":"\\ud83d\\ude00"}}')
    assert isinstance(body, EncryptBody)
    assert body.context == {"a": "\U0001f600"}


def test_single_and_batch_are_told_apart() -> None:
    one = read_body(ENCRYPT, "application/json", {}, b'{"plaintext":"aGk="}')
    assert isinstance(one, EncryptBody)
    assert one.plaintext == b"hi"
    many = read_body(ENCRYPT, "application/json", {}, b'{"items":[{"plaintext":"aGk=","context":{"a":"b"}}]}')
    assert isinstance(many, EncryptBatch)
    assert many.items[0].context == {"a": "b"}


@given(
    st.recursive(
        st.none() | st.booleans() | st.text(), lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner)
    )
)
def test_valid_json_is_read_as_json_says(document: object) -> None:
    assert parse_json(json.dumps(document).encode()) == document


@given(st.binary(max_size=200))
def test_any_bytes_give_a_document_or_invalid_request(data: bytes) -> None:
    with suppress(InvalidRequest):
        parse_json(data)


def head(headers: dict[str, str], body: bytes = b"") -> Request:
    return Request("POST", "/v1/tenants/acme/encrypt", headers=headers, body=body)


@pytest.mark.parametrize("encoding", ["gzip", "br", "identity, gzip", "IDENTITY ", "", "x"])
def test_content_encodings_are_refused(encoding: str) -> None:
    with pytest.raises(UnsupportedMediaType):
        media_type(head({"content-encoding": encoding, "content-type": "application/json"}), ENCRYPT)


@pytest.mark.parametrize(
    "given_type",
    [
        "text/plain",
        "application/x-www-form-urlencoded",
        "multipart/form-data",
        "application/json; charset=latin-1",
        "application/json, application/json",
        "application/jsonx",
        "json",
        "application/octet-stream; x=y",
    ],
)
def test_other_content_types_are_refused(given_type: str) -> None:
    with pytest.raises(UnsupportedMediaType):
        media_type(head({"content-type": given_type}), ENCRYPT)


@pytest.mark.parametrize(
    ("given_type", "kind"),
    [
        ("application/json", "application/json"),
        ("Application/JSON; charset=UTF-8", "application/json"),
        ('application/json;charset="utf-8"', "application/json"),
        ("application/octet-stream", "application/octet-stream"),
    ],
)
def test_content_types_that_are_read(given_type: str, kind: str) -> None:
    assert media_type(head({"content-type": given_type}), ENCRYPT) == kind


def test_raw_bodies_only_where_the_table_says_so() -> None:
    with pytest.raises(UnsupportedMediaType):
        media_type(head({"content-type": "application/octet-stream"}), BY_NAME["new_data_key"])


def test_a_body_without_a_type_is_refused() -> None:
    with pytest.raises(UnsupportedMediaType):
        read_body(ENCRYPT, "", {}, b"{}")


def test_routes_without_a_body_refuse_one() -> None:
    assert read_body(BY_NAME["key_status"], "", {}, b"") is None
    with pytest.raises(InvalidRequest):
        read_body(BY_NAME["key_status"], "", {}, b"x")


@pytest.mark.parametrize(
    "headers", [{"content-length": "1"}, {"content-length": "00100"}, {"transfer-encoding": "chunked"}]
)
def test_routes_without_a_body_refuse_an_announced_one(headers: dict[str, str]) -> None:
    with pytest.raises(InvalidRequest, match="reads no body"):
        media_type(head(headers), BY_NAME["health"])
    assert media_type(head({"content-length": "0"}), BY_NAME["health"]) == ""


@pytest.mark.parametrize("coding", ["gzip, chunked", "chunked, chunked", "identity", "", "xchunked", "gzip"])
def test_no_transfer_encoding_but_chunked(coding: str) -> None:
    content = {"content-type": "application/json"}
    with pytest.raises(InvalidRequest, match="chunked"):
        media_type(head({**content, "transfer-encoding": coding}), ENCRYPT)
    assert media_type(head({**content, "transfer-encoding": "Chunked"}), ENCRYPT) == "application/json"


def test_an_optional_body_may_be_left_out() -> None:
    assert isinstance(read_body(BY_NAME["rotate"], "", {}, b""), Model)
    assert isinstance(read_body(BY_NAME["rotate"], "application/json", {}, b"{}"), Model)
    assert "unknown field" in refused('{"force":true}', BY_NAME["rotate"])


@pytest.mark.parametrize("declared", [str(MAX_BODY + 1), "9" * 40])
def test_declared_lengths_over_the_limit(declared: str) -> None:
    with pytest.raises(PayloadTooLarge) as caught:
        check_length(declared, MAX_BODY)
    assert caught.value.hint


@pytest.mark.parametrize("declared", ["-1", "1.0", "x", "", "1, 1", "\u0661"])
def test_declared_lengths_that_are_none(declared: str) -> None:
    with pytest.raises(InvalidRequest):
        check_length(declared, MAX_BODY)


def test_body_over_the_limit() -> None:
    with pytest.raises(PayloadTooLarge):
        read_body(ENCRYPT, "application/octet-stream", {}, bytes(MAX_BODY + 1))


CONTEXT = {"purpose": "invoice", "n\u00e4me": "\u00fc\u00ff\u00fe"}


@pytest.mark.parametrize("encode", [base64.b64encode, base64.urlsafe_b64encode])
@pytest.mark.parametrize("padded", [True, False])
def test_context_header_in_both_alphabets(encode: object, padded: bool) -> None:
    assert callable(encode)
    text = encode(json.dumps(CONTEXT, ensure_ascii=False).encode()).decode()
    assert read_context(text if padded else text.rstrip("=")) == CONTEXT
    assert read_context(None) == {}


@pytest.mark.parametrize(
    "header", ["", "%%%", "\u00e9", "bm8", "W10=", "eyJhIjoxfQ==", "eyJhIjoiYiIsImEiOiJjIn0=", "e30=, e30="]
)
def test_context_headers_that_are_refused(header: str) -> None:
    with pytest.raises(InvalidRequest):
        read_context(header)


def test_raw_body_with_headers() -> None:
    headers = {"keystead-context": base64.b64encode(b'{"a":"b"}').decode(), "keystead-foreign": "true"}
    body = read_body(BY_NAME["decrypt"], "application/octet-stream", headers, b"\x00")
    assert body == RawBody(b"\x00", {"a": "b"}, foreign=True)
    with pytest.raises(InvalidRequest, match="decrypt only"):
        read_body(ENCRYPT, "application/octet-stream", {"keystead-foreign": "false"}, b"")
    with pytest.raises(InvalidRequest):
        read_body(BY_NAME["decrypt"], "application/octet-stream", {"keystead-foreign": "yes"}, b"")
    with pytest.raises(InvalidRequest, match="octet-stream"):
        read_body(ENCRYPT, "application/json", headers, b'{"plaintext":""}')


def test_query() -> None:
    assert read_query("after=7&limit=500", AuditPage) == AuditPage.model_construct(after=7, limit=500)
    assert read_query("", AuditPage) == AuditPage.model_construct(after=0, limit=100)
    assert read_query("", None) is None


@pytest.mark.parametrize(
    "query",
    [
        "after=1&after=2",
        "x=1",
        "after",
        "after=",
        "after=-1",
        "after=1.0",
        "after=%ff",
        "limit=0",
        "limit=501",
        "&",
        "&&",
        "after=\u0661",
        "limit=9999999999999999999999",
        "after=1;limit=2",
        "a" * 3000,
        f"after={CANARY}",
        f"{CANARY}=1",
    ],
)
def test_queries_that_are_refused(query: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        read_query(query, AuditPage)
    assert CANARY not in caught.value.detail


def test_routes_without_a_query_refuse_one() -> None:
    with pytest.raises(InvalidRequest):
        read_query("x=1", None)
