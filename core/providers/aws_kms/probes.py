"""Finds out by trying what a key's policies let this service do: its own work, other tenants' contexts, and more."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from hmac import compare_digest
from secrets import token_hex
from typing import Any

from core.domain.context import TENANT_KEY
from core.domain.kek import KEY_BYTES
from core.providers.aws_kms.calls import Answer, Request
from core.providers.aws_kms.checklist import LAG, RETRY, Checklist, remedy_of
from core.providers.aws_kms.failures import Failure, Kind
from core.providers.aws_kms.provider import decrypt, encrypt

Ask = Callable[[Request], Answer | Failure]
_MOST_TENANT = 63


class CryptoProbe:
    """Uses a key as this service would, and as it must not be able to.

    Args:
        ask: Makes a call through the tenant's access.
        arn: The key.
        region: Its Region.
        context: What a row of the tenant is wrapped under; contains ``tenant_id``.
        allowed: How the tenant lets us encrypt and decrypt, for remedies.
    """

    def __init__(self, ask: Ask, arn: str, region: str, context: Mapping[str, str], allowed: str) -> None:
        self._ask = ask
        self._arn, self._region = arn, region
        self._context = context
        self._allowed = allowed
        self.ciphertext = b""
        """What the last round trip wrapped; b"" if there was none."""

    def check_round_trip(self, checks: Checklist) -> bool:
        """Wrap, unwrap, compare; where a policy is in the way, find out what is wrong with it."""
        failure = self._round_trip()
        if failure is None:
            return checks.passed("round_trip", "what was wrapped comes back")
        observed = f"{failure.operation}: {failure.seen}"
        if failure.cause == "policy" and self._region_is_bound():
            return checks.failed(
                "round_trip",
                f"{observed}; with the Region's name {self._region} as tenant_id it is allowed",
                "The policy compares kms:EncryptionContext:tenant_id with ${aws:RequestedRegion}, which is the name of "
                "a Region and never a tenant's id. Put this tenant's id in its place, as in the set-up kit, and leave "
                f"kms:DescribeKey out of that statement. {LAG}",
            )
        return checks.failed("round_trip", observed, remedy_of(failure, self._allowed))

    def check_tenant_bound(self, checks: Checklist) -> bool:
        """Try contexts of tenants that do not exist, and none, between two round trips that must work."""
        found = [self._tried(context) for context in self._foreign()]
        steady = self._round_trip() is None
        if True in found:
            return checks.failed(
                "tenant_bound",
                "the key can be used in a context other than this tenant's",
                "Bind the statement that allows kms:Encrypt and kms:Decrypt to this tenant by the condition "
                f"StringEquals kms:EncryptionContext:tenant_id, as in the set-up kit. {LAG}",
            )
        if not steady or None in found:
            return checks.failed("tenant_bound", "unsteady: the same calls did not always get the same answer", RETRY)
        return checks.passed("tenant_bound", "contexts of other tenants, and none at all, are refused")

    def _round_trip(self) -> Failure | None:
        key = os.urandom(KEY_BYTES)
        wrapped = self._ask(encrypt(self._arn, key, self._context))
        if isinstance(wrapped, Failure):
            return wrapped
        unwrapped = self._ask(decrypt(self._arn, wrapped["CiphertextBlob"], self._context))
        if isinstance(unwrapped, Failure):
            return unwrapped
        if not compare_digest(unwrapped["Plaintext"], key):
            return Failure(Kind.SILENCE, "Decrypt", "another key came back than was wrapped")
        self.ciphertext = wrapped["CiphertextBlob"]
        return None

    def _region_is_bound(self) -> bool:
        context = {**self._context, TENANT_KEY: self._region}
        return not isinstance(self._ask(encrypt(self._arn, os.urandom(KEY_BYTES), context)), Failure)

    def _foreign(self) -> list[dict[str, str]]:
        # The second one is what a policy with a wildcard at the end would let pass.
        tenant, unassigned = self._context.get(TENANT_KEY, ""), token_hex(16)
        return [
            {**self._context, TENANT_KEY: f"unassigned-{unassigned}"},
            {**self._context, TENANT_KEY: f"{tenant[: _MOST_TENANT - 33]}-{unassigned}"},
            {},
        ]

    def _tried(self, context: Mapping[str, str]) -> bool | None:
        """Whether the policies let a context through; None if that cannot be told."""
        answers = (
            self._ask(encrypt(self._arn, os.urandom(KEY_BYTES), context)),
            # An answer about the bytes means that the policies had nothing against asking.
            self._ask(decrypt(self._arn, self.ciphertext, context)),
        )
        found = [_allowed(answer) for answer in answers]
        return True if True in found else None if None in found else False


def check_permissions(checks: Checklist, ask: Ask, requests: Mapping[str, Request]) -> bool:
    """Find out by dry runs what may be done beyond need.

    Args:
        checks: Where to note it.
        ask: Makes a call, under a role without our own limits.
        requests: By the name of what they would do.
    """
    found = {name: _allowed(ask(request)) for name, request in requests.items()}
    beyond = [name for name, allowed in found.items() if allowed]
    untold = [name for name, allowed in found.items() if allowed is None]
    if beyond:
        return checks.warned(
            "permissions",
            f"permissions beyond need: {', '.join(beyond)}",
            "Allow kms:Encrypt, kms:Decrypt, kms:DescribeKey and kms:GetKeyRotationStatus only; a grant would outlive "
            "an edit of the policy.",
        )
    if untold:
        return checks.warned("permissions", f"it could not be told whether {', '.join(untold)} is allowed", RETRY)
    return checks.passed("permissions", f"{', '.join(found)} are refused")


def dry_runs(arn: str, context: Mapping[str, str], ciphertext: bytes, grantee: str) -> dict[str, Request]:
    """What `check_permissions` tries.

    Args:
        arn: The key.
        context: The tenant's.
        ciphertext: Something wrapped under it; b"" if there is nothing.
        grantee: ARN of who would be granted something: ourselves.
    """
    pairs = dict(context)
    params: dict[str, dict[str, Any]] = {
        "GenerateDataKey": {"KeyId": arn, "KeySpec": "AES_256", "EncryptionContext": pairs},
        "GenerateDataKeyWithoutPlaintext": {"KeyId": arn, "KeySpec": "AES_256", "EncryptionContext": pairs},
        "CreateGrant": {
            "KeyId": arn,
            "GranteePrincipal": grantee,
            "Operations": ["Decrypt"],
            "Constraints": {"EncryptionContextEquals": pairs},
        },
    }
    if ciphertext:
        params["ReEncrypt"] = {
            "CiphertextBlob": ciphertext,
            "SourceKeyId": arn,
            "SourceEncryptionContext": pairs,
            "DestinationKeyId": arn,
            "DestinationEncryptionContext": pairs,
        }
    return {name: Request(name, {**given, "DryRun": True}, bool) for name, given in params.items()}


def _allowed(answer: Answer | Failure) -> bool | None:
    if not isinstance(answer, Failure) or answer.kind in (Kind.DATA, Kind.DRY_RUN):
        return True
    return False if answer.kind is Kind.DENIAL and answer.cause in ("policy", "identity") else None
