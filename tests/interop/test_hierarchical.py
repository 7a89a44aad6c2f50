"""Messages go both ways between our service and the official hierarchical keyring, whatever their size and age."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest

from core.domain.context import message_context
from core.domain.message_header import parse_header
from core.errors import MessageInvalid
from tests.interop.conftest import ROTATED, STEADY
from tests.interop.exchange import CASES, Case, Exchange

EVERY_CASE = pytest.mark.parametrize("case", CASES, ids=str)
EVERY_ERA = pytest.mark.parametrize("era", ["never-rotated", "written-before-rotation", "written-after-rotation"])


@dataclass
class Era:
    """A tenant, its branch key's history, and messages written in a part of it."""

    exchange: Exchange
    tenant_id: str
    keyring: Any
    stored: dict[Case, tuple[bytes, bytes]]

    def ours(self, case: Case) -> bytes:
        return self.stored[case][0] if self.stored else self.exchange.ours(self.tenant_id, case)

    def theirs(self, case: Case) -> bytes:
        return self.stored[case][1] if self.stored else self.exchange.theirs(self.tenant_id, case, self.keyring)


@pytest.fixture(scope="package")
def eras(exchange: Exchange, before_rotation: dict[Case, tuple[bytes, bytes]]) -> dict[str, Era]:
    rotated = exchange.keyring(ROTATED)
    return {
        "never-rotated": Era(exchange, STEADY, exchange.keyring(STEADY), {}),
        "written-before-rotation": Era(exchange, ROTATED, rotated, before_rotation),
        "written-after-rotation": Era(exchange, ROTATED, rotated, {}),
    }


@EVERY_CASE
@EVERY_ERA
def test_the_official_client_reads_ours(eras: dict[str, Era], era: str, case: Case) -> None:
    now = eras[era]
    plaintext, context = now.exchange.official.decrypt(now.keyring, now.ours(case))
    assert plaintext == case.plaintext
    assert context == message_context(now.tenant_id, case.context)


@EVERY_CASE
@EVERY_ERA
def test_we_read_the_official_clients(eras: dict[str, Era], era: str, case: Case) -> None:
    now = eras[era]
    decrypt = now.exchange.app.encryption.decrypt
    assert decrypt(now.tenant_id, now.theirs(case), case.context, foreign=True) == case.plaintext


@EVERY_CASE
@EVERY_ERA
def test_our_strict_reader_reads_theirs_unless_they_end_in_an_empty_frame(
    eras: dict[str, Era], era: str, case: Case
) -> None:
    """Sizes that are a multiple of the frame length (0 apart) have two encodings; ours is the shorter one."""
    now = eras[era]
    decrypt, message = now.exchange.app.encryption.decrypt, now.theirs(case)
    if case.ends_in_an_empty_frame:
        with pytest.raises(MessageInvalid):
            decrypt(now.tenant_id, message, case.context)
    else:
        assert decrypt(now.tenant_id, message, case.context) == case.plaintext
        # And once more from the cache that the first reading filled.
        assert decrypt(now.tenant_id, message, case.context) == case.plaintext


@EVERY_ERA
def test_ours_read_back_by_ourselves(eras: dict[str, Era], era: str) -> None:
    now = eras[era]
    for case in CASES:
        assert now.exchange.app.encryption.decrypt(now.tenant_id, now.ours(case), case.context) == case.plaintext


def test_the_eras_are_what_they_say(eras: dict[str, Era]) -> None:
    """Both sides write under the same version within an era, and under another one after the rotation."""
    case = CASES[0]
    versions = {
        name: {parse_header(message, foreign=True).edks[0].version_id for message in (era.ours(case), era.theirs(case))}
        for name, era in eras.items()
    }
    assert [len(found) for found in versions.values()] == [1, 1, 1]
    assert len(set.union(*versions.values())) == 3


def test_both_sides_write_the_same_length(eras: dict[str, Era]) -> None:
    now = eras["never-rotated"]
    for case in CASES:
        saved = 32 if case.ends_in_an_empty_frame else 0
        assert len(now.ours(case)) + saved == len(now.theirs(case))
