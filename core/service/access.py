"""The one gate: authorise, act, record (DESIGN 7, 8).

Every public operation of `core.service.keystead` runs inside `AccessGate.enter`. Control-plane acts and refusals go to
the audit chain; data-plane use and reads are one structured log line each.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Literal

from core.domain.tenants import SYSTEM
from core.errors import AccessDenied, InternalError, KeysteadError, ProviderSignal, StoreCorrupt
from core.service.alarms import Alarms
from core.service.audit import AuditTrail
from core.service.kms_budget import KmsBudget
from core.service.refusals import Refusals

usage = logging.getLogger("keystead.usage")


class Permission(StrEnum):
    """What a token's scope may grant."""

    PLATFORM_OPERATE = "platform:operate"
    KEY_READ = "key:read"
    KEY_MANAGE = "key:manage"
    KEY_SUSPEND = "key:suspend"
    KEY_SHRED = "key:shred"
    AUDIT_READ = "audit:read"
    STORE_ACK = "store:ack"
    DATA_ENCRYPT = "data:encrypt"
    DATA_DECRYPT = "data:decrypt"
    DATA_KEYS = "data:keys"


@dataclass(frozen=True, slots=True)
class Caller:
    """Who calls.

    Attributes:
        subject: The token's subject.
        issuer: Who vouches for it.
        tenant_id: The tenant the token acts for, or None for the platform's own.
        scopes: Permissions granted.
        request_id: Joins log lines of one request.
    """

    subject: str
    issuer: str
    tenant_id: str | None
    scopes: frozenset[str]
    request_id: str = ""


@dataclass(frozen=True, slots=True)
class Operation:
    """One public operation.

    Attributes:
        name: As logged and audited.
        permission: What the caller needs on its own tenant; PLATFORM_OPERATE spans tenants.
        kind: ``control`` is audited; ``data`` and ``read`` are log lines.
        reason: Reason code.
        operator_too: Whether PLATFORM_OPERATE grants it as well.
    """

    name: str
    permission: Permission
    kind: Literal["control", "data", "read"]
    reason: str
    operator_too: bool = False


class Op:
    """The operations."""

    TENANT_CREATE = Operation("tenant.create", Permission.PLATFORM_OPERATE, "control", "SUPPORT")
    TENANT_LIST = Operation("tenant.list", Permission.PLATFORM_OPERATE, "read", "SUPPORT")
    TENANT_SHOW = Operation("tenant.show", Permission.KEY_READ, "read", "CUSTOMER_READ", operator_too=True)
    KEY_STATUS = Operation("key.status", Permission.KEY_READ, "read", "CUSTOMER_READ")
    TENANT_UPDATE = Operation("tenant.update", Permission.PLATFORM_OPERATE, "control", "SUPPORT")
    KEY_CONFIGURE = Operation("key.configure", Permission.KEY_MANAGE, "control", "MIGRATION")
    KEY_VALIDATE = Operation("key.validate", Permission.KEY_MANAGE, "control", "HEALTH_CHECK")
    KEY_REVERT = Operation("key.revert", Permission.KEY_MANAGE, "control", "MIGRATION")
    KEY_CHECK = Operation("key.check", Permission.KEY_MANAGE, "control", "HEALTH_CHECK", operator_too=True)
    KEY_POLICY = Operation("key.policy", Permission.KEY_MANAGE, "control", "SUPPORT", operator_too=True)
    KEY_SUSPEND = Operation("key.suspend", Permission.KEY_SUSPEND, "control", "SUPPORT", operator_too=True)
    KEY_RESUME = Operation("key.resume", Permission.KEY_MANAGE, "control", "SUPPORT")
    STORE_RESTORED = Operation("store.restored", Permission.PLATFORM_OPERATE, "control", "SUPPORT")
    RECEIPT_LIST = Operation("receipt.list", Permission.AUDIT_READ, "read", "CUSTOMER_READ")
    RECEIPT_SHOW = Operation("receipt.show", Permission.AUDIT_READ, "read", "CUSTOMER_READ")
    KEY_SETUP = Operation("key.setup", Permission.KEY_MANAGE, "read", "CUSTOMER_READ")
    KEY_EXPORT = Operation("key.export", Permission.KEY_MANAGE, "control", "CUSTOMER_READ")
    KEY_ROTATE = Operation("key.rotate", Permission.KEY_MANAGE, "control", "ROTATION")
    ENCRYPT = Operation("data.encrypt", Permission.DATA_ENCRYPT, "data", "CUSTOMER_WRITE")
    DECRYPT = Operation("data.decrypt", Permission.DATA_DECRYPT, "data", "CUSTOMER_READ")
    DATA_KEY_GRANT = Operation("data_key.grant", Permission.DATA_KEYS, "data", "CUSTOMER_WRITE")
    DATA_KEY_OPEN = Operation("data_key.open", Permission.DATA_KEYS, "data", "CUSTOMER_READ")
    AUDIT_READ = Operation("audit.read", Permission.AUDIT_READ, "read", "CUSTOMER_READ")
    AUDIT_CHECKPOINTS = Operation("audit.checkpoints", Permission.AUDIT_READ, "read", "CUSTOMER_READ")


class AccessGate:
    """Lets callers in and records what they did.

    Args:
        audit: The chains.
        refusals: Records refusals, floods folded.
        alarms: Tell the operator of stored data that failed its checks.
        budget: Counts the KMS time of operations on data.
    """

    def __init__(self, audit: AuditTrail, refusals: Refusals, alarms: Alarms, budget: KmsBudget) -> None:
        self._audit = audit
        self._refusals = refusals
        self._alarms = alarms
        self._budget = budget

    @contextmanager
    def enter(self, caller: Caller, operation: Operation, tenant_id: str | None) -> Iterator[dict[str, Any]]:
        """Authorise, run the body, record the outcome; exactly one record, whatever happens.

        Args:
            caller: Who calls.
            operation: What it wants.
            tenant_id: Whose; None where the operation spans tenants.

        Yields:
            Facts to record with the outcome; the body may add to them, never a secret.

        Raises:
            AccessDenied: Not authorised. Nothing was looked up.
            KeysteadError: Whatever the body raised; signals of providers become InternalError.
            StoreUnavailable: A control-plane act was done but could not be audited.
        """
        self.admit(caller, operation, tenant_id)
        self._refusals.write_due()
        facts: dict[str, Any] = {}
        if operation.kind == "data":
            self._budget.begin()
        try:
            yield facts
        except ProviderSignal as signal:
            self._record(caller, operation, tenant_id, "internal", facts)
            raise InternalError("a key provider's signal was not handled") from signal
        except KeysteadError as error:
            if isinstance(error, StoreCorrupt) and not error.alarmed:
                self._alarms("store_corrupt", tenant_id or SYSTEM, operation.name, problem=error.detail)
            self._record(caller, operation, tenant_id, error.code, facts)
            raise
        except BaseException:
            self._record(caller, operation, tenant_id, "internal", facts)
            raise
        finally:
            self._budget.end()
        self._record(caller, operation, tenant_id, "ok", facts, strict=True)

    def admit(self, caller: Caller, operation: Operation, tenant_id: str | None) -> None:
        """Refuse a caller that may not perform an operation, and record the refusal; else do nothing.

        Args:
            caller: Who calls.
            operation: What it wants.
            tenant_id: As in `enter`.

        Raises:
            AccessDenied: Not authorised. Nothing was looked up.
        """
        if not allowed(caller, operation, tenant_id):
            self._refusals.record(caller.subject, caller.issuer, caller.tenant_id, operation.name, caller.request_id)
            who = (
                "an operator's token"
                if operation.permission is Permission.PLATFORM_OPERATE
                else "a token of this tenant"
            )
            raise AccessDenied(
                "the token does not allow this", hint=f"it takes {who} with the scope {operation.permission}"
            )

    def _record(
        self,
        caller: Caller,
        operation: Operation,
        tenant_id: str | None,
        outcome: str,
        facts: dict[str, Any],
        *,
        strict: bool = False,
    ) -> None:
        fields = {"issuer": caller.issuer, "request_id": caller.request_id, "reason": operation.reason, **facts}
        if operation.kind == "control":
            try:
                self._audit.record(tenant_id or SYSTEM, operation.name, caller.subject, outcome, fields)
                return
            except KeysteadError:
                if strict:
                    raise
                # The act failed already; its own error matters more to the caller than this one.
                fields["audited"] = False
        usage.info(
            operation.name,
            extra={
                "fields": {
                    "operation": operation.name,
                    "tenant": tenant_id,
                    "subject": caller.subject,
                    "outcome": outcome,
                    **fields,
                }
            },
        )


def allowed(caller: Caller, operation: Operation, tenant_id: str | None) -> bool:
    """Whether a caller may perform an operation; looks at nothing but its arguments, records nothing."""
    operator = Permission.PLATFORM_OPERATE in caller.scopes
    if operation.permission is Permission.PLATFORM_OPERATE:
        return operator
    own = tenant_id is not None and caller.tenant_id == tenant_id and operation.permission in caller.scopes
    return own or (operation.operator_too and operator)
