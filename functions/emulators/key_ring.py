"""All keys of an emulator: found as callers name them, used as policies, grants and states allow."""

from __future__ import annotations

import re
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from functions.emulators.authorization import may
from functions.emulators.aws_errors import AwsError, denied, invalid
from functions.emulators.identities import Caller
from functions.emulators.kms_keys import Key, tag_of
from functions.emulators.policies import Ask

CROSS_ACCOUNT = frozenset(
    {
        *("Encrypt", "Decrypt", "ReEncrypt", "GenerateDataKey", "GenerateDataKeyWithoutPlaintext", "DescribeKey"),
        *("GenerateDataKeyPair", "GenerateDataKeyPairWithoutPlaintext", "Sign", "GetPublicKey"),
        *("GetKeyRotationStatus", "CreateGrant", "ListGrants", "RetireGrant", "RevokeGrant"),
    }
)
"""Operations that work on another account's key."""
_ARN = re.compile(r"arn:[a-z-]+:kms:([a-z0-9-]+):(\d{12}):(key|alias)/([A-Za-z0-9/_-]+)")
MAX_CONTEXT = 8192


@dataclass(slots=True)
class Request:
    """One operation asked for.

    Attributes:
        operation: Such as ``Decrypt``.
        params: As in the API.
        caller: Who asks.
        region: Of the endpoint.
        now: Seconds since the epoch.
        resource_arn: Written by the operation, for the record.
    """

    operation: str
    params: Mapping[str, Any]
    caller: Caller
    region: str
    now: float
    resource_arn: str = ""

    @property
    def dry_run(self) -> bool:
        """Whether only permission is asked."""
        return self.params.get("DryRun") is True

    def context(self, name: str = "EncryptionContext") -> dict[str, str]:
        """The encryption context.

        Raises:
            AwsError: It is not a mapping of texts, or too long.
        """
        found = self.params.get(name) or {}
        if not isinstance(found, Mapping) or not all(isinstance(t, str) for pair in found.items() for t in pair):
            raise AwsError("SerializationException", "an encryption context maps texts to texts")
        if sum(len(k.encode()) + len(v.encode()) for k, v in found.items()) > MAX_CONTEXT:
            raise invalid("the encryption context is too long")
        return dict(found)

    def text(self, name: str, *, default: str | None = None) -> str:
        """A text parameter.

        Raises:
            AwsError: It is missing or no text.
        """
        found = self.params.get(name, default)
        if not isinstance(found, str) or not found:
            raise invalid(f"Value at '{name}' failed to satisfy constraint: Member must not be null")
        return found


def dry_run() -> AwsError:
    """What a dry run that would have succeeded answers."""
    return AwsError(
        "DryRunOperationException", "The request would have succeeded, but the DryRun option is set to true."
    )


@dataclass(slots=True)
class KeyRing:
    """Keys by ARN.

    Attributes:
        pending_deletion_code: What the use of a key that waits for deletion hears; the real service uses both this and
            ``DisabledException``.
    """

    keys: dict[str, Key] = field(default_factory=dict)
    by_tag: dict[bytes, Key] = field(default_factory=dict)
    pending_deletion_code: str = "KMSInvalidStateException"

    def add(self, key: Key) -> None:
        """Put a key in.

        Raises:
            AwsError: There is one of this ARN.
        """
        if key.arn in self.keys:
            raise AwsError("AlreadyExistsException", f"there is a key {key.arn}")
        self.keys[key.arn] = key
        self.by_tag[key.tag] = key

    def remove(self, arn: str) -> None:
        """Take a key out for good; its ciphertexts are lost."""
        del self.by_tag[self.keys.pop(arn).tag]

    def get(self, arn: str, now: float) -> Key:
        """A key by its ARN.

        Raises:
            AwsError: ``NotFoundException``.
        """
        key = self.keys.get(arn)
        if key is not None and key.gone(now):
            self.remove(arn)
            key = None
        if key is None:
            raise AwsError("NotFoundException", f"Key '{arn}' does not exist")
        return key

    def find(self, request: Request, name: str = "KeyId") -> Key:
        """The key that a parameter names, and that may be named from here.

        Raises:
            AwsError: ``NotFoundException``, ``InvalidArnException``; ``AccessDeniedException`` across accounts.
        """
        text = request.text(name)
        if text.startswith("arn:"):
            request.resource_arn = text
            found = _ARN.fullmatch(text)
            if found is None:
                raise AwsError("InvalidArnException", f"Invalid arn {text}")
            if found[1] != request.region:
                raise AwsError("NotFoundException", f"Invalid arn {found[1]}")
            if found[3] == "alias":
                raise AwsError("NotFoundException", f"Alias {text} is not found.")
            return self._from_here(self.get(text, request.now), request)
        if text.startswith("alias/"):
            raise AwsError("NotFoundException", f"Alias {text} is not found.")
        account, region = request.caller.account, request.region
        ending = f":kms:{region}:{account}:key/{text}"
        arn = next((arn for arn in self.keys if arn.endswith(ending)), None)
        if arn is None:
            raise AwsError("NotFoundException", f"Invalid keyId '{text}'")
        request.resource_arn = arn
        return self.get(arn, request.now)

    def of_ciphertext(self, blob: bytes, request: Request) -> Key:
        """The key that a ciphertext names.

        Raises:
            AwsError: As `find`; ``InvalidCiphertextException`` if it names none.
        """
        key = self.by_tag.get(tag_of(blob))
        if key is None or key.region != request.region:
            raise AwsError("InvalidCiphertextException")
        request.resource_arn = key.arn
        return self._from_here(self.get(key.arn, request.now), request)

    def _from_here(self, key: Key, request: Request) -> Key:
        if key.account != request.caller.account and request.operation not in CROSS_ACCOUNT:
            raise denied(request.caller.arn, f"kms:{request.operation}", key.arn)
        return key

    def authorize(
        self,
        request: Request,
        key: Key,
        *,
        action: str = "",
        context: Mapping[str, str] | None = None,
        values: Mapping[str, tuple[str, ...]] | None = None,
    ) -> None:
        """Refuse what policies and grants do not allow.

        Args:
            request: With its caller.
            key: The key.
            action: Without ``kms:``; "" for the operation's own.
            context: Encryption context, or None for operations that take none: their conditions on it never hold.
            values: More condition keys.

        Raises:
            AwsError: ``AccessDeniedException``, ``InvalidGrantTokenException``.
        """
        caller, action = request.caller, action or request.operation
        tokens = {grant.token for grant in key.grants.values()}
        if not {*request.params.get("GrantTokens", ())} <= tokens:
            raise AwsError("InvalidGrantTokenException", "a grant token is not valid")
        found = {**caller.values(request.now, request.region), **_of_key(key, caller), **(values or {})}
        if context is not None:
            found |= context_values(context)
        granted = any(grant.allows(caller.principals, action, context) for grant in key.grants.values())
        ask = Ask(f"kms:{action}", key.arn, caller.principals, caller.account, found)
        if not may(caller, ask, key.policy, key.account, granted=granted):
            raise denied(caller.arn, ask.action, key.arn)

    def require_enabled(self, request: Request, key: Key) -> None:
        """Refuse the use of a key that is not enabled.

        Raises:
            AwsError: ``DisabledException`` or ``KMSInvalidStateException``.
        """
        key.require_enabled(request.now, self.pending_deletion_code)


def context_values(context: Mapping[str, str]) -> dict[str, tuple[str, ...]]:
    """The condition keys of an encryption context. Their names know no case, so two pairs may share one."""
    found: dict[str, tuple[str, ...]] = {}
    for name, value in context.items():
        key = f"kms:encryptioncontext:{name.lower()}"
        found[key] = (*found.get(key, ()), value)
    if context:
        found["kms:encryptioncontextkeys"] = tuple(context)
    return found


def _of_key(key: Key, caller: Caller) -> dict[str, tuple[str, ...]]:
    return {
        "kms:calleraccount": (caller.account,),
        "kms:keyorigin": (key.origin,),
        "kms:keyspec": (key.spec,),
        "kms:keyusage": (key.usage,),
        "kms:multiregion": (str(key.multi_region).lower(),),
    }


def new_id(prefix: str = "") -> str:
    """A random id of 64 hex digits."""
    return prefix + secrets.token_hex(32)
