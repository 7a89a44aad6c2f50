"""Every kind of bad request, through the local host's application: the right problem, no trace, no secret."""

from __future__ import annotations

import base64
import io
import json
import logging
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlencode

import pytest

from core.domain.consent import make_state
from functions.local.logs import JsonFormatter
from functions.messages import MAX_BODY, Response
from tests.functions import tokens
from tests.functions.asgi import call

CANARY = "canary-5e1c"
CANARY64 = base64.b64encode(CANARY.encode()).decode()
ENCRYPT = "/v1/tenants/acme/encrypt"
DECRYPT = "/v1/tenants/acme/decrypt"
JSON = ("content-type", "application/json")
RAW = ("content-type", "application/octet-stream")
GOOD = tokens.mint()
NOW = tokens.NOW
PLAIN = json.dumps({"plaintext": CANARY64}).encode()


@dataclass(frozen=True)
class Bad:
    """One bad request and the answer it deserves."""

    name: str
    status: int
    code: str
    method: str = "POST"
    target: str = ENCRYPT
    headers: tuple[tuple[str, str], ...] = (JSON,)
    chunks: tuple[bytes, ...] = (PLAIN,)
    token: str | None = field(default=GOOD, repr=False)
    host: str = "127.0.0.1"


def context_of(**pairs: str) -> tuple[bytes, ...]:
    return (json.dumps({"plaintext": CANARY64, "context": pairs}).encode(),)


def bad_token(name: str, token: str | None) -> Bad:
    return Bad(f"token {name}", 401, "unauthenticated", token=token)


def length(size: object) -> tuple[str, str]:
    return ("content-length", str(size))


KEY = "/v1/tenants/acme/key"
SETUP, CONSENT = f"{KEY}/setup/azure_key_vault", "/v1/azure/consent"
ARN = "arn:aws:kms:eu-central-1:111122223333:key/1234abcd-12ab-34cd-56ef-1234567890ab"
VAULT, ENTRA = "https://acme-kv.vault.azure.net", "11112222-3333-4444-5555-666677778888"
STATE = make_state("acme", "keystead-of-nobody", ENTRA)
OPERATOR = tokens.mint(tenant_id=None, scope="platform:operate")
SUSPEND, SUSPENDER = f"{KEY}/suspend", tokens.mint(scope="key:suspend")


def key_body(name: str, **fields: object) -> Iterator[Bad]:
    """A body that neither configure nor validate takes."""
    body = {name: value for name, value in {"provider": "aws_kms", "key_arn": ARN, **fields}.items() if value != "-"}
    for method, path in (("PUT", KEY), ("POST", f"{KEY}/validate")):
        data = json.dumps(body).encode()
        yield Bad(f"{method} key: {name}", 400, "invalid_request", method, path, chunks=(data,))


def azure_body(name: str, **fields: object) -> Iterator[Bad]:
    """The same of a key in Azure."""
    named = {
        "provider": "azure_key_vault",
        "vault_url": VAULT,
        "entra_tenant": ENTRA,
        "key_name": "kek",
        "key_arn": "-",
    }
    yield from key_body(f"azure: {name}", **{**named, **fields})


def consent(name: str, **query: str) -> Bad:
    """What Entra never sends back, and one that never was a link of ours."""
    target = f"/v1/azure/consent?{urlencode(query)}" if query else "/v1/azure/consent"
    return Bad(f"consent: {name}", 400, "invalid_request", "GET", target, headers=(), chunks=(), token=None)


def update(name: str, **fields: object) -> Bad:
    data = json.dumps(fields).encode()
    return Bad(f"tenant: {name}", 400, "invalid_request", "PATCH", "/v1/tenants/acme", chunks=(data,), token=OPERATOR)


ALLOWED = {
    *(("operator", path) for path in ("/check", "/policy", "/suspend")),
    *(("reader", path) for path in ("/receipts", f"/receipts/{CANARY}")),
}


def policy(name: str, **fields: object) -> Bad:
    """Knobs that are none."""
    data = json.dumps(fields).encode()
    return Bad(f"policy: {name}", 400, "invalid_request", "PATCH", f"{KEY}/policy", chunks=(data,))


def suspend(name: str, **fields: object) -> Bad:
    """Reasons that are none."""
    data = json.dumps(fields).encode()
    return Bad(f"suspend: {name}", 400, "invalid_request", target=SUSPEND, chunks=(data,), token=SUSPENDER)


CASES = [
    policy("nothing to change"),
    policy("only nulls", lease=None, outage_grace=None, rotation_days=None, fallback=None, approval=None),
    policy("unknown field", **{CANARY: CANARY}),
    policy("misspelt field", leases=5),
    policy("bounds are no knob", lease=5, bounds={"kms_answers": 5}),
    policy("many fields", **{f"field{n}": n for n in range(40)}),
    policy("negative lease", lease=-1),
    policy("negative fraction", lease=-0.001),
    policy("lease of over an hour", lease=3600.5),
    policy("lease in words", lease="60"),
    policy("lease that is true", lease=True),
    policy("lease that is a list", lease=[60]),
    policy("negative grace", outage_grace=-1),
    policy("grace of over a day", outage_grace=86401),
    policy("grace in words", outage_grace=CANARY),
    policy("no rotation", rotation_days=0),
    policy("rotation of over a year", rotation_days=366),
    policy("half a day", rotation_days=0.5),
    policy("whole days with a point", rotation_days=90.0),
    policy("rotation that is true", rotation_days=True),
    policy("unknown fallback", fallback=CANARY),
    policy("fallback none", fallback="none"),
    policy("fallback in capitals", fallback="Platform"),
    policy("fallback that is true", fallback=True),
    policy("unknown approval", approval="third_person"),
    policy("approval that is true", approval=True),
    policy("one of two wrong", lease=60, outage_grace=-1),
    Bad("policy: endless lease", 400, "invalid_request", "PATCH", f"{KEY}/policy", chunks=(b'{"lease":1e999}',)),
    Bad("policy: lease twice", 400, "invalid_request", "PATCH", f"{KEY}/policy", chunks=(b'{"lease":1,"lease":2}',)),
    Bad("policy: no body", 400, "invalid_request", "PATCH", f"{KEY}/policy", chunks=()),
    Bad("policy: a list", 400, "invalid_request", "PATCH", f"{KEY}/policy", chunks=(b"[]",)),
    Bad("policy: raw", 415, "unsupported_media_type", "PATCH", f"{KEY}/policy", headers=(RAW,)),
    Bad("policy: a query", 400, "invalid_request", "PATCH", f"{KEY}/policy?lease=1", chunks=(b'{"lease":1}',)),
    Bad("policy: put", 405, "method_not_allowed", "PUT", f"{KEY}/policy", chunks=(b'{"lease":1}',)),
    Bad("policy: big", 413, "payload_too_large", "PATCH", f"{KEY}/policy", chunks=(b" " * 70_000,)),
    suspend("unknown field", **{CANARY: CANARY}),
    suspend("no reason but null", reason=None),
    suspend("reason that is a number", reason=4711),
    suspend("reason that is a list", reason=[CANARY]),
    suspend("long reason", reason=CANARY[0] * 201),
    suspend("reason of two lines", reason=f"{CANARY}\nmore"),
    suspend("reason that steers", reason=f"{CANARY}\x1b[2J"),
    suspend("reason from right to left", reason=f"\u202e{CANARY}"),
    suspend("reason with a nul", reason=f"{CANARY}\0"),
    suspend("until when", reason="x", until="2027-01-31"),
    Bad("suspend: raw", 415, "unsupported_media_type", target=SUSPEND, headers=(RAW,), token=SUSPENDER),
    Bad(
        "suspend: surrogate", 400, "invalid_request", target=SUSPEND, chunks=(b'{"reason":"\\udc00"}',), token=SUSPENDER
    ),
    Bad("suspend: get", 405, "method_not_allowed", "GET", SUSPEND, headers=(), chunks=(), token=SUSPENDER),
    Bad("resume: a reason", 400, "invalid_request", target=f"{KEY}/resume", chunks=(b'{"reason":"x"}',)),
    Bad("receipts: a query", 400, "invalid_request", "GET", f"{KEY}/receipts?after={CANARY}", (), ()),
    Bad("receipts: a body", 400, "invalid_request", "GET", f"{KEY}/receipts", (JSON, length(2)), (b"{}",)),
    Bad("receipts: of a form that none has", 404, "not_found", "GET", f"{KEY}/receipts/{CANARY}.json", (), ()),
    Bad("receipts: of a path", 404, "not_found", "GET", f"{KEY}/receipts/..%2F{CANARY}", (), ()),
    Bad("receipts: posted", 405, "method_not_allowed", "POST", f"{KEY}/receipts", chunks=(b"{}",)),
    Bad("receipts: deleted", 405, "method_not_allowed", "DELETE", f"{KEY}/receipts/{CANARY}", (), ()),
    *key_body("unknown field", **{CANARY: CANARY}),
    *key_body("no provider", provider="-"),
    *key_body("unknown provider", provider=CANARY),
    *key_body("fields of another cloud", provider="azure_key_vault"),
    *key_body("vault beside an arn", vault_url=VAULT),
    *key_body("entra tenant beside an arn", entra_tenant=CANARY),
    *key_body("list of providers", provider=["aws_kms", CANARY]),
    *azure_body("unknown field", **{CANARY: CANARY}),
    *azure_body("an arn", key_arn=ARN),
    *azure_body("a role", role_arn=""),
    *azure_body("no vault", vault_url="-"),
    *azure_body("empty vault", vault_url=""),
    *azure_body("null vault", vault_url=None),
    *azure_body("vault in no cloud", vault_url=f"https://{CANARY}.example"),
    *azure_body("long vault", vault_url=VAULT + "/" * 300),
    *azure_body("vault that is a list", vault_url=[VAULT]),
    *azure_body("no entra tenant", entra_tenant="-"),
    *azure_body("empty entra tenant", entra_tenant=""),
    *azure_body("entra tenant by its domain", entra_tenant=f"{CANARY}.onmicrosoft.com"),
    *azure_body("entra tenant in braces", entra_tenant="{" + ENTRA + "}"),
    *azure_body("entra tenant and more", entra_tenant=f"{ENTRA}\n"),
    *azure_body("entra tenant in other digits", entra_tenant=ENTRA.replace("1", "\u0661")),
    *azure_body("entra tenant that is a number", entra_tenant=1111),
    *azure_body("long entra tenant", entra_tenant=CANARY * 30),
    *azure_body("no key name", key_name="-"),
    *azure_body("empty key name", key_name=""),
    *azure_body("key name with a path", key_name=f"kek/../{CANARY}"),
    *azure_body("key name with a query", key_name=f"kek?{CANARY}"),
    *azure_body("long key name", key_name=CANARY.replace("_", "-") * 50),
    *azure_body("key of another vault", key_name=f"https://{CANARY}.vault.azure.net/keys/kek"),
    *azure_body("a secret, no key", key_name=f"{VAULT}/secrets/{CANARY}"),
    *azure_body("short version", key_name=f"{VAULT}/keys/kek/0123"),
    *azure_body("nickname that steers", nickname=f"{CANARY}\x1b[2J"),
    *azure_body("impossible date", activation_date="2027-02-30"),
    *azure_body("reversible in words", reversible="true"),
    *azure_body("many fields", **{f"field{n}": n for n in range(40)}),
    *key_body("own provider", provider="local", key_arn="local:platform"),
    *key_body("no arn", key_arn="-"),
    *key_body("null arn", key_arn=None),
    *key_body("no arn in it", key_arn=CANARY),
    *key_body("the platform's key", key_arn="local:platform"),
    *key_body("key vault", key_arn=f"https://{CANARY}.vault.azure.net/keys/a/b"),
    *key_body("alias", key_arn=f"arn:aws:kms:eu-central-1:111122223333:alias/{CANARY}"),
    *key_body("asterisk", key_arn="arn:aws:kms:eu-central-1:111122223333:key/*"),
    *key_body("arn and more", key_arn=f"{ARN}\n"),
    *key_body("arn of a role", key_arn="arn:aws:iam::111122223333:role/keystead"),
    *key_body("unknown partition", key_arn=ARN.replace("arn:aws:", "arn:aws-moon:")),
    *key_body("region of another partition", key_arn=ARN.replace("eu-central-1", "cn-north-1")),
    *key_body("long arn", key_arn=ARN + "a" * 3000),
    *key_body("role that is a user", role_arn=f"arn:aws:iam::111122223333:user/{CANARY}"),
    *key_body("role of another partition", role_arn="arn:aws-cn:iam::111122223333:role/keystead"),
    *key_body("role that is a list", role_arn=["arn:aws:iam::111122223333:role/keystead"]),
    *key_body("long nickname", nickname=CANARY * 20),
    *key_body("nickname that steers", nickname=f"{CANARY}\x1b[2J"),
    *key_body("nickname that is a number", nickname=7),
    *key_body("no date", activation_date=CANARY),
    *key_body("impossible date", activation_date="2027-02-30"),
    *key_body("date out of reason", activation_date="9999-01-01"),
    *key_body("date before time", activation_date="1970-01-01"),
    *key_body("date that is a number", activation_date=1893456000),
    *key_body("long date", activation_date="2027-01-31" + " " * 100),
    *key_body("reversible in words", reversible="true"),
    *key_body("reversible as a number", reversible=1),
    *key_body("many fields", **{f"field{n}": n for n in range(40)}),
    Bad("no key at all", 400, "invalid_request", "PUT", KEY, chunks=()),
    Bad("key as raw bytes", 415, "unsupported_media_type", "PUT", KEY, headers=(RAW,)),
    Bad("body on DELETE", 400, "invalid_request", "DELETE", KEY, headers=(JSON, length(2)), chunks=(b"{}",)),
    Bad("fields of a check", 400, "invalid_request", target=f"{KEY}/check", chunks=(b'{"tenant_id":"beta"}',)),
    Bad("query of an export", 400, "invalid_request", "GET", f"{KEY}/export?{CANARY}=1", headers=(), chunks=()),
    Bad("setup of no cloud", 400, "invalid_request", "GET", f"{KEY}/setup/{CANARY}", headers=(), chunks=()),
    Bad("setup for no entra tenant", 400, "invalid_request", "GET", f"{SETUP}?entra_tenant={CANARY}", (), ()),
    Bad("setup for a long one", 400, "invalid_request", "GET", f"{SETUP}?entra_tenant={'a' * 300}", (), ()),
    Bad("setup for two", 400, "invalid_request", "GET", f"{SETUP}?entra_tenant={ENTRA}&entra_tenant={ENTRA}", (), ()),
    Bad("setup of aws for one", 400, "invalid_request", "GET", f"{KEY}/setup/aws_kms?entra_tenant={ENTRA}", (), ()),
    Bad("setup with more", 400, "invalid_request", "GET", f"{SETUP}?{CANARY}={CANARY}", (), ()),
    consent("nothing"),
    consent("no state", tenant=ENTRA, admin_consent="True"),
    consent("no entra tenant", state=STATE, admin_consent="True"),
    consent("a state of another", state=STATE, tenant=ENTRA, admin_consent="True"),
    consent("a state of nobody", state=STATE.replace("acme", "nobody"), tenant=ENTRA, admin_consent="True"),
    consent("no state at all", state=CANARY, tenant=ENTRA, admin_consent="True"),
    consent("what scripts do", state="<script>", tenant=CANARY, error=CANARY, error_description=f"<b>{CANARY}"),
    consent("too long", state=STATE, tenant=ENTRA, error_description=CANARY * 300),
    consent("too many", **{f"{CANARY}{n}": "x" for n in range(20)}),
    Bad("consent with a body", 400, "invalid_request", "GET", CONSENT, (JSON, length(2)), (b"{}",), token=None),
    Bad("consent posted", 405, "method_not_allowed", "POST", CONSENT, (JSON,), (b"{}",), token=None),
    Bad("consent twice", 400, "invalid_request", "GET", f"{CONSENT}?state=a&state={CANARY}", (), (), token=None),
    Bad("setup of nothing", 404, "not_found", "GET", f"{KEY}/setup/", headers=(), chunks=()),
    Bad("post to setup", 405, "method_not_allowed", "POST", f"{KEY}/setup/aws_kms"),
    update("nothing to change"),
    update("only nulls", offering=None, display_name=None),
    update("unknown field", **{CANARY: CANARY}),
    update("empty offering", offering=""),
    update("long offering", offering=CANARY * 20),
    update("long name", display_name=CANARY * 50),
    update("word for a switch", accept_unbound_policy="yes"),
    update("number for a switch", accept_unbound_policy=1),
    Bad("unknown route", 404, "not_found", target=f"/v1/{CANARY}"),
    Bad("root", 404, "not_found", "GET", "/"),
    Bad("star", 404, "not_found", "OPTIONS", "*"),
    Bad("trailing slash", 404, "not_found", target=ENCRYPT + "/"),
    Bad("double slash", 404, "not_found", target="//v1/tenants/acme/encrypt"),
    Bad("encoded slash", 404, "not_found", target="/v1/tenants/acme%2Fencrypt"),
    Bad("dot segments", 404, "not_found", target="/v1/tenants/beta/../acme/encrypt"),
    Bad("encoded dots", 404, "not_found", target="/v1/tenants/%2e%2e/encrypt"),
    Bad("encoded tenant", 404, "not_found", target="/v1/tenants/%61cme/encrypt"),
    Bad("wrong method", 405, "method_not_allowed", "GET"),
    Bad("made-up method", 405, "method_not_allowed", "BREW"),
    Bad("malformed tenant", 400, "invalid_request", target="/v1/tenants/Acme/encrypt"),
    Bad("unexpected query", 400, "invalid_request", target=f"{ENCRYPT}?x={CANARY}"),
    Bad("malformed json", 400, "invalid_request", chunks=(b'{"plaintext":"' + CANARY64.encode(),)),
    Bad("no object", 400, "invalid_request", chunks=(b"[]",)),
    Bad("empty body", 400, "invalid_request", chunks=()),
    Bad("unknown field", 400, "invalid_request", chunks=(json.dumps({"plaintext": "", CANARY: CANARY}).encode(),)),
    Bad("duplicate field", 400, "invalid_request", chunks=(b'{"plaintext":"","plaintext":"%s"}' % CANARY64.encode(),)),
    Bad("deep nesting", 400, "invalid_request", chunks=(b'{"plaintext":' + b"[" * 200_000,)),
    Bad("huge number", 400, "invalid_request", chunks=(b'{"plaintext":%s}' % (b"9" * 50_000),)),
    Bad("nan", 400, "invalid_request", chunks=(b'{"plaintext":NaN}',)),
    Bad("surrogate", 400, "invalid_request", chunks=(b'{"plaintext":"","context":{"a":"\\udc00"}}',)),
    Bad("not utf-8", 400, "invalid_request", chunks=(b'{"plaintext":"\xff"}',)),
    Bad("bad base64", 400, "invalid_request", chunks=(json.dumps({"plaintext": CANARY}).encode(),)),
    Bad("base64url", 400, "invalid_request", chunks=(b'{"plaintext":"-_-_"}',)),
    Bad("one and many", 400, "invalid_request", chunks=(b'{"plaintext":"","items":[]}',)),
    Bad("too many items", 400, "invalid_request", chunks=(json.dumps({"items": [{"plaintext": ""}] * 101}).encode(),)),
    Bad("reserved tenant_id", 400, "invalid_request", chunks=context_of(tenant_id="beta")),
    Bad("reserved keystead-", 400, "invalid_request", chunks=context_of(**{"keystead-use": "caller"})),
    Bad("reserved aws-crypto-", 400, "invalid_request", chunks=context_of(**{"aws-crypto-public-key": CANARY})),
    Bad("empty context key", 400, "invalid_request", chunks=context_of(**{"": CANARY})),
    Bad("long context value", 400, "invalid_request", chunks=context_of(a=CANARY * 200)),
    Bad("context header of json body", 400, "invalid_request", headers=(JSON, ("keystead-context", "e30="))),
    Bad("broken context header", 400, "invalid_request", headers=(RAW, ("keystead-context", CANARY))),
    Bad("reserved in header", 400, "invalid_request", headers=(RAW, ("keystead-context", "eyJ0ZW5hbnRfaWQiOiJiIn0="))),
    Bad("oversize with a length", 413, "payload_too_large", headers=(JSON, length(MAX_BODY + 1)), chunks=()),
    Bad("oversize in chunks", 413, "payload_too_large", headers=(RAW,), chunks=(bytes(1 << 20),) * 5),
    Bad("oversize in one", 413, "payload_too_large", headers=(RAW,), chunks=(bytes(MAX_BODY + 1),)),
    Bad("more than its length", 413, "payload_too_large", headers=(RAW, length(5)), chunks=(bytes(1 << 20),) * 5),
    Bad("answer over the limit", 413, "payload_too_large", headers=(RAW,), chunks=(bytes(MAX_BODY),)),
    Bad(
        "small route, big body", 413, "payload_too_large", target="/v1/tenants/acme/data-keys", chunks=(b" " * 70_000,)
    ),
    Bad("length no number", 400, "invalid_request", headers=(JSON, length("1e3"))),
    Bad("two lengths", 400, "invalid_request", headers=(JSON, length(1), length(2))),
    Bad("gzip", 415, "unsupported_media_type", headers=(JSON, ("content-encoding", "gzip"))),
    Bad("form", 415, "unsupported_media_type", headers=(("content-type", "application/x-www-form-urlencoded"),)),
    Bad("text", 415, "unsupported_media_type", headers=(("content-type", f"text/{CANARY}"),)),
    Bad("no type", 415, "unsupported_media_type", headers=()),
    Bad("two types", 415, "unsupported_media_type", headers=(JSON, JSON)),
    Bad("raw where not read", 415, "unsupported_media_type", target="/v1/tenants/acme/data-keys", headers=(RAW,)),
    Bad("body on GET", 400, "invalid_request", "GET", "/v1/tenants/acme/key", headers=(JSON, length(len(PLAIN)))),
    Bad(
        "body in chunks on GET", 400, "invalid_request", "GET", "/healthz", headers=(("transfer-encoding", "chunked"),)
    ),
    Bad("other transfer encoding", 400, "invalid_request", headers=(RAW, ("transfer-encoding", "gzip, chunked"))),
    Bad("foreign on raw encrypt", 400, "invalid_request", headers=(RAW, ("keystead-foreign", "true"))),
    Bad("not a message", 422, "message_invalid", target=DECRYPT, headers=(RAW,), chunks=(CANARY.encode(),)),
    Bad("empty message", 422, "message_invalid", target=DECRYPT, headers=(RAW,), chunks=()),
    Bad(
        "not an encrypted key",
        422,
        "message_invalid",
        target="/v1/tenants/acme/data-keys/decrypt",
        chunks=(json.dumps({"encrypted_data_key": CANARY64}).encode(),),
    ),
    bad_token("missing", None),
    bad_token("empty", ""),
    bad_token("garbage", CANARY),
    bad_token("expired", tokens.mint(iat=NOW - 900, exp=NOW - 60)),
    bad_token("of a foreign issuer", tokens.mint(iss="https://evil.test")),
    bad_token("of a wrong audience", tokens.mint(aud="other")),
    bad_token("alg none", tokens.assemble({"alg": "none", "kid": "r"}, tokens.claims())),
    bad_token("HS256 with the public key", tokens.hs256_with_public_key()),
    bad_token("tampered", tokens.tampered()),
    bad_token("without kid", tokens.mint(None)),
    bad_token("valid too long", tokens.mint(exp=NOW + 90_000)),
    Bad("two tokens", 401, "unauthenticated", headers=(JSON, ("authorization", f"Bearer {GOOD}"))),
    Bad("wrong tenant", 403, "access_denied", target="/v1/tenants/beta/encrypt"),
    Bad("unknown tenant", 403, "access_denied", target="/v1/tenants/nobody/encrypt"),
    Bad("missing scope", 403, "access_denied", token=tokens.mint(scope="data:decrypt")),
    Bad("platform never encrypts", 403, "access_denied", token=tokens.mint(tenant_id=None, scope="platform:operate")),
    Bad("tenant changes itself", 403, "access_denied", "PATCH", "/v1/tenants/acme", chunks=(b'{"offering":"x"}',)),
    *(
        Bad(f"{who} {method} {path}", 403, "access_denied", method, f"{KEY}{path}", token=token)
        for who, token in (
            ("application", tokens.mint(scope="data:encrypt data:decrypt data:keys")),
            ("reader", tokens.mint(scope="key:read audit:read")),
            ("operator", OPERATOR),
            ("other tenant", tokens.mint(tenant_id="beta", scope=f"{tokens.SCOPES} key:suspend")),
        )
        for method, path in (
            ("PUT", ""),
            ("DELETE", ""),
            ("POST", "/validate"),
            ("POST", "/check"),
            ("PATCH", "/policy"),
            ("POST", "/suspend"),
            ("POST", "/resume"),
            ("GET", "/receipts"),
            ("GET", f"/receipts/{CANARY}"),
            ("GET", "/setup/aws_kms"),
            ("GET", "/setup/azure_key_vault"),
            ("GET", "/export"),
            ("POST", "/rotate"),
        )
        if (who, path) not in ALLOWED
    ),
    Bad("suspend with manage alone", 403, "access_denied", target=SUSPEND, token=tokens.mint(scope="key:manage")),
    Bad("resume with suspend alone", 403, "access_denied", target=f"{KEY}/resume", token=SUSPENDER),
    Bad("policy with suspend alone", 403, "access_denied", "PATCH", f"{KEY}/policy", token=SUSPENDER),
    Bad("tenant creates tenants", 403, "access_denied", "PUT", "/v1/tenants/new", chunks=(b"{}",)),
    Bad(
        "own tenant that is not",
        404,
        "not_found",
        target="/v1/tenants/ghost/encrypt",
        token=tokens.mint(tenant_id="ghost"),
    ),
    Bad("bad host", 400, "invalid_request", host="evil.test"),
    Bad("bad host and port", 400, "invalid_request", host="evil.test:8080"),
    Bad("host suffix", 400, "invalid_request", host="127.0.0.1.evil.test"),
    Bad("host with user", 400, "invalid_request", host="127.0.0.1@evil.test"),
    Bad("no host", 400, "invalid_request", host=""),
    Bad("two hosts", 400, "invalid_request", headers=(JSON, ("host", "evil.test"))),
]


@pytest.fixture
def logged() -> Iterator[io.StringIO]:
    """What the service's own log says, as it is written."""
    stream = io.StringIO()
    writer = logging.StreamHandler(stream)
    writer.setFormatter(JsonFormatter())
    root = logging.getLogger()
    before = root.level
    root.addHandler(writer)
    root.setLevel(logging.DEBUG)
    yield stream
    root.removeHandler(writer)
    root.setLevel(before)


def send(app: Any, bad: Bad) -> Response:
    authorization = [] if bad.token is None else [tokens.bearer(bad.token)]
    return call(app, bad.method, bad.target, [*bad.headers, *authorization], bad.chunks, host=bad.host)


@pytest.mark.parametrize("bad", CASES, ids=lambda bad: bad.name)
def test_bad_request(bad: Bad, app: Any, logged: io.StringIO) -> None:
    response = send(app, bad)
    assert response.headers["content-type"] == "application/problem+json", response
    problem = json.loads(response.body)
    assert (response.status, problem["code"], problem["status"]) == (bad.status, bad.code, bad.status), problem
    assert problem["type"] == f"urn:keystead:problem:{bad.code}"
    assert problem["request_id"] == response.headers["x-request-id"]
    assert problem["detail"]
    assert "does not reach" not in problem["detail"], "refused for another reason: no cloud is configured here"
    assert response.headers["cache-control"] == "no-store"
    assert ("www-authenticate" in response.headers) == (bad.status == 401)
    assert ("allow" in response.headers) == (bad.status == 405)

    shown = response.body.decode() + str(response.headers)
    lines = logged.getvalue()
    for text in (shown, lines):
        assert "Traceback" not in text
        assert ".py" not in text
        assert CANARY not in text
        assert CANARY64 not in text
        assert GOOD not in text
        assert GOOD.split(".")[2] not in text
    assert any(json.loads(line).get("code") == bad.code for line in lines.splitlines())


def test_one_answer_for_tenants_that_are_and_are_not(app: Any) -> None:
    same = [("x-request-id", "request-1"), tokens.bearer(GOOD)]
    for method, path, extra, chunks in (
        ("POST", "encrypt", [JSON], [PLAIN]),
        ("POST", "encrypt", [JSON], [b"{"]),
        ("POST", "key/rotate", [], []),
        ("GET", "key", [], []),
        ("PATCH", "key/policy", [JSON], [b"{"]),
        ("POST", "key/suspend", [JSON], [b"{}"]),
        ("POST", "key/resume", [], []),
        ("GET", "key/receipts", [], []),
        ("GET", "key/receipts/a", [], []),
        ("GET", "key/receipts/a.b", [], []),
        ("GET", "audit", [], []),
    ):
        exists, does_not = (
            call(app, method, f"/v1/tenants/{name}/{path}", [*same, *extra], chunks) for name in ("beta", "nobody")
        )
        assert exists == does_not


def test_every_code_a_caller_can_cause_is_covered() -> None:
    assert {bad.code for bad in CASES} == {
        "invalid_request",
        "unauthenticated",
        "access_denied",
        "not_found",
        "method_not_allowed",
        "payload_too_large",
        "unsupported_media_type",
        "message_invalid",
    }
