"""Signs with an ECC_NIST_P256 key in AWS KMS, reached with the service's own credentials.

They need ``kms:Sign`` and ``kms:GetPublicKey`` on the key; ``kms:DescribeKey`` tells which state it is in when it
refuses.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from core.domain.arns import KeyArn
from core.domain.tenants import SYSTEM
from core.errors import Denial, Silence
from core.ports import Clock
from core.providers._es256 import Asking, Es256Signer
from core.providers._jws import P256Key, raw_signature
from core.providers.aws_kms.calls import OPERATION_SECONDS, Answer, Budget, Calls, Request
from core.providers.aws_kms.clients import ClientFactory, Connection
from core.providers.aws_kms.failures import Failure
from core.providers.aws_kms.provider import explained
from core.providers.aws_kms.sessions import SessionKey, TenantSession, Visit
from core.providers.aws_kms.settings import AwsSettings

SPEC, USAGE, ALGORITHM = "ECC_NIST_P256", "SIGN_VERIFY", "ECDSA_SHA_256"


class AwsSigner(Es256Signer):
    """`core.ports.Signer` with the key of an ARN.

    Args:
        arn: Of the key. An alias is refused: it could be pointed at another key.
        settings: Endpoint and credentials; Regions and accounts are for tenants' keys only.
        clock: Counts budgets.
        retired: See `Es256Signer`.
        remaining: Seconds of KMS time left to the request under way; asked when an operation begins.

    Raises:
        InvalidRequest: The ARN is not one of a key in KMS, or a retired key is none.
    """

    def __init__(
        self,
        arn: str,
        settings: AwsSettings,
        clock: Clock,
        *,
        retired: Sequence[Mapping[str, Any]] = (),
        remaining: Callable[[], float] = lambda: OPERATION_SECONDS,
    ) -> None:
        super().__init__(retired)
        region = KeyArn.parse(arn).region
        factory = ClientFactory(settings)
        kms, sts = (Connection(factory, service, region) for service in ("kms", "sts"))
        self._arn = arn
        self._clock = clock
        self._remaining = remaining
        # Without a role: our own credentials sign the calls.
        self._session = TenantSession(SessionKey(SYSTEM, 0, region, "", "", arn), kms, sts, Calls(), clock)

    def close(self) -> None:
        """Close idle connections."""
        self._session.close()

    @contextmanager
    def _asking(self) -> Iterator[Asking]:
        self._session.prepare()
        budget = Budget(self._clock, OPERATION_SECONDS, self._remaining)
        if budget.left() <= 0:
            raise Silence("no time was left to ask AWS KMS for a signature")
        try:
            yield _Kms(self._session.visit(budget, 0), self._arn)
        finally:
            self._session.rest()


class _Kms:
    def __init__(self, visit: Visit, arn: str) -> None:
        self._visit = visit
        self._arn = arn

    def public_key(self) -> P256Key:
        answer = self._asked(Request("GetPublicKey", {"KeyId": self._arn}, self._is_public_key))
        if not _is_fit(answer):
            kind = f"{answer['KeySpec']} for {answer['KeyUsage']}"
            raise Denial(f"the signing key is {kind}, and not {SPEC} for {USAGE}", cause="unknown")
        return P256Key.of_der(answer["PublicKey"])

    def sign(self, digest: bytes, verifies: Callable[[bytes], bool]) -> bytes:
        params = {"KeyId": self._arn, "Message": digest, "MessageType": "DIGEST", "SigningAlgorithm": ALGORITHM}
        answer = self._asked(
            Request(
                "Sign",
                params,
                lambda found: found["KeyId"] == self._arn and verifies(raw_signature(found["Signature"])),
            )
        )
        return raw_signature(answer["Signature"])

    def _asked(self, request: Request) -> Answer:
        answer = self._visit.ask(request)
        if isinstance(answer, Failure):
            raise explained(self._visit, answer, self._arn)
        return answer

    def _is_public_key(self, answer: Answer) -> bool:
        named = answer["KeyId"] == self._arn and all(type(answer[name]) is str for name in ("KeySpec", "KeyUsage"))
        return named and (not _is_fit(answer) or bool(P256Key.of_der(answer["PublicKey"])))


def _is_fit(answer: Answer) -> bool:
    return (answer["KeySpec"], answer["KeyUsage"]) == (SPEC, USAGE)
