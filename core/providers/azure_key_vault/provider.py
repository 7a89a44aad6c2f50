"""Wraps and unwraps under one tenant's key in Azure Key Vault: always there, by version, context bound inside.

What is wrapped is SHA-384 of the context followed by the key, as RSA-OAEP and AES-KW take no context of their own.
A vault may still wrap with a key that was disabled, and anybody who has an RSA key's public half can wrap without the
vault; so each wrap reads the version's attributes first.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from hashlib import sha384
from hmac import compare_digest

from core.domain.context import serialise
from core.domain.kek import KEY_BYTES, Kek, KekDescription, UnwrappedKey, WrappedKey
from core.domain.vaults import VaultKey
from core.errors import Denial, InternalError, InvalidRequest, ProviderSignal, Silence, WrapMismatch
from core.providers.azure_key_vault.attributes import WRAPPED_BYTES, KeyAttributes, algorithm_for
from core.providers.azure_key_vault.calls import Answer, Budget, Request
from core.providers.azure_key_vault.early_warnings import warnings
from core.providers.azure_key_vault.failures import WRAP, Failure
from core.providers.azure_key_vault.meanings import Kind
from core.providers.azure_key_vault.operations import MAX_WRAPPED, get_key, unwrap, value_of, wrap
from core.providers.azure_key_vault.sessions import TenantSession, Visit

ENABLED = "enabled"


class AzureKeyProvider:
    """`core.ports.KeyProvider` for one key and its versions.

    Args:
        key: The key, without version; any other is refused before anything is sent.
        session: The tenant's access to it.
        lease: Seconds for which a token may be used again.
        budget: Begins the KMS time of one operation.
        wall: Our own clock, in seconds since the epoch; asked only where a vault tells no time.
    """

    def __init__(
        self,
        key: VaultKey,
        session: TenantSession,
        lease: float,
        budget: Callable[[], Budget],
        wall: Callable[[], float],
    ) -> None:
        self._key = key
        self._session = session
        self._lease = lease
        self._budget = budget
        self._wall = wall

    def wrap(self, kek: Kek, key: bytes, context: Mapping[str, str]) -> WrappedKey:
        """See `core.ports.KeyProvider.wrap`.

        Raises:
            Denial, Silence: As there.
            InternalError: The key is not 32 bytes, the context is not Unicode, or the KEK is no version of this
                provider's.
        """
        version = self._version(kek)
        if len(key) != KEY_BYTES:
            raise InternalError(f"a key to be wrapped has {KEY_BYTES} bytes")
        digest = _digest(context)
        if digest is None:
            raise InternalError("the context of a key to be wrapped cannot be serialised")
        with self._visit() as visit:
            answer = self._asked(visit, get_key(version), version)
            found = KeyAttributes.of(answer, self._wall)
            algorithm, obstacle = found.algorithm, found.obstacle
            if obstacle is not None or algorithm is None:
                cause, seen = obstacle or ("wrap_not_permitted", "cannot wrap")
                raise Denial(f"the key may not wrap now: {seen}", cause=cause, request_id=answer.request_id)
            wrapped = self._asked(visit, wrap(version, algorithm.name, digest + key, algorithm.size), version)
            return WrappedKey(kek, value_of(wrapped))

    def unwrap(self, wrapped: WrappedKey, context: Mapping[str, str]) -> UnwrappedKey:
        """See `core.ports.KeyProvider.unwrap`.

        Raises:
            WrapMismatch, Denial, Silence: As there.
            InternalError: The KEK is no version of this provider's.
        """
        version, ciphertext = self._version(wrapped.kek), wrapped.ciphertext
        digest = _digest(context)
        if not 1 <= len(ciphertext) <= MAX_WRAPPED or digest is None:
            raise WrapMismatch("wrapped bytes, KEK and context do not belong together")
        with self._visit() as visit:
            asked = unwrap(version, algorithm_for(ciphertext), ciphertext, WRAPPED_BYTES)
            answer = self._asked(visit, asked, version)
            proved_ago = visit.proved_ago
        plain = value_of(answer)
        if not compare_digest(plain[:-KEY_BYTES], digest):
            raise WrapMismatch("wrapped bytes, KEK and context do not belong together")
        return UnwrappedKey(plain[-KEY_BYTES:], answer.server_time, proved_ago)

    def describe(self, kek: Kek) -> KekDescription:
        """See `core.ports.KeyProvider.describe`.

        Raises:
            Denial, Silence: As there.
            InternalError: The KEK is not this provider's.
        """
        key = self._own(kek)
        with self._visit() as visit:
            found = KeyAttributes.of(self._asked(visit, get_key(key), key), self._wall)
        obstacle = found.obstacle
        detail = ENABLED if obstacle is None else obstacle.seen
        cause = "" if obstacle is None else obstacle.cause
        return KekDescription(
            Kek(str(found.version)), obstacle is None, detail, found.made, cause, warnings(found), found.expires
        )

    def _own(self, kek: Kek) -> VaultKey:
        try:
            found = VaultKey.parse(kek.locator)
        except InvalidRequest:
            found = None
        if found is None or found.key != self._key or str(found) != kek.locator:
            raise InternalError("a provider was asked for a key that is not its own")
        return found

    def _version(self, kek: Kek) -> VaultKey:
        found = self._own(kek)
        if not found.version:
            raise InternalError("a provider was asked to use a key without naming its version")
        return found

    def _asked(self, visit: Visit, request: Request, version: VaultKey) -> Answer:
        answer = visit.ask(request)
        if isinstance(answer, Failure):
            raise explained(visit, answer, version, self._wall)
        return answer

    @contextmanager
    def _visit(self) -> Iterator[Visit]:
        self._session.prepare()
        budget = self._budget()
        if budget.left() <= 0:
            raise Silence("no time was left to ask Azure Key Vault")
        visit = self._session.visit(budget, self._lease)
        try:
            yield visit
        finally:
            visit.rest()


def explained(visit: Visit, failure: Failure, version: VaultKey, wall: Callable[[], float]) -> ProviderSignal:
    """The error for a failed use of a key; where no cause is told, its attributes are asked for one."""
    if failure.kind is not Kind.STATE:
        return failure.signal()
    described = visit.ask(get_key(version))
    if isinstance(described, Failure):
        known = described.kind is Kind.DENIAL
        return failure.signal(described.cause if known else "", "; its state cannot be told")
    found = KeyAttributes.of(described, wall)
    obstacle = found.obstacle
    if obstacle is None:
        return failure.signal(note="; nothing in its attributes says why")
    # Dates and permissions to wrap do not stop an unwrap: a vault that refuses one has another reason.
    explains = failure.operation == WRAP or obstacle.cause in ("disabled", "policy")
    return failure.signal(obstacle.cause if explains else "", f"; it is {obstacle.seen}")


def _digest(context: Mapping[str, str]) -> bytes | None:
    try:
        return sha384(serialise(context)).digest()
    except InvalidRequest:
        return None
