"""keystead audit export and keystead after-restore: a data directory that is copied away, used on, and put back."""

from __future__ import annotations

import json
import shutil
import sqlite3
import stat
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from core.bootstrap import STORE, Application
from core.domain.audit_copies import ChainCopy
from core.domain.key_target import KeyTarget
from core.domain.states import State
from core.domain.tenants import RECORD, SYSTEM
from core.errors import KeysteadError
from core.service.access import Caller, Permission
from core.service.keystead import Keystead
from core.service.revocation.store_restores import AfterRestore
from functions.cli import audit_copies
from functions.cli.exits import Exit
from functions.emulators.defaults import (
    LOCAL_ACCESS_KEY_ID,
    LOCAL_PRINCIPAL,
    LOCAL_SECRET_ACCESS_KEY,
)
from functions.emulators.kms import KmsEmulator
from functions.emulators.wire import serve
from functions.local.app import build_handler
from functions.settings import Settings
from tests.cli.conftest import Run, errors

CUSTOMER = "111122223333"
OPERATOR = Caller("operator", "test", None, frozenset({Permission.PLATFORM_OPERATE}))
CHAINS = Path("chains.jsonl")
LINES = {
    "acme": "acme: platform, unchanged",
    "globex": (
        "globex: platform -> suspended; 2 entries of the audit chain put back\n  suspended: the kill switch was on"
    ),
}


def officer(tenant_id: str) -> Caller:
    return Caller("alice", "test", tenant_id, frozenset(set(Permission) - {Permission.PLATFORM_OPERATE}))


class Deployment:
    """A service of this machine that is stopped and started, and its data directory, with tenants acme and globex."""

    def __init__(self, directory: Path) -> None:
        self.data = directory / "data"
        self.data.mkdir(mode=0o700)
        self.aws_endpoint_url = ""
        self._application: Application | None = None
        for tenant_id in ("acme", "globex"):
            self.application.keystead.create_tenant(OPERATOR, tenant_id)

    @property
    def application(self) -> Application:
        """The service; started if it does not run."""
        if self._application is None:
            self._application = build_handler(Settings(data=self.data, aws_endpoint_url=self.aws_endpoint_url))[1]
        return self._application

    def stop(self) -> None:
        if self._application is not None:
            self._application.close()
        self._application = None

    def copied(self, name: str = "backup") -> Path:
        """Stop it, and copy the data directory away."""
        self.stop()
        backup = self.data.with_name(name)
        shutil.copytree(self.data, backup)
        return backup

    def put_back(self, backup: Path) -> None:
        self.stop()
        shutil.rmtree(self.data)
        shutil.copytree(backup, self.data)

    def suspend(self, tenant_id: str) -> None:
        self.application.keystead.suspend_key(officer(tenant_id), tenant_id, "incident 4711")

    def state(self, tenant_id: str) -> State:
        return self.application.tenants.read(tenant_id).state

    def outcome(self, tenant_id: str, message: bytes) -> str:
        try:
            return self.application.keystead.decrypt(officer(tenant_id), tenant_id, message, {}).decode()
        except KeysteadError as error:
            return error.code

    def write(self, statement: str, *values: object) -> None:
        """Write to the store as one who has the file could."""
        self.stop()
        with closing(sqlite3.connect(self.data / STORE)) as store, store:
            assert store.execute(statement, values).rowcount == 1

    def everything(self) -> list[tuple[Any, ...]]:
        """All that the store keeps, the signed checkpoints apart."""
        self.stop()
        with closing(sqlite3.connect(self.data / STORE)) as store:
            return [
                *store.execute("SELECT * FROM audit ORDER BY 1, 2"),
                *store.execute("SELECT * FROM tenants WHERE name <> 'audit-checkpoints' ORDER BY 1, 2"),
            ]


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Deployment]:
    site = Deployment(tmp_path)
    yield site
    site.stop()


@pytest.fixture
def restored(site: Deployment, run: Run) -> Deployment:
    """A store out of a backup, from before globex was suspended; the copies of all chains know of that."""
    backup = site.copied()
    site.suspend("globex")
    export(run, site, "-o", str(CHAINS))
    site.put_back(backup)
    return site


def export(run: Run, site: Deployment, *arguments: str, code: int = 0) -> str:
    done = run("audit", "export", "--data", str(site.data), *arguments, code=code)
    return done.stdout if code == 0 else errors(done)["error"]


def after_restore(run: Run, site: Deployment, *arguments: str, code: int = 0) -> list[str]:
    done = run("after-restore", "--yes", "--data", str(site.data), *arguments, code=code)
    errors_told = [line for line in done.stderr.splitlines() if not line.startswith("note: ")]
    assert (errors_told == []) is (code == 0)
    return done.stdout.splitlines()


def copies(text: str) -> dict[str, ChainCopy]:
    found = [ChainCopy.from_line(line) for line in text.splitlines()]
    return {copy.chain: copy for copy in found}


# The whole of it


def test_a_backup_undoes_neither_a_withdrawal_nor_a_kill_switch(
    tmp_path: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    emulator = KmsEmulator(now=time.time)
    emulator.add_principal(LOCAL_ACCESS_KEY_ID, LOCAL_SECRET_ACCESS_KEY, LOCAL_PRINCIPAL)
    site = Deployment(tmp_path)
    site.stop()
    with serve(emulator) as server:
        site.aws_endpoint_url = server.url
        monkeypatch.setenv("KEYSTEAD_AWS_ENDPOINT_URL", server.url)
        try:
            story(site, run, emulator, server.url)
        finally:
            site.stop()


def story(site: Deployment, run: Run, emulator: KmsEmulator, url: str) -> None:
    keys: dict[str, str] = {}
    messages: dict[str, bytes] = {}
    site.application.keystead.create_tenant(OPERATOR, "initech")
    site.application.audit.record(SYSTEM, "store.create", "operator", "ok")
    for tenant_id in ("acme", "initech"):
        kit = site.application.keystead.key_setup(officer(tenant_id), tenant_id, "aws_kms")
        policy = json.loads(json.dumps(kit.documents["key_policy"]).replace("<YOUR-ACCOUNT>", CUSTOMER))
        keys[tenant_id] = emulator.create_key(CUSTOMER, policy=policy)
        site.application.keystead.configure_key(officer(tenant_id), tenant_id, KeyTarget(keys[tenant_id]))
    for tenant_id in ("acme", "globex", "initech"):
        messages[tenant_id] = site.application.keystead.encrypt(officer(tenant_id), tenant_id, b"data", {})
    backup = site.copied()

    # Since the backup: one key is turned off, one kill switch on, one tenant new, one branch key rotated.
    run("emulator", "disable-key", keys["initech"], "--url", url)
    site.suspend("globex")
    site.application.keystead.create_tenant(OPERATOR, "hooli")
    site.application.audit.record(SYSTEM, "test.entry", "operator", "ok")
    site.application.keystead.rotate(officer("acme"), "acme")
    export(run, site, "-o", str(CHAINS))
    kept = copies(CHAINS.read_text())
    Path("checkpoints").write_text("\n".join(copy.checkpoint for copy in kept.values()))

    site.put_back(backup)
    said = run("after-restore", "--audit", str(CHAINS), "--data", str(site.data), stdin=b"y\n")
    assert "Put every key of 3 tenants into hold until its KMS was asked? [y/N]" in said.stderr
    assert said.stdout.splitlines() == [
        "_system: the operator's chain; 1 entry of the audit chain put back",
        "acme: active -> hold; 1 entry of the audit chain put back",
        "  lost: version 3 of the branch key: what was encrypted under it cannot be read",
        "globex: platform -> suspended; 2 entries of the audit chain put back",
        "  suspended: the kill switch was on",
        "hooli: is not in the store; 1 entry of the audit chain put back",
        "  lost: the backup is older than the tenant: its keys and its data are not in it",
        "initech: active -> hold",
    ]
    verified = run("audit", "verify", "--data", str(site.data), "--checkpoint", "checkpoints").stdout
    assert verified.count(": ok, ") == 5

    assert {tenant_id: site.outcome(tenant_id, message) for tenant_id, message in messages.items()} == {
        "acme": "data",
        "globex": "key_suspended",
        "initech": "key_revoked",
    }
    site.application.checks.check("acme", forced=True)
    assert site.state("acme") is State.ACTIVE
    run("emulator", "enable-key", keys["initech"], "--url", url)
    site.application.checks.check("initech", forced=True)
    site.application.keystead.resume_key(officer("globex"), "globex")
    assert {site.outcome(tenant_id, message) for tenant_id, message in messages.items()} == {"data"}

    # Run again, beside the service, by mistake: what was settled since is asked anew, and nobody is suspended.
    lines = after_restore(run, site, "--audit", str(CHAINS))
    assert [line for line in lines if not line.startswith(" ")] == [
        "_system: the operator's chain",
        "acme: active -> hold",
        "globex: platform, unchanged",
        "hooli: is not in the store",
        "initech: active -> hold",
    ]
    for tenant_id in ("acme", "initech"):
        site.application.checks.check(tenant_id, forced=True)
    assert {site.outcome(tenant_id, message) for tenant_id, message in messages.items()} == {"data"}


# Export


def test_what_is_exported(site: Deployment, run: Run) -> None:
    site.suspend("globex")
    site.application.audit.record(SYSTEM, "store.create", "operator", "ok")
    said = run("audit", "export", "--data", str(site.data), "-o", str(CHAINS))
    assert said.stdout == ""
    assert said.stderr.splitlines() == ["3 chains with 5 entries written to chains.jsonl"]
    found = copies(CHAINS.read_text())
    assert list(found) == [SYSTEM, "acme", "globex"]
    for chain, copy in found.items():
        assert copy == site.application.audit_copies.make(chain)
    assert export(run, site) == CHAINS.read_text(), "to stdout the same"
    assert export(run, site, "-t", "globex") == found["globex"].to_line() + "\n"
    assert export(run, site, "--tenant", SYSTEM) == found[SYSTEM].to_line() + "\n"
    assert stat.S_IMODE(CHAINS.stat().st_mode) == 0o600
    site.stop()
    assert export(run, site) == CHAINS.read_text(), "the service need not run"


def test_a_single_chain_of_one_entry(site: Deployment, run: Run) -> None:
    said = run("audit", "export", "--data", str(site.data), "-t", "acme", "-o", str(CHAINS))
    assert said.stderr.splitlines() == ["1 chain with 1 entry written to chains.jsonl"]


def test_a_file_is_replaced_only_by_force(site: Deployment, run: Run) -> None:
    CHAINS.write_text("mine")
    CHAINS.chmod(0o644)
    refused = errors(run("audit", "export", "--data", str(site.data), "-o", str(CHAINS), code=1))
    assert "--force" in refused["hint"]
    assert CHAINS.read_text() == "mine"
    refused = errors(run("audit", "export", "--data", "nowhere", "-o", str(CHAINS), code=1))
    assert "--force" in refused["hint"], "found out before anything else"
    export(run, site, "-o", str(CHAINS), "--force")
    assert set(copies(CHAINS.read_text())) == {"acme", "globex"}
    assert stat.S_IMODE(CHAINS.stat().st_mode) == 0o600
    assert [path.name for path in Path().iterdir()] == [CHAINS.name]


def test_a_file_that_appears_meanwhile_is_not_replaced(
    site: Deployment, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    def copies_of(application: Application, _tenant: str, _broken: list[str]) -> Iterator[ChainCopy]:
        CHAINS.write_text("mine")
        yield application.audit_copies.make("acme")

    monkeypatch.setattr("functions.cli.audit_export._copies", copies_of)
    assert "exists" in export(run, site, "-o", str(CHAINS), code=1)
    assert CHAINS.read_text() == "mine"


def test_no_chain_of_nobody(site: Deployment, run: Run) -> None:
    for arguments in ([], ["-o", str(CHAINS)]):
        assert export(run, site, "-t", "nobody", *arguments, code=1) == "there is no audit chain of nobody"
    assert not CHAINS.exists()
    assert "no such directory" in export(run, site, "-o", "nowhere/chains", code=1)


def test_a_chain_that_does_not_hold_is_not_exported_and_the_others_are(site: Deployment, run: Run) -> None:
    site.suspend("globex")
    site.write("UPDATE audit SET entry = replace(entry, 'alice', 'mallory') WHERE chain = 'globex' AND sequence = 3")
    done = run("audit", "export", "--data", str(site.data), "-o", str(CHAINS), code=Exit.INTEGRITY)
    problem, written = done.stderr.splitlines()
    assert problem.startswith("error: the audit chain of globex does not hold: ")
    assert problem.endswith("; it was left out")
    assert written == "1 chain with 1 entry written to chains.jsonl"
    assert [*copies(CHAINS.read_text())] == ["acme"]
    (line,) = run("audit", "export", "--data", str(site.data), code=Exit.INTEGRITY).stdout.splitlines()
    assert json.loads(line)["chain"] == "acme"
    assert "globex" in export(run, site, "-t", "globex", "-o", "none", code=Exit.INTEGRITY)
    assert not Path("none").exists()


# After a restore


def test_without_copies_the_chain_in_the_store_is_all_there_is(restored: Deployment, run: Run) -> None:
    assert after_restore(run, restored) == ["acme: platform, unchanged", "globex: platform, unchanged"]
    assert restored.state("globex") is State.PLATFORM
    (entry,) = [e for e in restored.application.audit.read("acme") if e.action == "store.restored"]
    assert (entry.subject, entry.outcome, entry.details["issuer"]) == ("keystead (command line)", "ok", "local")


def test_with_copies(restored: Deployment, run: Run) -> None:
    assert after_restore(run, restored, "--audit", str(CHAINS)) == "\n".join(LINES.values()).splitlines()
    assert (restored.state("acme"), restored.state("globex")) == (State.PLATFORM, State.SUSPENDED)
    again = after_restore(run, restored, "--audit", str(CHAINS))
    assert again == ["acme: platform, unchanged", "globex: suspended, unchanged", "  suspended: the kill switch was on"]


def test_as_json(restored: Deployment, run: Run) -> None:
    found = [json.loads(line) for line in after_restore(run, restored, "--audit", str(CHAINS), "--json")]
    nothing = {"reasons": [], "lost": [], "entries": 0}
    assert found == [
        {**nothing, "tenant_id": "acme", "before": "platform", "after": "platform"},
        {
            **nothing,
            "tenant_id": "globex",
            "before": "platform",
            "after": "suspended",
            "reasons": ["the kill switch was on"],
            "entries": 2,
        },
    ]


def test_what_is_told_steers_no_terminal(site: Deployment, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    found = AfterRestore("acme", "active", "hold", ("\x1b[2J",), ("a\rb",))
    monkeypatch.setattr(Keystead, "store_restored", lambda *_arguments: found)
    assert after_restore(run, site)[:3] == ["acme: active -> hold", "  suspended: \\x1b[2J", "  lost: a\\rb"]


def test_it_asks_first(restored: Deployment, run: Run) -> None:
    before = restored.everything()
    arguments = ["after-restore", "--audit", str(CHAINS), "--data", str(restored.data)]
    assert "the answer was no" in run(*arguments, stdin=b"n\n", code=1).stderr
    assert "--yes" in run(*arguments, code=Exit.USAGE).stderr
    assert restored.everything() == before


def test_beside_a_service_that_runs(restored: Deployment, run: Run) -> None:
    message = restored.application.keystead.encrypt(officer("globex"), "globex", b"data", {})
    after_restore(run, restored, "--audit", str(CHAINS))
    restored.application.gate.expire("globex")  # or ten seconds
    assert restored.outcome("globex", message) == "key_suspended"


def test_the_longest_copy_of_each_chain_counts(site: Deployment, run: Run) -> None:
    backup = site.copied()
    names = ["short", "long", "other"]
    export(run, site, "-o", "short")
    site.suspend("globex")
    export(run, site, "-t", "globex", "-o", "long")
    site.application.keystead.rotate(officer("acme"), "acme")
    export(run, site, "-t", "acme", "-o", "other")
    for given in (names, names[::-1]):
        site.put_back(backup)
        lines = after_restore(run, site, *(argument for name in given for argument in ("--audit", name)))
        assert sorted(line for line in lines if not line.startswith(" ")) == [
            "acme: platform, unchanged; 1 entry of the audit chain put back",
            "globex: platform -> suspended; 2 entries of the audit chain put back",
        ]
    # All in one file, and lines of nothing between them.
    Path("all").write_text("\n".join(["", *(Path(name).read_text() for name in names), " ", ""]))
    site.put_back(backup)
    after_restore(run, site, "--audit", "all")
    assert site.state("globex") is State.SUSPENDED


def test_of_two_copies_the_shorter_may_be_the_newer(site: Deployment, run: Run) -> None:
    """The longer one is of before an earlier restore, after which the chain went on differently."""
    backup = site.copied()
    for _ in range(4):
        site.application.keystead.rotate(officer("globex"), "globex")
    export(run, site, "-t", "globex", "-o", "longer")
    site.put_back(backup)
    after_restore(run, site)
    again = site.copied("again")
    site.suspend("globex")
    export(run, site, "-t", "globex", "-o", "newer")
    sizes = [len(copies(Path(name).read_text())["globex"].entries) for name in ("longer", "newer")]
    assert sizes[0] > sizes[1]
    site.put_back(again)
    lines = after_restore(run, site, "--audit", "longer", "--audit", "newer")
    assert "  suspended: the kill switch was on" in lines
    assert site.state("globex") is State.SUSPENDED


def test_a_longer_copy_that_is_false_hides_no_true_one(restored: Deployment, run: Run) -> None:
    true = copies(CHAINS.read_text())["globex"]
    entry = replace(true.entries[-1], sequence=len(true.entries) + 1)
    Path("false").write_text(replace(true, entries=(*true.entries, entry)).to_line())
    arguments = ["--data", str(restored.data), "--audit", "false", "--audit", str(CHAINS)]
    done = run("after-restore", "--yes", *arguments, code=1)
    assert LINES["globex"] in done.stdout
    assert "globex: error: the copy of an audit chain does not hold" in done.stderr
    assert restored.state("globex") is State.SUSPENDED


def test_all_are_held_before_any_copy_is_read(restored: Deployment, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    held: list[str] = []

    def hold(_self: object, tenant_id: str, subject: str, *, end_receipts: bool) -> None:
        held.append(tenant_id)
        assert subject
        assert not end_receipts

    monkeypatch.setattr("core.service.revocation.store_restores.StoreRestores.hold", hold)
    monkeypatch.setattr("functions.cli.after_restore.confirm", lambda _question, *, yes: CHAINS.unlink())
    done = run("after-restore", "--yes", "--data", str(restored.data), "--audit", str(CHAINS), code=1)
    assert held == ["acme", "globex"]
    failed = [line for line in done.stderr.splitlines() if "No such file" in line]
    assert [line.partition(":")[0] for line in failed] == ["acme", "globex"], "each is told, and none ends the command"


BROKEN = {
    "empty": b"",
    "blank": b"\n \n",
    "no copies": b"notes\n",
    "a checkpoint file": b'{"checkpoints": []}\n',
    "not UTF-8": b'{"chain": "\xff"}\n',
    "UTF-16": '{"chain": "acme"}\n'.encode("utf-16"),
}


@pytest.mark.parametrize("name", BROKEN)
@pytest.mark.parametrize("first", [True, False])
def test_a_file_that_holds_no_copies(restored: Deployment, run: Run, name: str, first: bool) -> None:
    Path("broken").write_bytes(BROKEN[name])
    given = ["broken", str(CHAINS)] if first else [str(CHAINS), "broken"]
    refused(restored, run, given)


@pytest.mark.parametrize("cut", [1, 100])
def test_a_file_that_was_cut(restored: Deployment, run: Run, cut: int) -> None:
    text = CHAINS.read_bytes()
    Path("broken").write_bytes(text[: -1 - cut])
    refused(restored, run, ["broken"])
    Path("broken").write_bytes(text + text[:cut])
    refused(restored, run, ["broken"])


def test_a_line_that_is_too_long(restored: Deployment, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    longest = max(len(line) for line in CHAINS.read_bytes().splitlines(keepends=True))
    monkeypatch.setattr(audit_copies, "MAX_LINE", longest - 1)
    shutil.copy(CHAINS, "broken")
    refused(restored, run, ["broken"])
    monkeypatch.setattr(audit_copies, "MAX_LINE", longest)
    after_restore(run, restored, "--audit", "broken")


def refused(site: Deployment, run: Run, given: list[str]) -> None:
    before = site.everything()
    arguments = [argument for name in given for argument in ("--audit", name)]
    said = errors(run("after-restore", "--yes", "--data", str(site.data), *arguments, code=1))
    assert said["error"] == "broken is not a file of copies of audit chains"
    assert "audit export" in said["hint"]
    assert site.everything() == before


@pytest.mark.parametrize("name", ["missing", "."])
def test_a_file_that_cannot_be_read(restored: Deployment, run: Run, name: str) -> None:
    before = restored.everything()
    run("after-restore", "--yes", "--data", str(restored.data), "--audit", name, code=1)
    assert restored.everything() == before


def test_a_file_that_changes_meanwhile(restored: Deployment, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    lines = CHAINS.read_text().splitlines(keepends=True)
    before = restored.everything()

    def changing(_question: str, *, yes: bool) -> None:
        CHAINS.write_text("".join(reversed(lines)))
        assert yes

    monkeypatch.setattr("functions.cli.after_restore.confirm", changing)
    run("after-restore", "--yes", "--data", str(restored.data), "--audit", str(CHAINS), code=1)
    assert [row for row in restored.everything() if row not in before] == []


def test_a_copy_that_was_edited_keeps_nobody_else_waiting(restored: Deployment, run: Run) -> None:
    """Its tenant is told to be held, if the key is its own, and the true one is taken afterwards."""
    lines = CHAINS.read_text().splitlines()
    edited = [line.replace("operator", "nobody") if '"acme"' in line else line for line in lines]
    assert edited != lines
    Path("edited").write_text("\n".join(edited))
    done = run("after-restore", "--yes", "--data", str(restored.data), "--audit", "edited", code=1)
    assert done.stdout == LINES["globex"] + "\n"
    problem, hint = done.stderr.splitlines()
    assert problem == "acme: error: the copy of an audit chain does not hold at entry 1: the entry was changed"
    assert hint.startswith("acme: hint: a key of its own is in hold all the same; run this again")
    assert after_restore(run, restored, "--audit", str(CHAINS))[0] == LINES["acme"]


def test_a_copy_of_a_chain_that_no_tenant_can_have(restored: Deployment, run: Run) -> None:
    line = json.loads(CHAINS.read_text().splitlines()[0])
    Path("strange").write_text(json.dumps({**line, "chain": "\x1b[2J\n"}) + "\n")
    done = run("after-restore", "--yes", "--data", str(restored.data), "--audit", "strange", code=1)
    assert done.stderr.startswith("\\x1b[2J\\n: error: a tenant id is ")
    (note,) = done.stderr.splitlines()[1:]
    assert note.startswith("note: There is no copy of the audit chain of 2 of 2 tenants: kill switches turned on, and")
    assert done.stdout.splitlines() == ["acme: platform, unchanged", "globex: platform, unchanged"]


def test_a_damaged_record_keeps_nobody_else_waiting(restored: Deployment, run: Run) -> None:
    restored.write(
        'UPDATE tenants SET body = replace(body, \'"display_name":""\', \'"display_name":"x"\')'
        " WHERE tenant_id = 'acme' AND name = ?",
        RECORD,
    )
    done = run("after-restore", "--yes", "--data", str(restored.data), "--audit", str(CHAINS), code=Exit.INTEGRITY)
    assert done.stdout == LINES["globex"] + "\n"
    (line,) = done.stderr.splitlines()
    assert line.startswith("acme: error: a stored tenant record is refused")
    assert restored.state("globex") is State.SUSPENDED


@pytest.mark.parametrize(("order", "code"), [(1, Exit.INTEGRITY), (-1, Exit.FAILED)])
def test_the_code_is_that_of_the_first_failure(restored: Deployment, run: Run, order: int, code: Exit) -> None:
    acme, globex = CHAINS.read_text().splitlines()
    Path("edited").write_text("\n".join([acme, globex.replace("alice", "mallory")][::order]))
    restored.write("UPDATE tenants SET body = '{}' WHERE tenant_id = ? AND name = ?", "acme", RECORD)
    done = run("after-restore", "--yes", "--data", str(restored.data), "--audit", "edited", code=code)
    failed = [line.partition(":")[0] for line in done.stderr.splitlines() if ": error: " in line]
    assert failed == ["acme", "globex"][::order]
    assert done.stdout == ""


def test_a_store_without_tenants(tmp_path: Path, run: Run) -> None:
    data = tmp_path / "data"
    data.mkdir(mode=0o700)
    build_handler(Settings(data=data))[1].close()
    said = run("after-restore", "--data", str(data), stdin=b"y\n")
    assert "of 0 tenants" in said.stderr
    assert said.stdout == ""
    assert run("audit", "export", "--data", str(data)).stdout == ""


COMMANDS = [["audit", "export"], ["after-restore", "--yes"]]


@pytest.mark.parametrize("command", COMMANDS, ids=str)
def test_no_data_directory(run: Run, command: list[str]) -> None:
    assert "no data directory" in errors(run(*command, code=1))["error"]
    assert "no data directory" in errors(run(*command, "--data", "nowhere", code=1))["error"]
    assert list(Path().iterdir()) == []


@pytest.mark.parametrize("command", COMMANDS, ids=str)
@pytest.mark.parametrize("lost", [STORE, "keks", "signing"])
def test_a_data_directory_that_was_not_put_back_as_a_whole(
    restored: Deployment, run: Run, command: list[str], lost: str
) -> None:
    restored.stop()
    (restored.data / lost).rename("aside")
    said = errors(run(*command, "--data", str(restored.data), code=1))
    assert f"it has no {lost}" in said["error"]
    assert not (restored.data / lost).exists()


@pytest.mark.parametrize("command", COMMANDS, ids=str)
def test_a_service_that_keeps_no_store(
    site: Deployment, run: Run, command: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KEYSTEAD_STORE", "memory")
    said = errors(run(*command, "--data", str(site.data), code=1))
    assert said["error"] == "a service with KEYSTEAD_STORE=memory keeps no store"


def test_the_data_directory_of_the_environment(restored: Deployment, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KEYSTEAD_DATA", str(restored.data))
    assert run("after-restore", "--yes", "--audit", str(CHAINS)).stdout.startswith(LINES["acme"])
