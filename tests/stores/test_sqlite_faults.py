"""Whatever befalls the embedded database, callers meet `StoreUnavailable` or `StoreCorrupt`, no error of `sqlite3`."""

from __future__ import annotations

import os
import random
import sqlite3
import subprocess
import sys
import tempfile
import textwrap
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from core.domain.audit import EMPTY_HEAD
from core.domain.branch_keys import ACTIVE
from core.errors import KeysteadError, StoreCorrupt, StoreUnavailable
from core.stores.sqlite import SqliteAuditLog, SqliteDatabase, SqliteKeyStore, SqliteTenantStore, schema
from core.stores.sqlite.connection import use_write_ahead_log
from core.stores.sqlite.faults import CORRUPT, mapped_faults, primary_code, translated
from tests.samples import new_version, next_entry
from tests.stores.jobs import uses

PAGE = 4096
ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "data" / "keystead.db"


def filled(path: Path) -> None:
    """Make a database with something in every table, closed again."""
    with closing(SqliteDatabase(path)) as database:
        for number in range(20):
            SqliteKeyStore(database).create(*new_version(f"bk-{number}", 1), 1)
            SqliteTenantStore(database).write(f"t-{number}", "note", {"x": "y" * 500}, expected_revision=0)
            SqliteAuditLog(database).append(next_entry(EMPTY_HEAD, f"t-{number}"))


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Have another process hold the write lock."""
    script = """
        import sqlite3, sys
        connection = sqlite3.connect(sys.argv[1], isolation_level=None)
        connection.execute("BEGIN IMMEDIATE")
        print("locked", flush=True)
        sys.stdin.read()
    """
    command = [sys.executable, "-c", textwrap.dedent(script), str(path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other:
        assert other.stdin is not None
        assert other.stdout is not None
        assert other.stdout.readline() == b"locked\n"
        try:
            yield
        finally:
            other.stdin.close()
            other.wait()


def told_by(job: str, *arguments: object) -> str:
    """What a process that runs one of the jobs in `tests.stores.jobs` printed last."""
    command = [sys.executable, "-m", "tests.stores.jobs", job, *map(str, arguments)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=True)
    return done.stdout.split()[-1]


# Damage


@pytest.mark.parametrize("content", [b"not a database" * 400, b"\0" * PAGE, b"SQLite format 3\0" + b"\xff" * PAGE])
def test_a_file_that_is_no_database(path: Path, content: bytes) -> None:
    filled(path)
    path.write_bytes(content)
    with pytest.raises(StoreCorrupt) as raised:
        uses(path)
    assert raised.value.hint
    assert path.read_bytes() == content


def test_a_page_overwritten_while_the_database_is_open(path: Path) -> None:
    filled(path)
    with closing(SqliteDatabase(path)) as database:
        with path.open("r+b") as file:
            for page in range(1, path.stat().st_size // PAGE):
                file.seek(page * PAGE)
                file.write(b"\xa5" * PAGE)
        with pytest.raises(StoreCorrupt):
            SqliteTenantStore(database).read("t-1", "note")
        with pytest.raises(StoreCorrupt):
            SqliteKeyStore(database).list_versions("bk-1")


def test_a_file_cut_short(path: Path) -> None:
    filled(path)
    os.truncate(path, 2 * PAGE)
    with pytest.raises((StoreCorrupt, StoreUnavailable)):
        uses(path)


@pytest.mark.parametrize("seed", range(60))
def test_random_damage_never_lets_another_error_out(path: Path, seed: int) -> None:
    filled(path)
    chance = random.Random(seed)
    data = bytearray(path.read_bytes())
    for _ in range(chance.choice([1, 10, 200])):
        start = chance.randrange(len(data))
        length = chance.choice([1, 4, 64, 1000])
        data[start : start + length] = chance.randbytes(length)[: len(data) - start]
    path.write_bytes(data)
    try:
        uses(path)
    except KeysteadError as error:
        assert isinstance(error, StoreCorrupt | StoreUnavailable)  # noqa: PT017 - passing is allowed as well


def test_a_missing_table(path: Path) -> None:
    filled(path)
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("DROP TABLE audit")
    with closing(SqliteDatabase(path)) as database, pytest.raises(StoreCorrupt):
        SqliteAuditLog(database).head("acme")


@pytest.mark.parametrize("column", ["attributes", "enc", "body", "entry"])
def test_values_of_another_type(path: Path, column: str) -> None:
    filled(path)
    table = {"body": "tenants", "entry": "audit"}.get(column, "branch_keys")
    with closing(SqliteDatabase(path)) as database:
        with closing(sqlite3.connect(path, isolation_level=None)) as connection:
            value = "'text'" if column == "enc" else "x'80ff'"
            connection.execute(f"UPDATE {table} SET {column} = {value}")
        for read in (
            lambda: SqliteKeyStore(database).read("bk-1", ACTIVE),
            lambda: SqliteTenantStore(database).read("t-1", "note"),
            lambda: SqliteAuditLog(database).read("t-1"),
        ):
            try:
                read()
            except StoreCorrupt:
                break
        else:
            pytest.fail("nothing was refused")


def test_text_that_is_not_utf_8(path: Path) -> None:
    filled(path)
    with closing(SqliteDatabase(path)) as database:
        with closing(sqlite3.connect(path, isolation_level=None)) as connection:
            connection.execute("UPDATE tenants SET body = CAST(x'7b80ff7d' AS TEXT)")
        with pytest.raises(StoreCorrupt):
            SqliteTenantStore(database).read("t-1", "note")


# Schema


def test_a_database_of_something_else(path: Path) -> None:
    path.parent.mkdir(mode=0o700)
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE bookmarks (url TEXT)")
    path.chmod(0o600)
    with pytest.raises(StoreCorrupt, match="not a store of Keystead"):
        SqliteDatabase(path)
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("SELECT name FROM sqlite_master").fetchall() == [("bookmarks",)]


def test_a_newer_schema(path: Path) -> None:
    filled(path)
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("UPDATE schema_version SET version = ?", (schema.VERSION + 1,))
    with pytest.raises(StoreUnavailable, match="newer version") as raised:
        SqliteDatabase(path)
    assert raised.value.hint


@pytest.mark.parametrize(
    "statement",
    [
        "DELETE FROM schema_version",
        "UPDATE schema_version SET version = 'x'",
        "UPDATE schema_version SET version = 0",
        "INSERT INTO schema_version VALUES (1)",
    ],
)
def test_a_schema_version_that_tells_nothing(path: Path, statement: str) -> None:
    filled(path)
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute(statement)
    with pytest.raises(StoreCorrupt):
        SqliteDatabase(path)


def test_a_schema_that_cannot_be_finished_is_not_begun(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(schema, "MIGRATIONS", ((*schema.MIGRATIONS[0], "CREATE NONSENSE"),))
    with pytest.raises(StoreCorrupt):
        SqliteDatabase(path)
    monkeypatch.undo()
    SqliteDatabase(path).close()
    uses(path)


def test_a_migration_runs_once_on_what_is_there(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    filled(path)
    monkeypatch.setattr(schema, "MIGRATIONS", (*schema.MIGRATIONS, ("CREATE TABLE later (x TEXT)",)))
    monkeypatch.setattr(schema, "VERSION", 2)
    for _ in range(2):
        with closing(SqliteDatabase(path)) as database:
            assert SqliteTenantStore(database).read("t-1", "note") is not None
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("SELECT version FROM schema_version").fetchall() == [(2,)]
        assert connection.execute("SELECT * FROM later").fetchall() == []


# Permissions


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o666])
def test_a_file_open_to_others(path: Path, mode: int) -> None:
    filled(path)
    path.chmod(mode)
    with pytest.raises(StoreUnavailable, match="open to other users") as raised:
        SqliteDatabase(path)
    assert raised.value.hint == f"chmod 600 {path}"


@pytest.mark.parametrize("mode", [0o750, 0o701, 0o777])
def test_a_directory_open_to_others(path: Path, mode: int) -> None:
    path.parent.mkdir(mode=0o700)
    path.parent.chmod(mode)
    with pytest.raises(StoreUnavailable, match="open to other users") as raised:
        SqliteDatabase(path)
    assert raised.value.hint == f"chmod 700 {path.parent}"
    assert not path.exists()


def test_another_owner(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    filled(path)
    monkeypatch.setattr(os, "geteuid", lambda: path.stat().st_uid + 1)
    with pytest.raises(StoreUnavailable, match="another user") as raised:
        SqliteDatabase(path)
    assert raised.value.hint


def test_a_directory_in_the_files_place(path: Path) -> None:
    path.mkdir(parents=True, mode=0o700)
    path.parent.chmod(0o700)
    with pytest.raises(StoreUnavailable):
        SqliteDatabase(path)


def test_a_file_in_the_directorys_place(path: Path) -> None:
    path.parent.write_text("")
    with pytest.raises(StoreUnavailable):
        SqliteDatabase(path)


@pytest.mark.slow
@pytest.mark.parametrize(("directory_mode", "file_mode"), [(0o500, 0o600), (0o700, 0o400), (0o700, 0o000)])
def test_what_may_not_be_written_or_read(directory_mode: int, file_mode: int) -> None:
    with tempfile.TemporaryDirectory() as temporary:
        path = Path(temporary) / "data" / "keystead.db"
        filled(path)
        path.chmod(file_mode)
        path.parent.chmod(directory_mode)
        user = os.geteuid()
        if not user:  # root may write everywhere: have somebody else try, who may get there
            user = 65534
            for owned in (path, path.parent):
                os.chown(owned, user, user)
            Path(temporary).chmod(0o711)
        told = told_by("use", path, user)
        path.parent.chmod(0o700)
    assert told == "StoreUnavailable"


# Locks, disks, and files that go away


@pytest.mark.slow
def test_locked_by_another_process(path: Path) -> None:
    filled(path)
    with closing(SqliteDatabase(path, busy_timeout=0.1)) as database:
        store = SqliteTenantStore(database)
        with locked(path):
            with pytest.raises(StoreUnavailable) as raised:
                store.write("acme", "note", {}, expected_revision=0)
            assert raised.value.retryable
            assert raised.value.retry_after
            assert store.read("t-1", "note") is not None, "readers do not wait for writers"
            with closing(SqliteDatabase(path, busy_timeout=0.1)):
                pass
        store.write("acme", "note", {}, expected_revision=0)


@pytest.mark.slow
def test_a_new_database_locked_by_another_process(path: Path) -> None:
    path.parent.mkdir(mode=0o700)
    path.touch(mode=0o600)
    with locked(path), pytest.raises(StoreUnavailable):
        SqliteDatabase(path, busy_timeout=0.1)
    SqliteDatabase(path).close()


def test_a_full_disk(path: Path) -> None:
    filled(path)
    with closing(SqliteDatabase(path)) as database:
        store = SqliteTenantStore(database)
        with database.reading() as connection:
            (pages,) = connection.execute("PRAGMA page_count").fetchone()
            connection.execute(f"PRAGMA max_page_count = {pages}").fetchone()
        with pytest.raises(StoreUnavailable):
            store.write("acme", "note", {"x": "y" * 100_000}, expected_revision=0)
        assert store.read("acme", "note") is None
        with database.reading() as connection:
            connection.execute("PRAGMA max_page_count = 1000000").fetchone()
        store.write("acme", "note", {"x": "y" * 100_000}, expected_revision=0)


@pytest.mark.slow
def test_writes_that_the_system_refuses(path: Path) -> None:
    """A limit on file sizes makes every write past it an I/O error."""
    filled(path)
    assert told_by("write_past_a_limit", path) == "StoreUnavailable"
    with closing(SqliteDatabase(path)) as database:
        found = SqliteTenantStore(database).read("acme", "note")
        assert found is not None
        assert found.body == {"after": True}


def test_a_connection_that_breaks_in_a_transaction_is_opened_anew(path: Path) -> None:
    with closing(SqliteDatabase(path)) as database:
        store = SqliteTenantStore(database)

        def break_off() -> None:
            with database.writing() as connection:
                connection.execute("INSERT INTO tenants VALUES ('acme', 'note', 1, '{}')")
                connection.close()

        with pytest.raises(StoreUnavailable):
            break_off()
        assert store.read("acme", "note") is None
        store.write("acme", "note", {}, expected_revision=0)


def test_a_database_that_cannot_log_ahead() -> None:
    with closing(sqlite3.connect(":memory:")) as connection, pytest.raises(StoreUnavailable, match="write-ahead"):
        use_write_ahead_log(connection, 0.1)


def test_a_file_that_was_deleted_is_not_written_to(path: Path) -> None:
    filled(path)
    with closing(SqliteDatabase(path)) as database:
        path.unlink()
        with pytest.raises(StoreUnavailable):
            SqliteTenantStore(database).write("acme", "note", {}, expected_revision=0)
        with pytest.raises(StoreUnavailable):
            SqliteTenantStore(database).read("t-1", "note")
        assert not path.exists()


def test_a_file_that_was_replaced_is_not_written_to(path: Path) -> None:
    filled(path)
    with closing(SqliteDatabase(path)) as database:
        path.rename(path.with_name("kept"))
        filled(path)
        with pytest.raises(StoreUnavailable, match="replaced") as raised:
            SqliteTenantStore(database).write("acme", "note", {}, expected_revision=0)
        assert raised.value.hint


# The table of codes


def test_every_class_of_sqlite_is_mapped() -> None:
    def subclasses(cls: type[sqlite3.Error]) -> Iterator[type[sqlite3.Error]]:
        for child in cls.__subclasses__():
            yield child
            yield from subclasses(child)

    found = list(subclasses(sqlite3.Error))
    assert len(found) >= 7
    for cls in found:
        with pytest.raises((StoreUnavailable, StoreCorrupt)), mapped_faults():
            raise cls("message with a 'secret'")


def test_every_code_of_sqlite_is_mapped() -> None:
    codes = {
        getattr(sqlite3, name): name
        for name in dir(sqlite3)
        if name.startswith("SQLITE_") and isinstance(getattr(sqlite3, name), int)
    }
    assert sqlite3.SQLITE_IOERR_READ in codes
    for code, name in codes.items():
        error = sqlite3.DatabaseError("a secret")
        error.sqlite_errorcode, error.sqlite_errorname = code, name
        assert primary_code(error) == code & 0xFF
        ours = translated(error)
        assert type(ours) is (StoreCorrupt if code & 0xFF in CORRUPT else StoreUnavailable)
        assert "secret" not in f"{ours.detail} {ours.hint}"


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        (sqlite3.SQLITE_BUSY, StoreUnavailable),
        (sqlite3.SQLITE_BUSY_RECOVERY, StoreUnavailable),
        (sqlite3.SQLITE_LOCKED, StoreUnavailable),
        (sqlite3.SQLITE_FULL, StoreUnavailable),
        (sqlite3.SQLITE_CANTOPEN, StoreUnavailable),
        (sqlite3.SQLITE_READONLY, StoreUnavailable),
        (sqlite3.SQLITE_IOERR_FSYNC, StoreUnavailable),
        (sqlite3.SQLITE_NOMEM, StoreUnavailable),
        (sqlite3.SQLITE_CORRUPT, StoreCorrupt),
        (sqlite3.SQLITE_CORRUPT_INDEX, StoreCorrupt),
        (sqlite3.SQLITE_NOTADB, StoreCorrupt),
        (sqlite3.SQLITE_CONSTRAINT_PRIMARYKEY, StoreCorrupt),
    ],
)
def test_the_codes_that_matter(code: int, expected: type[KeysteadError]) -> None:
    error = sqlite3.OperationalError("text")
    error.sqlite_errorcode = code
    assert type(translated(error)) is expected
