"""audit verify."""

import json
import sqlite3
from pathlib import Path

import pytest

from functions.cli.demo.stage import STORE
from tests.cli.conftest import Run, Service, errors


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


@pytest.mark.parametrize("content", [b"not.a.checkpoint", b"{", b"{}", b'{"checkpoints": [7]}', b"\xff", b"x"])
def test_a_file_that_holds_no_checkpoints(chains: Service, run: Run, content: bytes) -> None:
    Path("kept").write_bytes(content)
    arguments = ["audit", "verify", "--data", str(chains.data), "--checkpoint", "kept"]
    assert "checkpoint" in errors(run(*arguments, code=1))["error"]


def test_a_forged_checkpoint_fails(chains: Service, run: Run) -> None:
    statement = chains.application.audit.checkpoints("acme")[0]
    Path("kept").write_text(statement[:-8] + "AAAAAAAA")
    assert any("INVALID" in line for line in verify(run, chains, "--checkpoint", "kept", code=6))


def test_looking_makes_no_data_directory(run: Run) -> None:
    assert "keystead serve" in errors(run("audit", "verify", code=1))["hint"]
    Path("empty").mkdir()
    assert "empty" in errors(run("audit", "verify", "--data", "empty", code=1))["error"]
    assert not list(Path("empty").iterdir())
    assert not Path(".keystead").exists()
