"""Finds out by trying in which contexts a key's policies let this service use it: the tenant's own, and no other."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from hmac import compare_digest
from secrets import token_hex

from core.domain.context import TENANT_KEY
from core.domain.kek import KEY_BYTES
from core.providers.aws_kms.calls import Answer, Request
from core.providers.aws_kms.checklist import LAG, RETRY, UNFIT, Checklist, remedy_of
from core.providers.aws_kms.failures import Failure, Kind
from core.providers.aws_kms.permissions import allowed
from core.providers.aws_kms.provider import decrypt, encrypt

Ask = Callable[[Request], Answer | Failure]
REFUSED = "AWS refuses, or there is no such key"
"""Of a key that does not let a tenant in, whether it is somebody else's or nobody's."""
MAX_CHANGED = 16
"""Characters of a tenant's id, from the first to the last, in place of which another one is tried."""
MAX_PARTS = 8
"""Parts of a tenant's id, between hyphens, for which another one is tried."""
_UNSTEADY = "unsteady: the same calls did not always get the same answer"


class CryptoProbe:
    """Uses a key as this service would, and as it must not be able to.

    Args:
        ask: Makes a call through the tenant's access.
        arn: The key.
        region: Its Region.
        context: What a row of the tenant is wrapped under; contains ``tenant_id``.
        remedy: How the tenant lets us encrypt and decrypt.
    """

    def __init__(self, ask: Ask, arn: str, region: str, context: Mapping[str, str], remedy: str) -> None:
        self._ask = ask
        self._arn, self._region = arn, region
        self._context = context
        self._remedy = remedy
        self.ciphertext = b""
        """What the last round trip wrapped; b"" if there was none."""

    def check_entry(self, checks: Checklist) -> bool:
        """Whether the key lets this tenant in, so that the tenant may be told more of it.

        AWS authorises a request before it looks at the key's state and type. A key that only ever lets in who names its
        Region is nobody's in particular: what is wrong with it may be told.
        """
        found = self._encrypt(self._context)
        if found is None or found.kind is Kind.STATE or found.code in UNFIT:
            return True
        if found.kind is not Kind.DENIAL:
            return checks.failed("reachable", f"{found.operation}: {found.seen}", remedy_of(found, ""))
        checks.passed("reachable", "AWS KMS answers")
        seen = found.seen if found.cause == "unknown" else REFUSED
        if self._explained_by_region(checks, f"{found.operation}: {seen}"):
            return True
        checks.withhold()
        return checks.failed("round_trip", f"{found.operation}: {seen}", f"{self._remedy} {LAG}")

    def check_round_trip(self, checks: Checklist) -> bool:
        """Wrap, unwrap, compare; where a policy is in the way, find out what is wrong with it."""
        failure = self._round_trip()
        if failure is None:
            return checks.passed("round_trip", "what was wrapped comes back")
        observed = f"{failure.operation}: {failure.seen}"
        if failure.cause == "policy" and self._explained_by_region(checks, observed):
            return False
        return checks.failed("round_trip", observed, remedy_of(failure, self._remedy))

    def check_tenant_bound(self, checks: Checklist) -> bool:
        """Try contexts of tenants that do not exist, and of none, between two round trips that must work.

        What is unsteady fails the round trip: an operator may accept a policy that is not bound, but not this.
        """
        found = self._tried_in_turn()
        failure = self._round_trip()
        if failure is not None:
            checks.failed("round_trip", f"{_UNSTEADY} ({failure.operation}: {failure.seen})", RETRY)
        if found is True:
            return checks.failed(
                "tenant_bound",
                "the key can be used in a context other than this tenant's",
                "Bind the statement that allows kms:Encrypt and kms:Decrypt to this tenant by the condition "
                f"StringEquals kms:EncryptionContext:tenant_id, as in the set-up kit. {LAG}",
            )
        if failure is not None:
            return False
        if found is None:
            return checks.failed("round_trip", f"{_UNSTEADY} in contexts of other tenants", RETRY)
        return checks.passed("tenant_bound", "contexts of other tenants, and without any, are refused")

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

    def _encrypt(self, context: Mapping[str, str]) -> Failure | None:
        found = self._ask(encrypt(self._arn, os.urandom(KEY_BYTES), context))
        return found if isinstance(found, Failure) else None

    def _explained_by_region(self, checks: Checklist, observed: str) -> bool:
        if self._encrypt({**self._context, TENANT_KEY: self._region}) is not None:
            return False
        checks.failed(
            "round_trip",
            f"{observed}; with the Region's name {self._region} as tenant_id it is allowed",
            "The policy compares kms:EncryptionContext:tenant_id with ${aws:RequestedRegion}, which is the name of "
            "a Region and never a tenant's id. Put this tenant's id in its place, as in the set-up kit, and leave "
            f"kms:DescribeKey out of that statement. {LAG}",
        )
        return True

    def _tried_in_turn(self) -> bool | None:
        """Whether any foreign context is let through; None if that cannot be told of one."""
        untold = False
        for context in foreign_contexts(self._context):
            found = self._tried(context)
            if found:
                return True
            untold |= found is None
        return None if untold else False

    def _tried(self, context: Mapping[str, str]) -> bool | None:
        found = [allowed(self._ask(encrypt(self._arn, os.urandom(KEY_BYTES), context)))]
        found.append(allowed(self._ask(decrypt(self._arn, self.ciphertext, context))))
        return True if True in found else None if None in found else False


def foreign_contexts(context: Mapping[str, str]) -> Iterator[dict[str, str]]:
    """Contexts that are not the tenant's: what a policy with a wildcard anywhere, or one that asks only if there is
    something to ask about, would let pass.

    Args:
        context: The tenant's.
    """
    tenant = context[TENANT_KEY]
    for other in dict.fromkeys(_others(tenant)):
        yield {**context, TENANT_KEY: other}
    yield {name: value for name, value in context.items() if name != TENANT_KEY}
    yield {}


def _others(tenant: str) -> Iterator[str]:
    unassigned = token_hex(16)
    yield from (f"unassigned-{unassigned}", f"{tenant}-{unassigned}", f"{unassigned}-{tenant}")
    last = len(tenant) - 1
    for index in dict.fromkeys(round(last * step / (MAX_CHANGED - 1)) for step in range(MAX_CHANGED)):
        characters = list(tenant)
        characters[index] = "y" if characters[index] == "x" else "x"
        yield "".join(characters)
    parts = tenant.split("-")
    for index in range(min(len(parts), MAX_PARTS) if len(parts) > 1 else 0):
        yield "-".join([*parts[:index], unassigned, *parts[index + 1 :]])
