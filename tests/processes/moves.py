"""Changes of KEK over the embedded store, by processes that kill themselves at a chosen call.

``python -m tests.processes.moves CHANGE DIR`` forks a child for every call to a KMS or a store that the change makes.
The child ends by SIGKILL at that call; another child must then decrypt every earlier message, complete the change and
find all rows under the KEK asked for. Prints the number of points.
"""

from __future__ import annotations

import os
import shutil
import signal
import sys
import traceback
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from core.bootstrap import KEKS, Application, Config, assemble, local_leaves
from core.domain.branch_keys import ACTIVE
from core.domain.checks import Check, Report, Result
from core.domain.kek import Kek, KekDescription, KeyAccess, ProviderName, UnwrappedKey, WrappedKey
from core.domain.key_target import KeyTarget
from core.errors import Conflict
from core.ports import KeyConnector, KeyProvider
from core.providers.local_kms import LocalKms
from tests.service.injection import Injector, injected_leaves

FIRST, SECOND, PLATFORM = "local:first", "local:second", "local:platform"
VAULT_KEY = "https://acme-kv.vault.azure.net/keys/kek"
ENTRA_TENANT = "72f988bf-0000-4000-8000-00000000acce"


class VersionedKeks:
    """KEKs in files as versions of one key in a vault: the version ``...01`` is the file ``version-1``."""

    def __init__(self, provider: KeyProvider, directory: Path) -> None:
        self._provider = provider
        self._directory = directory

    def wrap(self, kek: Kek, key: bytes, context: Mapping[str, str]) -> WrappedKey:
        return replace(self._provider.wrap(self._file(kek), key, context), kek=kek)

    def unwrap(self, wrapped: WrappedKey, context: Mapping[str, str]) -> UnwrappedKey:
        return self._provider.unwrap(replace(wrapped, kek=self._file(wrapped.kek)), context)

    def describe(self, kek: Kek) -> KekDescription:
        number = self._number(kek) or len([*self._directory.glob("version-*")])
        return KekDescription(version(number), True, "enabled", float(number))

    def _file(self, kek: Kek) -> Kek:
        return Kek(f"local:version-{self._number(kek)}")

    def _number(self, kek: Kek) -> int:
        return 0 if kek == kek.key else int(kek.locator.rpartition("/")[2], 16)


def version(number: int) -> Kek:
    """A version of the key in the vault."""
    return Kek(f"{VAULT_KEY}/{number:032x}")


class LocalConnector:
    """Reaches KEKs of tenants in files."""

    def __init__(self, provider: KeyProvider) -> None:
        self._provider = provider

    def connect(self, access: KeyAccess) -> KeyProvider:
        return self._provider

    def examine(self, access: KeyAccess, context: Mapping[str, str]) -> Report:
        return Report((Check("round_trip", Result.PASS, "not tried here"),))

    def setup_kit(self, tenant_id: str, external_id: str, entra_tenant: str = "") -> Mapping[str, Any]:
        return {"identity": "", "documents": {}, "steps": []}


@contextmanager
def opened(data_dir: Path, injector: Injector) -> Iterator[Application]:
    config = Config(data_dir=data_dir, offerings={"default": frozenset({"local", "azure_key_vault"})})
    leaves = local_leaves(config)
    in_vault = LocalConnector(VersionedKeks(leaves.platform, data_dir / KEKS))
    connectors: dict[ProviderName, KeyConnector] = {
        "local": LocalConnector(leaves.platform),
        "azure_key_vault": in_vault,
    }
    connected = replace(leaves, connectors=connectors)
    app = assemble(config, injected_leaves(connected, injector))
    try:
        yield app
    finally:
        app.close()


def configure(app: Application, locator: str) -> None:
    entra_tenant = ENTRA_TENANT if locator == VAULT_KEY else ""
    app.key_configuration.configure("acme", KeyTarget(locator, reversible=True, entra_tenant=entra_tenant), {})


def new_version(data_dir: Path) -> None:
    LocalKms(data_dir / KEKS).create("version-2")


def go_back(app: Application) -> None:
    try:
        app.key_configuration.revert("acme", {})
    except Conflict as error:
        if "already" not in error.detail:
            raise


CHANGES: Mapping[str, tuple[Callable[[Application], None] | None, Callable[[Application], None], str]] = {
    "enable": (None, lambda app: configure(app, FIRST), FIRST),
    "replace": (lambda app: configure(app, FIRST), lambda app: configure(app, SECOND), SECOND),
    "go-back": (lambda app: configure(app, FIRST), go_back, PLATFORM),
    "into-a-vault": (lambda app: configure(app, FIRST), lambda app: configure(app, VAULT_KEY), f"{VAULT_KEY}/{1:032x}"),
    "take-up-a-version": (
        lambda app: configure(app, VAULT_KEY),
        lambda app: app.key_configuration.check("acme", {}),
        f"{VAULT_KEY}/{2:032x}",
    ),
}
"""What comes before, the change, and the KEK everything ends under."""


def prepare(change: str, data_dir: Path) -> list[bytes]:
    """A tenant just before the change; gives its messages."""
    before, _, _ = CHANGES[change]
    with opened(data_dir, Injector()) as app:
        kms = LocalKms(data_dir / KEKS)
        kms.create("first")
        kms.create("second")
        kms.create("version-1")
        app.tenants.create("acme")
        messages = [app.encryption.encrypt("acme", b"first", {})]
        app.rotation.rotate("acme")
        if before is not None:
            before(app)
        messages = [*messages, app.encryption.encrypt("acme", b"second", {})]
    if change == "take-up-a-version":
        new_version(data_dir)
    return messages


def act(change: str, data_dir: Path, at: int) -> int:
    """Make the change and die at a call; gives the number of calls if it never came to that one."""
    injector = Injector()
    with opened(data_dir, injector) as app:
        app.gate.enter_any("acme")
        injector.arm(at, "before", lambda name: os.kill(os.getpid(), signal.SIGKILL))
        CHANGES[change][1](app)
        injector.armed = False
        return len(injector.points)


def complete(change: str, data_dir: Path, messages: list[bytes]) -> None:
    """What must hold after the kill."""
    _, ask, ends = CHANGES[change]
    with opened(data_dir, Injector()) as app:
        assert [app.encryption.decrypt("acme", message, {}) for message in messages] == [b"first", b"second"]
        ask(app)
    with opened(data_dir, Injector()) as app:
        record = app.tenants.read("acme")
        assert (record.kek, record.moving_from) == (Kek(ends).key.locator, None)
        active = app.leaves.key_store.read(record.branch_key_id, ACTIVE)
        assert active is not None
        rows = [*app.leaves.key_store.list_versions(record.branch_key_id), active]
        assert {stored.row.kek.locator for stored in rows} == {ends}
        assert [app.encryption.decrypt("acme", message, {}) for message in messages] == [b"first", b"second"]


def in_child(work: Callable[[], object]) -> int:
    """Run something in a forked child; gives its exit status as `os.waitpid` tells it."""
    child = os.fork()
    if child == 0:
        try:
            work()
        except BaseException:  # noqa: BLE001 - whatever it is, the parent must hear of it and the child must end here
            traceback.print_exc()
            os._exit(1)
        os._exit(0)
    return os.waitpid(child, 0)[1]


def main(change: str, directory: Path) -> int:
    template, points = directory / "template", 0
    messages = prepare(change, template)
    while True:
        data_dir = directory / f"at-{points}"
        shutil.copytree(template, data_dir)
        status = in_child(lambda: act(change, data_dir, points))  # noqa: B023 - run at once
        if status == 0:
            break
        assert os.WIFSIGNALED(status), f"the change failed before call {points}"
        assert os.WTERMSIG(status) == signal.SIGKILL
        assert in_child(lambda: complete(change, data_dir, messages)) == 0, f"after a kill at call {points}"  # noqa: B023
        shutil.rmtree(data_dir)
        points += 1
    print(points)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], Path(sys.argv[2])))
