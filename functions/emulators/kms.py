"""An AWS KMS, and the STS that goes with it, in this process: for laptops and tests.

It refuses what the real service refuses: states, policies by principal and encryption context, cross-account rules,
tampered ciphertexts. It protects nothing: its keys are test keys, held and saved in the clear.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from functions.emulators.aws_errors import AwsError
from functions.emulators.defaults import (
    CUSTOMER_ACCOUNT,
    DEFAULT_PORT,
    DEFAULT_REGION,
    LOCAL_ACCESS_KEY_ID,
    LOCAL_ACCOUNT,
    LOCAL_PRINCIPAL,
    LOCAL_SECRET_ACCESS_KEY,
)
from functions.emulators.faults import Call, Fault
from functions.emulators.key_ring import Request
from functions.emulators.kms_cryptography import Cryptography
from functions.emulators.kms_grants import Grants
from functions.emulators.kms_management import Management
from functions.emulators.kms_signing import Signing
from functions.emulators.sts import Sts
from functions.emulators.world import World

if TYPE_CHECKING:
    from pathlib import Path

    from functions.emulators.in_process import InProcessClient

__all__ = [
    "CUSTOMER_ACCOUNT",
    "DEFAULT_PORT",
    "DEFAULT_REGION",
    "LOCAL_ACCESS_KEY_ID",
    "LOCAL_ACCOUNT",
    "LOCAL_PRINCIPAL",
    "LOCAL_SECRET_ACCESS_KEY",
    "Answer",
    "AwsError",
    "Call",
    "Fault",
    "Incoming",
    "KmsEmulator",
]
MAX_CALLS = 10_000
_READS = frozenset(
    {
        *("Encrypt", "Decrypt", "GenerateDataKey", "GenerateDataKeyWithoutPlaintext", "ReEncrypt", "ListKeys"),
        *("GenerateDataKeyPair", "GenerateDataKeyPairWithoutPlaintext", "Sign", "GetPublicKey"),
        *("DescribeKey", "GetKeyRotationStatus", "GetKeyPolicy", "ListGrants", "GetCallerIdentity"),
    }
)
Service = Literal["kms", "sts"]


@dataclass(frozen=True, slots=True)
class Incoming:
    """A call as it arrives, from the wire or from an in-process client.

    Attributes:
        service: Whom it is for.
        operation: Such as ``Decrypt``.
        params: Decoded: blobs are bytes.
        access_key_id: As presented.
        region: Of the endpoint.
    """

    service: Service
    operation: str
    params: Mapping[str, Any]
    access_key_id: str
    region: str


@dataclass(frozen=True, slots=True)
class Answer:
    """What the service says, and what the transport must do to it.

    Attributes:
        result: The output, or None.
        error: The refusal, or None. Both are None if a fault kept the call from being carried out.
        fault: The fault that befell the call, or None.
    """

    result: Mapping[str, Any] | None = None
    error: AwsError | None = None
    fault: Fault | None = None


class KmsEmulator(World):
    """An AWS KMS with several accounts and Regions; see `World` for what it knows and how that is changed."""

    def __init__(self, now: Callable[[], float], sleep: Callable[[float], None] = time.sleep) -> None:
        super().__init__(now, sleep)
        self._calls: deque[Call] = deque(maxlen=MAX_CALLS)
        cryptography, management = Cryptography(self.ring), Management(self.ring)
        signing, grants, sts = Signing(self.ring), Grants(self.ring), Sts(self.identities)
        self._operations: Mapping[tuple[Service, str], Callable[[Request], dict[str, Any]]] = {
            ("kms", "Encrypt"): cryptography.encrypt,
            ("kms", "Decrypt"): cryptography.decrypt,
            ("kms", "GenerateDataKey"): cryptography.generate_data_key,
            ("kms", "GenerateDataKeyWithoutPlaintext"): cryptography.generate_data_key_without_plaintext,
            ("kms", "GenerateDataKeyPair"): cryptography.generate_data_key_pair,
            ("kms", "GenerateDataKeyPairWithoutPlaintext"): cryptography.generate_data_key_pair_without_plaintext,
            ("kms", "ReEncrypt"): cryptography.re_encrypt,
            ("kms", "Sign"): signing.sign,
            ("kms", "GetPublicKey"): signing.get_public_key,
            ("kms", "CreateKey"): management.create_key,
            ("kms", "ListKeys"): management.list_keys,
            ("kms", "DescribeKey"): management.describe_key,
            ("kms", "GetKeyRotationStatus"): management.get_key_rotation_status,
            ("kms", "EnableKeyRotation"): management.enable_key_rotation,
            ("kms", "DisableKeyRotation"): management.disable_key_rotation,
            ("kms", "RotateKeyOnDemand"): management.rotate_key_on_demand,
            ("kms", "DisableKey"): management.disable_key,
            ("kms", "EnableKey"): management.enable_key,
            ("kms", "ScheduleKeyDeletion"): management.schedule_key_deletion,
            ("kms", "CancelKeyDeletion"): management.cancel_key_deletion,
            ("kms", "GetKeyPolicy"): management.get_key_policy,
            ("kms", "PutKeyPolicy"): management.put_key_policy,
            ("kms", "CreateGrant"): grants.create_grant,
            ("kms", "ListGrants"): grants.list_grants,
            ("kms", "RevokeGrant"): grants.revoke_grant,
            ("sts", "GetCallerIdentity"): sts.get_caller_identity,
            ("sts", "AssumeRole"): sts.assume_role,
        }

    def answer(
        self,
        incoming: Incoming,
        authenticate: Callable[[str], None] | None = None,
        pause: Callable[[float], None] | None = None,
    ) -> Answer:
        """Carry a call out, unless a fault keeps it from being.

        Args:
            incoming: The call.
            authenticate: Given the caller's secret, refuses a request that was not signed with it.
            pause: Waits out a fault's latency; None for the emulator's own ``sleep``.

        Returns:
            Result or refusal, and the fault for the transport to act on.
        """
        principal = self.identities.principal_arn(incoming.access_key_id)
        fault = self.faults.take(incoming.operation, self._named(incoming), principal)
        if fault is not None and fault.latency:
            (pause or self.sleep)(fault.latency)
        if fault is not None and not fault.acts_first:
            self._record(incoming, principal, self._named(incoming), fault.outcome)
            error = AwsError(fault.code, fault.message, fault.status) if fault.code else None
            return Answer(error=error, fault=fault)
        request: Request | None = None
        with self.lock:
            try:
                if authenticate is not None:
                    authenticate(self.identities.secret(incoming.access_key_id))
                now = self.now()
                caller = self.identities.caller(incoming.access_key_id, now)
                operation = self._operations.get((incoming.service, incoming.operation))
                if operation is None:
                    raise AwsError("UnknownOperationException", f"the emulator has no {incoming.operation}")
                request = Request(incoming.operation, incoming.params, caller, incoming.region, now)
                answer = Answer(result=operation(request), fault=fault)
                if incoming.operation not in _READS:
                    self.revision += 1
            except AwsError as error:
                answer = Answer(error=error.for_sts() if incoming.service == "sts" else error, fault=fault)
            named = request.resource_arn if request is not None else self._named(incoming)
            self._record(incoming, principal, named, answer.error.code if answer.error else "")
        return answer

    def client(self, service: Service, access_key_id: str, region: str = DEFAULT_REGION) -> InProcessClient:
        """A client of the shape that boto3's has, without a network.

        Raises:
            ValueError: There is no such service.
        """
        from functions.emulators.in_process import InProcessClient

        return InProcessClient(self, service, access_key_id, region)

    @property
    def calls(self) -> list[Call]:
        """The last calls, oldest first."""
        with self.lock:
            return [*self._calls]

    def clear_calls(self) -> None:
        """Forget the calls so far."""
        with self.lock:
            self._calls.clear()

    def _named(self, incoming: Incoming) -> str:
        params = incoming.params
        found = params.get("KeyId") or params.get("SourceKeyId") or params.get("RoleArn") or ""
        if not found and isinstance(blob := params.get("CiphertextBlob"), bytes):
            key = self.ring.by_tag.get(blob[4:20])
            found = "" if key is None else key.arn
        return str(found)

    def _record(self, incoming: Incoming, principal: str, named: str, outcome: str) -> None:
        params = incoming.params
        context = params.get("EncryptionContext") or params.get("SourceEncryptionContext") or {}
        self._calls.append(
            Call(
                incoming.operation,
                principal,
                named,
                dict(context) if isinstance(context, Mapping) else {},
                incoming.access_key_id,
                outcome,
                incoming.region,
                incoming.service,
            )
        )

    def save(self, path: Path) -> None:
        """Write keys, identities and sessions to a file that only its owner can read. Test keys, in the clear.

        Raises:
            OSError: It cannot be written.
        """
        from functions.emulators.persistence import save

        with self.lock:
            save(self, path)

    @classmethod
    def load(cls, path: Path, now: Callable[[], float]) -> KmsEmulator:
        """An emulator as it was saved; calls and faults are not.

        Raises:
            OSError: The file cannot be read.
            ValueError: It was not written by `save`.
        """
        from functions.emulators.persistence import restore

        emulator = cls(now)
        restore(emulator, path)
        return emulator
