"""The embedded stores keep every port's contract, and what they keep outlives the process."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from core.domain.audit import EMPTY_HEAD, AuditHead
from core.domain.branch_keys import ACTIVE, StoredRow
from core.domain.tenants import RECORD
from core.errors import StoreCorrupt, StoreUnavailable
from core.stores.sqlite import SqliteAuditLog, SqliteDatabase, SqliteKeyStore, SqliteTenantStore
from tests.conformance.audit_log import AuditLogContract
from tests.conformance.key_store import MAC_OF, KeyStoreContract
from tests.conformance.racing import outcomes, race
from tests.conformance.tenant_store import TenantStoreContract
from tests.samples import new_version, next_entry, rewrapped, tenant_record


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "data" / "keystead.db"


@pytest.fixture
def database(path: Path) -> Iterator[SqliteDatabase]:
    database = SqliteDatabase(path)
    yield database
    database.close()


def execute(path: Path, statement: str, *values: object) -> list[tuple[object, ...]]:
    """Run one statement on the database, as its operator could."""
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        return connection.execute(statement, values).fetchall()


class TestKeyStore(KeyStoreContract):
    @pytest.fixture(autouse=True)
    def _set_up(self, database: SqliteDatabase, path: Path) -> None:
        self.path, self.database, self.store = path, database, SqliteKeyStore(database)

    def plant(self, branch_key_id: str, item_type: str, attributes: str, enc: bytes | None) -> None:
        execute(
            self.path,
            "INSERT OR REPLACE INTO branch_keys VALUES (?, ?, ?, ?)",
            branch_key_id,
            item_type,
            attributes,
            enc,
        )

    def remove(self, branch_key_id: str, item_type: str) -> None:
        execute(self.path, "DELETE FROM branch_keys WHERE branch_key_id = ? AND type = ?", branch_key_id, item_type)

    @pytest.mark.parametrize("item", ["version", "MAC of the version", "ACTIVE", "MAC of ACTIVE", "fence"])
    def test_a_write_that_fails_at_any_item_leaves_nothing(self, item: str) -> None:
        """A trigger makes the store fail at each item in turn."""
        branch_key_id, _, active = self.created()
        version, new_active = new_version(branch_key_id, 2)
        fresh_version, fresh_active = new_version("fresh", 1)
        wrapping = rewrapped(active)

        def type_of(version: StoredRow) -> str:
            return {
                "version": version.row.type,
                "MAC of the version": MAC_OF + version.row.type,
                "ACTIVE": ACTIVE,
                "MAC of ACTIVE": MAC_OF + ACTIVE,
                "fence": "keystead:fence",
            }[item]

        writes = [
            ("fresh", type_of(fresh_version), lambda: self.store.create(fresh_version, fresh_active, 1)),
            (
                branch_key_id,
                type_of(version),
                lambda: self.store.rotate(version, new_active, expected_active_enc=active.row.enc, fence=1),
            ),
            (
                branch_key_id,
                type_of(version),
                lambda: self.store.replace_wrapping(wrapping, expected_enc=active.row.enc, fence=1),
            ),
            (branch_key_id, type_of(version), lambda: self.store.move_fence(branch_key_id, expected=1, new=2)),
        ]
        touched = {
            "version": (True, True, False, False),
            "MAC of the version": (True, True, False, False),
            "ACTIVE": (True, True, True, False),
            "MAC of ACTIVE": (True, True, True, False),
            "fence": (True, False, False, True),
        }[item]
        for (changed_id, item_type, write), is_touched in zip(writes, touched, strict=True):
            if is_touched:
                with self.database.reading() as connection:
                    for verb in ("INSERT", "UPDATE"):
                        connection.execute(
                            f"CREATE TEMP TRIGGER fail_{verb} BEFORE {verb} ON main.branch_keys"
                            f" WHEN NEW.type = '{item_type}' BEGIN SELECT RAISE(FAIL, 'made to fail'); END"
                        )
                self.refuses(StoreCorrupt, changed_id, write)
                assert execute(self.path, "SELECT count(*) FROM branch_keys WHERE branch_key_id = 'fresh'") == [(0,)]
                with self.database.reading() as connection:
                    for verb in ("INSERT", "UPDATE"):
                        connection.execute(f"DROP TRIGGER temp.fail_{verb}")


class TestTenantStore(TenantStoreContract):
    @pytest.fixture(autouse=True)
    def _set_up(self, database: SqliteDatabase, path: Path) -> None:
        self.path, self.store = path, SqliteTenantStore(database)

    def plant(self, tenant_id: str, name: str, revision: int, text: str) -> None:
        execute(self.path, "INSERT OR REPLACE INTO tenants VALUES (?, ?, ?, ?)", tenant_id, name, revision, text)


class TestAuditLog(AuditLogContract):
    @pytest.fixture(autouse=True)
    def _set_up(self, database: SqliteDatabase, path: Path) -> None:
        self.path, self.database, self.log = path, database, SqliteAuditLog(database)

    def plant(self, chain: str, sequence: int, text: str) -> None:
        execute(self.path, "INSERT OR REPLACE INTO audit VALUES (?, ?, ?)", chain, sequence, text)

    def plant_head(self, chain: str, text: str) -> None:
        self.plant(chain, 0, text)

    @pytest.mark.parametrize("sequence", [0, 3], ids=["head", "entry"])
    def test_entry_and_head_are_written_together(self, sequence: int) -> None:
        chain, _ = self.written(2)
        with self.database.reading() as connection:
            for verb in ("INSERT", "UPDATE"):
                connection.execute(
                    f"CREATE TEMP TRIGGER fail_{verb} BEFORE {verb} ON main.audit"
                    f" WHEN NEW.sequence = {sequence} BEGIN SELECT RAISE(FAIL, 'made to fail'); END"
                )
        self.refuses(StoreCorrupt, next_entry(self.log.head(chain), chain))

    def test_an_entry_planted_ahead_of_the_head_is_not_overwritten(self) -> None:
        chain, _ = self.written(1)
        self.plant(chain, 2, "{}")
        with pytest.raises(StoreCorrupt):
            self.log.append(next_entry(self.log.head(chain), chain))
        assert execute(self.path, "SELECT entry FROM audit WHERE chain = ? AND sequence = 2", chain) == [("{}",)]


# The database


def test_what_is_stored_is_there_after_closing_and_opening_again(path: Path) -> None:
    version, active = new_version("bk", 1)
    entry = next_entry(EMPTY_HEAD, "acme")
    tenant = tenant_record("acme")
    first = SqliteDatabase(path)
    SqliteKeyStore(first).create(version, active, 1)
    SqliteTenantStore(first).write("acme", RECORD, tenant.to_body(), expected_revision=0)
    SqliteAuditLog(first).append(entry)
    first.close()
    with closing(SqliteDatabase(path)) as second:
        assert SqliteKeyStore(second).read("bk", ACTIVE) == active
        found = SqliteTenantStore(second).read("acme", RECORD)
        assert found is not None
        assert (found.revision, found.body) == (1, tenant.to_body())
        assert SqliteAuditLog(second).head("acme") == AuditHead(1, entry.hash)


def test_durability_and_deletion_are_as_documented(database: SqliteDatabase) -> None:
    expected = {
        "journal_mode": "wal",
        "synchronous": 2,
        "secure_delete": 1,
        "foreign_keys": 1,
        "trusted_schema": 0,
        "fullfsync": 1,
        "busy_timeout": 5000,
    }

    def pragmas() -> dict[str, object]:
        with database.reading() as connection:
            return {name: connection.execute(f"PRAGMA {name}").fetchone()[0] for name in expected}

    assert pragmas() == expected
    assert race([pragmas, pragmas]) == [expected, expected]


def test_the_files_are_private(path: Path) -> None:
    with closing(SqliteDatabase(path)) as database:
        SqliteTenantStore(database).write("acme", "note", {}, expected_revision=0)
        files = sorted(path.parent.iterdir())
        assert [file.name for file in files] == ["keystead.db", "keystead.db-shm", "keystead.db-wal"]
        assert {file.stat().st_mode & 0o777 for file in files} == {0o600}
        assert path.parent.stat().st_mode & 0o777 == 0o700


@pytest.mark.parametrize("name", ["a b", "a?mode=memory", "a#b", "a%20b", "żółć", "a'b;--", "-x"])
def test_any_file_name_will_do(tmp_path: Path, name: str) -> None:
    path = tmp_path / name / name
    with closing(SqliteDatabase(path)) as database:
        SqliteTenantStore(database).write("acme", "note", {}, expected_revision=0)
    assert [file.name for file in path.parent.iterdir()] == [name]
    assert execute(path, "SELECT tenant_id FROM tenants") == [("acme",)]


def test_repr_names_the_file_only(database: SqliteDatabase, path: Path) -> None:
    assert repr(database) == f"SqliteDatabase({str(path)!r})"


def test_each_thread_has_one_connection_of_its_own(database: SqliteDatabase) -> None:
    def seen() -> set[int]:
        found = set()
        for _ in range(3):
            with database.reading() as connection:
                found.add(id(connection))
            with database.writing() as connection:
                found.add(id(connection))
        barrier.wait()
        return found

    barrier = threading.Barrier(4)
    results = race([seen] * 4)
    assert all(isinstance(result, set) and len(result) == 1 for result in results)
    assert len(set.union(*(result for result in results if isinstance(result, set)))) == 4


def test_a_thread_that_ends_takes_its_connection_along(database: SqliteDatabase) -> None:
    connections: list[sqlite3.Connection] = []

    def use() -> None:
        with database.reading() as connection:
            connections.append(connection)

    thread = threading.Thread(target=use)
    thread.start()
    thread.join()
    with pytest.raises(sqlite3.ProgrammingError, match="closed"):
        connections[0].execute("SELECT 1")


def test_nothing_is_served_after_closing(database: SqliteDatabase) -> None:
    store = SqliteTenantStore(database)
    store.write("acme", "note", {}, expected_revision=0)
    connections = []
    with database.reading() as connection:
        connections.append(connection)
    database.close()
    database.close()

    def use() -> None:
        store.read("acme", "note")

    assert outcomes([*race([use, use])]) == {"StoreUnavailable": 2}
    with pytest.raises(StoreUnavailable):
        store.write("acme", "note", {}, expected_revision=1)
    with pytest.raises(sqlite3.ProgrammingError, match="closed"):
        connections[0].execute("SELECT 1")


def test_closing_waits_for_a_write_under_way(path: Path) -> None:
    database = SqliteDatabase(path)
    inside, closed = threading.Event(), threading.Event()

    def write() -> None:
        with database.writing() as connection:
            inside.set()
            assert not closed.wait(0.2)
            connection.execute("INSERT INTO tenants VALUES ('acme', 'note', 1, '{}')")

    def close() -> None:
        inside.wait()
        database.close()
        closed.set()

    assert outcomes(race([write, close])) == {"ok": 2}
    assert execute(path, "SELECT revision FROM tenants") == [(1,)]


def test_what_raises_inside_a_transaction_rolls_it_back(database: SqliteDatabase) -> None:
    class Stop(BaseException):
        pass

    def stop() -> None:
        with database.writing() as connection:
            connection.execute("INSERT INTO tenants VALUES ('acme', 'note', 1, '{}')")
            raise Stop

    with pytest.raises(Stop):
        stop()
    store = SqliteTenantStore(database)
    assert store.read("acme", "note") is None
    store.write("acme", "note", {}, expected_revision=0)


def test_deleted_content_is_overwritten(path: Path) -> None:
    secret = b"wrapped-key-" * 20
    with closing(SqliteDatabase(path)) as database:
        version, active = new_version("bk", 1, enc=secret)
        store = SqliteKeyStore(database)
        store.create(version, active, 1)
        for row in (version, active):
            store.replace_wrapping(rewrapped(row), expected_enc=secret, fence=1)
    assert secret not in path.read_bytes()
    assert [file.name for file in path.parent.iterdir()] == ["keystead.db"]
