"""audit verify."""

import json
import shutil
import sqlite3
import subprocess
from contextlib import closing
from pathlib import Path

import pytest

from core.bootstrap import STORE, open_audit
from core.errors import StoreUnavailable
from functions.cli.serve import first_tenant
from functions.settings import Settings
from tests.cli.conftest import Run, Service, errors
from tests.cli.processes import KEYSTEAD, environment


@pytest.fixture
def chains(service: Service) -> Service:
    for number in range(3):
        for chain in ("acme", "globex", "_system"):
            service.application.audit.record(chain, "test.entry", "tester", "ok", {"number": number})
    return service


def change(service: Service, statement: str) -> None:
    with sqlite3.connect(service.data / STORE) as store:
        assert store.execute(statement).rowcount > 0
    store.close()


def verify(run: Run, service: Service, *arguments: str, code: int = 0) -> list[str]:
    return run("audit", "verify", "--data", str(service.data), *arguments, code=code).stdout.splitlines()


def test_all_chains_hold(chains: Service, run: Run) -> None:
    lines = verify(run, chains)
    assert [line.partition(":")[0] for line in lines] == ["_system", "acme", "globex"]
    assert all(": ok, 3 entries" in line for line in lines)


def test_one_chain(chains: Service, run: Run) -> None:
    (line,) = verify(run, chains, "--tenant", "acme", "--json")
    found = json.loads(line)
    assert (found["chain"], found["ok"], found["entries"]) == ("acme", True, 3)
    assert (
        "no audit chain" in errors(run("audit", "verify", "--data", str(chains.data), "-t", "nobody", code=1))["error"]
    )


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE audit SET entry = replace(entry, 'tester', 'nobody') WHERE chain = 'acme' AND sequence = 2",
        "DELETE FROM audit WHERE chain = 'acme' AND sequence = 2",
        "DELETE FROM audit WHERE chain = 'acme' AND sequence = 3",
        "UPDATE audit SET entry = 'x' WHERE chain = 'acme' AND sequence = 1",
    ],
)
def test_a_changed_chain_is_found(chains: Service, run: Run, statement: str) -> None:
    change(chains, statement)
    lines = verify(run, chains, code=6)
    assert [line for line in lines if "INVALID" in line] == [line for line in lines if line.startswith("acme:")]
    assert any("INVALID at entry" in line for line in lines)


@pytest.mark.parametrize("shape", ["lines", "json"])
def test_a_checkpoint_kept_elsewhere_finds_a_lost_chain(chains: Service, run: Run, shape: str) -> None:
    statements = list(chains.application.audit.checkpoints("acme"))
    text = "\n".join(statements) if shape == "lines" else json.dumps({"checkpoints": statements})
    Path("kept").write_text(text)
    verify(run, chains, "--checkpoint", "kept")
    change(chains, "DELETE FROM audit WHERE chain = 'acme'")
    change(chains, "DELETE FROM tenants WHERE tenant_id = 'acme'")
    assert all(": ok" in line for line in verify(run, chains)), "nothing in the store tells that there was a chain"
    for arguments in ([], ["--tenant", "acme"]):
        lines = verify(run, chains, "--checkpoint", "kept", *arguments, code=6)
        assert any(line.startswith("acme: INVALID") for line in lines)


@pytest.mark.parametrize(
    "data",
    [
        b"not.a.checkpoint",
        b"{",
        b"{}",
        b'{"checkpoints": [7]}',
        b"\xff",
        b"x",
        b"a.eyJjaGFpbiI6N30.c",
        b'{"a":' * 100_000,
    ],
)
def test_a_file_that_holds_no_checkpoints(chains: Service, run: Run, data: bytes) -> None:
    Path("kept").write_bytes(data)
    arguments = ["audit", "verify", "--data", str(chains.data), "--checkpoint", "kept"]
    assert "checkpoint" in errors(run(*arguments, code=1))["error"]


def test_a_forged_checkpoint_fails(chains: Service, run: Run) -> None:
    statement = chains.application.audit.checkpoints("acme")[0]
    Path("kept").write_text(statement[:-8] + "AAAAAAAA")
    assert any("INVALID" in line for line in verify(run, chains, "--checkpoint", "kept", code=6))


def content(directory: Path) -> dict[str, tuple[bytes, int]]:
    return {
        str(path.relative_to(directory)): (path.read_bytes() if path.is_file() else b"", path.stat().st_mtime_ns)
        for path in [directory, *directory.rglob("*")]
    }


def test_looking_makes_no_data_directory(run: Run) -> None:
    assert "keystead serve" in errors(run("audit", "verify", code=1))["hint"]
    assert not Path(".keystead").exists()


@pytest.mark.parametrize("holds", [[], ["notes"], ["keks"], ["signing"], [STORE]])
def test_a_directory_that_is_no_data_directory(run: Run, holds: list[str]) -> None:
    Path("other").mkdir()
    for name in holds:
        (Path("other") / name).mkdir()
    before = content(Path("other"))
    said = errors(run("audit", "verify", "--data", "other", code=1))
    assert "no data directory" in said["error"]
    assert "keystead serve" in said["hint"]
    assert content(Path("other")) == before


@pytest.mark.parametrize("lost", [STORE, "signing/signing-keys.json"])
def test_evidence_that_is_gone_is_no_evidence_that_all_is_well(chains: Service, run: Run, lost: str) -> None:
    chains.application.close()
    (chains.data / lost).unlink()
    before = content(chains.data)
    assert f"lost {lost}" in errors(run("audit", "verify", "--data", str(chains.data), code=6))["error"]
    assert content(chains.data) == before


@pytest.mark.slow
@pytest.mark.parametrize("running", [True, False])
def test_verifying_writes_nothing(chains: Service, running: bool) -> None:
    if not running:
        chains.application.close()
    assert (chains.data / f"{STORE}-wal").exists() == running
    before = content(chains.data)
    # In a process of its own: within one, SQLite shares the index between all who read and write.
    done = subprocess.run(
        [*KEYSTEAD, "audit", "verify", "--data", str(chains.data)], env=environment(), capture_output=True, check=True
    )
    assert done.stdout.count(b": ok, 3 entries") == 3
    assert content(chains.data) == before


def test_what_the_service_writes_meanwhile_is_seen(chains: Service, run: Run) -> None:
    with closing(open_audit(chains.data)) as store:
        assert store.verify("acme").entries == 3
        chains.application.audit.record("acme", "test.entry", "tester", "ok")
        assert store.verify("acme").entries == 4


def test_a_store_that_is_written_to_while_it_is_read_as_still(chains: Service) -> None:
    chains.application.close()
    with closing(open_audit(chains.data)) as store:
        change(chains, "DELETE FROM audit WHERE chain = 'acme' AND sequence = 3")
        with pytest.raises(StoreUnavailable, match="written to"):
            store.verify("acme")


def test_a_log_without_its_index_is_not_passed_over(chains: Service, run: Run) -> None:
    copy = chains.data.with_name("copy")
    shutil.copytree(chains.data, copy, ignore=shutil.ignore_patterns("*-shm"))
    before = content(copy)
    assert "-shm" in errors(run("audit", "verify", "--data", str(copy), code=5))["hint"]
    assert content(copy) == before


@pytest.mark.parametrize(
    ("damage", "code"),
    [("", 6), ("not a database, and longer than a header of one would be" * 20, 6)],
)
def test_a_store_that_is_none(chains: Service, run: Run, damage: str, code: int) -> None:
    chains.application.close()
    (chains.data / STORE).write_text(damage)
    assert errors(run("audit", "verify", "--data", str(chains.data), code=code))["error"]


def test_a_store_of_another_kind_or_version(chains: Service, run: Run) -> None:
    change(chains, "UPDATE schema_version SET version = 99")
    assert "another version" in errors(run("audit", "verify", "--data", str(chains.data), code=5))["error"]
    with sqlite3.connect(chains.data / STORE) as store:
        store.execute("DROP TABLE schema_version")
    store.close()
    assert "not a store" in errors(run("audit", "verify", "--data", str(chains.data), code=6))["error"]


def test_an_empty_chain_beside_what_must_have_filled_it(chains: Service, run: Run) -> None:
    change(chains, "DELETE FROM audit WHERE chain = '_system'")
    change(chains, "DELETE FROM audit WHERE chain = 'acme'")
    system, acme, globex = verify(run, chains, code=6)
    assert system == "_system: INVALID: the chain is empty beside tenants (0 entries, 0 checkpoints held)"
    assert acme.startswith("acme: INVALID: ")
    assert globex.startswith("globex: ok, 3 entries")
    (line,) = verify(run, chains, "--tenant", "acme", code=6)
    assert "INVALID" in line


def test_an_empty_store_is_not_well(chains: Service, run: Run) -> None:
    change(chains, "DELETE FROM audit")
    change(chains, "DELETE FROM tenants")
    (line,) = verify(run, chains, code=6)
    assert "nothing to verify" in line


def test_a_fresh_store_of_the_service_holds(run: Run, tmp_path: Path) -> None:
    data = tmp_path / "fresh"
    assert first_tenant(Settings(data=data)) == "demo"
    lines = run("audit", "verify", "--data", str(data)).stdout.splitlines()
    assert lines == ["_system: ok, 1 entry, 0 checkpoints", "demo: ok, 1 entry, 0 checkpoints"]


DEEP = '{"a":' * 100_000


@pytest.mark.parametrize("entry", ["null", DEEP, '{"details": NaN}', "{}", "\udcff"])
def test_an_entry_that_is_none(chains: Service, run: Run, entry: str) -> None:
    with sqlite3.connect(chains.data / STORE) as store:
        value: object = entry if entry.isascii() else b"\xff"
        store.execute("UPDATE audit SET entry = CAST(? AS TEXT) WHERE chain = 'acme' AND sequence IN (0, 2)", (value,))
    store.close()
    lines = verify(run, chains, code=6)
    assert [line.partition(":")[0] for line in lines if "INVALID" in line] == ["acme"]


@pytest.mark.parametrize("keys", ["", "{}", '{"active": {"x": "AAAA"}, "retired": []}', DEEP])
def test_signing_keys_that_are_none(chains: Service, run: Run, keys: str) -> None:
    statements = list(chains.application.audit.checkpoints("acme"))
    Path("kept").write_text("\n".join(statements))
    (chains.data / "signing" / "signing-keys.json").write_text(keys)
    run("audit", "verify", "--data", str(chains.data), "--checkpoint", "kept", code=6)


def test_a_checkpoint_given_twice_is_one(chains: Service, run: Run) -> None:
    Path("kept").write_text("\n".join(chains.application.audit.checkpoints("acme")))
    (line,) = verify(run, chains, "-t", "acme", "--checkpoint", "kept", "--checkpoint", "kept")
    assert line == "acme: ok, 3 entries, 1 checkpoint"


@pytest.mark.parametrize("depth", range(300, 1000, 100))
def test_an_entry_nested_so_deeply_that_it_may_only_be_read(chains: Service, run: Run, depth: int) -> None:
    nested = '{"a":' * depth + "1" + "}" * depth
    statement = "UPDATE audit SET entry = json_set(entry, '$.details', 0) WHERE chain = 'acme' AND sequence = 2"
    change(chains, statement)
    change(
        chains, f"UPDATE audit SET entry = replace(entry, '\"details\":0', '\"details\":{nested}') WHERE chain = 'acme'"
    )
    lines = verify(run, chains, code=6)
    assert [line.partition(":")[0] for line in lines if "INVALID" in line] == ["acme"]
