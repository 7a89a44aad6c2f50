"""Finds out by dry runs what a key's policies let this service do beyond its need."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from core.providers.aws_kms.calls import Answer, Request
from core.providers.aws_kms.checklist import RETRY, Checklist
from core.providers.aws_kms.failures import Failure, Kind

GRANTED = ("Encrypt", "Decrypt", "GenerateDataKey", "GenerateDataKeyWithoutPlaintext", "CreateGrant", "DescribeKey")
"""Operations for which a grant is tried, each by itself: policies can limit grants to some of them."""
_BY_US = "; as the key's policy names this service, only what it and the operator's own policies both allow is seen"


def check_permissions(
    checks: Checklist, ask: Callable[[Request], Answer | Failure], requests: Iterator[Request], *, is_role: bool
) -> bool:
    """Note what may be done beyond need.

    Args:
        checks: Where to note it.
        ask: Makes a call, under a role without our own limits.
        requests: Dry runs; several may be of one operation, and none is made after one that would be allowed.
        is_role: Whether they are made as a role of the tenant's.
    """
    found: dict[str, bool | None] = {}
    for request in requests:
        known = found.get(request.operation, False)
        if known is False:
            found[request.operation] = allowed(ask(request))
    beyond = [name for name, is_allowed in found.items() if is_allowed]
    untold = [name for name, is_allowed in found.items() if is_allowed is None]
    seen = "" if is_role else _BY_US
    if beyond:
        return checks.warned(
            "permissions",
            f"permissions beyond need: {', '.join(beyond)}{seen}",
            "Allow kms:Encrypt, kms:Decrypt, kms:DescribeKey and kms:GetKeyRotationStatus only; a grant would outlive "
            "an edit of the policy.",
        )
    if untold:
        return checks.warned("permissions", f"it could not be told whether {', '.join(untold)} is allowed", RETRY)
    return checks.passed("permissions", f"dry runs of {', '.join(found)} are refused{seen}")


def dry_runs(arn: str, context: Mapping[str, str], ciphertext: bytes, grantee: str) -> Iterator[Request]:
    """What `check_permissions` tries.

    Args:
        arn: The key.
        context: The tenant's.
        ciphertext: Something wrapped under it; b"" if there is nothing.
        grantee: ARN of who would be granted something: ourselves.
    """
    pairs = dict(context)
    key, grant = {"KeyId": arn, "EncryptionContext": pairs}, {"KeyId": arn, "GranteePrincipal": grantee}
    yield _dry("GenerateDataKey", {**key, "KeySpec": "AES_256"})
    yield _dry("GenerateDataKeyWithoutPlaintext", {**key, "KeySpec": "AES_256"})
    yield _dry("GenerateDataKeyPair", {**key, "KeyPairSpec": "ECC_NIST_P256"})
    yield _dry("GenerateDataKeyPairWithoutPlaintext", {**key, "KeyPairSpec": "ECC_NIST_P256"})
    for operation in GRANTED[:2]:
        yield _dry(
            "CreateGrant", {**grant, "Operations": [operation], "Constraints": {"EncryptionContextEquals": pairs}}
        )
    for operation in GRANTED:
        yield _dry("CreateGrant", {**grant, "Operations": [operation]})
    if ciphertext:
        yield _dry(
            "ReEncrypt",
            {
                "CiphertextBlob": ciphertext,
                "SourceKeyId": arn,
                "SourceEncryptionContext": pairs,
                "DestinationKeyId": arn,
                "DestinationEncryptionContext": pairs,
            },
        )


def allowed(answer: Answer | Failure) -> bool | None:
    """Whether policies let a call through; None if that cannot be told."""
    # An answer about the bytes means that the policies had nothing against asking.
    if not isinstance(answer, Failure) or answer.kind in (Kind.DATA, Kind.DRY_RUN):
        return True
    return False if answer.kind is Kind.DENIAL and answer.cause in ("policy", "identity") else None


def _dry(operation: str, params: Mapping[str, Any]) -> Request:
    return Request(operation, {**params, "DryRun": True}, bool)
