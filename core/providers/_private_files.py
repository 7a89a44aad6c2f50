"""Files that hold keys: 0600 in a 0700 directory of our own, written so that neither a race nor a crash tears them.

POSIX only. A directory is opened once per operation and its files are reached through that descriptor, so what was
checked is what is read, and a missing file is never mistaken for a missing directory.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from secrets import token_hex

from core.errors import Silence

_MOST = 64 * 1024
"""Bytes read of a file at most; a file of ours is far smaller."""


class Unsafe(OSError):
    """Others could reach a directory or file, or it is not ours.

    Attributes:
        remedy: A command that mends it.
    """

    def __init__(self, detail: str, remedy: str) -> None:
        super().__init__(detail)
        self.remedy = remedy


def make_directory(directory: Path) -> None:
    """Make a directory, 0700, if it is missing.

    Raises:
        OSError: The operating system refuses.
    """
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)


@contextmanager
def opened(directory: Path, *, exclusive: bool = False) -> Iterator[Directory]:
    """Open a directory for the operations of one block.

    Args:
        directory: Its path.
        exclusive: Wait until no other such block is under way on this machine, in any thread or process.

    Raises:
        Unsafe: It is open to others, or not ours.
        OSError: It is missing, not a directory, or the operating system refuses.
    """
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        _check(os.fstat(descriptor), stat.S_ISDIR, directory, "700")
        if exclusive:
            import fcntl

            fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield Directory(directory, descriptor)
    finally:
        os.close(descriptor)


class Directory:
    """An open directory.

    Args:
        path: For messages only.
        descriptor: What every operation goes through.
    """

    def __init__(self, path: Path, descriptor: int) -> None:
        self._path = path
        self._descriptor = descriptor

    def read(self, name: str) -> bytes:
        """The content of a file.

        Raises:
            FileNotFoundError: The directory has no such file.
            Unsafe: It is open to others, or not ours.
            OSError: It is not a plain file, too large, or the operating system refuses.
        """
        # O_NONBLOCK: opening a planted pipe must not wait for a writer.
        flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
        with os.fdopen(os.open(name, flags, dir_fd=self._descriptor), "rb") as file:
            _check(os.fstat(file.fileno()), stat.S_ISREG, self._path / name, "600")
            data = file.read(_MOST + 1)
        if len(data) > _MOST:
            raise OSError(f"{name} is larger than any file of this kind")
        return data

    def names(self) -> list[str]:
        """The names of its files, temporary ones included, in order.

        Raises:
            OSError: The operating system refuses.
        """
        with os.scandir(self._descriptor) as entries:
            return sorted(entry.name for entry in entries)

    def create(self, name: str, data: bytes) -> None:
        """Add a file; it appears whole or not at all, and stays after a crash.

        Raises:
            FileExistsError: There is one; it is left as it is.
            OSError: The operating system refuses.
        """
        temporary = self._write(name, data)
        try:
            os.link(temporary, name, src_dir_fd=self._descriptor, dst_dir_fd=self._descriptor)
        finally:
            self._remove(temporary)
        os.fsync(self._descriptor)

    def replace(self, name: str, data: bytes) -> None:
        """Put new content in a file's place; readers see the old or the new, whole.

        Raises:
            OSError: The operating system refuses.
        """
        temporary = self._write(name, data)
        try:
            os.rename(temporary, name, src_dir_fd=self._descriptor, dst_dir_fd=self._descriptor)
        except OSError:
            self._remove(temporary)
            raise
        os.fsync(self._descriptor)

    def sweep(self, name: str) -> None:
        """Remove what writers of a file left behind when they were killed. Only in an exclusive block.

        Raises:
            OSError: The operating system refuses.
        """
        for found in self.names():
            if found.startswith(_temporary_prefix(name)):
                self._remove(found)
        os.fsync(self._descriptor)

    def _write(self, name: str, data: bytes) -> str:
        temporary = f"{_temporary_prefix(name)}{token_hex(8)}"
        flags = os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_NOFOLLOW | os.O_CLOEXEC
        try:
            with os.fdopen(os.open(temporary, flags, 0o600, dir_fd=self._descriptor), "wb") as file:
                os.fchmod(file.fileno(), 0o600)
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
        except OSError:
            self._remove(temporary)
            raise
        return temporary

    def _remove(self, name: str) -> None:
        with suppress(FileNotFoundError):
            os.unlink(name, dir_fd=self._descriptor)


@contextmanager
def silences() -> Iterator[None]:
    """Raise Silence in place of an operating system's error: trouble with a disk is never a denial.

    Raises:
        Silence: With a remedy, if there is one.
    """
    try:
        yield
    except Unsafe as error:
        raise Silence(f"local keys are refused: {error}", hint=error.remedy) from error
    except OSError as error:
        raise Silence(f"local keys cannot be read ({type(error).__name__}, errno {error.errno})") from error


def _temporary_prefix(name: str) -> str:
    # A dot no name of ours contains ends the name, so no name's prefix is another's.
    return f".{name}."


def _check(found: os.stat_result, has_kind: Callable[[int], bool], path: Path, mode: str) -> None:
    if not has_kind(found.st_mode):
        raise Unsafe("a key file is not a plain file", f"look at {path}")
    if found.st_uid != os.geteuid():
        raise Unsafe("a key file or its directory belongs to another user", f"chown {os.geteuid()} {path}")
    if found.st_mode & 0o077:
        raise Unsafe("a key file or its directory is open to other users", f"chmod {mode} {path}")
