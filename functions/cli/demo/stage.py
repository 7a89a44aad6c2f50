"""What the demo's steps share: a temporary directory, a service, clients, and the counting of checks."""

from __future__ import annotations

import hashlib
import shutil
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from core.bootstrap import STORE, Application, Config, build
from core.client.client import KeysteadClient
from core.errors import KeysteadError
from functions.cli import token
from functions.cli.demo.cloud import Cloud, cloud
from functions.cli.demo.service import ServiceProcess


class Broken(Exception):
    """A check did not hold."""


@dataclass(frozen=True, slots=True)
class Step:
    """One chapter: its title, and what happens. ``run`` gives a line on what was seen, or raises."""

    title: str
    run: Callable[[Stage], str]


class Stage:
    """Where the story plays.

    Args:
        directory: An empty directory, the demo's own.
        cloud: Where the customers of the story hold their keys.
        large: Bytes of the large file.
    """

    def __init__(self, directory: Path, cloud: Cloud, *, large: int) -> None:
        self.cloud = cloud
        self.directory = directory
        self.data = directory / "data"
        self.large = large
        self.checks = 0
        self.service = ServiceProcess(self.data, directory, cloud.variables)
        self._clients: dict[str, KeysteadClient] = {}

    def file(self, name: str) -> Path:
        """A path in the demo's directory."""
        return self.directory / name

    def check(self, holds: bool, what: str) -> None:
        """Count a check.

        Raises:
            Broken: It does not hold.
        """
        self.checks += 1
        if not holds:
            raise Broken(f"not so: {what}")

    def refused(self, error: type[KeysteadError], call: Callable[[], object], what: str) -> KeysteadError:
        """Check that something is refused, and with which error.

        Raises:
            Broken: It is not, or with another.
        """
        self.checks += 1
        try:
            call()
        except error as raised:
            return raised
        except KeysteadError as raised:
            raise Broken(f"{what}: refused with {raised.code}, not with {error.code}") from None
        raise Broken(f"{what}: not refused")

    def client(self, tenant_id: str = "") -> KeysteadClient:
        """A client with a token of a tenant (its data and its key), or of the operator."""
        if tenant_id not in self._clients:
            scopes = token.expand(("app", "admin") if tenant_id else ("operator",))
            made = token.mint(self.data, f"demo-{tenant_id or 'operator'}", tenant_id or None, scopes, 3600)
            self._clients[tenant_id] = KeysteadClient(self.service.url, made)
        return self._clients[tenant_id]

    def restart(self) -> None:
        """Stop the service and start it again on the same data."""
        self._forget_clients()
        self.service.stop()
        self.service.start()

    def close(self) -> None:
        """End the service."""
        self._forget_clients()
        self.service.stop()

    @contextmanager
    def application(self) -> Iterator[Application]:
        """The service composed in this process, over the same data directory."""
        built = build(Config(data_dir=self.data))
        try:
            yield built
        finally:
            built.close()

    def copy_data(self, name: str) -> Path:
        """Copy the data directory while the service runs."""
        copy = self.directory / name
        shutil.copytree(self.data, copy, ignore=shutil.ignore_patterns(f"{STORE}*"))
        target = copy / STORE
        target.touch(mode=0o600)
        with closing(sqlite3.connect(self.data / STORE)) as source, closing(sqlite3.connect(target)) as sink:
            source.backup(sink)
        return copy

    def _forget_clients(self) -> None:
        while self._clients:
            self._clients.popitem()[1].close()


@contextmanager
def staged(*, large: int) -> Iterator[Stage]:
    """A stage in a temporary directory; both are gone afterwards, whatever happened.

    Args:
        large: Bytes of the large file.
    """
    with TemporaryDirectory(prefix="keystead-demo-") as directory, cloud() as customers_cloud:
        stage = Stage(Path(directory).resolve(), customers_cloud, large=large)
        try:
            yield stage
        finally:
            stage.close()


def digest(path: Path) -> str:
    """SHA-256 of a file, hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
