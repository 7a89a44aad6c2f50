"""Wraps and unwraps under one tenant's KEK in AWS KMS: KeyId pinned, context on every call, answers checked."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

from core.domain.context import serialise
from core.domain.kek import KEY_BYTES, Kek, KekDescription, UnwrappedKey, WrappedKey
from core.errors import InternalError, InvalidRequest, ProviderSignal, Silence, WrapMismatch
from core.providers._dates import read_date
from core.providers.aws_kms.calls import Answer, Budget, Request
from core.providers.aws_kms.failures import Failure, Kind
from core.providers.aws_kms.metadata import ends, in_custom_store, warnings
from core.providers.aws_kms.sessions import TenantSession, Visit

MAX_CIPHERTEXT = 6144
"""What KMS takes and gives at most."""
ENABLED = "Enabled"
_DENIED_STATES = {
    "Disabled": "disabled",
    "PendingDeletion": "pending_deletion",
    "PendingReplicaDeletion": "pending_deletion",
    "PendingImport": "disabled",  # its material was deleted or has expired; importing it again is what enables it
}
_SILENT_STATES = frozenset({"Creating", "Updating", "Unavailable"})


class AwsKeyProvider:
    """`core.ports.KeyProvider` for one KEK.

    Args:
        kek: The KEK; any other is refused before anything is sent.
        session: The tenant's access to it.
        lease: Seconds for which an assumed role's session may be used again.
        budget: Begins the KMS time of one operation.
    """

    def __init__(self, kek: Kek, session: TenantSession, lease: float, budget: Callable[[], Budget]) -> None:
        self._kek = kek
        self._session = session
        self._lease = lease
        self._budget = budget

    def wrap(self, kek: Kek, key: bytes, context: Mapping[str, str]) -> WrappedKey:
        """See `core.ports.KeyProvider.wrap`.

        Raises:
            Denial, Silence: As there.
            InternalError: The key is not 32 bytes, the context is not Unicode, or the KEK is not this provider's.
        """
        self._check(kek)
        if len(key) != KEY_BYTES:
            raise InternalError(f"a key to be wrapped has {KEY_BYTES} bytes")
        if not _is_unicode(context):
            raise InternalError("the context of a key to be wrapped cannot be serialised")
        answer, _ = self._use(encrypt(kek.locator, key, context))
        return WrappedKey(kek, answer["CiphertextBlob"])

    def unwrap(self, wrapped: WrappedKey, context: Mapping[str, str]) -> UnwrappedKey:
        """See `core.ports.KeyProvider.unwrap`.

        Raises:
            WrapMismatch, Denial, Silence: As there.
            InternalError: The KEK is not this provider's.
        """
        self._check(wrapped.kek)
        if not 1 <= len(wrapped.ciphertext) <= MAX_CIPHERTEXT or not _is_unicode(context):
            raise WrapMismatch("wrapped bytes, KEK and context do not belong together")
        answer, proved_ago = self._use(decrypt(wrapped.kek.locator, wrapped.ciphertext, context))
        return UnwrappedKey(answer["Plaintext"], server_time(answer), proved_ago)

    def describe(self, kek: Kek) -> KekDescription:
        """See `core.ports.KeyProvider.describe`.

        Raises:
            Denial, Silence: As there.
            InternalError: The KEK is not this provider's.
        """
        self._check(kek)
        with self._visit() as visit:
            answer = visit.ask(describe_key(kek.locator))
        if isinstance(answer, Failure):
            raise answer.signal()
        metadata = answer["KeyMetadata"]
        state = metadata["KeyState"]
        return KekDescription(
            kek,
            enabled=state == ENABLED,
            detail=state,
            cause=_DENIED_STATES.get(state, ""),
            warnings=warnings(metadata, server_time(answer)),
            ends=ends(metadata),
        )

    def _check(self, kek: Kek) -> None:
        if kek != self._kek:
            raise InternalError("a provider was asked for a key that is not its own")

    @contextmanager
    def _visit(self) -> Iterator[Visit]:
        self._session.prepare()
        budget = self._budget()
        if budget.left() <= 0:
            raise Silence("no time was left to ask AWS KMS")
        try:
            yield self._session.visit(budget, self._lease)
        finally:
            self._session.rest()

    def _use(self, request: Request) -> tuple[Answer, float]:
        with self._visit() as visit:
            answer = visit.ask(request)
            if isinstance(answer, Failure):
                raise explained(visit, answer, self._kek.locator)
            return answer, visit.proved_ago


def explained(visit: Visit, failure: Failure, arn: str) -> ProviderSignal:
    """The error for a failed use of a key; where its state is to blame, DescribeKey is asked which state that is."""
    if failure.kind is not Kind.STATE:
        return failure.signal()
    described = visit.ask(describe_key(arn))
    ambiguous = failure.code == "KMSInvalidStateException"
    if isinstance(described, Failure):
        if ambiguous and described.kind not in (Kind.DENIAL, Kind.STATE):
            return Silence(f"AWS KMS cannot use the key now; its state cannot be told ({described.seen})")
        return failure.signal(note="; its state cannot be told")
    metadata = described["KeyMetadata"]
    state = metadata["KeyState"]
    note = f"; its state is {state}"
    if state in _DENIED_STATES:
        return failure.signal(_DENIED_STATES[state], note)
    # DescribeKey may lag behind: a key that refuses as disabled, or a plain one in no fit state, has refused whatever
    # DescribeKey says. In a custom or external key store any trouble with the store looks like an unfit state.
    if ambiguous and (state in _SILENT_STATES or in_custom_store(metadata)):
        return Silence(f"AWS KMS cannot use the key now{note}")
    return failure.signal(note=note)


def encrypt(arn: str, key: bytes, context: Mapping[str, str]) -> Request:
    """Wrap a key."""
    params = {"KeyId": arn, "Plaintext": key, "EncryptionContext": dict(context)}
    return Request("Encrypt", params, lambda answer: _is_wrapped(answer, arn))


def decrypt(arn: str, ciphertext: bytes, context: Mapping[str, str]) -> Request:
    """Unwrap a key."""
    params = {"KeyId": arn, "CiphertextBlob": ciphertext, "EncryptionContext": dict(context)}
    return Request("Decrypt", params, lambda answer: _is_unwrapped(answer, arn))


def describe_key(arn: str) -> Request:
    """Ask for a key's metadata."""
    return Request("DescribeKey", {"KeyId": arn}, lambda answer: _is_described(answer, arn))


def server_time(answer: Answer) -> float | None:
    """The KMS's wall clock at an answer, or None if it told none."""
    try:
        return read_date(answer["ResponseMetadata"]["HTTPHeaders"]["date"])
    except (LookupError, TypeError):
        return None


def _is_wrapped(answer: Answer, arn: str) -> bool:
    blob = answer["CiphertextBlob"]
    return answer["KeyId"] == arn and type(blob) is bytes and 1 <= len(blob) <= MAX_CIPHERTEXT


def _is_unwrapped(answer: Answer, arn: str) -> bool:
    key = answer["Plaintext"]
    return answer["KeyId"] == arn and type(key) is bytes and len(key) == KEY_BYTES


def _is_described(answer: Answer, arn: str) -> bool:
    metadata = answer["KeyMetadata"]
    return metadata["Arn"] == arn and type(metadata["KeyState"]) is str and bool(metadata["KeyState"])


def _is_unicode(context: Mapping[str, str]) -> bool:
    try:
        serialise(context)
    except InvalidRequest:
        return False
    return True
