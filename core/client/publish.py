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


@contextmanager
def published(target: Path, *, overwrite: bool = False, mode: int = PRIVATE) -> Iterator[BinaryIO]:
    """Write a file that appears under its name only when the block ends without an exception.

    Until then the bytes are in a hidden file of the same directory, which is removed if the block raises anything at
    all. The file and its name are on disk when this returns.

    Args:
        target: The name. A symbolic link is followed; nothing but a regular file is ever replaced.
        overwrite: Whether a file of that name may be replaced. Its permissions are not taken over.
        mode: Permissions of the new file, before the umask.

    Raises:
        FileExistsError: There is such a file, now or at the end, and it may not be replaced.
        OSError: The file cannot be written, or the name belongs to something that is no regular file.
    """
    target = Path(os.path.realpath(target))
    check_target(target, overwrite=overwrite)
    part = target.with_name(f".keystead-{secrets.token_hex(8)}.part")
    # Closed before it is renamed, so that this works where open files cannot be.
    handle = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_CLOEXEC", 0), mode)
    try:
        with open(handle, "wb") as out:  # noqa: PTH123 - a descriptor, not a path
            yield out
            out.flush()
            os.fsync(out.fileno())
        _give_name(part, target, overwrite=overwrite)
    except BaseException:
        with suppress(FileNotFoundError):
            part.unlink()
        raise
    _sync_directory(target.parent)


def check_target(target: Path, *, overwrite: bool) -> None:
    """Refuse a name that `published` would refuse, before any work is done.

    Raises:
        FileExistsError: There is such a file, and it may not be replaced.
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
        raise FileExistsError(errno.EEXIST, "the file exists", str(target))


def _give_name(part: Path, target: Path, *, overwrite: bool) -> None:
    if overwrite:
        part.replace(target)
        return
    try:
        # Unlike a rename, this refuses a name that was taken in the meantime.
        os.link(part, target)
    except FileExistsError:
        raise FileExistsError(errno.EEXIST, "the file exists", str(target)) from None
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
