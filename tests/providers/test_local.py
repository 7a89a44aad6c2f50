"""`local`: the provider's contract over files, and what only files can suffer."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.domain.kek import Kek
from core.errors import Denial, Silence, WrapMismatch
from core.providers.local import LocalKeyProvider
from core.providers.local_kms import LocalKms
from tests.conformance.key_provider import CONTEXT, KEY, KeyProviderContract, Withdrawal

PLATFORM = Kek("local:platform")


class TestContract(KeyProviderContract):
    @pytest.fixture(autouse=True)
    def _set_up(self, tmp_path: Path) -> None:
        self.directory = tmp_path / "keks"
        self.kms = LocalKms(self.directory)
        self.kek, self.other_kek = self.kms.create("platform"), self.kms.create("customer-acme")
        self.missing_kek = Kek("local:nobody")
        self.provider = LocalKeyProvider(self.directory)

    def withdrawals(self) -> Sequence[Withdrawal]:
        def undelete() -> None:
            self.kms.cancel_deletion(self.kek)
            self.kms.enable(self.kek)

        def delete() -> None:
            self.kms.schedule_deletion(self.kek)
            self.kms.delete(self.kek)

        return [
            Withdrawal("disabled", lambda: self.kms.disable(self.kek), lambda: self.kms.enable(self.kek)),
            Withdrawal("pending_deletion", lambda: self.kms.schedule_deletion(self.kek), undelete),
            Withdrawal("deleted", delete, None),
        ]

    def silence(self) -> None:
        self.directory.rename(self.directory.with_name("unmounted"))


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    directory = tmp_path / "keks"
    LocalKms(directory).create("platform")
    return directory


def assert_silent(directory: Path, hint: str | None = None) -> None:
    """Every use of the platform's KEK meets Silence, and hears the remedy."""
    provider = LocalKeyProvider(directory)
    for use in (
        lambda: provider.wrap(PLATFORM, KEY, CONTEXT),
        lambda: provider.describe(PLATFORM),
    ):
        with pytest.raises(Silence) as raised:
            use()
        assert raised.value.hint == hint or hint is None


@pytest.mark.parametrize(
    "locator",
    [
        *(f"local:{name}" for name in ("", "../x", "a/b", "A", "-a", "a.kek", "a\n", "a" * 64)),
        *("arn:aws:kms:eu-central-1:1:key/x", "https://v.vault.azure.net/keys/k/1", "", "local"),
    ],
)
def test_what_cannot_name_a_local_kek_is_not_found(directory: Path, locator: str) -> None:
    with pytest.raises(Denial) as raised:
        LocalKeyProvider(directory).wrap(Kek(locator), KEY, CONTEXT)
    assert raised.value.cause == "not_found"


def test_what_one_provider_wraps_another_over_the_same_directory_unwraps(directory: Path) -> None:
    wrapped = LocalKeyProvider(directory).wrap(PLATFORM, KEY, CONTEXT)
    assert LocalKeyProvider(directory).unwrap(wrapped, CONTEXT).key == KEY


def test_what_is_not_of_wrapped_length_is_refused(directory: Path) -> None:
    provider = LocalKeyProvider(directory)
    wrapped = provider.wrap(PLATFORM, KEY, CONTEXT)
    assert len(wrapped.ciphertext) == 60
    for length in (*range(60), 61, 76, 1000):
        with pytest.raises(WrapMismatch):
            provider.unwrap(replace(wrapped, ciphertext=bytes(length)), CONTEXT)


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o602, 0o610, 0o777])
def test_a_key_file_open_to_others_is_refused(directory: Path, mode: int) -> None:
    path = directory / "platform.kek"
    path.chmod(mode)
    assert_silent(directory, f"chmod 600 {path}")
    path.chmod(0o600)
    assert LocalKeyProvider(directory).describe(PLATFORM).enabled


@pytest.mark.parametrize("mode", [0o750, 0o701, 0o720, 0o777])
def test_a_directory_open_to_others_is_refused(directory: Path, mode: int) -> None:
    directory.chmod(mode)
    assert_silent(directory, f"chmod 700 {directory}")


def test_another_owner_is_refused(directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    other = directory.stat().st_uid + 1
    monkeypatch.setattr(os, "geteuid", lambda: other)
    assert_silent(directory, f"chown {other} {directory}")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file away")
def test_a_key_file_of_another_owner_is_refused(directory: Path) -> None:
    path = directory / "platform.kek"
    os.chown(path, 65534, 65534)
    assert_silent(directory, f"chown 0 {path}")


def replaced_by_directory(path: Path) -> None:
    path.unlink()
    path.mkdir(mode=0o700)


def replaced_by_link(path: Path) -> None:
    path.rename(path.with_name("elsewhere"))
    path.symlink_to("elsewhere")


def replaced_by_pipe(path: Path) -> None:
    path.unlink()
    os.mkfifo(path, 0o600)


@pytest.mark.parametrize("replace_file", [replaced_by_directory, replaced_by_link, replaced_by_pipe])
def test_what_is_no_plain_file_is_silence(directory: Path, replace_file: Callable[[Path], None]) -> None:
    replace_file(directory / "platform.kek")
    assert_silent(directory)


@pytest.mark.parametrize("where", ["missing", "file", "under a file"])
def test_a_directory_that_is_none_is_silence(tmp_path: Path, where: str) -> None:
    (tmp_path / "file").touch()
    assert_silent({"missing": tmp_path / "keks", "file": tmp_path / "file"}.get(where, tmp_path / "file" / "keks"))


def garbled(directory: Path) -> list[bytes]:
    """Contents that are not this KEK's, most of them nearly."""
    good = json.loads((directory / "platform.kek").read_bytes())
    changes: list[dict[str, object]] = [
        {"format": "keystead-local-kek-2"},
        {"name": "customer-acme"},
        {"state": "Enabled"},
        {"state": None},
        {"state": []},
        {"key": good["key"][:-4]},
        {"key": good["key"] + "AAAA"},
        {"key": "*" + good["key"][1:]},
        {"key": None},
        {"key": 7},
    ]
    return [
        b"",
        b"{",
        b"[]",
        b"null",
        b"7",
        b"\xff\xfe",
        b"[" * 60_000,
        b" " * 70_000,
        json.dumps(good).encode()[:-1],
        *(json.dumps({**good, **change}).encode() for change in changes),
        *(json.dumps({name: value for name, value in good.items() if name != left}).encode() for left in good),
    ]


def test_a_damaged_file_is_silence(directory: Path) -> None:
    path = directory / "platform.kek"
    good = path.read_bytes()
    for content in garbled(directory):
        path.write_bytes(content)
        assert_silent(directory)
    path.write_bytes(good)
    assert LocalKeyProvider(directory).describe(PLATFORM).enabled


@settings(max_examples=100, deadline=None)
@given(content=st.binary(max_size=300))
def test_any_other_content_is_silence(content: bytes) -> None:
    with tempfile.TemporaryDirectory() as temporary:
        LocalKms(Path(temporary)).create("platform")
        (Path(temporary) / "platform.kek").write_bytes(content)
        assert_silent(Path(temporary))


def test_errors_hold_no_key(directory: Path) -> None:
    path = directory / "platform.kek"
    key = json.loads(path.read_bytes())["key"]
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(Silence) as raised:
        LocalKeyProvider(directory).describe(PLATFORM)
    assert key not in f"{raised.value!r} {raised.value.hint}"
    assert raised.value.__cause__ is None
