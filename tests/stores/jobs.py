"""What `test_sqlite_processes` has other processes do: ``python -m tests.stores.jobs JOB PATH ...``.

Most jobs print ``ready`` and wait until their standard input closes; each prints last what became of it.
"""

from __future__ import annotations

import os
import resource
import sys
import threading
from contextlib import closing
from pathlib import Path

from core.domain.branch_keys import ACTIVE
from core.errors import Conflict, KeysteadError
from core.stores.sqlite import SqliteAuditLog, SqliteDatabase, SqliteKeyStore, SqliteTenantStore
from tests.samples import new_version, next_entry

ROUNDS = 20


def begin() -> None:
    """Tell that this process is ready, and wait for the others."""
    print("ready", flush=True)
    sys.stdin.read()


def open_and_write(path: Path, number: str) -> None:
    """Open the database for the first time and write."""
    begin()
    SqliteTenantStore(SqliteDatabase(path)).write(f"t-{number}", "note", {}, expected_revision=0)


def rotate_once(path: Path, sequence: str) -> None:
    """Rotate a branch key, conditional on what was read before the others began."""
    store = SqliteKeyStore(SqliteDatabase(path))
    active = store.read("bk", ACTIVE)
    assert active is not None
    begin()
    store.rotate(*new_version("bk", int(sequence)), expected_active_enc=active.row.enc, fence=1)


def rotate_until_killed(path: Path) -> None:
    """Rotate again and again, printing the number of each version once it is stored."""
    store = SqliteKeyStore(SqliteDatabase(path))
    print("ready", flush=True)
    while True:
        active = store.read("bk", ACTIVE)
        assert active is not None
        assert active.mac is not None
        sequence = active.mac.sequence + 1
        store.rotate(*new_version("bk", sequence), expected_active_enc=active.row.enc, fence=1)
        print(sequence, flush=True)


def append(path: Path, count: str) -> None:
    """Append to a chain that others append to."""
    log = SqliteAuditLog(SqliteDatabase(path))
    begin()
    done = 0
    while done < int(count):
        try:
            log.append(next_entry(log.head("acme"), "acme"))
            done += 1
        except Conflict:
            continue


def uses(path: Path) -> None:
    """Open the database and do everything with it that the stores can do."""
    with closing(SqliteDatabase(path, busy_timeout=0.1)) as database:
        keys, tenants, audit = SqliteKeyStore(database), SqliteTenantStore(database), SqliteAuditLog(database)
        for number in range(20):
            keys.read(f"bk-{number}", ACTIVE)
            keys.list_versions(f"bk-{number}")
            keys.read_fence(f"bk-{number}")
            tenants.read(f"t-{number}", "note")
            audit.read(f"t-{number}")
            audit.append(next_entry(audit.head(f"t-{number}"), f"t-{number}"))
        tenants.list_tenants()
        keys.create(*new_version("new", 1), 1)
        tenants.write("new", "note", {}, expected_revision=0)


def use(path: Path, user: str) -> None:
    """Do everything, as a certain user."""
    if int(user) != os.geteuid():
        os.setuid(int(user))
    uses(path)


def write_past_a_limit(path: Path) -> None:
    """Write more than the system lets this process write to one file, then go on without the limit."""
    store = SqliteTenantStore(SqliteDatabase(path))
    store.write("acme", "note", {}, expected_revision=0)
    _, most = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (path.stat().st_size, most))
    try:
        store.write("acme", "note", {"x": "y" * 1_000_000}, expected_revision=1)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (most, most))
        found = store.read("acme", "note")
        assert found is not None
        assert found.revision == 1
        store.write("acme", "note", {"after": True}, expected_revision=1)


def fork_and_write_both(path: Path) -> None:
    """Fork with a connection open; both write at the same time."""
    store = SqliteTenantStore(SqliteDatabase(path))
    store.read("x", "note")
    begin()
    child = os.fork()
    _count(store, "parent" if child else "child")
    _end(child)


def fork_while_threads_write(path: Path) -> None:
    """Fork while other threads are in the middle of transactions."""
    store = SqliteTenantStore(SqliteDatabase(path))
    begin()
    stop = threading.Event()

    def churn(number: int) -> None:
        revision = 0
        while not stop.is_set():
            store.write(f"churn-{number}", "note", {}, expected_revision=revision)
            revision += 1

    threads = [threading.Thread(target=churn, args=(number,)) for number in range(3)]
    for thread in threads:
        thread.start()
    while store.read("churn-2", "note") is None:
        pass
    child = os.fork()
    _count(store, "parent" if child else "child")
    if child:
        stop.set()
        for thread in threads:
            thread.join()
    _end(child)


def fork_then_parent_closes(path: Path) -> None:
    """The parent closes its last connection, as it would delete the log, while the child still writes."""
    database = SqliteDatabase(path)
    store = SqliteTenantStore(database)
    _count(store, "parent")
    begin()
    reading, writing = os.pipe()
    child = os.fork()
    if child:
        database.close()
        os.write(writing, b"x")
    else:
        _count(store, "child", until=ROUNDS // 2)
        os.read(reading, 1)
        _count(store, "child")
    _end(child)


def _count(store: SqliteTenantStore, who: str, until: int = ROUNDS) -> None:
    document = store.read(who, "note")
    for revision in range(document.revision if document else 0, until):
        store.write(who, "note", {}, expected_revision=revision)


def _end(child: int) -> None:
    if not child:
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


JOBS = {
    job.__name__: job
    for job in (
        open_and_write,
        rotate_once,
        rotate_until_killed,
        append,
        use,
        write_past_a_limit,
        fork_and_write_both,
        fork_while_threads_write,
        fork_then_parent_closes,
    )
}

if __name__ == "__main__":
    try:
        JOBS[sys.argv[1]](Path(sys.argv[2]), *sys.argv[3:])
        print("ok")
    except KeysteadError as error:
        print(type(error).__name__)
