"""A tenant's probe envelope: a random key wrapped under its KEK at set-up, to ask the KEK itself and nothing else.

A branch key row can fail for reasons of ours; the probe fails only if the KEK does. Its digest lies in the tenant's
authenticated record, so that nobody who can write the store can swap it for one that always, or never, unwraps.
"""

from __future__ import annotations

import hmac
import json
import os
from base64 import b64decode, b64encode
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any

from core.domain.branch_keys import BranchKeyRow
from core.domain.kek import KEY_BYTES, Kek, WrappedKey
from core.domain.tenants import TenantRecord
from core.errors import Conflict, InternalError, ProviderSignal, StoreCorrupt, WrapMismatch
from core.ports import KeyProvider, TenantStore
from core.service.providers import Providers

PREFIX = "probe:"
_PROBE = "keystead:probe"


@dataclass(frozen=True, slots=True)
class Probe:
    """A probe as stored.

    Attributes:
        kek: The KEK.
        ciphertext: What its wrap gave.
        context: What it is wrapped under.
    """

    kek: Kek
    ciphertext: bytes = field(repr=False)
    context: Mapping[str, str]

    @property
    def digest(self) -> str:
        """What the tenant's record keeps, hex."""
        return sha256(json.dumps(self.to_body(), sort_keys=True).encode()).hexdigest()

    def to_body(self) -> dict[str, Any]:
        """JSON form."""
        wrapped = b64encode(self.ciphertext).decode()
        return {"kek": self.kek.locator, "wrapped": wrapped, "context": dict(self.context)}

    @classmethod
    def from_body(cls, body: Mapping[str, Any]) -> Probe:
        """Read the JSON form.

        Raises:
            KeyError, TypeError, ValueError: It is none.
        """
        return cls(Kek(body["kek"]), b64decode(body["wrapped"], validate=True), dict(body["context"]))


class Probes:
    """Makes and tries probes.

    Args:
        store: Holds them.
        providers: Say what a signal means.
        table_name: The logical key store name.
    """

    def __init__(self, store: TenantStore, providers: Providers, table_name: str) -> None:
        self._store = store
        self._providers = providers
        self._table_name = table_name

    def context(self, tenant_id: str, kek: Kek) -> dict[str, str]:
        """What a tenant's probe is wrapped under; examinations of its KEK use the same.

        The pairs have the names that a branch key row's have, so that a policy which lets the one through lets the
        other through; their type is no row's.
        """
        row = BranchKeyRow(_PROBE, _PROBE, _PROBE, kek, "", tenant_id, b"")
        return row.kms_context(self._table_name)

    def make(self, provider: KeyProvider, record: TenantRecord, kek: Kek) -> Probe:
        """Wrap a probe, see that it unwraps, and store it.

        Args:
            provider: Reaches the KEK.
            record: The tenant's record.
            kek: The KEK; one that has versions without one, for its newest, or with the one to use.

        Raises:
            KeyRevoked, KeyUnreachable, VendorFault: The KEK does not serve.
            InternalError: It does not give back what it wrapped.
            StoreUnavailable: The store does not answer.
        """
        tenant_id = record.tenant_id
        if kek == kek.key:
            kek = self._providers.newest(record, provider, kek).kek
        key, context = os.urandom(KEY_BYTES), self.context(tenant_id, kek)
        try:
            wrapped = provider.wrap(kek, key, context)
            if wrapped.kek != kek or not hmac.compare_digest(provider.unwrap(wrapped, context).key, key):
                raise InternalError("the KMS does not give back what it wrapped")
        except ProviderSignal as signal:
            raise self._providers.refusal(tenant_id, kek, signal) from None
        probe = Probe(wrapped.kek, wrapped.ciphertext, context)
        with suppress(Conflict):  # a random key: the same digest is the same probe
            self._store.write(tenant_id, PREFIX + probe.digest, probe.to_body(), expected_revision=0)
        return probe

    def read(self, tenant_id: str, digest: str) -> Probe:
        """A stored probe.

        Raises:
            StoreCorrupt: The probe is gone, or is not the one of the digest.
            StoreUnavailable: The store does not answer.
        """
        document = self._store.read(tenant_id, PREFIX + digest)
        try:
            probe = Probe.from_body({} if document is None else document.body)
        except (KeyError, TypeError, ValueError):
            raise StoreCorrupt("a tenant's probe is missing or cannot be read") from None
        if not hmac.compare_digest(probe.digest, digest):
            raise StoreCorrupt("a tenant's probe is not the one its record names")
        return probe

    def unwrap(self, provider: KeyProvider, tenant_id: str, digest: str) -> None:
        """Try a stored probe; returns if its KEK serves.

        Raises:
            Denial, Silence: What the KEK's provider signals.
            StoreCorrupt: As `read`, or it does not unwrap.
            StoreUnavailable: The store does not answer.
        """
        probe = self.read(tenant_id, digest)
        try:
            provider.unwrap(WrappedKey(probe.kek, probe.ciphertext), probe.context)
        except WrapMismatch:
            raise StoreCorrupt("a tenant's probe does not unwrap") from None
