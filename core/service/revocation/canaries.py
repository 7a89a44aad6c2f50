"""Asks a canary key whether it serves, by unwrapping an envelope made under it earlier.

The envelope is authenticated: whoever can write the store but not use our KMS cannot put one in its place that never
unwraps, and so have every withdrawal excused. What is wrong with the canary itself, its key or its envelope, is never
taken for a fault of our access.
"""

from __future__ import annotations

import hmac
import json
import os
from base64 import b64decode, b64encode
from contextlib import suppress
from dataclasses import dataclass, field
from enum import Enum, auto
from hashlib import sha256
from typing import Any

from core.domain.branch_keys import BranchKeyRow
from core.domain.canaries import Canary
from core.domain.kek import KEY_BYTES, Kek, WrappedKey
from core.domain.tenants import SYSTEM
from core.domain.withdrawals import PLAIN_CAUSES
from core.errors import (
    WRITE_CAUSES,
    Conflict,
    Denial,
    OwnFault,
    ProviderSignal,
    Silence,
    StoreCorrupt,
    StoreUnavailable,
    Unavailable,
    WrapMismatch,
)
from core.ports import KeyProvider, TenantStore
from core.service.alarms import Alarms
from core.service.providers import Providers
from core.service.row_macs import RowMacs

PREFIX = "canary:"
_LABEL = b"keystead canary v1\n"
_TYPE = "keystead:canary"
_OF_THE_KEY_ITSELF = PLAIN_CAUSES | WRITE_CAUSES


class Answer(Enum):
    """What came of asking a canary."""

    SERVED = auto()
    """It unwrapped, just now."""
    REFUSED = auto()
    """It was refused as a tenant's KEK would be that withdrew our access, or our own access is in trouble."""
    SILENT = auto()
    """Its KMS, the store or the platform's KEK did not answer."""
    UNUSABLE = auto()
    """The canary itself is broken and says nothing of our access; the operator was alarmed."""


@dataclass(frozen=True, slots=True)
class _Envelope:
    # A random key wrapped under a canary, as stored.
    kek: Kek
    ciphertext: bytes = field(repr=False)

    def to_body(self) -> dict[str, Any]:
        return {"kek": self.kek.locator, "wrapped": b64encode(self.ciphertext).decode()}


@dataclass(frozen=True, slots=True)
class _Stored:
    # An envelope's document: the envelope if it is genuine, and the document's revision; 0 if there is none.
    envelope: _Envelope | None
    revision: int

    @property
    def is_genuine(self) -> bool:
        return self.envelope is not None or not self.revision


class CanaryKeys:
    """Asks canaries, and keeps their envelopes.

    Args:
        store: Holds the envelopes.
        macs: Holds the key that authenticates them.
        providers: Reach the canaries.
        alarms: Tell the operator of a canary that is broken.
        table_name: The logical key store name.
    """

    def __init__(
        self, store: TenantStore, macs: RowMacs, providers: Providers, alarms: Alarms, table_name: str
    ) -> None:
        self._store = store
        self._macs = macs
        self._providers = providers
        self._alarms = alarms
        self._table_name = table_name

    def ask(self, canary: Canary) -> Answer:
        """Have a canary unwrap, now and with fresh credentials; where it has no envelope yet, make one.

        Whatever goes wrong is an answer.
        """
        try:
            provider = self._providers.connect(canary.access)
        except Unavailable:
            return self._broken(canary, "this service is not configured to reach it")
        try:
            stored = self._read(canary)
        except Unavailable:
            return Answer.SILENT
        except StoreCorrupt as error:
            return self._broken(canary, error.detail)
        problem = ""
        if not stored.is_genuine:
            problem = "its envelope was not made by this service; it has a new one"
            self._alarms("store_corrupt", SYSTEM, _name(canary), problem="its MAC is missing or wrong")
        try:
            try:
                unwraps = self._unwraps(provider, stored)
            except WrapMismatch:
                unwraps, problem = False, "it did not unwrap its envelope; it has a new one"
            if not unwraps:
                self._make(provider, canary, stored.revision)
        except ProviderSignal as signal:
            return self._refused(canary, signal, has_served=stored.envelope is not None)
        return self._broken(canary, problem) if problem else Answer.SERVED

    def _unwraps(self, provider: KeyProvider, stored: _Stored) -> bool:
        # False where an envelope is to be made: there is none, or its version of the key is off, which the owner of a
        # key may do after a rotation. Whether the key serves, its newest version tells.
        envelope = stored.envelope
        if envelope is None:
            return False
        try:
            wrapped = WrappedKey(envelope.kek, envelope.ciphertext)
            provider.unwrap(wrapped, self._context(envelope.kek))
        except Denial as denial:
            if envelope.kek.versioned and denial.cause in PLAIN_CAUSES:
                return False
            raise
        return True

    def _make(self, provider: KeyProvider, canary: Canary, revision: int) -> None:
        kek = Kek(canary.kek)
        if kek.versioned:
            kek = provider.describe(kek).kek
        key, context = os.urandom(KEY_BYTES), self._context(kek)
        wrapped = provider.wrap(kek, key, context)
        if wrapped.kek != kek or not hmac.compare_digest(provider.unwrap(wrapped, context).key, key):
            raise WrapMismatch("the KMS does not give back what it wrapped")
        body = _Envelope(kek, wrapped.ciphertext).to_body()
        # The canary has just served, whoever keeps an envelope of it.
        with suppress(Conflict, StoreUnavailable, StoreCorrupt):
            self._store.write(
                SYSTEM, _name(canary), body | {"mac": self._mac(canary, body)}, expected_revision=revision
            )

    def _read(self, canary: Canary) -> _Stored:
        self._macs.key()  # without it nothing can be told of an envelope, whatever it is
        document = self._store.read(SYSTEM, _name(canary))
        if document is None:
            return _Stored(None, 0)
        body = document.body
        try:
            envelope = _Envelope(Kek(body["kek"]), b64decode(body["wrapped"], validate=True))
            mac = str(body["mac"]).encode()
        except (KeyError, TypeError, ValueError):
            return _Stored(None, document.revision)
        genuine = hmac.compare_digest(self._mac(canary, envelope.to_body()).encode(), mac)
        return _Stored(envelope if genuine else None, document.revision)

    def _refused(self, canary: Canary, signal: ProviderSignal, *, has_served: bool) -> Answer:
        self._providers.heard(SYSTEM, Kek(canary.kek), signal)
        if isinstance(signal, OwnFault):
            return Answer.REFUSED
        if isinstance(signal, Silence):
            return Answer.SILENT
        if not isinstance(signal, Denial):
            return self._broken(canary, "it does not give back what it wrapped")
        if signal.cause in _OF_THE_KEY_ITSELF:
            return self._broken(canary, f"its key refuses: {signal.cause}", kms_code=signal.kms_code)
        if not has_served:
            return self._broken(canary, f"it is refused, and never served: {signal.cause}", kms_code=signal.kms_code)
        return Answer.REFUSED

    def _broken(self, canary: Canary, problem: str, **facts: str) -> Answer:
        self._alarms("canary_unusable", SYSTEM, canary.kek, problem=problem, **facts)
        return Answer.UNUSABLE

    def _context(self, kek: Kek) -> dict[str, str]:
        # The pairs have the names that a branch key row's have, so that one kind of policy lets both through.
        return BranchKeyRow(_TYPE, _TYPE, _TYPE, kek, "", SYSTEM, b"").kms_context(self._table_name)

    def _mac(self, canary: Canary, body: dict[str, Any]) -> str:
        text = json.dumps({"canary": canary.digest, **body}, sort_keys=True)
        return hmac.new(self._macs.key(), _LABEL + text.encode(), sha256).hexdigest()


def _name(canary: Canary) -> str:
    return PREFIX + canary.digest
