"""audit verify, where checkpoints were signed by keys that do not lie in the data directory."""

import json
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest

from core.bootstrap import Application, open_audit
from core.domain.jws import verify as verify_statement
from core.errors import InvalidRequest, StoreUnavailable
from core.providers.local_signer import FILE, LocalSigner
from functions.emulators.defaults import (
    LOCAL_ACCESS_KEY_ID,
    LOCAL_ACCOUNT,
    LOCAL_PRINCIPAL,
    LOCAL_SECRET_ACCESS_KEY,
)
from functions.emulators.kms import KmsEmulator
from functions.emulators.wire import serve
from functions.local.app import build_handler
from functions.settings import Settings
from tests.cli.conftest import Run, errors

NOW = 1_800_000_000.0
KEYS = Path("jwks.json")
Started = Callable[..., Application]


@pytest.fixture
def data(tmp_path: Path) -> Path:
    directory = tmp_path / "data"
    directory.mkdir(mode=0o700)
    return directory


@pytest.fixture
def start(data: Path) -> Iterator[Started]:
    """Starts the service over one data directory, signing in a KMS or not; the former one is closed."""
    emulator = KmsEmulator(now=lambda: NOW)
    emulator.add_principal(LOCAL_ACCESS_KEY_ID, LOCAL_SECRET_ACCESS_KEY, LOCAL_PRINCIPAL)
    signing_key = emulator.create_key(LOCAL_ACCOUNT, spec="ECC_NIST_P256", usage="SIGN_VERIFY", rotation=False)
    opened: list[Application] = []
    with serve(emulator, max_age=None) as server:

        def begin(*, in_kms: bool) -> Application:
            for application in opened:
                application.close()
            settings = Settings(data=data, aws_endpoint_url=server.url, signing_key=signing_key if in_kms else "")
            opened[:] = [build_handler(settings)[1]]
            return opened[0]

        yield begin
        for application in opened:
            application.close()


def checkpointed(application: Application, number: int) -> str:
    application.audit.record("acme", "test.entry", "tester", "ok", {"number": number})
    statement = application.audit.checkpoint("acme")
    assert statement is not None
    return statement


def published(application: Application) -> str:
    return json.dumps(application.leaves.signer.jwks())


def verify(run: Run, data: Path, *arguments: str, code: int = 0) -> list[str]:
    return run("audit", "verify", "--data", str(data), "-t", "acme", *arguments, code=code).stdout.splitlines()


def test_a_service_that_only_ever_signed_in_a_kms(start: Started, data: Path, run: Run) -> None:
    application = start(in_kms=True)
    checkpointed(application, 1)
    KEYS.write_text(published(application))
    assert not (data / "signing" / FILE).exists()
    said = errors(run("audit", "verify", "--data", str(data), code=6))
    assert f"lost signing/{FILE}" in said["error"]
    assert "jwks.json" in said["hint"]
    assert verify(run, data, "--jwks", str(KEYS)) == ["acme: ok, 1 entry, 1 checkpoint"]
    assert not (data / "signing" / FILE).exists(), "looking makes no key"


def test_a_service_that_moved_its_signing_key_to_a_kms(
    start: Started, data: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = start(in_kms=False)
    of_the_file = published(before)
    first = checkpointed(before, 1)
    after = start(in_kms=True)
    second = checkpointed(after, 2)
    key_of_the_kms, *_ = json.loads(published(after))["keys"]
    KEYS.write_text(json.dumps({"keys": [key_of_the_kms]}))
    assert verify_statement(first, json.loads(of_the_file)) != verify_statement(second, json.loads(KEYS.read_text()))
    (line,) = verify(run, data, code=6)
    assert "INVALID" in line
    assert "a checkpoint fails" in line
    told = ["acme: ok, 2 entries, 2 checkpoints"]
    assert verify(run, data, "--jwks", str(KEYS)) == told
    monkeypatch.setenv("KEYSTEAD_RETIRED_SIGNING_KEYS", str(KEYS.resolve()))
    assert verify(run, data) == told, "the settings' own file is the default"
    Path("others").write_text(of_the_file)
    assert "INVALID" in verify(run, data, "--jwks", "others", code=6)[0], "named files take its place"
    assert verify(run, data, "--jwks", "others", "--jwks", str(KEYS)) == told


def test_keys_that_signed_nothing_prove_nothing(start: Started, data: Path, run: Run, tmp_path: Path) -> None:
    checkpointed(start(in_kms=True), 1)
    KEYS.write_text(json.dumps(LocalSigner(tmp_path / "other").jwks()))
    (line,) = verify(run, data, "--jwks", str(KEYS), code=6)
    assert line.startswith("acme: INVALID")


def test_a_changed_chain_is_found_with_given_keys_too(start: Started, data: Path, run: Run) -> None:
    import sqlite3

    from core.bootstrap import STORE

    application = start(in_kms=True)
    checkpointed(application, 1)
    checkpointed(application, 2)
    KEYS.write_text(published(application))
    with closing(sqlite3.connect(data / STORE)) as store, store:
        store.execute("DELETE FROM audit WHERE chain = 'acme' AND sequence = 2")
    (line,) = verify(run, data, "--jwks", str(KEYS), code=6)
    assert "INVALID" in line


PUBLIC = {"kty": "OKP", "crv": "Ed25519", "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}
"""Of RFC 8037, appendix A.2."""


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("", "not a set of public keys"),
        ("{", "not a set of public keys"),
        ("[]", "not a set of public keys"),
        ('{"keys": {}}', "not a set of public keys"),
        ('{"keys": []}', "not a set of public keys"),
        ('{"keys": [7]}', "not a set of public keys"),
        ('{"a":' * 100_000, "not a set of public keys"),
        (json.dumps({"keys": [PUBLIC], "padding": "x" * 300_000}), "not a set of public keys"),
        (json.dumps({"keys": [PUBLIC | {"d": "nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A"}]}), "private half"),
        (json.dumps({"keys": [{"kty": "RSA", "n": "AQAB", "e": "AQAB"}]}), "not an Ed25519 or P-256"),
        (json.dumps({"keys": [PUBLIC | {"kid": "another"}]}), "kid"),
    ],
)
def test_a_file_that_holds_no_keys(start: Started, data: Path, run: Run, content: str, says: str) -> None:
    start(in_kms=False)
    KEYS.write_text(content)
    said = errors(run("audit", "verify", "--data", str(data), "--jwks", str(KEYS), code=1))
    assert says in said["error"]
    assert "jwks.json" in said["hint"]


def test_a_file_of_keys_that_is_not_there(start: Started, data: Path, run: Run) -> None:
    start(in_kms=False)
    run("audit", "verify", "--data", str(data), "--jwks", "nowhere", code=1)


@pytest.mark.parametrize("in_kms", [True, False])
def test_who_only_reads_signs_nothing(start: Started, data: Path, in_kms: bool) -> None:
    start(in_kms=in_kms).audit.record("acme", "test.entry", "tester", "ok")
    with closing(open_audit(data, [PUBLIC])) as store, pytest.raises(StoreUnavailable, match="signing keys"):
        store.trail.checkpoint("acme")


def test_a_key_that_is_none(start: Started, data: Path) -> None:
    start(in_kms=True)
    with pytest.raises(InvalidRequest, match="not an Ed25519 or P-256"):
        open_audit(data, [{"kty": "oct"}])
