"""Encryption context: canonical bytes of a str -> str mapping, and which pairs callers may set.

Layout (AWS Encryption SDK specification, ``framework/structures.md``): nothing at all for an empty context, else
``u16 pair count`` and, sorted by the keys' UTF-8 bytes, ``u16 length || key || u16 length || value`` per pair.
The context is authenticated, not secret: it stands readable in the message and in the KMS's log.
"""

from __future__ import annotations

from collections.abc import Mapping
from struct import pack, unpack_from

from core.errors import ContextMismatch, InvalidRequest, MessageInvalid

TENANT_KEY = "tenant_id"
USE_KEY = "keystead-use"
USE_CALLER = "caller"
RESERVED_PREFIXES = ("aws-crypto-", "keystead-")
MAX_PAIRS = 32
MAX_PART = 1024
"""Bytes of UTF-8 in one key or value of a caller's pair."""
MAX_SERIALISED = 8192
"""Bytes of a whole serialised context that we write or read; the format's own limit is 65535."""

Context = Mapping[str, str]


def serialise(context: Context) -> bytes:
    """Give the canonical bytes of a context; two contexts give the same bytes only if they are equal.

    Args:
        context: Pairs of any length the format can hold.

    Returns:
        The canonical bytes, at most 65535 of them; empty for an empty context.

    Raises:
        InvalidRequest: A part is not valid Unicode, or the whole is longer than the format can hold.
    """
    if not context:
        return b""
    try:
        pairs = sorted((key.encode(), value.encode()) for key, value in context.items())
    except UnicodeEncodeError:
        raise InvalidRequest("an encryption context must be valid Unicode, without lone surrogates") from None
    if len(pairs) > 0xFFFF or any(len(part) > 0xFFFF for pair in pairs for part in pair):
        raise InvalidRequest("the encryption context is longer than the message format can hold")
    out = b"".join(
        [pack(">H", len(pairs)), *(pack(">H", len(p)) + p for pair in pairs for p in pair)],
    )
    if len(out) > 0xFFFF:
        raise InvalidRequest("the encryption context is longer than the message format can hold")
    return out


def parse(data: bytes, *, canonical: bool = True) -> dict[str, str]:
    """Read serialised context bytes.

    Args:
        data: The whole field, as it stands in a message.
        canonical: Refuse pairs out of order. Only the reader of foreign messages passes False.

    Returns:
        The pairs.

    Raises:
        MessageInvalid: The bytes are not a serialised context, or not the one valid encoding of it.
    """
    if not data:
        return {}
    if not 2 <= len(data) <= 0xFFFF:
        raise MessageInvalid("the encryption context in the message is cut short, or longer than the format allows")
    count = unpack_from(">H", data)[0]
    position, pairs, previous = 2, {}, b""
    if not 0 < count <= (len(data) - 2) // 4:
        raise MessageInvalid("the encryption context in the message has an impossible pair count")
    for index in range(count):
        parts = []
        for _ in range(2):
            if position + 2 > len(data):
                raise MessageInvalid("the encryption context in the message is cut short")
            length = unpack_from(">H", data, position)[0]
            position += 2
            if position + length > len(data):
                raise MessageInvalid("the encryption context in the message is cut short")
            parts.append(data[position : position + length])
            position += length
        if canonical and index and parts[0] <= previous:
            raise MessageInvalid("the encryption context in the message is not in canonical order")
        previous = parts[0]
        try:
            key, value = parts[0].decode(), parts[1].decode()
        except UnicodeDecodeError:
            raise MessageInvalid("the encryption context in the message is not UTF-8") from None
        if key in pairs:
            raise MessageInvalid("the encryption context in the message names a key twice")
        pairs[key] = value
    if position != len(data):
        raise MessageInvalid("the encryption context in the message has bytes left over")
    return pairs


def check_caller_context(context: Context) -> None:
    """Refuse pairs that callers may not set, and contexts over our limits.

    Raises:
        InvalidRequest: A reserved key, an empty key, too many pairs, or too many bytes.
    """
    if len(context) > MAX_PAIRS:
        raise InvalidRequest(f"an encryption context holds at most {MAX_PAIRS} pairs")
    for key, value in context.items():
        if not key:
            raise InvalidRequest("an encryption context key must not be empty")
        if key == TENANT_KEY or key.startswith(RESERVED_PREFIXES):
            raise InvalidRequest(
                "an encryption context key is reserved",
                hint="keys starting 'aws-crypto-' or 'keystead-' and 'tenant_id' are set by the service",
            )
        try:
            longest = max(len(key.encode()), len(value.encode()))
        except UnicodeEncodeError:
            raise InvalidRequest("an encryption context must be valid Unicode, without lone surrogates") from None
        if longest > MAX_PART:
            raise InvalidRequest(f"an encryption context key or value holds at most {MAX_PART} bytes of UTF-8")
    if len(serialise(context)) > MAX_SERIALISED - 256:
        raise InvalidRequest(f"the encryption context is larger than {MAX_SERIALISED - 256} bytes")


def message_context(tenant_id: str, context: Context, *, use: str | None = None) -> dict[str, str]:
    """Give the context that goes into a message: the caller's pairs and ours.

    Args:
        tenant_id: The tenant that owns the data.
        context: The caller's pairs, already checked by `check_caller_context`.
        use: ``USE_CALLER`` for handed-out data keys, else None.
    """
    full = {**context, TENANT_KEY: tenant_id}
    if use is not None:
        full[USE_KEY] = use
    return full


def require_context(found: Context, tenant_id: str, expected: Context) -> None:
    """Check the context of a message against what the caller says it is.

    Args:
        found: The context read from the message.
        tenant_id: The caller's tenant.
        expected: The caller's pairs; they must be exactly the message's, our own pairs apart.

    Raises:
        MessageInvalid: The message is not this tenant's.
        ContextMismatch: The caller's pairs differ.
    """
    if found.get(TENANT_KEY) != tenant_id:
        raise MessageInvalid("the message does not belong to this tenant")
    callers = {k: v for k, v in found.items() if k != TENANT_KEY and not k.startswith("keystead-")}
    if callers != dict(expected):
        raise ContextMismatch(
            "the encryption context given differs from the one the data was encrypted under",
            hint="pass exactly the pairs given to encrypt; 'keystead inspect' shows them, beside the service's own "
            "(tenant_id, keystead-use), which are left out",
        )
