"""The audit chains of a data directory, read without writing: nothing is made, mended or locked, on any disk.

What composes the service makes what is missing and wants a disk that can be written, which is right for serving and
wrong for an auditor: where the evidence is gone, that must show, and a copy on a read-only disk must do. So this has
its own way to the tables and files that verifying needs, and only the half of the ports that reads.
"""

from __future__ import annotations

import json
import os
import sqlite3
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any, NoReturn, cast
from urllib.parse import quote_from_bytes

from core.domain.audit import EMPTY_HEAD, AuditEntry, AuditHead
from core.domain.tenants import RECORD, SYSTEM
from core.errors import KeysteadError, StoreCorrupt, StoreUnavailable
from core.service.audit import AuditTrail, AuditVerdict

STORE, SIGNING, KEKS = "keystead.db", "signing", "keks"
KEY_FILE = "signing-keys.json"
SCHEMA = 1
"""Version of the tables that are read here."""
_MOST_KEYS = 64 * 1024
_TEXTS = ("chain", "time", "action", "subject", "outcome", "previous", "hash")
_ENTRY: Mapping[str, type] = {**dict.fromkeys(_TEXTS, str), "sequence": int, "details": dict}
# Others (busy, full, no such file, ...) say nothing about the content.
_CORRUPT = frozenset(
    {
        sqlite3.SQLITE_ERROR,  # a table or column is missing
        sqlite3.SQLITE_CORRUPT,
        sqlite3.SQLITE_MISMATCH,
        sqlite3.SQLITE_FORMAT,
        sqlite3.SQLITE_NOTADB,
    }
)


@dataclass(frozen=True, slots=True)
class AuditStore:
    """What verifying needs of a store.

    Attributes:
        trail: Verifies chains; it cannot record or sign.
        tables: Tells which tenants there are.
    """

    trail: AuditTrail
    tables: Tables

    def verify(self, chain: str, checkpoints: Sequence[str] = ()) -> AuditVerdict:
        """Check a chain; see `core.service.audit.AuditTrail.verify`.

        Raises:
            StoreUnavailable, StoreCorrupt: It cannot be read.
        """
        return self.trail.verify(chain, checkpoints=checkpoints)

    def tenants(self) -> list[str]:
        """Every tenant, deleted ones included: their chains stay.

        Raises:
            StoreUnavailable, StoreCorrupt: They cannot be read.
        """
        rows = self.tables.rows(
            "SELECT tenant_id FROM tenants WHERE name = ? AND tenant_id <> ? ORDER BY tenant_id", RECORD, SYSTEM
        )
        return [str(tenant_id) for (tenant_id,) in rows]


@contextmanager
def opened(directory: Path) -> Iterator[AuditStore]:
    """Open the store of a data directory.

    Args:
        directory: Holds a store and signing keys.

    Raises:
        StoreCorrupt: What is there is not the store of this version, or is damaged.
        StoreUnavailable: It cannot be read here and now, or changes while it is.
    """
    with Tables.opened(directory / STORE) as tables:
        reader = _Reader(tables, directory / SIGNING / KEY_FILE)
        # The ports ask for writing, too. None of it is reached by verifying, and none of it is here to be reached.
        trail = AuditTrail(cast("Any", reader), cast("Any", _Documents(tables)), cast("Any", reader), _no_clock)
        yield AuditStore(trail, tables)


class Tables:
    """A database that is read and not written.

    Args:
        path: The file.
        connection: To it.
        still: Whether nothing may change it while it is read.
    """

    def __init__(self, path: Path, connection: sqlite3.Connection, *, still: bool) -> None:
        self._path = path
        self._connection = connection
        self._before = _state(path) if still else None

    @classmethod
    @contextmanager
    def opened(cls, path: Path) -> Iterator[Tables]:
        """Open a database.

        Raises:
            StoreCorrupt, StoreUnavailable: As `opened`.
        """
        # A store that nobody has open has no log beside it, and is read as a file that stands still: SQLite would make
        # log and index anew. Where there are both, the index is read and its locks are taken, and it stays as it is.
        still = not _log_of(path)
        mode = "immutable=1" if still else "mode=ro&readonly_shm=1"
        with _mapped():
            uri = f"file:{quote_from_bytes(os.fsencode(path.absolute()))}?mode=ro&{mode}"
            connection = sqlite3.connect(uri, uri=True, isolation_level=None)
        try:
            tables = cls(path, connection, still=still)
            tables._check_schema()
            yield tables
        finally:
            connection.close()

    def rows(self, statement: str, *values: object) -> list[tuple[Any, ...]]:
        """What a statement finds.

        Raises:
            StoreCorrupt, StoreUnavailable: As `opened`.
        """
        try:
            with _mapped():
                return self._connection.execute(statement, values).fetchall()
        finally:
            # Whatever was found, or found damaged, does not count if the file was written to meanwhile.
            if self._before is not None and _state(self._path) != self._before:
                raise StoreUnavailable("the store was written to while it was read", hint="run the command again")

    def _check_schema(self) -> None:
        names = {name for (name,) in self.rows("SELECT name FROM sqlite_master WHERE type = 'table'")}
        if not names:
            raise StoreCorrupt(f"the store {self._path} is empty", hint="restore it from a backup")
        if "schema_version" not in names:
            raise StoreCorrupt(f"{self._path} is not a store of Keystead")
        versions = self.rows("SELECT version FROM schema_version")
        if versions != [(SCHEMA,)]:
            raise StoreUnavailable(
                f"another version of Keystead made the store {self._path}", hint="verify it with that version"
            )


class _Reader:
    """The reading half of `core.ports.AuditLog` and `core.ports.Signer`."""

    def __init__(self, tables: Tables, keys: Path) -> None:
        self._tables = tables
        self._keys = keys

    def head(self, chain: str) -> AuditHead:
        """The end of a chain."""
        rows = self._tables.rows("SELECT entry FROM audit WHERE chain = ? AND sequence = 0", chain)
        if not rows:
            return EMPTY_HEAD
        found = _load(rows[0][0], "audit head")
        sequence, last = found.get("sequence"), found.get("hash")
        if type(sequence) is not int or sequence < 1 or not isinstance(last, str):
            raise StoreCorrupt("a stored audit head does not have the form of a head")
        return AuditHead(sequence, last)

    def read(self, chain: str, *, after: int = 0, limit: int = 100) -> list[AuditEntry]:
        """A page of entries, oldest first."""
        rows = self._tables.rows(
            "SELECT sequence, entry FROM audit WHERE chain = ? AND sequence > ? ORDER BY sequence LIMIT ?",
            chain,
            after,
            limit,
        )
        return [_entry(chain, sequence, text) for sequence, text in rows]

    def jwks(self) -> Mapping[str, Any]:
        """The public keys, retired ones included."""
        try:
            with self._keys.open("rb") as file:
                document = json.loads(file.read(_MOST_KEYS))
            public = [_jwk(key["x"]) for key in (document["active"], *document["retired"])]
        except (ValueError, KeyError, TypeError, RecursionError):
            raise StoreCorrupt("the signing key's file is damaged", hint=f"restore {KEY_FILE} from a backup") from None
        except OSError as error:
            raise StoreUnavailable(f"the signing key's file cannot be read: {error.strerror}") from None
        return {"keys": public}


@dataclass(frozen=True, slots=True)
class _Document:
    """As `core.ports.Document`."""

    tenant_id: str
    name: str
    revision: int
    body: Mapping[str, Any]


class _Documents:
    """The reading half of `core.ports.TenantStore`."""

    def __init__(self, tables: Tables) -> None:
        self._tables = tables

    def read(self, chain: str, name: str) -> _Document | None:
        """A document, or None."""
        rows = self._tables.rows("SELECT revision, body FROM tenants WHERE tenant_id = ? AND name = ?", chain, name)
        return _Document(chain, name, rows[0][0], _load(rows[0][1], "document")) if rows else None


def _entry(chain: str, sequence: object, text: object) -> AuditEntry:
    found = _load(text, "audit entry")
    if found.keys() == _ENTRY.keys() and all(type(found[name]) is kind for name, kind in _ENTRY.items()):
        entry = AuditEntry(**found)
        if (entry.chain, entry.sequence) == (chain, sequence):
            return entry
    raise StoreCorrupt("a stored audit entry does not have the form of an entry")


def _load(text: object, what: str) -> dict[str, Any]:
    try:
        found = json.loads(text, parse_constant=_refuse) if isinstance(text, str) else None
        json.dumps(found)  # what is nested so deeply that only reading it works cannot be hashed
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict):
        raise StoreCorrupt(f"a stored {what} cannot be read")
    return found


def _refuse(_name: str) -> NoReturn:
    raise ValueError("not JSON")


def _jwk(x: str) -> dict[str, str]:
    if len(urlsafe_b64decode(x + "=" * (-len(x) % 4))) != 32:
        raise ValueError("not an Ed25519 key")
    # The key's id is its thumbprint: RFC 7638, RFC 8037 appendix A.3.
    members = json.dumps({"crv": "Ed25519", "kty": "OKP", "x": x}, separators=(",", ":"), sort_keys=True)
    kid = urlsafe_b64encode(sha256(members.encode()).digest()).rstrip(b"=").decode()
    return {"kty": "OKP", "crv": "Ed25519", "x": x, "kid": kid, "alg": "EdDSA"}


def _log_of(path: Path) -> bool:
    """Whether a database has a write-ahead log beside it that may hold something, or somebody has it open."""
    log, index = (path.with_name(path.name + suffix) for suffix in ("-wal", "-shm"))
    try:
        return log.stat().st_size > 0 or index.exists()
    except FileNotFoundError:
        return False
    except OSError as error:
        raise StoreUnavailable(f"the store's log cannot be looked at: {error.strerror}") from None


def _state(path: Path) -> tuple[object, ...] | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, _log_of(path)


def _no_clock() -> NoReturn:
    raise AssertionError("verifying needs no clock")


@contextmanager
def _mapped() -> Iterator[None]:
    try:
        yield
    except (sqlite3.Error, UnicodeError) as error:
        raise _translated(error) from error


def _translated(error: Exception) -> KeysteadError:
    code, name = getattr(error, "sqlite_errorcode", None), getattr(error, "sqlite_errorname", type(error).__name__)
    # Python's own module reports text that is not UTF-8, with no result code.
    if code is None or code & 0xFF in _CORRUPT:
        return StoreCorrupt(f"the store is damaged ({name})", hint="restore it from a backup")
    return StoreUnavailable(
        f"the store cannot be read ({name})",
        hint="a store with a log (-wal) beside it needs its index (-shm), too: start the service on it once",
    )
