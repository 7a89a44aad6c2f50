"""What each route does: takes the decoded input to the service and its result to an answer. One function per row.

No rule of the business stands here: the service's gate authorises, audits and logs usage. Answers are JSON documents of
the shapes in `functions.models.answers`; a test holds the two together.
"""

from __future__ import annotations

import json
from base64 import b64encode
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from core.domain.tenants import TenantRecord
from core.errors import KeysteadError, PayloadTooLarge
from core.service.results import DecryptItem, EncryptItem
from functions.calls import Answer, Call
from functions.decoding import RAW, RawBody
from functions.key_operations import KEY_OPERATIONS
from functions.messages import MAX_BODY
from functions.models import requests
from functions.problems import problem

_ITEM_SLACK = 128
"""Bytes that the decrypt request of one message needs besides the message and its context."""
_BODY_SLACK = 1024


def _tenant(record: TenantRecord) -> dict[str, Any]:
    return {
        "tenant_id": record.tenant_id,
        "display_name": record.display_name,
        "state": record.state,
        "created": record.created,
        "offering": record.offering,
        "unbound_policy_accepted": record.unbound_policy_accepted,
    }


def _base64(data: bytes) -> str:
    return b64encode(data).decode()


def create_tenant(call: Call) -> Answer:
    """PUT /v1/tenants/{t}."""
    assert isinstance(call.body, requests.TenantBody)
    record, created = call.service.create_tenant(call.who, call.tenant_id, display_name=call.body.display_name)
    return Answer(_tenant(record), 201 if created else 200)


def list_tenants(call: Call) -> Answer:
    """GET /v1/tenants."""
    assert isinstance(call.query, requests.TenantPage)
    page = call.service.list_tenants(call.who, after=call.query.after, limit=call.query.limit)
    last = page[-1].tenant_id if len(page) == call.query.limit else None
    return Answer({"tenants": [_tenant(record) for record in page], "next": last})


def show_tenant(call: Call) -> Answer:
    """GET /v1/tenants/{t}."""
    return Answer(_tenant(call.service.show_tenant(call.who, call.tenant_id)))


def update_tenant(call: Call) -> Answer:
    """PATCH /v1/tenants/{t}."""
    body = call.body
    assert isinstance(body, requests.TenantUpdate)
    record = call.service.update_tenant(
        call.who,
        call.tenant_id,
        display_name=body.display_name,
        offering=body.offering,
        accept_unbound_policy=body.accept_unbound_policy,
    )
    return Answer(_tenant(record))


def encrypt(call: Call) -> Answer:
    """POST /v1/tenants/{t}/encrypt: one, many, or raw."""
    body = call.body
    if isinstance(body, RawBody):
        message = call.service.encrypt(call.who, call.tenant_id, body.data, body.context)
        if len(message) > MAX_BODY:
            raise _answer_too_large()
        return Answer(message)
    if isinstance(body, requests.EncryptBatch):
        items = [EncryptItem(item.plaintext, item.context) for item in body.items]
        results = call.service.encrypt_many(call.who, call.tenant_id, items)
        _check_fits([(r, i.context) for r, i in zip(results, items, strict=True) if isinstance(r, bytes)])
        return Answer({"items": [_item(result, "message") for result in results]})
    assert isinstance(body, requests.EncryptBody)
    message = call.service.encrypt(call.who, call.tenant_id, body.plaintext, body.context)
    _check_fits([(message, body.context)])
    return Answer({"message": _base64(message)})


def decrypt(call: Call) -> Answer:
    """POST /v1/tenants/{t}/decrypt: one, many, or raw."""
    body = call.body
    if isinstance(body, RawBody):
        return Answer(call.service.decrypt(call.who, call.tenant_id, body.data, body.context, foreign=body.foreign))
    if isinstance(body, requests.DecryptBatch):
        items = [DecryptItem(item.message, item.context, item.foreign) for item in body.items]
        results = call.service.decrypt_many(call.who, call.tenant_id, items)
        return Answer({"items": [_item(result, "plaintext") for result in results]})
    assert isinstance(body, requests.DecryptBody)
    plaintext = call.service.decrypt(call.who, call.tenant_id, body.message, body.context, foreign=body.foreign)
    return Answer({"plaintext": _base64(plaintext)})


def new_data_key(call: Call) -> Answer:
    """POST /v1/tenants/{t}/data-keys."""
    assert isinstance(call.body, requests.DataKeyBody)
    grant = call.service.new_data_key(call.who, call.tenant_id, call.body.context)
    return Answer(
        {
            "data_key": _base64(grant.data_key),
            "encrypted_data_key": _base64(grant.encrypted_data_key),
            "context": dict(grant.context),
        }
    )


def open_data_key(call: Call) -> Answer:
    """POST /v1/tenants/{t}/data-keys/decrypt."""
    assert isinstance(call.body, requests.OpenDataKeyBody)
    key = call.service.open_data_key(call.who, call.tenant_id, call.body.encrypted_data_key, call.body.context)
    return Answer({"data_key": _base64(key)})


def audit_entries(call: Call) -> Answer:
    """GET /v1/tenants/{t}/audit."""
    assert isinstance(call.query, requests.AuditPage)
    page = call.service.audit_entries(call.who, call.tenant_id, after=call.query.after, limit=call.query.limit)
    last = page[-1].sequence if len(page) == call.query.limit else None
    return Answer({"entries": [{**entry.body(), "hash": entry.hash} for entry in page], "next": last})


def audit_checkpoints(call: Call) -> Answer:
    """GET /v1/tenants/{t}/audit/checkpoints."""
    return Answer({"checkpoints": list(call.service.audit_checkpoints(call.who, call.tenant_id))})


def health(call: Call) -> Answer:
    """GET /healthz."""
    found = call.service.health()
    return Answer({"ok": found.ok, "checks": dict(found.checks)}, 200 if found.ok else 503)


def openapi(_call: Call) -> Answer:
    """GET /openapi.json."""
    from functions.openapi import document

    return Answer(document())


def jwks(call: Call) -> Answer:
    """GET /.well-known/jwks.json."""
    return Answer(call.service.jwks())


OPERATIONS: Mapping[str, Callable[[Call], Answer]] = {
    operation.__name__: operation
    for operation in (
        create_tenant,
        list_tenants,
        show_tenant,
        update_tenant,
        *KEY_OPERATIONS,
        encrypt,
        decrypt,
        new_data_key,
        open_data_key,
        audit_entries,
        audit_checkpoints,
        health,
        openapi,
        jwks,
    )
}
"""By ``Route.operation``."""


def _item(result: bytes | KeysteadError, name: str) -> Any:
    if isinstance(result, KeysteadError):
        return {"error": problem(result)}
    return {name: _base64(result)}


def _check_fits(messages: Sequence[tuple[bytes, Mapping[str, str]]]) -> None:
    """Refuse an answer that could not be sent back in one decrypt request.

    The request is measured in its longest usual writing (escapes for all non-ASCII, blanks after separators), so that
    the answer does not depend on how the caller writes JSON.
    """
    size = _BODY_SLACK
    for message, context in messages:
        size += (len(message) + 2) // 3 * 4 + len(json.dumps(context)) + _ITEM_SLACK
    if size > MAX_BODY:
        raise _answer_too_large()


def _answer_too_large() -> PayloadTooLarge:
    return PayloadTooLarge(
        f"the message would not fit into a decrypt request of {MAX_BODY} bytes",
        hint=f"send less at a time, send it raw ({RAW}), or encrypt on your side under a data key",
    )
