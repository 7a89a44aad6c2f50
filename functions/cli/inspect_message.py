"""``keystead inspect``."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, BinaryIO

import click

from core.errors import MessageInvalid
from functions.cli import output

if TYPE_CHECKING:
    from core.domain.encrypted_data_key import EncryptedDataKey
    from core.domain.message_header import Header

SUITE = "0x0478 (AES-256-GCM, HKDF-SHA512, key commitment, no signature)"


@click.command(
    epilog="""\b
Examples:
  keystead inspect report.pdf.keystead
  keystead inspect --json - < report.pdf.keystead
"""
)
@click.argument("file")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def inspect(file: str, as_json: bool) -> None:
    """Show what stands in the header of the message FILE, or stdin if FILE is -.

    Needs no key, token or service, and proves nothing: only decrypting tells whether the message is genuine.
    """
    with output.opened(file) as source:
        facts = read_facts(source)
    click.echo(json.dumps(facts, indent=2) if as_json else as_text(facts))


def read_facts(source: BinaryIO) -> dict[str, Any]:
    """Give what a message's header says, as JSON values.

    Raises:
        MessageInvalid: It is not a message of format version 2 and suite 0x0478.
    """
    from core.domain.message_header import MAX_FOREIGN_HEADER, UNFRAMED, parse_header
    from core.domain.streaming import read_fully

    head = read_fully(source, MAX_FOREIGN_HEADER)
    foreign = False
    try:
        header = parse_header(head)
    except MessageInvalid:
        foreign = True
        header = parse_header(head, foreign=True)
    size = len(head)
    while chunk := source.read(1 << 20):
        size += len(chunk)
    return {
        "format_version": 2,
        "suite": SUITE,
        "message_id": header.message_id.hex(),
        "context": dict(header.context),
        "data_keys": [_data_key(edk) for edk in header.edks],
        "content": "unframed" if header.content_type == UNFRAMED else "framed",
        "frame_length": header.frame_length,
        "header_bytes": header.size,
        "size": size,
        "plaintext_bytes": plaintext_bytes(header, size),
        "needs_foreign": foreign,
    }


def plaintext_bytes(header: Header, size: int) -> int | None:
    """How many bytes of plaintext a message of a size holds, or None if no message of that size is whole."""
    from core.domain import frames

    body = size - header.size
    if not header.frame_length:
        length = body - 12 - 8 - frames.TAG_BYTES
        return length if length >= 0 else None
    if body < frames.FINAL_OVERHEAD:
        return None
    regular, last = divmod(body - frames.FINAL_OVERHEAD, header.frame_length + frames.REGULAR_OVERHEAD)
    return regular * header.frame_length + last if last <= header.frame_length else None


def _data_key(edk: EncryptedDataKey) -> dict[str, str]:
    provider = edk.provider_id.decode("utf-8", "backslashreplace")
    if not edk.is_hierarchical:
        return {"provider": provider, "provider_info": edk.provider_info.decode("utf-8", "backslashreplace")}
    return {"provider": provider, "branch_key_id": edk.branch_key_id, "version": edk.version_id}


def as_text(facts: dict[str, Any]) -> str:
    """The facts as lines for people."""
    lines = [
        ("format", "AWS Encryption SDK message, version 2"),
        ("suite", facts["suite"]),
        ("message id", facts["message_id"]),
    ]
    pairs = [f"{key} = {value}" for key, value in facts["context"].items()]
    lines += [("context" if not n else "", pair) for n, pair in enumerate(pairs)] or [("context", "(empty)")]
    for key in facts["data_keys"]:
        lines += [(f"data key {name}".replace("_", " "), value) for name, value in key.items()]
    length = facts["plaintext_bytes"]
    lines += [
        ("body", f"frames of {facts['frame_length']} bytes" if facts["frame_length"] else "unframed"),
        ("size", f"{facts['size']} bytes, header {facts['header_bytes']}"),
        ("plaintext", "the message is not whole" if length is None else f"{length} bytes"),
    ]
    if facts["needs_foreign"]:
        lines.append(("note", "not of this service's making: decrypt needs --foreign"))
    width = max(len(name) for name, _ in lines)
    return "\n".join(f"{name:<{width}}  {output.printable(value)}".rstrip() for name, value in lines)
