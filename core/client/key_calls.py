"""The calls about a tenant's key."""

from __future__ import annotations

import re
from urllib.parse import urlencode

from core.client import key_documents, key_values, withdrawals
from core.client.calls import Calls, tenant_path
from core.client.key_documents import KeyExport, SetupKit
from core.client.key_values import KeyConfigured, KeyStatus, Report, Rotation
from core.client.problems import UnexpectedAnswer
from core.client.withdrawals import RECEIPT_ID, Receipt, ReceiptEntry
from core.errors import InvalidRequest

PATIENCE = 90.0
"""Seconds that examining a key and moving branch keys may take."""
_PROVIDER = re.compile(r"[a-z][a-z0-9_]{0,63}")


class KeyCalls(Calls):
    """Brings, examines, shows, moves, suspends and exports a tenant's key."""

    def key_status(self, tenant_id: str) -> KeyStatus:
        """Status of a tenant's key."""
        return key_values.key_status(self._json("GET", _key(tenant_id)))

    def configure_key(
        self,
        tenant_id: str,
        *,
        provider: str,
        key_arn: str = "",
        role_arn: str = "",
        vault_url: str = "",
        entra_tenant: str = "",
        key_name: str = "",
        nickname: str = "",
        activation_date: str = "",
        reversible: bool = False,
    ) -> KeyConfigured:
        """Put a tenant under a key of its own, or under another. Repeated, it goes on where it was interrupted.

        Args:
            tenant_id: The tenant.
            provider: The cloud: ``aws_kms`` or ``azure_key_vault``.
            key_arn: AWS: ARN of the KMS key; never an alias.
            role_arn: AWS: the role to assume to reach it; "" where the key's own policy names the service.
            vault_url: Azure: the address of the vault or Managed HSM; "" where ``key_name`` is a whole identifier.
            entra_tenant: Azure: id of the Entra tenant that the vault belongs to.
            key_name: Azure: name or identifier of the key. A version in it is dropped: the newest one serves.
            nickname: For people.
            activation_date: ISO 8601 date or instant, UTC without an offset; "" for at once.
            reversible: Whether going back to the platform's key stays possible; fixed with the first key.

        Raises:
            KeyCheckFailed: The key did not pass its examination, which is in the error; nothing was changed.
        """
        body = _body(
            provider=provider,
            key_arn=key_arn,
            role_arn=role_arn,
            vault_url=vault_url,
            entra_tenant=entra_tenant,
            key_name=key_name,
            nickname=nickname,
            activation_date=activation_date,
            reversible=reversible,
        )
        return key_values.key_configured(self._json("PUT", _key(tenant_id), body, patience=PATIENCE))

    def validate_key(
        self,
        tenant_id: str,
        *,
        provider: str,
        key_arn: str = "",
        role_arn: str = "",
        vault_url: str = "",
        entra_tenant: str = "",
        key_name: str = "",
        nickname: str = "",
        activation_date: str = "",
        reversible: bool = False,
    ) -> Report:
        """Examine a key without putting it to use. Arguments as in `configure_key`."""
        body = _body(
            provider=provider,
            key_arn=key_arn,
            role_arn=role_arn,
            vault_url=vault_url,
            entra_tenant=entra_tenant,
            key_name=key_name,
            nickname=nickname,
            activation_date=activation_date,
            reversible=reversible,
        )
        return key_values.report(self._json("POST", _key(tenant_id) + "/validate", body, patience=PATIENCE))

    def revert_key(self, tenant_id: str) -> KeyStatus:
        """Cancel a scheduled key, or go back to the platform's. Repeated only if the request was never sent."""
        answer = self._json("DELETE", _key(tenant_id), idempotent=False, patience=PATIENCE)
        return key_values.key_status(answer)

    def check_key(self, tenant_id: str) -> KeyStatus:
        """Have the KMS asked now, and done what is due: a scheduled key activated, an interrupted change finished.

        Whatever the KMS says, the status is given back: see its ``state``.
        """
        return key_values.key_status(self._json("POST", _key(tenant_id) + "/check", {}, patience=PATIENCE))

    def set_policy(
        self,
        tenant_id: str,
        *,
        lease: float | None = None,
        outage_grace: float | None = None,
        rotation_days: int | None = None,
        fallback: str | None = None,
        approval: str | None = None,
    ) -> KeyStatus:
        """Tune how a tenant's key is used; None leaves a thing as it is. Arguments as in `Policy`.

        Raises:
            InvalidRequest: A value is out of its range or beyond the operator's caps, or nothing was given.
        """
        given = {
            "lease": lease,
            "outage_grace": outage_grace,
            "rotation_days": rotation_days,
            "fallback": fallback,
            "approval": approval,
        }
        body = {name: value for name, value in given.items() if value is not None}
        return key_values.key_status(self._json("PATCH", _key(tenant_id) + "/policy", body))

    def suspend_key(self, tenant_id: str, *, reason: str = "") -> KeyStatus:
        """Turn the kill switch on: nothing of the tenant's is served until `resume_key`.

        Args:
            tenant_id: The tenant.
            reason: For people, at most 200 printable characters; stands in the audit chain.
        """
        return key_values.key_status(self._json("POST", _key(tenant_id) + "/suspend", _body(reason=reason)))

    def resume_key(self, tenant_id: str) -> KeyStatus:
        """Turn the kill switch off. Repeated only if the request was never sent."""
        # Sent again, it could undo a suspension that somebody else ordered in between.
        answer = self._json("POST", _key(tenant_id) + "/resume", {}, idempotent=False, patience=PATIENCE)
        return key_values.key_status(answer)

    def receipts(self, tenant_id: str) -> tuple[ReceiptEntry, ...]:
        """The receipts of a tenant's withdrawals, the newest last."""
        return withdrawals.receipts(self._json("GET", _key(tenant_id) + "/receipts"))

    def receipt(self, tenant_id: str, receipt_id: str) -> Receipt:
        """One receipt with its signed statement, which is not verified here.

        Raises:
            InvalidRequest: That is no receipt's id.
            UnexpectedAnswer: The answer is about another one.
        """
        if not RECEIPT_ID.fullmatch(receipt_id):
            raise InvalidRequest("a receipt's id is letters, digits, hyphens and underscores")
        found = withdrawals.receipt(self._json("GET", f"{_key(tenant_id)}/receipts/{receipt_id}"))
        if found.entry.id != receipt_id:
            raise UnexpectedAnswer("the answer is about another receipt")
        return found

    def key_setup(self, tenant_id: str, provider: str, *, entra_tenant: str = "") -> SetupKit:
        """What a tenant does in its own cloud to let the service use a key.

        Args:
            tenant_id: The tenant.
            provider: The cloud: ``aws_kms`` or ``azure_key_vault``.
            entra_tenant: Azure: id of the tenant's Entra tenant, if it is known already.

        Raises:
            InvalidRequest: That is no cloud's name.
        """
        if not _PROVIDER.fullmatch(provider):
            raise InvalidRequest("a provider's name is lower-case letters, digits and underscores")
        query = f"?{urlencode({'entra_tenant': entra_tenant})}" if entra_tenant else ""
        return key_documents.setup_kit(self._json("GET", f"{_key(tenant_id)}/setup/{provider}{query}"))

    def key_export(self, tenant_id: str) -> KeyExport:
        """A tenant's wrapped branch key rows, for reading messages without the service."""
        return key_documents.key_export(self._json("GET", _key(tenant_id) + "/export"))

    def rotate(self, tenant_id: str) -> Rotation:
        """Make a new ACTIVE version of a tenant's branch key. Repeated only if the request was never sent."""
        return key_values.rotation(self._json("POST", _key(tenant_id) + "/rotate", {}, idempotent=False))


def _key(tenant_id: str) -> str:
    return tenant_path(tenant_id) + "/key"


def _body(**fields: str | bool) -> dict[str, object]:
    # What was not given stays out: the service tells what is missing, and what is another cloud's.
    return {name: value for name, value in fields.items() if value}
