"""Files that appear whole or not at all."""

from __future__ import annotations

import errno
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from stat import S_ISREG
from typing import BinaryIO

PRIVATE, SHARED = 0o600, 0o666
"""Permissions of a new file before the umask: for plaintext, for messages."""


class TargetExists(FileExistsError):
    """The target is there, and was not to be replaced."""


@contextmanager
def published(target: Path, *, overwrite: bool = False, mode: int = PRIVATE) -> Iterator[BinaryIO]:
    """Write a file that appears under its name only when the block ends without an exception.

    Until then the bytes are in a file of the same directory without any name, which the system removes whatever ends
    the process. Where the file system has no such files, they are in a hidden one (``.keystead-*.part``), which is
    removed if the block raises anything at all, and is left by a process that is killed on the spot. The file and its
    name are on disk when this returns.

    Args:
        target: The name. A symbolic link is followed; nothing but a regular file is ever replaced.
        overwrite: Whether a file of that name may be replaced. Its permissions are not taken over.
        mode: Permissions of the new file, before the umask.

    Raises:
        TargetExists: There is such a file, now or at the end, and it may not be replaced.
        OSError: The file cannot be written, or the name belongs to something that is no regular file.
    """
    target = Path(os.path.realpath(target))
    check_target(target, overwrite=overwrite)
    handle = _open_nameless(target.parent, mode)
    if handle is None:
        writing = _written_under_a_name(target, overwrite=overwrite, mode=mode)
    else:
        writing = _written_without_a_name(handle, target, overwrite=overwrite)
    with writing as out:
        yield out
    _sync_directory(target.parent)


def check_target(target: Path, *, overwrite: bool) -> None:
    """Refuse a name that `published` would refuse, before any work is done.

    Raises:
        TargetExists: There is such a file, and it may not be replaced.
        OSError: The name belongs to something that is no regular file, or its directory does not exist.
    """
    try:
        found = target.stat()
    except FileNotFoundError:
        if not target.parent.is_dir():
            raise FileNotFoundError(errno.ENOENT, "no such directory", str(target.parent)) from None
        return
    if not S_ISREG(found.st_mode):
        raise OSError(errno.EINVAL, "not a regular file", str(target))
    if not overwrite:
        raise TargetExists(errno.EEXIST, "the file exists", str(target))


@contextmanager
def _written_without_a_name(handle: int, target: Path, *, overwrite: bool) -> Iterator[BinaryIO]:
    with open(handle, "wb") as out:
        yield out
        out.flush()
        os.fsync(handle)
        if not overwrite:
            # Unlike a rename, this refuses a name that was taken in the meantime.
            _link_nameless(handle, target)
            return
        # No link replaces a file: the name is given by a rename, of a file that is whole by now.
        part = _part(target.parent)
        try:
            _link_nameless(handle, part)
            part.replace(target)
        except BaseException:
            part.unlink(missing_ok=True)
            raise


@contextmanager
def _written_under_a_name(target: Path, *, overwrite: bool, mode: int) -> Iterator[BinaryIO]:
    part = _part(target.parent)
    # Closed before it is renamed, so that this works where open files cannot be.
    try:
        handle = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_CLOEXEC", 0), mode)
    except OSError as error:  # of a name that nobody gave
        raise OSError(error.errno, error.strerror, str(target)) from None
    try:
        with open(handle, "wb") as out:  # noqa: PTH123 - a descriptor, not a path
            yield out
            out.flush()
            os.fsync(out.fileno())
        _give_name(part, target, overwrite=overwrite)
    except BaseException:
        part.unlink(missing_ok=True)
        raise


def _open_nameless(directory: Path, mode: int) -> int | None:
    """A file without a name that can be given one, or None where there is no such thing."""
    flags: int = getattr(os, "O_TMPFILE", 0)
    if not flags:
        return None
    flags |= os.O_WRONLY | os.O_CLOEXEC
    # Whether a name can be given (/proc may be missing, links forbidden) is found out on an empty file, for later,
    # with all of the output in a file that has no name, it would be too late.
    probe = _part(directory)
    try:
        handle = os.open(directory, flags, mode)
        try:
            _link_nameless(handle, probe)
        finally:
            os.close(handle)
            probe.unlink(missing_ok=True)
        return os.open(directory, flags, mode)
    except OSError:  # what is wrong with the directory itself shows when a file with a name is made there
        return None


def _link_nameless(handle: int, name: Path) -> None:
    directory = os.open(name.parent, os.O_RDONLY | os.O_CLOEXEC)
    try:
        # With a directory's descriptor, for without one Python calls link(2), which does not follow the link in /proc.
        os.link(f"/proc/self/fd/{handle}", name.name, dst_dir_fd=directory, follow_symlinks=True)
    except FileExistsError:
        raise TargetExists(errno.EEXIST, "the file exists", str(name)) from None
    finally:
        os.close(directory)


def _part(directory: Path) -> Path:
    return directory / f".keystead-{secrets.token_hex(8)}.part"


def _give_name(part: Path, target: Path, *, overwrite: bool) -> None:
    if overwrite:
        part.replace(target)
        return
    try:
        # As in `_written_without_a_name`.
        os.link(part, target)
    except FileExistsError:
        raise TargetExists(errno.EEXIST, "the file exists", str(target)) from None
    except OSError:  # a file system without links
        check_target(target, overwrite=False)
        part.replace(target)
    else:
        part.unlink()


def _sync_directory(directory: Path) -> None:
    with suppress(OSError):  # some systems cannot open or sync directories; the file itself is synced
        handle = os.open(directory, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
