"""What each route about a tenant's key does; as `functions.operations`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, fields
from typing import Any

from core.domain.key_target import KeyTarget
from core.domain.vaults import entra_tenant
from core.errors import InvalidRequest
from core.service.results import KeyStatus
from functions.calls import Answer, Call
from functions.models.requests import PROVIDERS, AwsKeyBody, AzureKeyBody, ConsentQuery, SetupQuery


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
