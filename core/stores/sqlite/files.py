"""The database file: made 0600 in a 0700 directory, and refused where others could reach it."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from secrets import token_hex

from core.errors import StoreUnavailable


def prepare(path: Path) -> None:
    """Make the file (empty, which is a valid database) and its directory where they are missing, and check both.

    Args:
        path: Absolute path of the database.

    Raises:
        StoreUnavailable: Others may reach the file or its directory, or it is not ours.
        OSError: The operating system refuses.
    """
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    _check(path.parent, stat.S_ISDIR, "700", "directory")
    if not path.exists():
        _create(path)
    _check(path, stat.S_ISREG, "600", "file")


def identity(path: Path) -> tuple[int, int]:
    """Tells one file from another that took its place.

    Raises:
        OSError: There is no such file, or it cannot be looked at.
    """
    found = path.stat()
    return found.st_dev, found.st_ino


def has_log(path: Path) -> bool:
    """Whether a write-ahead log stands beside the file that may hold something, or somebody has the file open.

    Raises:
        OSError: It cannot be looked at.
    """
    log, index = (path.with_name(path.name + suffix) for suffix in ("-wal", "-shm"))
    try:
        return log.stat().st_size > 0 or index.exists()
    except FileNotFoundError:
        return False


def state(path: Path) -> tuple[object, ...]:
    """Differs from the one before if the file was written to meanwhile, or replaced.

    Raises:
        OSError: There is no such file, or it cannot be looked at.
    """
    found = path.stat()
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, has_log(path)


def _create(path: Path) -> None:
    # Closing any descriptor of a file drops all POSIX locks the process has on it, SQLite's included
    # (https://www.sqlite.org/howtocorrupt.html, 2.2): so the descriptor is closed before the file gets its name.
    temporary = path.with_name(f".{path.name}.{token_hex(8)}.tmp")
    descriptor = os.open(temporary, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, 0o600)
    os.close(descriptor)
    try:
        with suppress(FileExistsError):
            os.link(temporary, path)
    finally:
        temporary.unlink()
    directory = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)


def _check(path: Path, has_kind: Callable[[int], bool], mode: str, word: str) -> None:
    found = path.stat()
    if not has_kind(found.st_mode):
        raise StoreUnavailable(f"the embedded database's {word} is not a {word}")
    if found.st_uid != os.geteuid():
        raise StoreUnavailable(
            f"the embedded database's {word} belongs to another user",
            hint=f"run as its owner, or: chown {os.geteuid()} {path}",
        )
    if found.st_mode & 0o077:
        raise StoreUnavailable(f"the embedded database's {word} is open to other users", hint=f"chmod {mode} {path}")
