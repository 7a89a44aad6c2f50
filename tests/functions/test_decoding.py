"""One reading of every input, and errors that name places, never values."""

from __future__ import annotations

import base64
import json
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.errors import InvalidRequest, PayloadTooLarge, UnsupportedMediaType
from functions.decoding import RawBody, check_length, media_type, parse_json, read_body, read_context, read_query
from functions.messages import MAX_BODY, Request
from functions.models.base import Model, decode_base64
from functions.models.requests import AuditPage, EncryptBatch, EncryptBody
from functions.routes import ROUTES, Route

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
    with pytest.raises(InvalidRequest):
        read_body(ENCRYPT, "application/octet-stream", {"keystead-foreign": "yes"}, b"")
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
