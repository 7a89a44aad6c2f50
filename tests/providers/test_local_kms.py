"""The pretend KMS: what its owner may do to a KEK, races and kills included."""

from __future__ import annotations

import errno
import json
import os
import random
import signal
import subprocess
import sys
from functools import partial
from pathlib import Path
from time import sleep

import pytest

from core.domain.kek import Kek
from core.errors import Conflict, Denial, InvalidRequest, Silence
from core.providers._local_keks import KekFile, KekState
from core.providers.local import LocalKeyProvider
from core.providers.local_kms import LocalKms
from tests.conformance.racing import outcomes, race

ROOT = Path(__file__).resolve().parents[2]
KEY = bytes(32)


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    return tmp_path / "keks"


@pytest.fixture
def kms(directory: Path) -> LocalKms:
    return LocalKms(directory)


def key_of(directory: Path, name: str) -> str | None:
    """The key in a KEK's file, as text."""
    body: dict[str, str] = json.loads((directory / f"{name}.kek").read_bytes())
    return body.get("key")


def test_a_new_kek_is_enabled_private_and_random(kms: LocalKms, directory: Path) -> None:
    kek = kms.create("platform")
    assert kek == Kek("local:platform")
    assert directory.stat().st_mode & 0o777 == 0o700
    assert (directory / "platform.kek").stat().st_mode & 0o777 == 0o600
    assert [path.name for path in directory.iterdir()] == ["platform.kek"]
    kms.create("customer-acme")
    assert key_of(directory, "platform") != key_of(directory, "customer-acme")
    assert [(found.kek.locator, found.enabled, found.detail) for found in kms.describe()] == [
        ("local:customer-acme", True, "enabled"),
        ("local:platform", True, "enabled"),
    ]


def test_files_are_private_whatever_the_umask(directory: Path) -> None:
    before = os.umask(0)
    try:
        LocalKms(directory).create("open")
        os.umask(0o777)
        LocalKms(directory).create("shut")
    finally:
        os.umask(before)
    assert {path.stat().st_mode & 0o777 for path in directory.iterdir()} == {0o600}
    assert directory.stat().st_mode & 0o777 == 0o700


@pytest.mark.parametrize("name", ["", "-a", "A", "a_b", "a/b", "..", ".", "a.kek", "a\n", "a" * 64, "ż"])
def test_a_name_that_is_not_well_formed(kms: LocalKms, directory: Path, name: str) -> None:
    with pytest.raises(InvalidRequest):
        kms.create(name)
    with pytest.raises(InvalidRequest):
        kms.ensure(name)
    assert list(directory.iterdir()) == []


def test_a_name_is_given_once(kms: LocalKms, directory: Path) -> None:
    kek = kms.create("platform")
    key = key_of(directory, "platform")
    with pytest.raises(Conflict):
        kms.create("platform")
    assert key_of(directory, "platform") == key
    kms.schedule_deletion(kek)
    kms.delete(kek)
    with pytest.raises(Conflict):
        kms.create("platform")
    assert key_of(directory, "platform") is None


def test_ensure_makes_a_kek_once_and_leaves_its_state(kms: LocalKms, directory: Path) -> None:
    kek = kms.ensure("platform")
    key = key_of(directory, "platform")
    kms.disable(kek)
    assert kms.ensure("platform") == kek
    assert key_of(directory, "platform") == key
    assert not kms.describe()[0].enabled
    (directory / "platform.kek").write_text("{}")
    with pytest.raises(Silence):
        kms.ensure("platform")


OPERATIONS = ["disable", "enable", "schedule_deletion", "cancel_deletion", "delete"]
AFTER = {
    "enabled": {"disable": "disabled", "enable": "enabled", "schedule_deletion": "pending_deletion"},
    "disabled": {"disable": "disabled", "enable": "enabled", "schedule_deletion": "pending_deletion"},
    "pending_deletion": {
        "schedule_deletion": "pending_deletion",
        "cancel_deletion": "disabled",
        "delete": "deleted",
    },
    "deleted": {"delete": "deleted"},
}


@pytest.mark.parametrize("operation", OPERATIONS)
@pytest.mark.parametrize("state", AFTER)
def test_every_operation_in_every_state(kms: LocalKms, directory: Path, state: str, operation: str) -> None:
    kek = kms.create("platform")
    for step in {"disabled": ["disable"], "pending_deletion": ["schedule_deletion"]}.get(
        state, ["schedule_deletion", "delete"] if state == "deleted" else []
    ):
        getattr(kms, step)(kek)
    key = key_of(directory, "platform")
    expected = AFTER[state].get(operation)
    if expected is None:
        with pytest.raises(Conflict):
            getattr(kms, operation)(kek)
        expected = state
    else:
        getattr(kms, operation)(kek)
    [found] = kms.describe()
    assert (found.detail, found.enabled) == (expected, expected == "enabled")
    assert key_of(directory, "platform") == (None if expected == "deleted" else key)
    assert [path.name for path in directory.iterdir()] == ["platform.kek"]


@pytest.mark.parametrize("operation", OPERATIONS)
def test_operations_on_a_kek_that_does_not_exist(kms: LocalKms, operation: str) -> None:
    for locator in ("local:nobody", "local:../x", "arn:aws:kms:x"):
        with pytest.raises(Denial) as raised:
            getattr(kms, operation)(Kek(locator))
        assert raised.value.cause == "not_found"


def test_deleting_leaves_no_copy_of_the_key(kms: LocalKms, directory: Path) -> None:
    kek = kms.create("platform")
    other = kms.create("platform-2")
    whole = (directory / "platform.kek").read_bytes()
    left_by_a_kill = directory / ".platform.kek.0123456789abcdef"
    of_another = directory / ".platform-2.kek.0123456789abcdef"
    for path in (left_by_a_kill, of_another):
        path.write_bytes(whole)
        path.chmod(0o600)
    kms.schedule_deletion(kek)
    kms.delete(kek)
    assert not left_by_a_kill.exists()
    assert of_another.exists()
    assert len(kms.describe()) == 2
    assert LocalKeyProvider(directory).describe(other).enabled


def test_a_directory_that_cannot_be_made_or_used(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(Silence):
        LocalKms(tmp_path / "file")
    kms = LocalKms(tmp_path / "keks")
    (tmp_path / "keks").chmod(0o755)
    with pytest.raises(Silence) as raised:
        kms.create("platform")
    assert raised.value.hint == f"chmod 700 {tmp_path / 'keks'}"


@pytest.mark.parametrize("call", ["fsync", "link", "rename"])
def test_a_disk_that_fails_is_silence_and_changes_nothing(
    kms: LocalKms, directory: Path, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    kek = kms.create("platform")
    before = (directory / "platform.kek").read_bytes()

    def fail(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "no space left")

    monkeypatch.setattr(os, call, fail)
    if call != "rename":
        with pytest.raises(Silence):
            kms.create("customer-acme")
    if call != "link":
        with pytest.raises(Silence):
            kms.disable(kek)
    monkeypatch.undo()
    assert [path.name for path in directory.iterdir()] == ["platform.kek"]
    assert (directory / "platform.kek").read_bytes() == before


def test_what_else_lies_in_the_directory_is_left_alone(kms: LocalKms, directory: Path) -> None:
    kms.create("platform")
    (directory / "README").write_text("hands off")
    (directory / "NOT A NAME.kek").write_text("nor this")
    assert [found.kek.locator for found in kms.describe()] == ["local:platform"]


def test_repr_hides_the_key() -> None:
    assert repr(KekFile("platform", KekState.ENABLED, b"k" * 32)) == (
        "KekFile(name='platform', state=<KekState.ENABLED: 'enabled'>)"
    )


# Races and kills


def test_of_many_creations_one_wins(directory: Path) -> None:
    results = race([partial(LocalKms(directory).create, "platform")] * 8)
    assert outcomes(results) == {"ok": 1, "Conflict": 7}
    assert [path.name for path in directory.iterdir()] == ["platform.kek"]


def test_ensuring_at_once_gives_one_key(directory: Path) -> None:
    def use() -> bytes:
        kek = LocalKms(directory).ensure("platform")
        return LocalKeyProvider(directory).wrap(kek, KEY, {}).ciphertext

    results = race([use] * 8)
    assert outcomes(results) == {"ok": 8}
    assert len(LocalKms(directory).describe()) == 1


def test_a_deletion_is_never_undone_by_a_racing_change(kms: LocalKms, directory: Path) -> None:
    for number in range(20):
        kek = kms.create(f"k{number}")
        kms.schedule_deletion(kek)
        results = race([partial(kms.delete, kek), partial(kms.cancel_deletion, kek), partial(kms.delete, kek)])
        [found] = [found for found in kms.describe() if found.kek == kek]
        deleted = "ok" in outcomes([results[0]]) or "ok" in outcomes([results[2]])
        assert found.detail == ("deleted" if deleted else "disabled")
        assert (key_of(directory, f"k{number}") is None) == deleted


@pytest.mark.slow
def test_another_process_sees_a_change_at_once(kms: LocalKms, directory: Path) -> None:
    kek = kms.create("platform")
    script = (
        "import sys\nfrom pathlib import Path\nfrom core.domain.kek import Kek\n"
        "from core.errors import Denial\nfrom core.providers.local import LocalKeyProvider\n"
        "provider = LocalKeyProvider(Path(sys.argv[1]))\n"
        "for line in sys.stdin:\n"
        "    try:\n        provider.wrap(Kek('local:platform'), bytes(32), {}); print('served', flush=True)\n"
        "    except Denial as error: print(error.cause, flush=True)\n"
    )
    command = [sys.executable, "-c", script, str(directory)]
    with subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as other:
        assert other.stdin is not None
        assert other.stdout is not None
        for change, expected in (
            (None, "served"),
            (kms.disable, "disabled"),
            (kms.enable, "served"),
            (kms.schedule_deletion, "pending_deletion"),
        ):
            if change is not None:
                change(kek)
            print("use it", file=other.stdin, flush=True)
            assert other.stdout.readline().strip() == expected
        other.stdin.close()


@pytest.mark.slow
def test_killed_at_any_moment_every_key_file_is_whole(kms: LocalKms, directory: Path) -> None:
    kms.create("platform")
    key = key_of(directory, "platform")
    script = (
        "import sys\nfrom pathlib import Path\nfrom core.domain.kek import Kek\n"
        "from core.providers.local_kms import LocalKms\n"
        "kms, kek = LocalKms(Path(sys.argv[1])), Kek('local:platform')\n"
        "print('ready', flush=True)\n"
        "for number in range(10**9):\n"
        "    kms.disable(kek); kms.enable(kek)\n"
        "    print(kms.create(f'{sys.argv[2]}-{number}').locator, flush=True)\n"
    )
    chance, made = random.Random(20260131), []
    for attempt in range(6):
        command = [sys.executable, "-c", script, str(directory), f"a{attempt}"]
        process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        sleep(chance.uniform(0.005, 0.1))
        process.send_signal(signal.SIGKILL)
        made += process.communicate(timeout=60)[0].split()
        described = {found.kek.locator: found.detail for found in kms.describe()}
        assert set(made) <= described.keys()
        assert described["local:platform"] in ("enabled", "disabled")
        assert key_of(directory, "platform") == key
        kms.disable(Kek("local:platform"))
        kms.enable(Kek("local:platform"))
    assert made
