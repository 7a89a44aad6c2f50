"""`python -m benchmarks` runs, measures what it says and judges it. How fast anything is, no test can tell."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from random import Random

import pytest

from benchmarks import liveness, mutations, report, results
from benchmarks.mutants import MUTATIONS, Original
from benchmarks.race import Contender, Spread, race, ratio
from benchmarks.speed import DIRECTIONS, RATIOS, SIZES
from benchmarks.targets import judge
from core.domain import message as messages
from core.domain.context import serialise
from core.domain.encrypted_data_key import wrap_data_key
from core.domain.message import DataKey

ROOT = Path(__file__).resolve().parent.parent.parent
pytestmark = pytest.mark.xdist_group("benchmarks")  # one worker, so that there is one quick run
VERSION = "00000000-0000-4000-8000-000000000000"


@pytest.fixture(scope="module")
def quick(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, subprocess.CompletedProcess[str]]:
    """A quick run: where its results lie, and what it printed."""
    where = tmp_path_factory.mktemp("results")
    command = [sys.executable, "-m", "benchmarks", "--quick", "--results", str(where)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300, check=False)
    return where, done


def test_a_quick_run(quick: tuple[Path, subprocess.CompletedProcess[str]]) -> None:
    where, done = quick
    assert done.returncode == 0, done.stderr
    assert "FAIL" not in done.stdout
    assert done.stdout.count("\n---- ") == 10, "targets about speed are not judged"
    assert done.stdout.count("\nPASS ") == 2, "damaged messages are"
    found = results.read(where)
    assert found.quick
    assert [(case.size, case.direction) for case in found.cases] == [(s, d) for s in SIZES for d in DIRECTIONS]
    for case in found.cases:
        assert all(0 < spread.low <= spread.median <= spread.high for spread in case.microseconds.values())
        assert len(case.ratios) == len(RATIOS) - (case.direction == "encrypt")
    assert set(found.startup.seconds) == {"bare interpreter", "message path", "official SDK with MPL"}
    assert found.stream.mebibytes == 16
    assert found.stream.growth < 16 << 20, "a stream must not be held in memory"
    assert found.machine["cryptography"]


def test_a_quick_run_damages_messages_in_every_way(quick: tuple[Path, subprocess.CompletedProcess[str]]) -> None:
    found = results.read(quick[0]).mutations
    assert (found.count, found.accepted, found.crashed, found.samples) == (4000, 0, 0, [])
    for group in (found.by_mutation, found.by_reader, found.by_refusal):
        assert sum(group.values()) == 4000
        assert min(group.values()) > 0
    assert set(found.by_mutation) == set(MUTATIONS)
    refusals = " ".join(found.by_refusal)
    for depth in ("not a message", "does not commit", "header is damaged", "frame N of the message is damaged"):
        assert depth in refusals, f"no damaged message got as far as: {depth}"


def test_the_results_as_markdown(
    quick: tuple[Path, subprocess.CompletedProcess[str]], capsys: pytest.CaptureFixture[str]
) -> None:
    from benchmarks.__main__ import main

    assert main(["--markdown", "--results", str(quick[0])]) == 0
    printed = capsys.readouterr().out
    assert printed == report.markdown(results.read(quick[0]))
    assert "| keystead, cached data key |" in printed
    assert main(["--markdown", "--results", str(quick[0] / "nowhere")]) == 1


def test_a_missed_target_fails_a_full_run_only(quick: tuple[Path, subprocess.CompletedProcess[str]]) -> None:
    found = results.read(quick[0])
    slow = replace(found, startup=replace(found.startup, seconds={"message path": Spread(9, 9, 9)}))
    assert not report.failed(slow)
    assert report.failed(replace(slow, quick=False))
    opened = replace(found, mutations=replace(found.mutations, accepted=1))
    assert report.failed(opened)
    assert [verdict.name for verdict in judge(opened) if not verdict.about_speed and not verdict.held]
    assert any(line.startswith("FAIL") for line in report.verdict_lines(opened))


def test_results_are_read_back_as_written(quick: tuple[Path, subprocess.CompletedProcess[str]], tmp_path: Path) -> None:
    found = results.read(quick[0])
    path = results.write(found, tmp_path)
    assert results.read(tmp_path) == found
    assert json.loads(path.read_text(encoding="utf-8"))["date"] == found.date


def test_a_race_is_run_in_rounds() -> None:
    order: list[str] = []

    def contender(name: str) -> Contender:
        return Contender(name, lambda inputs: order.extend(name for _ in inputs), [b""])

    taken = race([contender("a"), contender("b")], 3)
    assert {name: len(values) for name, values in taken.items()} == {"a": 3, "b": 3}
    assert {"a", "b"} == set(order)


def test_a_ratio_is_taken_round_by_round() -> None:
    """A machine that is ten times as slow for a while must not show."""
    assert ratio({"slow": [2.0, 20.0, 2.0], "fast": [1.0, 10.0, 1.0]}, "slow", "fast") == Spread(2, 2, 2)


@pytest.mark.parametrize("kind", MUTATIONS)
def test_every_mutation_damages(kind: str) -> None:
    """Most of what it gives is no longer the message, and the fields it edits are where it thinks they are."""
    context = {"tenant_id": "acme", "app": "orders"}
    edk = wrap_data_key(bytes(32), VERSION, VERSION, bytes(32), serialise(context))
    key = DataKey.wrapped(bytes(32), edk, serialise(context), frame_length=16)
    original, other = (Original.of(messages.encrypt(key, bytes(size)), {}) for size in (40, 64))
    assert [original.message[at : at + 4].hex() for at in original.starts[:-1]] == ["00000001", "00000002", "ffffffff"]
    values = [int.from_bytes(original.message[at : at + size]) for at, size in original.lengths]
    assert values == [len(serialise(context)), 2, 1, 17, 36, 92, 2, 16, 1, 2, 0xFFFFFFFF, 3, 8]
    random = Random(1)
    made = [MUTATIONS[kind](random, original, other) for _ in range(200)]
    assert sum(message != original.message for message in made) > 100


def test_what_a_reader_lets_through_is_counted() -> None:
    edk = wrap_data_key(bytes(32), VERSION, VERSION, bytes(32), b"")
    original = Original.of(messages.encrypt(DataKey.wrapped(bytes(32), edk, b""), b"x"), {})

    def crash(_message: bytes, _context: dict[str, str]) -> bytes:
        raise ValueError

    readers: dict[str, mutations.Reader] = dict.fromkeys(mutations.SHARES, crash)
    readers["whole buffer"] = lambda _message, _context: b"opened"
    tally, samples = mutations._damage(Random(1), 100, [original], [], readers)
    assert tally["verdict"]["accepted"] == tally["reader"]["whole buffer"] > 0
    assert tally["verdict"]["crashed"] == 100 - tally["verdict"]["accepted"]
    assert len(samples) == mutations.SAMPLES


def test_the_checks_of_the_warm_path_are_on(tmp_path: Path) -> None:
    found = liveness.check(tmp_path)
    assert (found.clock_reads_per_encrypt, found.clock_reads_per_decrypt) == (2, 4)


@pytest.mark.parametrize(
    ("bypass", "put", "said"),
    [
        ("core.service.encryption.CachedDataKey.serves", lambda _self, _tick: True, "purge, encrypt"),
        ("core.service.state_gate.TenantView.purge", lambda _self: None, "purge, decrypt"),
        ("core.service.timekeeper.Timekeeper.tick", lambda self: (self._wall(), self._boot()), "clock back, encrypt"),
        ("core.service.timekeeper.Timekeeper.tick", lambda _self: (2e9, 2e9), "clocks before encrypting"),
    ],
    ids=["serves", "purge", "step-back", "no-clock"],
)
def test_a_run_stops_if_a_check_is_bypassed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, bypass: str, put: object, said: str
) -> None:
    monkeypatch.setattr(bypass, put)
    with pytest.raises(liveness.NotLive, match=said):
        liveness.check(tmp_path)
