"""Issues, lists and gives out the receipts of revocations (DESIGN 5, "Receipt").

A receipt's id is fixed in the tenant's record when the revocation is confirmed. One document, ``receipt:<id>``, says
how far it has come, and every step is a conditional write of it, which any process can take or repeat::

    (none) ----> found ----> issued ----> issued and reinstated
       |           |
       +-----------+-------> void         reinstated before it was issued: never issued

Signing comes last, so trouble with the signing key delays a receipt and changes nothing that it says.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from core.domain import receipts
from core.domain.receipt_sentences import UNCOUNTED
from core.domain.receipts import Findings, ReceiptBounds
from core.domain.states import State
from core.domain.tenants import TenantRecord
from core.domain.timing import Instant
from core.domain.withdrawals import instant
from core.errors import InternalError, InvalidRequest, NotFound, ProviderSignal, StoreCorrupt, StoreUnavailable
from core.ports import Signer, TenantStore
from core.service.handed_out_counts import HandedOutCounts
from core.service.results import Receipt, ReceiptEntry
from core.service.revocation.receipt_documents import ATTEMPTS, Progress, ReceiptDocuments, is_id, too_busy

log = logging.getLogger("keystead.revocation")


class Receipts:
    """The receipts of this deployment. Safe for many threads and processes.

    Args:
        store: Holds them.
        signer: Signs them.
        now: Reads both clocks.
        counts: Say how many data keys were handed out.
        bounds: Of this deployment.
        issuer: The deployment's public name or URL.
    """

    def __init__(
        self,
        store: TenantStore,
        signer: Signer,
        now: Callable[[], Instant],
        *,
        counts: HandedOutCounts,
        bounds: ReceiptBounds,
        issuer: str,
    ) -> None:
        self._documents = ReceiptDocuments(store)
        self._signer = signer
        self._now = now
        self._counts = counts
        self._bounds = bounds
        self._issuer = issuer

    def issue(self, record: TenantRecord) -> ReceiptEntry | None:
        """Issue and list the receipt of a revocation, as far as that has not been done. Safe to repeat.

        Args:
            record: A tenant's record as it is stored: just read, or just written with success.

        Returns:
            The receipt; None if none is due: the tenant is not revoked, or the key was reinstated first.

        Raises:
            StoreUnavailable, StoreCorrupt, InternalError: Not now. To be tried again at the next check; it must not
                stop a revocation.
        """
        withdrawal = record.withdrawal
        revoked = record.state is State.REVOKED or record.resume_to == State.REVOKED.value
        if not revoked or withdrawal is None or not withdrawal.receipt:
            return None
        tenant_id, receipt_id = record.tenant_id, withdrawal.receipt
        for _ in range(ATTEMPTS):
            progress, revision = self._documents.read(tenant_id, receipt_id)
            if progress is None:
                after = self._found(tenant_id)
            elif progress.void:
                return None
            elif not progress.statement:
                after = replace(progress, statement=self._sign(record, progress))
            else:
                receipt = _receipt(tenant_id, receipt_id, progress, self._keys())
                self._documents.add(tenant_id, receipt_id)
                return receipt.entry
            self._documents.step(tenant_id, receipt_id, after, revision)
        raise too_busy()

    def reinstating(self, tenant_id: str, receipt_id: str, at: str, holds_until: str = "") -> None:
        """A revoked tenant's key is about to serve again. Safe to repeat.

        To be called before every attempt to write a record that ends a confirmed withdrawal, with the receipt that the
        record to be replaced names: another process may have given the tenant another one meanwhile. What was issued
        is marked as reinstated, the first time counts; what was not is never issued any more.

        Args:
            tenant_id: The tenant.
            receipt_id: As in its record; "" if the withdrawal was never confirmed, then nothing is done.
            at: UTC, ``CREATE_TIME_FORMAT``: now.
            holds_until: Likewise: until when the statement holds by every clock; "" for the same.

        Raises:
            StoreUnavailable: Not now; the state must not change before this is done. A stored receipt that does not
                have its form stops nobody: it is neither issued nor shown.
        """
        if not receipt_id:
            return
        try:
            self._end(tenant_id, receipt_id, at, holds_until or at)
        except StoreCorrupt:
            log.error("a stored receipt cannot be read", extra={"fields": {"tenant": tenant_id, "id": receipt_id}})

    def was_voided(self, tenant_id: str, receipt_id: str) -> bool:
        """Whether a tenant that is revoked needs another id for its receipt.

        So it is if `reinstating` was called for this one, or if what is stored of it does not have its form.

        Raises:
            StoreUnavailable: It cannot be read now.
        """
        try:
            progress, _ = self._documents.read(tenant_id, receipt_id)
        except StoreCorrupt:
            return True
        return progress is not None and bool(progress.void or progress.reinstated)

    def list(self, tenant_id: str) -> Sequence[ReceiptEntry]:
        """A tenant's latest receipts, newest last, each read off its own signed statement; damaged ones are left out.

        Raises:
            StoreUnavailable: They cannot be read now.
            StoreCorrupt: The list itself is damaged.
        """
        ids = self._documents.ids(tenant_id)
        keys = self._keys() if ids else {}
        found = []
        for receipt_id in ids:
            try:
                progress, _ = self._documents.read(tenant_id, receipt_id)
                if progress is None or not progress.statement:
                    raise StoreCorrupt("a receipt that is listed is not stored")
                found.append(_receipt(tenant_id, receipt_id, progress, keys).entry)
            except StoreCorrupt:
                # One that was damaged must not hide the others; asked for by its id, it is told as what it is.
                log.error("a stored receipt cannot be read", extra={"fields": {"tenant": tenant_id, "id": receipt_id}})
        return found

    def read(self, tenant_id: str, receipt_id: str) -> Receipt:
        """One receipt.

        Raises:
            NotFound: There is none of this id.
            StoreUnavailable: It cannot be read now.
            StoreCorrupt: It does not verify.
        """
        progress = self._documents.read(tenant_id, receipt_id)[0] if is_id(receipt_id) else None
        if progress is None or not progress.statement:
            raise NotFound("there is no such receipt")
        return _receipt(tenant_id, receipt_id, progress, self._keys())

    def _found(self, tenant_id: str) -> Progress:
        # Now the state is known to be stored: who hands out a data key that this count misses reads the state later.
        try:
            counted = self._counts.read(tenant_id)
        except StoreCorrupt:
            return Progress(instant(self._now().wall), UNCOUNTED)
        return Progress(instant(self._now().wall), counted.reserved, counted.since)

    def _sign(self, record: TenantRecord, progress: Progress) -> str:
        found = Findings(progress.stored_by, progress.data_keys, progress.counted_since)
        issued = instant(self._now().wall)
        try:
            payload = receipts.build(record, found, bounds=self._bounds, issued=issued, issuer=self._issuer)
            statement = self._signer.sign(payload)
            # Once stored it stays: better none than one that its reader cannot verify.
            if receipts.verify(statement, self._keys()) == payload:
                return statement
        except ProviderSignal:
            raise StoreUnavailable("the receipt cannot be signed now") from None
        except InvalidRequest as error:
            log.error("a receipt cannot be made", extra={"fields": {"tenant": record.tenant_id, "why": error.detail}})
        raise InternalError("a receipt was made that does not verify")

    def _end(self, tenant_id: str, receipt_id: str, at: str, holds_until: str) -> None:
        for _ in range(ATTEMPTS):
            progress, revision = self._documents.read(tenant_id, receipt_id)
            if progress is not None and progress.void:
                return
            if progress is None or not progress.statement:
                after = Progress(void=at)
            elif not progress.reinstated:
                after = replace(progress, reinstated=at, holds_until=holds_until)
            else:
                # The process that issued it may have died before it was listed.
                self._documents.add(tenant_id, receipt_id)
                return
            self._documents.step(tenant_id, receipt_id, after, revision)
        raise too_busy()

    def _keys(self) -> Mapping[str, Any]:
        try:
            return self._signer.jwks()
        except ProviderSignal:
            raise StoreUnavailable("the signing keys cannot be read now") from None


def _receipt(tenant_id: str, receipt_id: str, progress: Progress, keys: Mapping[str, Any]) -> Receipt:
    try:
        payload = receipts.verify(progress.statement, keys)
    except InvalidRequest:
        raise StoreCorrupt("a stored receipt does not verify") from None
    if (payload["tenant_id"], payload["id"]) != (tenant_id, receipt_id):
        raise StoreCorrupt("a stored receipt is another one")
    return Receipt(
        ReceiptEntry(
            id=receipt_id,
            issued=payload["issued"],
            kek="/".join(filter(None, (payload["kek"], payload["kek_version"]))),
            cause=payload["cause"],
            first_denial=payload["first_denial"],
            confirmed=payload["confirmed"],
            not_served_after=payload["not_served_after"],
            reinstated=progress.reinstated,
            holds_until=progress.holds_until or progress.reinstated,
        ),
        progress.statement,
    )
