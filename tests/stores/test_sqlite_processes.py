"""Several processes on one database: first openings, races, kills, forks."""

from __future__ import annotations

import random
import signal
import subprocess
import sys
from collections import Counter
from contextlib import closing
from pathlib import Path
from time import sleep

import pytest

from core.domain.audit import EMPTY_HEAD, AuditHead
from core.domain.branch_keys import ACTIVE, row_mac
from core.stores.sqlite import SqliteAuditLog, SqliteDatabase, SqliteKeyStore, SqliteTenantStore
from tests.samples import MAC_KEY, TABLE, new_version

ROOT = Path(__file__).resolve().parents[2]
pytestmark = pytest.mark.slow


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "data" / "keystead.db"


def start(job: str, *arguments: object) -> subprocess.Popen[str]:
    """A process that runs one of the jobs in `tests.stores.jobs`."""
    command = [sys.executable, "-m", "tests.stores.jobs", job, *map(str, arguments)]
    return subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def outputs(processes: list[subprocess.Popen[str]]) -> list[str]:
    """Let processes that wait for their standard input to close go at once; what each printed last."""
    for process in processes:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
    for process in processes:
        assert process.stdin is not None
        process.stdin.close()
        process.stdin = None
    found = [process.communicate(timeout=60)[0].strip() for process in processes]
    assert [process.returncode for process in processes] == [0] * len(processes)
    return found


def test_many_processes_open_a_new_database_at_once(path: Path) -> None:
    for attempt in range(3):
        new = path.with_name(f"{attempt}") / "keystead.db"
        found = outputs([start("open_and_write", new, number) for number in range(6)])
        assert found == ["ok"] * 6
        with closing(SqliteDatabase(new)) as database:
            store = SqliteTenantStore(database)
            assert all(store.read(f"t-{number}", "note") for number in range(6))


def test_of_two_processes_that_rotate_one_wins(path: Path) -> None:
    version, active = new_version("bk", 1)
    with closing(SqliteDatabase(path)) as database:
        store = SqliteKeyStore(database)
        store.create(version, active, 1)
        for sequence in range(2, 5):
            found = outputs([start("rotate_once", path, sequence) for _ in range(2)])
            assert Counter(found) == {"ok": 1, "Conflict": 1}
            current = store.read("bk", ACTIVE)
            assert current is not None
            assert current.mac is not None
            assert current.mac.sequence == sequence
            assert len(store.list_versions("bk")) == sequence


def test_processes_that_write_one_chain(path: Path) -> None:
    SqliteDatabase(path).close()
    assert outputs([start("append", path, 15) for _ in range(3)]) == ["ok"] * 3
    with closing(SqliteDatabase(path)) as database:
        log, head = SqliteAuditLog(database), EMPTY_HEAD
        for entry in log.read("acme", limit=1000):
            assert (entry.sequence, entry.previous) == (head.sequence + 1, head.hash)
            head = AuditHead(entry.sequence, entry.hash)
        assert head == log.head("acme")
        assert head.sequence == 45


def test_killed_at_any_moment_the_database_holds_whole_writes_and_all_that_were_acknowledged(path: Path) -> None:
    version, active = new_version("bk", 1)
    with closing(SqliteDatabase(path)) as database:
        SqliteKeyStore(database).create(version, active, 1)
    chance = random.Random(20260131)
    acknowledged = 1
    for _ in range(8):
        process = start("rotate_until_killed", path)
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        sleep(chance.uniform(0.01, 0.2))
        process.send_signal(signal.SIGKILL)
        printed = process.communicate(timeout=60)[0].split()
        assert process.returncode == -signal.SIGKILL
        acknowledged = max([acknowledged, *map(int, printed)])
        with closing(SqliteDatabase(path)) as database:
            store = SqliteKeyStore(database)
            current = store.read("bk", ACTIVE)
            versions = store.list_versions("bk")
            assert current is not None
            for stored in [current, *versions]:
                assert stored.mac is not None
                assert stored.mac == row_mac(MAC_KEY, TABLE, stored.row, 1, stored.mac.sequence)
            assert [row.mac.sequence for row in versions if row.mac] == list(range(1, len(versions) + 1))
            assert current.row.version == versions[-1].row.type
            assert len(versions) >= acknowledged
            with database.reading() as connection:
                assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    assert acknowledged > 8, "the processes were killed before they did anything"


def test_killed_while_a_new_database_is_made(path: Path) -> None:
    chance = random.Random(20260201)
    for attempt in range(8):
        new = path.with_name(f"{attempt}") / "keystead.db"
        process = start("open_and_write", new, 0)
        assert process.stdout is not None
        assert process.stdin is not None
        assert process.stdout.readline() == "ready\n"
        process.stdin.close()
        process.stdin = None
        sleep(chance.uniform(0, 0.02))
        process.send_signal(signal.SIGKILL)
        process.communicate(timeout=60)
        assert outputs([start("open_and_write", new, number) for number in (1, 2)]) == ["ok", "ok"]


@pytest.mark.parametrize("job", ["fork_and_write_both", "fork_while_threads_write", "fork_then_parent_closes"])
def test_a_forked_process_and_its_parent_both_go_on(path: Path, job: str) -> None:
    [told] = outputs([start(job, path)])
    assert told == "ok"
    with closing(SqliteDatabase(path)) as database:
        store = SqliteTenantStore(database)
        found = {who: store.read(who, "note") for who in ("parent", "child")}
        assert {who: document.revision for who, document in found.items() if document} == {"parent": 20, "child": 20}
        with database.reading() as connection:
            assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
