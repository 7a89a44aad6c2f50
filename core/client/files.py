"""Files and streams under handed-out data keys: only the data key crosses the network, in constant memory.

The message written is an ordinary one whose context says ``keystead-use=caller``. Its bytes never pass through the
service, so their number is not limited by it.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from core.client.client import KeysteadClient
from core.client.problems import UnexpectedAnswer
from core.client.publish import PRIVATE, SHARED, check_target, published
from core.domain import streaming
from core.domain.context import (
    USE_CALLER,
    USE_KEY,
    check_caller_context,
    message_context,
    require_context,
    serialise,
)
from core.domain.encrypted_data_key import parse_serialised
from core.domain.message import DEFAULT_FRAME_LENGTH, DataKey
from core.domain.message_header import Header
from core.domain.streaming import Progress, Sink, Source
from core.errors import InvalidRequest, KeysteadError, MessageInvalid


def _no_progress(_done: int) -> None:
    return None


def encrypt_file(
    client: KeysteadClient,
    tenant_id: str,
    source: Path,
    target: Path,
    context: Mapping[str, str],
    *,
    overwrite: bool = False,
    progress: Progress = _no_progress,
) -> int:
    """Encrypt a file into another one, which appears only when it is whole.

    Args:
        client: Reaches the service; its token needs ``data:keys``.
        tenant_id: The tenant that owns the data.
        source: File to read.
        target: File to write.
        context: The caller's pairs; decrypting needs the same.
        overwrite: Whether an existing target may be replaced.
        progress: Told of plaintext bytes done.

    Returns:
        Bytes of plaintext.

    Raises:
        KeysteadError: The service refused or did not answer, or source and target are one file.
        OSError: A file cannot be read or written; `FileExistsError` for a target that may not be replaced.
    """
    check_files(source, target, overwrite=overwrite)
    with source.open("rb") as reader, published(target, overwrite=overwrite, mode=SHARED) as writer:
        return encrypt_stream(client, tenant_id, reader, writer, context, progress=progress)


def decrypt_file(
    client: KeysteadClient,
    tenant_id: str,
    source: Path,
    target: Path,
    context: Mapping[str, str],
    *,
    overwrite: bool = False,
    progress: Progress = _no_progress,
) -> int:
    """Decrypt a file written by `encrypt_file` into another one, which appears only after the message's end was read.

    Args:
        client: Reaches the service; its token needs ``data:keys``.
        tenant_id: The tenant that owns the data.
        source: File to read.
        target: File to write; readable by its owner only.
        context: Exactly the pairs given when encrypting.
        overwrite: Whether an existing target may be replaced.
        progress: Told of plaintext bytes done.

    Returns:
        Bytes of plaintext.

    Raises:
        MessageInvalid: Damaged, truncated, not this tenant's, or not under a handed-out data key. No target appears.
        ContextMismatch: The pairs differ.
        KeysteadError: The service refused or did not answer, or source and target are one file.
        OSError: A file cannot be read or written; `FileExistsError` for a target that may not be replaced.
    """
    check_files(source, target, overwrite=overwrite)
    with source.open("rb") as reader, published(target, overwrite=overwrite, mode=PRIVATE) as writer:
        return decrypt_stream(client, tenant_id, reader, writer, context, progress=progress)


def encrypt_stream(
    client: KeysteadClient,
    tenant_id: str,
    source: Source,
    sink: Sink,
    context: Mapping[str, str],
    *,
    frame_length: int = DEFAULT_FRAME_LENGTH,
    progress: Progress = _no_progress,
) -> int:
    """Encrypt a stream under a fresh data key.

    Args:
        client: Reaches the service; its token needs ``data:keys``.
        tenant_id: The tenant that owns the data.
        source: Plaintext.
        sink: Takes the message.
        context: The caller's pairs.
        frame_length: Bytes of plaintext per frame.
        progress: Told of plaintext bytes done.

    Returns:
        Bytes of plaintext.

    Raises:
        KeysteadError: The service refused or did not answer.
    """
    check_caller_context(context)
    grant = client.new_data_key(tenant_id, context)
    if grant.context.get(USE_KEY) != USE_CALLER:
        raise UnexpectedAnswer("the service handed out a data key that is not marked as such")
    # Exactly these pairs: what stands in the message is what the caller said, and nothing of the service's choosing.
    if grant.context != message_context(tenant_id, context, use=USE_CALLER):
        raise UnexpectedAnswer("the service handed out a data key for something else")
    try:
        edk = parse_serialised(grant.encrypted_data_key)
    except KeysteadError:
        raise UnexpectedAnswer("the service handed out a data key that cannot be read") from None
    key = DataKey.wrapped(grant.data_key, edk, serialise(grant.context), frame_length=frame_length)
    return streaming.encrypt_stream(key, source, sink, progress)


def decrypt_stream(
    client: KeysteadClient,
    tenant_id: str,
    source: Source,
    sink: Sink,
    context: Mapping[str, str],
    *,
    progress: Progress = _no_progress,
) -> int:
    """Decrypt a stream written by `encrypt_stream`.

    Args:
        client: Reaches the service; its token needs ``data:keys``.
        tenant_id: The tenant that owns the data.
        source: The message.
        sink: Takes plaintext. What it took is not to be published unless this returns.
        context: Exactly the pairs given when encrypting.
        progress: Told of plaintext bytes done.

    Returns:
        Bytes of plaintext.

    Raises:
        MessageInvalid: Damaged, truncated, not this tenant's, or not under a handed-out data key.
        ContextMismatch: The pairs differ.
        KeysteadError: The service refused or did not answer.
    """

    def open_key(header: Header) -> bytes:
        if not is_callers(header):
            raise MessageInvalid(
                "the message is not under a handed-out data key", hint="the service itself decrypts it"
            )
        require_context(header.context, tenant_id, context)
        return client.open_data_key(tenant_id, header.edks[0].serialise(), header.context)

    return streaming.decrypt_stream(source, sink, open_key, progress)


def is_callers(header: Header) -> bool:
    """Whether a message is under a data key that was handed out, by its own (unproved) word."""
    return header.context.get(USE_KEY) == USE_CALLER


def check_files(source: Path, target: Path, *, overwrite: bool) -> None:
    """Refuse a pair of files before any work is done.

    Raises:
        InvalidRequest: They are one file.
        OSError: The source cannot be read, or the target cannot be written; `FileExistsError` if it may not be.
    """
    same = os.path.realpath(source) == os.path.realpath(target)
    with suppress(FileNotFoundError):
        same = same or source.samefile(target)
    if same:
        raise InvalidRequest("input and output are the same file", hint="name another output; the input is kept")
    source.stat()
    check_target(Path(os.path.realpath(target)), overwrite=overwrite)
