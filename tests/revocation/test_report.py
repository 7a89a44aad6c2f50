"""What a run of `make bench-revocation` makes of its measurements: targets, tables, JSON, exit code. Runs nothing."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks.revocation import report
from benchmarks.revocation.__main__ import main
from benchmarks.revocation.aws import KILL_SWITCH, LEASE_0
from benchmarks.revocation.course import Timing
from benchmarks.revocation.outage import BRIEF, PATIENT, Weathered
from benchmarks.revocation.run import Bystander
from benchmarks.revocation.tables import Table

WORKERS = ("worker 1", "worker 2")


def timing(tenant: str = "acme", **fields: object) -> Timing:
    expected = {"state": "revoked", "cause": "disabled", "code": "key_revoked"}
    made = Timing("key disabled", tenant, "a cloud", "at once", expected)
    made.refused_after, made.held_after, made.final_after, made.receipt_after = 20.0, 0.1, 1.5, 1.6
    made.served_after = dict.fromkeys(WORKERS, 10.0)
    made.served_begun_after = dict.fromkeys(WORKERS, 0)
    made.restored_after = dict.fromkeys(WORKERS, 25.0)
    made.heard, made.states, made.cause = {"key_revoked": 9}, ["active", "hold", "revoked", "active"], "disabled"
    return replace(made, **fields)  # type: ignore[arg-type]  # fields of the test's choice


def weathered(kind: str = PATIENT, **fields: object) -> Weathered:
    made = Weathered(f"{kind}-late", "late", kind, broken=3, served=9, states=["active", "degraded", "active"])
    made.recovered_after, made.active_after = dict.fromkeys(WORKERS, 5.0), 6.0
    if kind == BRIEF:
        made.failed = {"key_unreachable": 4}
    return replace(made, **fields)  # type: ignore[arg-type]  # fields of the test's choice


GOOD = (
    timing(),
    timing(LEASE_0),
    timing(KILL_SWITCH, served_after=dict.fromkeys(WORKERS, 9.0)),
    timing("consent", token_life=True),
)
BYSTANDER = Bystander("globex", "a cloud", 100)


def withdrawals(*timings: Timing, bystander: Bystander = BYSTANDER) -> report.Results:
    facts = {"python": "CPython"}
    return report.Results(
        report.WITHDRAWALS, "2026-01-01T00:00:00+00:00", 1, facts, (0.1, None), {}, timings, [bystander]
    )


def outage(*found: Weathered) -> report.Results:
    settings = {"outage": 600, "patient": 900, "brief": 120, "recovery": 35}
    return report.Results(
        report.OUTAGE, "2026-01-01T00:00:00+00:00", 1, {"python": "CPython"}, (0.1, 0.2), settings, weathered=found
    )


def test_good_runs_pass() -> None:
    assert not report.failed(withdrawals(*GOOD))
    assert not report.failed(outage(weathered(), weathered(BRIEF)))


@pytest.mark.parametrize(
    ("bad", "told"),
    [
        (
            timing(served_after={"worker 1": 0.0, "worker 2": 60.5}),
            "last answer served after the cloud's first refusal",
        ),
        (timing(served_after={}), "last answer served after the cloud's first refusal"),
        (
            timing(restored_after={"worker 1": 1.0, "worker 2": 30.5}),
            "first answer served after the key was given back",
        ),
        (
            timing(restored_after={"worker 1": 1.0, "worker 2": None}),
            "first answer served after the key was given back",
        ),
        (timing(KILL_SWITCH, served_after={"worker 1": 10.5}), "last answer served after the kill switch"),
        (timing(LEASE_0, served_begun_after={"worker 1": 1}), "lease 0, served"),
        (timing(LEASE_0, served_begun_after={}), "lease 0, served"),
        (timing(problems=["there is no receipt"]), "acts without the right state"),
        (timing(states=["active", "hold", "active"]), "acts without the right state"),
        (timing(states=["active", "hold", "revoked"]), "acts without the right state"),
        (timing(cause="policy"), "acts without the right state"),
        (timing(heard={"key_revoked": 3, "internal": 1}), "acts without the right state"),
        (timing(failed_before=1), "calls that failed before an act"),
        (timing(failed_after=1), "calls that failed before an act"),
        (timing(lost=1), "messages lost"),
    ],
)
def test_each_missed_target_is_told(bad: Timing, told: str) -> None:
    others = [each for each in GOOD if each.tenant != bad.tenant]
    missed = [verdict.name for verdict in withdrawals(*others, bad).verdicts() if not verdict.held]
    assert len(missed) == 1
    assert missed[0].startswith(told)


@pytest.mark.parametrize(
    "bad", [replace(BYSTANDER, failed={"key_revoked": 1}), replace(BYSTANDER, lost=1)], ids=["failed", "lost"]
)
def test_others_must_not_notice(bad: Bystander) -> None:
    assert report.failed(withdrawals(*GOOD, bystander=bad))


@pytest.mark.parametrize(
    "bad",
    [
        weathered(broken=0),
        weathered(states=["active", "hold", "active"]),
        weathered(receipts=1),
        weathered(failed={"key_unreachable": 1}),
        weathered(recovered_after={"worker 1": None}),
        weathered(recovered_after={"worker 1": 35.5}),
        weathered(active_after=None),
        weathered(lost=1),
        weathered(BRIEF, failed={}),
        weathered(BRIEF, failed={"internal": 1}),
        weathered(BRIEF, without_retry_after=1),
    ],
    ids=repr,
)
def test_each_missed_target_of_the_outage_is_told(bad: Weathered) -> None:
    missed = [verdict for verdict in outage(bad, weathered()).verdicts() if not verdict.held]
    assert len(missed) == 1


@pytest.mark.parametrize("results", [withdrawals(*GOOD), outage(weathered(), weathered(BRIEF))])
def test_results_are_read_back_as_written_and_shown(
    results: report.Results, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["--markdown", "--results", str(tmp_path), *(["--outage"] if results.kind == report.OUTAGE else [])]
    assert main(arguments) == 1
    capsys.readouterr()
    path = report.write(results, tmp_path)
    assert path.name == f"{results.kind}-2026-01-01T000000+0000.json"
    found = report.read(tmp_path, results.kind)
    assert report.markdown(found) == report.markdown(results)
    assert main(arguments) == 0
    printed = capsys.readouterr().out
    assert printed == report.markdown(results)
    assert "FAIL" not in printed
    assert printed.count("- PASS ") == len(results.verdicts())
    assert "FAIL" not in report.text(results)


def test_a_table_has_numbers_to_the_right() -> None:
    table = Table("Numbers", ["what", "s"], [["a", "1.0"], ["bc", "-"]])
    assert table.text().splitlines() == ["Numbers", "what    s", "a     1.0", "bc      -"]
    assert table.markdown().splitlines()[2:] == ["| what | s |", "| --- | ---: |", "| a | 1.0 |", "| bc | - |"]
