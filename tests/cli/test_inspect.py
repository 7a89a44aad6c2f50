"""inspect."""

import json
from pathlib import Path

import pytest

from core.domain.context import serialise
from core.domain.encrypted_data_key import wrap_data_key
from core.domain.message import DataKey, encrypt
from core.domain.message_header import parse_header
from tests.cli.conftest import Run, errors

BRANCH_KEY_ID, VERSION = "6b0c2a43-8a0b-4f0c-9d3a-0d9b4f0f2a11", "0d1cfb19-0c5c-4b7e-8ac3-4b2f0a6cbb52"
CONTEXT = {"tenant_id": "acme", "app": "crm\x1b[2J"}
FRAME = 4096


def message(size: int, context: dict[str, str] = CONTEXT) -> bytes:
    edk = wrap_data_key(bytes(32), BRANCH_KEY_ID, VERSION, bytes(32), serialise(context))
    return encrypt(DataKey.wrapped(bytes(32), edk, serialise(context), frame_length=FRAME), bytes(size))


def test_text(run: Run) -> None:
    Path("m").write_bytes(message(10_000))
    text = run("inspect", "m").stdout
    for expected in ("0x0478", BRANCH_KEY_ID, VERSION, "aws-kms-hierarchy", "frames of 4096 bytes", "10000 bytes"):
        assert expected in text
    assert "crm\\x1b[2J" in text, "what could steer the terminal is escaped"
    assert "\x1b" not in text


@pytest.mark.parametrize("size", [0, 1, FRAME - 1, FRAME, FRAME + 1, 3 * FRAME])
def test_json_from_a_pipe(run: Run, size: int) -> None:
    data = message(size)
    facts = json.loads(run("inspect", "--json", "-", stdin=data).stdout)
    header = parse_header(data)
    assert facts["message_id"] == header.message_id.hex()
    assert facts["context"] == CONTEXT
    assert facts["data_keys"] == [{"provider": "aws-kms-hierarchy", "branch_key_id": BRANCH_KEY_ID, "version": VERSION}]
    assert (facts["frame_length"], facts["content"]) == (FRAME, "framed")
    assert (facts["size"], facts["header_bytes"], facts["plaintext_bytes"]) == (len(data), header.size, size)
    assert facts["needs_foreign"] is False


def test_no_context(run: Run) -> None:
    assert "(empty)" in run("inspect", "-", stdin=message(1, {})).stdout


def test_a_message_cut_off_is_told(run: Run) -> None:
    assert "not whole" in run("inspect", "-", stdin=message(10)[:-20]).stdout


def test_a_foreign_message_is_told(run: Run) -> None:
    data = message(5000)
    # Another writer may wrap the data key in another way.
    foreign = data.replace(b"\x00\x11aws-kms-hierarchy", b"\x00\x11some-other-keyrin")
    said = run("inspect", "-", stdin=foreign).stdout
    assert "some-other-keyrin" in said
    assert "--foreign" in said


@pytest.mark.parametrize(
    "data",
    [b"", b"hello", b"\x01" * 500, b"\x02\x05\x78" + bytes(500), message(1)[:80]],
    ids=["empty", "text", "version 1", "signed", "cut"],
)
def test_what_is_no_message(run: Run, data: bytes) -> None:
    assert errors(run("inspect", "-", stdin=data, code=6))["error"]


def test_a_missing_file(run: Run) -> None:
    assert errors(run("inspect", "missing", code=1))["error"]
