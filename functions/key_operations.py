"""What each route about a tenant's key does; as `functions.operations`."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import asdict, fields
from typing import Any

from core.domain.key_target import KeyTarget
from core.domain.vaults import entra_tenant
from core.errors import InvalidRequest, NotFound
from core.service.results import KeyStatus
from functions.calls import Answer, Call
from functions.models.key_requests import (
    PROVIDERS,
    AwsKeyBody,
    AzureKeyBody,
    ConsentQuery,
    PolicyBody,
    SetupQuery,
    SuspendBody,
)

_RECEIPT_ID = re.compile(r"[A-Za-z0-9_-]{1,64}")


def key_status(call: Call) -> Answer:
    """GET /v1/tenants/{t}/key."""
    return Answer(_status(call.service.key_status(call.who, call.tenant_id)))


def configure_key(call: Call) -> Answer:
    """PUT /v1/tenants/{t}/key."""
    done = call.service.configure_key(call.who, call.tenant_id, _target(call))
    return Answer({"checks": done.report.to_body()["checks"], "key": _status(done.status)})


def revert_key(call: Call) -> Answer:
    """DELETE /v1/tenants/{t}/key."""
    return Answer(_status(call.service.revert_key(call.who, call.tenant_id)))


def validate_key(call: Call) -> Answer:
    """POST /v1/tenants/{t}/key/validate."""
    return Answer(call.service.validate_key(call.who, call.tenant_id, _target(call)).to_body())


def check_key(call: Call) -> Answer:
    """POST /v1/tenants/{t}/key/check."""
    return Answer(_status(call.service.check_key(call.who, call.tenant_id)))


def set_policy(call: Call) -> Answer:
    """PATCH /v1/tenants/{t}/key/policy."""
    assert isinstance(call.body, PolicyBody)
    return Answer(_status(call.service.set_policy(call.who, call.tenant_id, call.body.change())))


def suspend_key(call: Call) -> Answer:
    """POST /v1/tenants/{t}/key/suspend."""
    assert isinstance(call.body, SuspendBody)
    return Answer(_status(call.service.suspend_key(call.who, call.tenant_id, call.body.reason)))


def resume_key(call: Call) -> Answer:
    """POST /v1/tenants/{t}/key/resume."""
    return Answer(_status(call.service.resume_key(call.who, call.tenant_id)))


def list_receipts(call: Call) -> Answer:
    """GET /v1/tenants/{t}/key/receipts."""
    return Answer({"receipts": [asdict(entry) for entry in call.service.list_receipts(call.who, call.tenant_id)]})


def show_receipt(call: Call) -> Answer:
    """GET /v1/tenants/{t}/key/receipts/{receipt_id}."""
    receipt_id = call.parameters["receipt_id"]
    if not _RECEIPT_ID.fullmatch(receipt_id):
        raise NotFound("there is no such receipt")
    found = call.service.receipt(call.who, call.tenant_id, receipt_id)
    return Answer({**asdict(found.entry), "statement": found.statement})


def key_setup(call: Call) -> Answer:
    """GET /v1/tenants/{t}/key/setup/{provider}."""
    provider = call.parameters["provider"]
    if provider not in PROVIDERS:
        raise InvalidRequest("the path names no provider of keys", hint=f"known are {', '.join(PROVIDERS)}")
    assert isinstance(call.query, SetupQuery)
    asked = call.query.entra_tenant
    if asked and provider != "azure_key_vault":
        raise InvalidRequest("an Entra tenant is named for azure_key_vault only")
    kit = call.service.key_setup(call.who, call.tenant_id, provider, entra_tenant(asked) if asked else "")
    return Answer(
        {
            "tenant_id": kit.tenant_id,
            "provider": kit.provider,
            "external_id": kit.external_id,
            "identity": kit.identity,
            "documents": dict(kit.documents),
            "steps": [dict(step) for step in kit.steps],
        }
    )


def key_export(call: Call) -> Answer:
    """GET /v1/tenants/{t}/key/export."""
    export = call.service.key_export(call.who, call.tenant_id)
    return Answer(
        {
            "tenant_id": export.tenant_id,
            "table_name": export.table_name,
            "kek": export.kek,
            "branch_key_ids": list(export.branch_key_ids),
            "items": [dict(item) for item in export.items],
        }
    )


def rotate(call: Call) -> Answer:
    """POST /v1/tenants/{t}/key/rotate."""
    return Answer(asdict(call.service.rotate(call.who, call.tenant_id)))


def azure_consent(call: Call) -> Answer:
    """GET /v1/azure/consent."""
    query = call.query
    assert isinstance(query, ConsentQuery)
    consented = query.admin_consent.lower() == "true" and not query.error
    return Answer(asdict(call.service.azure_consent(query.state, query.tenant, consented=consented)))


KEY_OPERATIONS: tuple[Callable[[Call], Answer], ...] = (
    key_status,
    configure_key,
    revert_key,
    validate_key,
    check_key,
    set_policy,
    suspend_key,
    resume_key,
    list_receipts,
    show_receipt,
    key_setup,
    key_export,
    rotate,
    azure_consent,
)


def _target(call: Call) -> KeyTarget:
    assert isinstance(call.body, AwsKeyBody | AzureKeyBody)
    return call.body.target()


def _status(status: KeyStatus) -> dict[str, Any]:
    document = {item.name: getattr(status, item.name) for item in fields(status)}
    return {
        **document,
        "policy": asdict(status.policy),
        "bounds": dict(status.bounds),
        "kek_versions": list(status.kek_versions),
        "pending": None if status.pending is None else _pending(status.pending),
        "move": None if status.move is None else asdict(status.move),
        "timeline": [change.to_body() for change in status.timeline],
    }


def _pending(target: KeyTarget) -> dict[str, Any]:
    return {
        "kek": target.locator,
        "role_arn": target.role_arn,
        "entra_tenant": target.entra_tenant,
        "nickname": target.nickname,
        "activation": target.activation,
        "reversible": target.reversible,
    }
