"""What is told of a withdrawal of a key, by ``status`` and ``check`` alike."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from core.client.key_values import KeyStatus

_SERVED = {(False, False): "nothing", (True, False): "reading only", (False, True): "new data only"}


def withdrawal(found: KeyStatus) -> Iterator[tuple[str, str]]:
    """Labels and texts: what is served still, and the facts of the withdrawal; nothing where all is well.

    Args:
        found: The status of the key.
    """
    if (found.may_read, found.may_write) in _SERVED:
        yield "served", _SERVED[found.may_read, found.may_write]
    if found.falls_back:
        yield "fallback", "new data goes under the platform's key for now"
    if found.first_denial:
        yield "refused", f"{found.first_denial}, when the KMS first said no"
        yield "confirmed", found.confirmed or "not yet"
    yield "KMS code", found.kms_code
    yield "KMS request", found.request_id
    yield "receipt", found.receipt
