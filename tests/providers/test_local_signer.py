"""`local_signer`: the signer's contract over a key file, known answers of the RFC, and what only files can suffer."""

from __future__ import annotations

import json
import os
from base64 import urlsafe_b64decode
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from core.errors import Silence, StoreCorrupt, StoreUnavailable
from core.providers.local_signer import FILE, LocalSigner, thumbprint
from tests.conformance.racing import outcomes, race
from tests.conformance.signer import PAYLOAD, SignerContract, header, verified


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    return tmp_path / "signing"


class TestContract(SignerContract):
    @pytest.fixture(autouse=True)
    def _set_up(self, directory: Path) -> None:
        self.directory, self.signer = directory, LocalSigner(directory)

    def rotate(self) -> None:
        LocalSigner(self.directory).rotate()

    def silence(self) -> None:
        (self.directory / FILE).unlink()


def test_the_thumbprint_is_that_of_rfc_8037() -> None:
    """Appendix A.3."""
    public = urlsafe_b64decode("11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo=")
    assert thumbprint(public) == "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k"


def test_the_signature_is_that_of_rfc_8037(directory: Path) -> None:
    """The key of appendix A.1 and A.2; Ed25519 is deterministic, and others verify it in the contract."""
    LocalSigner(directory)
    key = {
        "d": "nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A",
        "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo",
    }
    (directory / FILE).write_text(json.dumps({"format": "keystead-signing-keys-1", "active": key, "retired": []}))
    signer = LocalSigner(directory)
    [jwk] = signer.jwks()["keys"]
    assert jwk == {
        "kty": "OKP",
        "crv": "Ed25519",
        "x": key["x"],
        "kid": "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k",
        "use": "sig",
        "alg": "EdDSA",
    }
    token = signer.sign(PAYLOAD)
    assert token == signer.sign(PAYLOAD)
    assert header(token) == {"alg": "EdDSA", "kid": jwk["kid"]}
    assert verified(token, signer.jwks()) == PAYLOAD


def test_the_file_is_private_and_stays(directory: Path) -> None:
    kid = header(LocalSigner(directory).sign({}))["kid"]
    assert (directory / FILE).stat().st_mode & 0o777 == 0o600
    assert directory.stat().st_mode & 0o777 == 0o700
    assert header(LocalSigner(directory).sign({}))["kid"] == kid


def test_rotation_tells_the_new_kid_and_destroys_the_old_private_key(directory: Path) -> None:
    signer = LocalSigner(directory)
    old = json.loads((directory / FILE).read_bytes())["active"]
    left_by_a_kill = directory / f".{FILE}.0123456789abcdef"
    left_by_a_kill.write_text(old["d"])
    kid = signer.rotate()
    assert header(signer.sign({}))["kid"] == kid
    assert signer.jwks()["keys"][0]["kid"] == kid
    assert old["d"] not in (directory / FILE).read_text()
    assert [path.name for path in directory.iterdir()] == [FILE]
    assert json.loads((directory / FILE).read_bytes())["retired"] == [{"x": old["x"]}]


def test_retired_keys_come_newest_first(directory: Path) -> None:
    signer = LocalSigner(directory)
    kids = [signer.jwks()["keys"][0]["kid"], *(signer.rotate() for _ in range(3))]
    assert [key["kid"] for key in signer.jwks()["keys"]] == kids[::-1]


def test_signers_made_at_once_share_one_key(directory: Path) -> None:
    results = race([lambda: str(header(LocalSigner(directory).sign({}))["kid"])] * 8)
    assert outcomes(results) == {"ok": 8}
    assert len(set(map(str, results))) == 1


def test_no_rotation_is_lost(directory: Path) -> None:
    signer = LocalSigner(directory)
    results = race([partial(LocalSigner(directory).rotate)] * 6)
    assert outcomes(results) == {"ok": 6}
    kids = {key["kid"] for key in signer.jwks()["keys"]}
    assert len(kids) == 7
    assert set(map(str, results)) <= kids


@pytest.mark.parametrize("mode", [0o640, 0o604])
def test_a_file_open_to_others_is_refused(directory: Path, mode: int) -> None:
    signer = LocalSigner(directory)
    (directory / FILE).chmod(mode)
    for use in (lambda: signer.sign({}), signer.jwks, signer.rotate, lambda: LocalSigner(directory)):
        with pytest.raises(Silence) as raised:
            use()
        assert raised.value.hint == f"chmod 600 {directory / FILE}"


def test_another_owner_is_refused(directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    signer = LocalSigner(directory)
    other = directory.stat().st_uid + 1
    monkeypatch.setattr(os, "geteuid", lambda: other)
    with pytest.raises(Silence) as raised:
        signer.sign({})
    assert raised.value.hint == f"chown {other} {directory}"


def test_a_damaged_file_is_silence_and_is_not_replaced(directory: Path) -> None:
    signer = LocalSigner(directory)
    path = directory / FILE
    good = json.loads(path.read_bytes())
    LocalSigner(directory).rotate()
    other = json.loads(path.read_bytes())["active"]
    changes: list[dict[str, object]] = [
        {"format": "other"},
        {"active": None},
        {"active": {**good["active"], "x": other["x"]}},
        {"active": {**good["active"], "d": good["active"]["d"][:-4]}},
        {"active": {**good["active"], "d": 7}},
        {"active": {"x": good["active"]["x"]}},
        {"retired": None},
        {"retired": [{"x": "AAAA"}]},
        {"retired": [{}]},
    ]
    contents = [b"", b"{", b"[]", b"null", b"[" * 60_000, b"\xff"]
    contents += [json.dumps({**good, **change}).encode() for change in changes]
    for content in contents:
        path.write_bytes(content)
        for use in (lambda: signer.sign({}), signer.jwks, signer.rotate, lambda: LocalSigner(directory)):
            with pytest.raises(Silence) as raised:
                use()
            assert good["active"]["d"] not in f"{raised.value!r} {raised.value.hint}"
        assert path.read_bytes() == content


def test_a_directory_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(Silence):
        LocalSigner(tmp_path / "file" / "signing")


def test_repr_hides_the_key(directory: Path) -> None:
    signer = LocalSigner(directory)
    assert json.loads((directory / FILE).read_bytes())["active"]["d"] not in repr(signer)
    assert "private" not in repr(signer._read())


def test_read_only_it_tells_the_keys_and_does_nothing_else(directory: Path) -> None:
    signer = LocalSigner(directory)
    signer.rotate()
    path = directory / FILE
    path.chmod(0o444)  # a copy whose modes were lost is evidence all the same
    before = path.read_bytes(), path.stat().st_mtime_ns
    reader = LocalSigner(directory, read_only=True)
    uses: list[Callable[[], str]] = [lambda: reader.sign({}), reader.rotate]
    for use in uses:
        with pytest.raises(StoreUnavailable, match="read only"):
            use()
    keys = reader.jwks()
    assert (path.read_bytes(), path.stat().st_mtime_ns) == before
    assert [found.name for found in directory.iterdir()] == [FILE]
    path.chmod(0o600)
    assert keys == signer.jwks()


def test_read_only_it_makes_no_key_and_tells_damage_from_silence(directory: Path) -> None:
    reader = LocalSigner(directory, read_only=True)
    with pytest.raises(StoreUnavailable):
        reader.jwks()
    assert not directory.exists()
    LocalSigner(directory)
    for content in (b"", b"{", b"{}", b"[" * 60_000):
        (directory / FILE).write_bytes(content)
        with pytest.raises(StoreCorrupt, match="damaged"):
            reader.jwks()
