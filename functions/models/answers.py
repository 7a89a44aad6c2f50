"""Answers of the API as pydantic models, built from what the service returns.

They are models so that the OpenAPI document states them; nothing is validated on the way out.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

from pydantic import Field

from functions.models.base import Base64, Model


class Check(Model):
    """One check of an examination of a key."""

    name: str = Field(description="Stable, such as `tenant_bound`")
    result: Literal["pass", "warn", "fail", "skip"] = Field(description="`skip`: an earlier check failed")
    observed: str
    remedy: str = Field(description="What to do about it; empty where nothing is")


class Problem(Model):
    """An error (RFC 9457)."""

    type: str = Field(description="urn:keystead:problem:<code>")
    title: str
    status: int
    detail: str
    code: str = Field(description="Stable; switch on this")
    retryable: bool = Field(description="Whether the same request may succeed later")
    remedy: str = Field(description="Who must act: caller, tenant or operator")
    hint: str | None = Field(None, description="What to do, where it is not obvious")
    request_id: str | None = Field(None, description="Left out in the items of a batch")
    checks: Sequence[Check] | None = Field(None, description="With `key_check_failed`: the whole examination")


class Tenant(Model):
    """A tenant."""

    tenant_id: str
    display_name: str
    state: str = Field(description="State of its key")
    created: str = Field(description="UTC, ISO 8601")
    offering: str = Field(description="What the tenant has bought")
    unbound_policy_accepted: bool = Field(description="Whether a key policy not bound to the tenant may pass")


class TenantList(Model):
    """Tenants in order of their ids."""

    tenants: Sequence[Tenant]
    next: str | None = Field(None, description="Pass as `after` for the next page; null at the end")


class Encrypted(Model):
    """A message."""

    message: Base64 = Field(description="An AWS Encryption SDK message")


class EncryptedItem(Model):
    """A message, or why there is none."""

    message: Base64 | None = None
    error: Problem | None = None


class EncryptedBatch(Model):
    """Results in the order of the items."""

    items: Sequence[EncryptedItem]


class Decrypted(Model):
    """A plaintext."""

    plaintext: Base64


class DecryptedItem(Model):
    """A plaintext, or why there is none."""

    plaintext: Base64 | None = None
    error: Problem | None = None


class DecryptedBatch(Model):
    """Results in the order of the items."""

    items: Sequence[DecryptedItem]


class DataKey(Model):
    """A data key handed out: use the plain one, store the encrypted one, forget the plain one."""

    data_key: Base64 = Field(description="32 plain bytes; the service keeps no copy")
    encrypted_data_key: Base64
    context: Mapping[str, str] = Field(description="The whole context it is bound to")


class OpenedDataKey(Model):
    """A data key opened again."""

    data_key: Base64


class Entry(Model):
    """One link of an audit chain."""

    chain: str
    sequence: int
    time: str
    action: str
    subject: str
    outcome: str
    details: Mapping[str, Any]
    previous: str
    hash: str


class AuditList(Model):
    """Audit entries in order of their sequence."""

    entries: Sequence[Entry]
    next: int | None = Field(None, description="Pass as `after` for the next page; null at the end")


class Checkpoints(Model):
    """Signed ends of an audit chain, oldest first."""

    checkpoints: Sequence[str] = Field(description="Compact JWS; keys at /.well-known/jwks.json")


class Health(Model):
    """Whether the service can serve."""

    ok: bool
    checks: Mapping[str, str] = Field(description="Per dependency `ok` or an error code")
