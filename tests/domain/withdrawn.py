"""A tenant whose withdrawal is confirmed, for tests of receipts."""

from __future__ import annotations

from typing import Any

from core.domain.receipts import ReceiptBounds
from core.domain.states import State
from core.domain.tenants import TenantRecord
from core.domain.withdrawals import Withdrawal, instant

START = 1_800_000_000.0
RECEIPT = "4f0c2a43-8a0b-4f0c-9d3a-0d9b4f0f2a11"
BOUNDS = ReceiptBounds(state_age=10, store_silence=30, longest_operation=30, skew=5)
ISSUER = "https://keystead.example.com"
ARN = "arn:aws:kms:eu-central-1:111122223333:key/6b0c2a43-8a0b-4f0c-9d3a-0d9b4f0f2a11"
VAULT_KEY = "https://acme-kv.vault.azure.net/keys/kek"


def at(seconds: float) -> str:
    """An instant, by the seconds after the first denial."""
    return instant(START + seconds)


def withdrawal(**fields: Any) -> Withdrawal:
    """A withdrawal that was confirmed a second after its first denial."""
    usual: dict[str, Any] = {
        "kek": ARN,
        "cause": "disabled",
        "kms_code": "DisabledException",
        "request_id": "req-1",
        "first_denial": at(0),
        "lease": 60,
        "outage_grace": 900,
        "receipt": RECEIPT,
        "confirmed": at(1),
        "confirmed_code": "DisabledException",
        "confirmed_request_id": "req-2",
        "guard": "not_needed",
        "written": at(1.5),
        "last_use": at(-20),
        "data_keys": 0,
    }
    return Withdrawal(**usual | fields)


def revoked(tenant_id: str = "acme", **fields: Any) -> TenantRecord:
    """The record of a tenant whose key is revoked; ``fields`` are those of the withdrawal."""
    return TenantRecord(
        tenant_id=tenant_id,
        branch_key_id="0d1cfb19-0c5c-4b7e-8ac3-4b2f0a6cbb52",
        kek=ARN,
        since=at(1.5),
        created=at(-1000),
        state=State.REVOKED,
        cause="disabled",
        withdrawal=withdrawal(**fields),
    )
