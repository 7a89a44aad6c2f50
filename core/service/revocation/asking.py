"""Asks a tenant's KEK whether it serves: by real unwraps of the ACTIVE row and of the probe envelope, and by a wrap."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from core.domain.branch_keys import StoredRow
from core.domain.kek import KEY_BYTES, Kek, WrappedKey
from core.domain.tenants import TenantRecord
from core.errors import (
    Denial,
    KeysteadError,
    OwnFault,
    ProviderSignal,
    Silence,
    StoreCorrupt,
    Unasked,
    WrapMismatch,
)
from core.ports import KeyProvider
from core.service.alarms import Alarms
from core.service.probes import Probes
from core.service.providers import Providers
from core.service.row_checks import RowChecks
from core.service.timekeeper import Timekeeper

ENDS_SOON = 30 * 86400.0
"""Seconds ahead of which the end of a key is warned of."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What a KEK answered.

    Attributes:
        granted: It unwrapped.
        denial: It said no.
        ours: Nothing was learned, because of trouble of our own.
        silent: It did not answer.
        corrupt: What it was asked to unwrap is not what it wrapped: our own store's trouble.
        elsewhere: Nothing was asked: what there is to unwrap lies under another version of the key.
        server_time: The KMS's own clock when it granted, in seconds since the epoch; None if it told none.
    """

    granted: bool = False
    denial: Denial | None = None
    ours: bool = False
    silent: bool = False
    corrupt: bool = False
    elsewhere: bool = False
    server_time: float | None = None


class Asking:
    """Asks.

    Args:
        providers: Reach the KEKs.
        rows: Tell the operator of a row that does not unwrap.
        probes: Hold the probe envelopes.
        alarms: Tell the operator of a probe that is gone.
        timekeeper: Hears of the KMS's clock.
        table_name: The logical key store name.
    """

    def __init__(
        self,
        providers: Providers,
        rows: RowChecks,
        probes: Probes,
        alarms: Alarms,
        timekeeper: Timekeeper,
        table_name: str,
    ) -> None:
        self._providers = providers
        self._rows = rows
        self._probes = probes
        self._alarms = alarms
        self._timekeeper = timekeeper
        self._table_name = table_name

    def provider(self, record: TenantRecord, kek: Kek, *, fresh: bool) -> KeyProvider:
        """The provider that reaches a tenant's KEK.

        Args:
            record: The tenant's record.
            kek: The KEK.
            fresh: Through a session made for this, not one that may have outlived what it was made by.

        Raises:
            VendorFault: This deployment does not reach it.
            StoreCorrupt: The KEK is not the tenant's.
        """
        if not fresh or kek == self._providers.platform_kek:
            return self._providers.of(record, kek)
        return self._providers.connect(replace(record.access(kek), lease=0))

    def row(self, record: TenantRecord, stored: StoredRow, provider: KeyProvider) -> Answer:
        """Unwrap a stored row."""
        row, sent = stored.row, self._timekeeper.now()
        try:
            unwrapped = provider.unwrap(WrappedKey(row.kek, row.enc), row.kms_context(self._table_name))
        except ProviderSignal as signal:
            if isinstance(signal, WrapMismatch):
                self._rows.corrupt(record.tenant_id, stored, "it does not unwrap")
            elif isinstance(signal, Denial):
                self._timekeeper.compare(signal.server_time, sent, self._timekeeper.now())
            return self._answer(record, row.kek, signal)
        self._timekeeper.compare(unwrapped.server_time, sent, self._timekeeper.now())
        return Answer(granted=True, server_time=unwrapped.server_time)

    def probe(self, record: TenantRecord, kek: Kek, provider: KeyProvider, *, any_version: bool = False) -> Answer:
        """Unwrap the probe envelope, which fails only if the KEK does.

        Args:
            record: The tenant's record.
            kek: The KEK, with its version where there are versions.
            provider: Reaches it.
            any_version: Whether one under another of the key's versions does; else that is not asked.
        """
        try:
            under = self._probes.read(record.tenant_id, record.probe_digest).kek
            if under != kek and not (any_version and under.key == kek.key):
                return Answer(elsewhere=under.key == kek.key, corrupt=under.key != kek.key)
            self._probes.unwrap(provider, record.tenant_id, record.probe_digest)
        except ProviderSignal as signal:
            return self._answer(record, kek, signal)
        except StoreCorrupt as error:
            self._alarms("store_corrupt", record.tenant_id, "probe", problem=error.detail)
            return Answer(corrupt=True)
        return Answer(granted=True)

    def kept_probe(self, record: TenantRecord, kek: Kek, provider: KeyProvider) -> str:
        """Digest of a probe envelope that can be read: the tenant's own, or where that was lost, one made now.

        Args:
            record: The tenant's record.
            kek: The KEK, which has just served.
            provider: Reaches it.
        """
        try:
            self._probes.read(record.tenant_id, record.probe_digest)
        except StoreCorrupt as error:
            self._alarms("store_corrupt", record.tenant_id, "probe", problem=error.detail)
        except KeysteadError:
            return record.probe_digest
        else:
            return record.probe_digest
        try:
            return self._probes.make(provider, record, kek).digest
        except KeysteadError:
            return record.probe_digest

    def wrap(self, record: TenantRecord, kek: Kek, provider: KeyProvider) -> Answer:
        """Wrap a random key, which is thrown away."""
        try:
            provider.wrap(kek, os.urandom(KEY_BYTES), self._probes.context(record.tenant_id, kek))
        except ProviderSignal as signal:
            return self._answer(record, kek, signal)
        return Answer(granted=True)

    def warnings(self, kek: Kek, provider: KeyProvider, now: float) -> tuple[str, ...] | None:
        """What the KMS tells of a KEK that its owner should know early; None if it tells nothing now.

        Args:
            kek: The KEK, with its version where there are versions.
            provider: Reaches it.
            now: Seconds since the epoch.
        """
        try:
            found = provider.describe(kek)
        except KeysteadError:
            return None
        ends = [] if found.ends is None or found.ends - now > ENDS_SOON else [_ends(found.ends)]
        return (*found.warnings, *ends)

    def _answer(self, record: TenantRecord, kek: Kek, signal: ProviderSignal) -> Answer:
        self._providers.heard(record.tenant_id, kek, signal)
        if isinstance(signal, Denial):
            return Answer(denial=signal)
        if isinstance(signal, OwnFault | Unasked):
            return Answer(ours=True)
        return Answer(silent=isinstance(signal, Silence), corrupt=isinstance(signal, WrapMismatch))


def _ends(at: float) -> str:
    return f"The key stops serving by itself on {datetime.fromtimestamp(at, UTC):%Y-%m-%d %H:%M} UTC."
