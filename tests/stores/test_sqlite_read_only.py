"""The embedded stores opened to be read only: reading works as ever, writing is refused, and no byte changes."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest

from core.domain.audit import EMPTY_HEAD
from core.domain.branch_keys import ACTIVE
from core.domain.tenants import RECORD
from core.errors import StoreCorrupt, StoreUnavailable
from core.stores.sqlite import SqliteAuditLog, SqliteDatabase, SqliteKeyStore, SqliteTenantStore
from tests.conformance.racing import outcomes, race
from tests.samples import new_version, next_entry, rewrapped, tenant_record

VERSION, KEY = new_version("bk", 1)
ENTRY = next_entry(EMPTY_HEAD, "acme")
TENANT = tenant_record("acme").to_body()


@pytest.fixture(params=["closed", "in use"])
def path(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Path]:
    """A store with something of everything in it, which a service has open or not."""
    path = tmp_path / "data" / "keystead.db"
    database = SqliteDatabase(path)
    SqliteKeyStore(database).create(VERSION, KEY, 1)
    SqliteTenantStore(database).write("acme", RECORD, TENANT, expected_revision=0)
    SqliteAuditLog(database).append(ENTRY)
    if request.param == "closed":
        database.close()
    assert path.with_name("keystead.db-wal").exists() == (request.param == "in use")
    yield path
    database.close()


@pytest.fixture
def database(path: Path) -> Iterator[SqliteDatabase]:
    with closing(SqliteDatabase(path, read_only=True)) as database:
        yield database


def content(directory: Path) -> dict[str, tuple[bytes, int]]:
    return {path.name: (path.read_bytes(), path.stat().st_mtime_ns) for path in directory.iterdir()}


def test_everything_can_be_read(path: Path, database: SqliteDatabase) -> None:
    keys, tenants, audit = SqliteKeyStore(database), SqliteTenantStore(database), SqliteAuditLog(database)
    assert keys.read("bk", ACTIVE) == KEY
    assert [row.row for row in keys.list_versions("bk")] == [VERSION.row]
    assert keys.read_fence("bk") == 1
    found = tenants.read("acme", RECORD)
    assert found is not None
    assert found.body == TENANT
    assert [document.tenant_id for document in tenants.list_tenants()] == ["acme"]
    assert tenants.tenant_ids() == ["acme"]
    assert (audit.head("acme").sequence, audit.read("acme")) == (1, [ENTRY])
    assert race([lambda: audit.read("acme")] * 4) == [[ENTRY]] * 4
    assert path.exists()


def test_every_write_is_refused_and_changes_nothing(path: Path, database: SqliteDatabase) -> None:
    keys, tenants, audit = SqliteKeyStore(database), SqliteTenantStore(database), SqliteAuditLog(database)
    second, active = new_version("bk", 2)
    other, other_active = new_version("other", 1)
    writes: list[Callable[[], object]] = [
        lambda: keys.create(other, other_active, 1),
        lambda: keys.rotate(second, active, expected_active_enc=KEY.row.enc, fence=1),
        lambda: keys.replace_wrapping(rewrapped(KEY), expected_enc=KEY.row.enc, fence=1),
        lambda: keys.move_fence("bk", expected=1, new=2),
        lambda: tenants.write("acme", "note", {}, expected_revision=0),
        lambda: audit.append(next_entry(audit.head("acme"), "acme")),
    ]
    before = {name: found for name, found in content(path.parent).items() if not name.endswith("-shm")}
    for write in writes:
        with pytest.raises(StoreUnavailable, match="read only"):
            write()
    after = {name: found for name, found in content(path.parent).items() if not name.endswith("-shm")}
    assert after == before
    with database.reading() as connection, pytest.raises(sqlite3.OperationalError):
        connection.execute("DELETE FROM audit")


@pytest.mark.parametrize("path", ["closed"], indirect=True)
def test_opening_reading_and_closing_leave_a_closed_store_as_it_is(path: Path) -> None:
    path.chmod(0o444)  # what others could read, or a copy whose modes were lost, is evidence all the same
    path.parent.chmod(0o555)
    before = content(path.parent)
    with closing(SqliteDatabase(path, read_only=True)) as database:
        assert SqliteAuditLog(database).read("acme") == [ENTRY]
    assert content(path.parent) == before
    path.parent.chmod(0o700)


@pytest.mark.parametrize("path", ["in use"], indirect=True)
def test_what_is_written_meanwhile_is_seen(path: Path, database: SqliteDatabase) -> None:
    log = SqliteAuditLog(database)
    with closing(SqliteDatabase(path)) as writer:
        SqliteAuditLog(writer).append(next_entry(log.head("acme"), "acme"))
    assert log.head("acme").sequence == 2


@pytest.mark.parametrize("path", ["closed"], indirect=True)
def test_a_store_that_does_not_stand_still_is_not_believed(path: Path, database: SqliteDatabase) -> None:
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("DELETE FROM audit")
    log = SqliteAuditLog(database)
    assert outcomes(race([lambda: log.head("acme"), lambda: log.read("acme")])) == {"StoreUnavailable": 2}


@pytest.mark.parametrize("path", ["closed"], indirect=True)
def test_nothing_is_made_or_mended(path: Path, tmp_path: Path) -> None:
    with pytest.raises(StoreUnavailable):
        SqliteDatabase(tmp_path / "none" / "keystead.db", read_only=True)
    assert not (tmp_path / "none").exists()
    path.write_bytes(b"")
    with pytest.raises(StoreCorrupt, match="empty"):
        SqliteDatabase(path, read_only=True)
    assert path.read_bytes() == b""


def test_an_older_or_newer_schema_is_refused(path: Path) -> None:
    for version in (2, 99):
        with closing(sqlite3.connect(path)) as connection, connection:
            connection.execute("UPDATE schema_version SET version = ?", (version,))
        with pytest.raises(StoreUnavailable, match="another version"):
            SqliteDatabase(path, read_only=True)


def test_tenants_whose_records_are_damaged_are_told_too(path: Path) -> None:
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("INSERT INTO tenants VALUES ('zeta', 'tenant', 1, 'damaged')")
    with closing(SqliteDatabase(path, read_only=True)) as database:
        assert SqliteTenantStore(database).tenant_ids() == ["acme", "zeta"]
