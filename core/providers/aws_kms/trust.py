"""Finds out by trying whether a tenant's role asks for the tenant's external id, and for exactly that."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from secrets import token_hex

from core.providers.aws_kms.checklist import LAG, RETRY, Checklist
from core.providers.aws_kms.clients import Credentials
from core.providers.aws_kms.failures import Failure, Kind

Assume = Callable[[str | None], Credentials | Failure]
_HEX_TAIL = re.compile(r"[0-9a-f]*\Z")


def check_external_id(checks: Checklist, assume: Assume, own: str) -> None:
    """Note whether the role is refused to whoever does not present the tenant's external id.

    Args:
        checks: Where to note it.
        assume: Tries with an external id, or with none.
        own: The tenant's, with which it works.
    """
    untold = False
    for other in wrong_external_ids(own):
        found = assume(other)
        if not isinstance(found, Failure):
            checks.failed(
                "external_id",
                "the role can be assumed without the external id, or with another",
                "Compare sts:ExternalId in the role's trust policy by StringEquals with this tenant's whole external "
                "id, as in the set-up kit: otherwise whoever else this service works for could be served by your "
                f"role. {LAG}",
            )
            return
        untold |= found.kind is not Kind.DENIAL
    if untold:
        checks.failed("external_id", "it could not be told whether the external id matters", RETRY)
    else:
        checks.passed("external_id", "without the external id, and with wrong ones, the role is refused")


def wrong_external_ids(own: str) -> list[str | None]:
    """None, and what other tenants have, or what a pattern made from the tenant's own would let pass.

    Args:
        own: The tenant's external id; a random part in hex digits is at its end.
    """
    return [None, *dict.fromkeys(other for other in _others(own) if other != own)]


def _others(own: str) -> Iterator[str]:
    yield token_hex(16)
    random = _HEX_TAIL.search(own)
    start = random.start() if random else len(own)
    yield own[:start] + (token_hex(len(own))[: len(own) - start] or token_hex(8))
    for index in (0, len(own) // 2, -1):
        characters = list(own)
        characters[index] = "b" if characters[index] == "a" else "a"
        yield "".join(characters)
    yield f"{own}0"
    yield f"0{own}"
