"""A pretend KMS over a directory of KEK files: what a customer does in its cloud's console, done on this machine.

`LocalKeyProvider` reads the same directory and never writes to it.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from core.domain.kek import KEY_BYTES, Kek, KekDescription
from core.errors import Conflict, InvalidRequest
from core.providers._local_keks import SUFFIX, KekFile, KekState, denial, is_name, load
from core.providers._private_files import make_directory, opened, silences

_CHANGES: dict[KekState, frozenset[KekState]] = {
    KekState.ENABLED: frozenset({KekState.DISABLED, KekState.PENDING_DELETION}),
    KekState.DISABLED: frozenset({KekState.ENABLED, KekState.PENDING_DELETION}),
    KekState.PENDING_DELETION: frozenset({KekState.DISABLED, KekState.DELETED}),
    KekState.DELETED: frozenset(),
}
"""As in AWS KMS: a deletion is scheduled first, and cancelling it leaves the key disabled."""


class LocalKms:
    """Makes, disables and deletes local KEKs. Safe to use from many threads and processes.

    Args:
        directory: Where the files are; made, 0700, where it is missing.

    Raises:
        Silence: The operating system refuses to make the directory.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        with silences():
            make_directory(directory)

    def create(self, name: str) -> Kek:
        """Make a KEK with a random key.

        Args:
            name: 1 to 63 lower-case letters, digits and hyphens, not starting with a hyphen; never used before.

        Returns:
            The KEK, enabled and on the disk.

        Raises:
            InvalidRequest: The name is not well formed.
            Conflict: There is one of that name, perhaps deleted.
            Silence: The directory cannot be used.
        """
        if not is_name(name):
            raise InvalidRequest(
                "a local KEK's name is 1 to 63 lower-case letters, digits and hyphens, and does not start with a hyphen"
            )
        file = KekFile(name, KekState.ENABLED, os.urandom(KEY_BYTES))
        with silences(), opened(self._directory) as directory:
            try:
                directory.create(name + SUFFIX, file.encode())
            except FileExistsError:
                raise Conflict(f"there is a local KEK named {name!r}") from None
        return file.kek

    def ensure(self, name: str) -> Kek:
        """The KEK of a name, made if it is missing; its state is left as it is.

        Raises:
            InvalidRequest: The name is not well formed.
            Silence: The directory cannot be used, or the KEK's file is damaged.
        """
        try:
            return self.create(name)
        except Conflict:
            kek = Kek(f"local:{name}")
            with silences(), opened(self._directory) as directory:
                load(directory, kek)
            return kek

    def describe(self) -> Sequence[KekDescription]:
        """Every KEK and its state, in order of name.

        Raises:
            Silence: The directory cannot be used, or a KEK's file is damaged.
        """
        with silences(), opened(self._directory) as directory:
            names = [name.removesuffix(SUFFIX) for name in directory.names() if name.endswith(SUFFIX)]
            files = [load(directory, Kek(f"local:{name}")) for name in names if is_name(name)]
        return [KekDescription(file.kek, file.state is KekState.ENABLED, file.state.value) for file in files]

    def disable(self, kek: Kek) -> None:
        """Withdraw a KEK: every use is refused from now on, until it is enabled.

        Raises:
            Denial: There is no such KEK.
            Conflict: It is deleted.
            Silence: The directory cannot be used, or the KEK's file is damaged.
        """
        self._change(kek, KekState.DISABLED, but_from={KekState.PENDING_DELETION})

    def enable(self, kek: Kek) -> None:
        """Reinstate a disabled KEK.

        Raises:
            Denial, Conflict, Silence: As in `disable`; Conflict also while it waits for deletion.
        """
        self._change(kek, KekState.ENABLED)

    def schedule_deletion(self, kek: Kek) -> None:
        """Mark a KEK for deletion: every use is refused from now on.

        Raises:
            Denial, Conflict, Silence: As in `disable`.
        """
        self._change(kek, KekState.PENDING_DELETION)

    def cancel_deletion(self, kek: Kek) -> None:
        """Take the mark off; the KEK is disabled then.

        Raises:
            Denial, Conflict, Silence: As in `disable`; Conflict also if it does not wait for deletion.
        """
        self._change(kek, KekState.DISABLED, but_from={KekState.ENABLED, KekState.DISABLED})

    def delete(self, kek: Kek) -> None:
        """Destroy a KEK that waits for deletion. What it wraps is lost; its name stays taken.

        Raises:
            Denial, Conflict, Silence: As in `disable`; Conflict also if it does not wait for deletion.
        """
        self._change(kek, KekState.DELETED)

    def _change(self, kek: Kek, new: KekState, *, but_from: set[KekState] | None = None) -> None:
        with silences(), opened(self._directory, exclusive=True) as directory:
            file = load(directory, kek)
            if file.state in (but_from or ()):
                raise self._refusal(file, new)
            if file.state is not new:
                if new not in _CHANGES[file.state]:
                    raise self._refusal(file, new)
                key = None if new is KekState.DELETED else file.key
                directory.replace(file.name + SUFFIX, replace(file, state=new, key=key).encode())
            if new is KekState.DELETED:
                # A writer that was killed may have left a copy of the key.
                directory.sweep(file.name + SUFFIX)

    def _refusal(self, file: KekFile, new: KekState) -> Conflict:
        return Conflict(f"{denial(file.kek, file.state).detail} and cannot become {new.value.replace('_', ' ')}")
