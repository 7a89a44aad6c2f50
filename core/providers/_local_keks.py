"""KEKs in files, one each: what `local` reads and the pretend KMS `local_kms` writes.

``<name>.kek`` is JSON: ``{"format": "keystead-local-kek-1", "name": ..., "state": ..., "key": "<base64>"}``. A deleted
KEK keeps its file, without the key, so that its name is never given to another key.
"""

from __future__ import annotations

import json
import re
from base64 import b64decode, b64encode
from dataclasses import dataclass, field
from enum import StrEnum

from core.domain.kek import KEY_BYTES, Kek
from core.errors import Denial, Silence
from core.providers._private_files import Directory

PREFIX = "local:"
SUFFIX = ".kek"
_NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,62}")
_FORMAT = "keystead-local-kek-1"


class KekState(StrEnum):
    """State of a KEK; every one but ``enabled`` is the cause of a denial."""

    ENABLED = "enabled"
    DISABLED = "disabled"
    PENDING_DELETION = "pending_deletion"
    DELETED = "deleted"


@dataclass(frozen=True, slots=True)
class KekFile:
    """One KEK as stored.

    Attributes:
        name: What stands after ``local:``.
        state: Its state.
        key: 32 bytes; None once deleted.
    """

    name: str
    state: KekState
    key: bytes | None = field(repr=False)

    @property
    def kek(self) -> Kek:
        """The KEK's name for the rest of Keystead."""
        return Kek(PREFIX + self.name)

    def usable_key(self) -> bytes:
        """The key, if it may be used.

        Raises:
            Denial: The state does not allow it.
        """
        if self.state is not KekState.ENABLED or self.key is None:
            raise denial(self.kek, self.state)
        return self.key

    def encode(self) -> bytes:
        """The file's content."""
        body = {"format": _FORMAT, "name": self.name, "state": self.state.value}
        if self.key is not None:
            body["key"] = b64encode(self.key).decode()
        return json.dumps(body).encode()

    @classmethod
    def decode(cls, name: str, data: bytes) -> KekFile:
        """Read a file's content.

        Raises:
            Silence: It is not the content of this KEK's file.
        """
        try:
            body = json.loads(data)
            state = KekState(body["state"])
            key = None if state is KekState.DELETED else b64decode(body["key"], validate=True)
            if (body["format"], body["name"]) == (_FORMAT, name) and (key is None or len(key) == KEY_BYTES):
                return cls(name, state, key)
        except (KeyError, TypeError, ValueError, RecursionError):
            pass
        raise Silence("a local KEK's file is damaged", hint=f"restore {name}{SUFFIX} from a backup")


def name_of(kek: Kek) -> str | None:
    """What stands after ``local:``, or None if the locator cannot name a local KEK."""
    name = kek.locator.removeprefix(PREFIX)
    return name if kek.locator.startswith(PREFIX) and is_name(name) else None


def is_name(text: str) -> bool:
    """Whether a text can name a local KEK: it becomes a file's name."""
    return _NAME.fullmatch(text) is not None


def load(directory: Directory, kek: Kek) -> KekFile:
    """Read a KEK's file.

    Raises:
        Denial: There is no such KEK.
        Silence: Its content is damaged.
        OSError: It cannot be read.
    """
    name = name_of(kek)
    if name is None:
        raise denial(kek, "not_found")
    try:
        data = directory.read(name + SUFFIX)
    except FileNotFoundError:
        raise denial(kek, "not_found") from None
    return KekFile.decode(name, data)


def denial(kek: Kek, cause: str) -> Denial:
    """The denial for a cause."""
    return Denial(f"the local KEK {kek.locator!r} is {cause.replace('_', ' ')}", cause=cause, kms_code=f"local.{cause}")
