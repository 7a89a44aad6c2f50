"""``keystead emulator azure`` against a running emulator, and ``keystead emulator keyvault``, which runs one."""

from __future__ import annotations

import json
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from core.errors import InvalidRequest, NotFound
from functions.cli.emulator import emulator as group
from functions.cli.exits import Exit
from functions.emulators.azure_faults import Call
from functions.emulators.azure_wire import AzureEmulatorServer, serve
from functions.emulators.azure_world import AzureEmulator
from functions.emulators.keyvault_material import generate_rsa
from functions.emulators.keyvault_vaults import Vault
from functions.settings import LOCAL_AZURE
from tests.cli.conftest import Run, errors
from tests.cli.processes import DEADLINE, HEEDING_SIGNALS, environment

ENTRA = "11112222-3333-4444-5555-666677778888"
VAULT = "https://acme-kv.vault.azure.net"
KEK = f"{VAULT}/keys/kek"
CLIENT = LOCAL_AZURE[0]
Act = Callable[..., Result]
rsa_key = cache(generate_rsa)


@pytest.fixture
def server() -> Iterator[AzureEmulatorServer]:
    emulated = AzureEmulator(time.time, rsa_keys=lambda _size: rsa_key(2048))
    emulated.add_application(*LOCAL_AZURE)
    with serve(emulated) as running:
        yield running


@pytest.fixture
def act(server: AzureEmulatorServer) -> Act:
    """Runs a command of ``keystead emulator azure``."""

    def act(*arguments: str, stdin: str | None = None) -> Result:
        where = ["--address", server.dial, "--ca-file", server.ca_file]
        return CliRunner().invoke(group, ["azure", *arguments, *where], input=stdin)

    return act


def ok(result: Result) -> str:
    assert result.exception is None, result.exception
    assert result.exit_code == 0
    return result.output.strip()


def vault(server: AzureEmulatorServer) -> Vault:
    return server.emulator.vaults.vault(VAULT)


def test_a_customers_hands(act: Act, server: AzureEmulatorServer) -> None:
    assert ok(act("create-vault", "acme-kv", "--entra-tenant", ENTRA, "--no-purge-protection")) == VAULT
    first = ok(act("create-key", KEK, "--tags", "-", stdin='{"keystead-proof": "xid"}'))
    assert re.fullmatch(rf"{KEK}/[0-9a-f]{{32}}", first)
    key = vault(server).keys["kek"]
    assert (key.versions[0].tags, key.versions[0].key_ops) == ({"keystead-proof": "xid"}, ("wrapKey", "unwrapKey"))
    second = ok(act("rotate-key", KEK))
    assert second != first

    def states() -> list[str]:
        return [line.removeprefix(KEK + "/") for line in ok(act("keys")).splitlines()]

    names = [first[-32:], second[-32:]]
    for command, seen in [
        (["disable-key", first], ["disabled", "enabled"]),
        (["disable-key", KEK], ["disabled", "disabled"]),
        (["enable-key", KEK], ["enabled", "enabled"]),
        (["delete-key", KEK], ["deleted", "deleted"]),
        (["recover-key", KEK], ["enabled", "enabled"]),
    ]:
        assert ok(act(*command)) == ""
        assert states() == [f"{name}  {state}" for name, state in zip(names, seen, strict=True)], command
    assert ok(act("set-tags", KEK, "--tags", "-", stdin='{"a": "b"}')) == ""
    assert [version.tags for version in key.versions] == [{"a": "b"}] * 2
    assert ok(act("set-attributes", second, "--exp", "7", "--op", "unwrapKey")) == ""
    assert [(v.exp, v.nbf, v.key_ops) for v in key.versions][1] == (7, None, ("unwrapKey",))
    assert key.versions[0].exp is None
    listed = [json.loads(line)["key"]["kid"] for line in ok(act("keys", "--json")).splitlines()]
    assert listed == [first, second]
    ok(act("delete-key", KEK))
    assert ok(act("purge-key", KEK)) == ""
    assert states() == []


def test_keys_of_all_kinds(act: Act, server: AzureEmulatorServer) -> None:
    ok(act("create-vault", "acme-kv", "--entra-tenant", ENTRA))
    hsm = ok(act("create-vault", "acme-hsm", "--entra-tenant", ENTRA, "--hsm"))
    assert hsm == "https://acme-hsm.managedhsm.azure.net"
    for arguments, found in [
        ([VAULT, "--nbf", "5", "--exp", "6", "--disabled"], ("RSA", 3072, ("wrapKey", "unwrapKey"), 5, 6, False)),
        ([VAULT, "--size", "4096", "--op", "wrapKey"], ("RSA", 4096, ("wrapKey",), None, None, True)),
        ([VAULT, "--kty", "EC"], ("EC", 256, ("sign", "verify"), None, None, True)),
        ([hsm, "--kty", "RSA-HSM"], ("RSA-HSM", 3072, ("wrapKey", "unwrapKey"), None, None, True)),
        ([hsm, "--kty", "oct-HSM"], ("oct-HSM", 256, ("wrapKey", "unwrapKey"), None, None, True)),
    ]:
        ok(act("create-key", f"{arguments[0]}/keys/kek", *arguments[1:]))
        made = server.emulator.vaults.vault(arguments[0]).keys["kek"].version("")
        material = made.material
        assert (material.kty, material.size, made.key_ops, made.nbf, made.exp, made.enabled) == found


def test_who_may_use_the_keys(act: Act, server: AzureEmulatorServer) -> None:
    ok(act("create-vault", "acme-kv", "--entra-tenant", ENTRA, "--access", "policy"))
    assert vault(server).access == "policy"
    directory, here = server.emulator.directory, (CLIENT, ENTRA)
    for command, names in [
        ("consent", directory.consents),
        ("disable-application", directory.disabled),
        ("block-access", directory.blocked),
    ]:
        assert here not in names
        assert ok(act(command, ENTRA)) == ""
        assert here in names
    for command, names in [
        ("withdraw-consent", directory.consents),
        ("enable-application", directory.disabled),
        ("unblock-access", directory.blocked),
    ]:
        assert ok(act(command, ENTRA)) == ""
        assert here not in names
    ok(act("grant", VAULT, "--action", "read"))
    ok(act("grant", KEK))
    granted = [(grant.client_id, grant.key, grant.actions) for grant in vault(server).grants]
    assert granted == [(CLIENT, "", ("read",)), (CLIENT, "kek", ("read", "wrap", "unwrap"))]
    ok(act("revoke", VAULT))
    assert vault(server).grants == []
    for network in ("firewall", "private", "open"):
        ok(act("set-network", VAULT, network))
        assert vault(server).network == network
    ok(act("delete-vault", VAULT))
    assert vault(server).deleted
    ok(act("recover-vault", VAULT))
    assert not vault(server).deleted


def test_faults(act: Act, server: AzureEmulatorServer) -> None:
    ok(act("create-vault", "acme-kv", "--entra-tenant", ENTRA))
    ordered = ["--operation", "unwrapkey", "--status", "429", "--code", "Throttled", "--times", "1", "--key", KEK]
    ok(act("fault", *ordered))
    ok(act("fault", "--operation", "token", "--aadsts", "90033"))
    ok(act("fault", "--operation", "get", "--hang"))
    faults = server.emulator.faults

    def take(operation: str) -> object:
        fault = faults.take(Call("acme-kv.vault.azure.net", operation, "kek", "", 0, ""))
        return fault and (fault.status, fault.code, fault.aadsts, fault.hang)

    assert [take("unwrapkey"), take("unwrapkey")] == [(429, "Throttled", 0, False), None]
    assert [take("token"), take("get")] == [(None, "", 90033, False), (None, "", 0, True)]
    ok(act("clear-faults"))
    assert take("token") is None
    nothing = act("fault", "--times", "3")
    assert nothing.exit_code == Exit.USAGE
    assert "nothing is to go wrong" in nothing.output


@pytest.mark.parametrize(
    ("command", "stdin", "kind", "message"),
    [
        (["disable-key", KEK], None, NotFound, "There is no vault"),
        (["disable-key", "\x1b[2J"], None, InvalidRequest, "not the identifier of a key"),
        (["disable-key", VAULT], None, InvalidRequest, "not the identifier of a key"),
        (["create-key", "kek"], None, InvalidRequest, "not the address of a vault"),
        (["create-key", KEK, "--tags", "-"], "{", InvalidRequest, "no JSON object of texts"),
        (["create-key", KEK, "--tags", "-"], '{"a": 1}', InvalidRequest, "no JSON object of texts"),
        (["create-key", KEK, "--tags", "-"], '{"a": "' + "b" * 70000 + '"}', InvalidRequest, "no JSON object of texts"),
        (["create-key", KEK, "--tags", "none.json"], None, FileNotFoundError, "none.json"),
        (["create-vault", "x", "--entra-tenant", ENTRA], None, InvalidRequest, "not the address of a vault"),
        (["consent", "contoso.com"], None, InvalidRequest, "named by its id"),
        (["grant", "https://evil.example"], None, InvalidRequest, "not the address of a vault"),
    ],
)
def test_refusals(act: Act, command: list[str], stdin: str | None, kind: type[Exception], message: str) -> None:
    result = act(*command, stdin=stdin)
    assert type(result.exception) is kind, result.output
    assert message in str(result.exception)
    assert "\x1b" not in str(result.exception)


def test_where_the_emulator_is(
    server: AzureEmulatorServer, run: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    unknown = errors(run("emulator", "azure", "keys", code=Exit.USAGE))
    assert "KEYSTEAD_AZURE_EMULATOR_CA" in unknown["error"]
    assert "keystead emulator keyvault" in unknown["hint"]
    monkeypatch.setenv("KEYSTEAD_AZURE_EMULATOR", server.dial)
    monkeypatch.setenv("KEYSTEAD_AZURE_EMULATOR_CA", server.ca_file)
    run("emulator", "azure", "create-vault", "acme-kv", "--entra-tenant", ENTRA)
    assert vault(server).tenant == ENTRA
    for address in ("example.com:443", "127.0.0.1", "127.0.0.1:", "127.0.0.1:99999", "https://127.0.0.1:4598"):
        elsewhere = errors(run("emulator", "azure", "keys", "--address", address, code=Exit.USAGE))
        assert "an emulator is on this machine" in elsewhere["error"]
    (tmp_path / "no.pem").write_text("no certificate")
    found = errors(run("emulator", "azure", "keys", "--ca-file", str(tmp_path / "no.pem"), code=Exit.FAILED))
    assert "holds no certificate authority" in found["error"]
    # Whoever else listens there is told nothing.
    stranger = AzureEmulator(time.time)
    with serve(stranger) as other:
        found = errors(run("emulator", "azure", "keys", "--address", other.dial, code=Exit.UNAVAILABLE))
        assert "no emulator answers" in found["error"]
    authority = tmp_path / "ca.pem"
    authority.write_text(Path(server.ca_file).read_text())
    server.close()
    for left in ([], ["--ca-file", str(authority)]):
        gone = errors(run("emulator", "azure", "keys", *left, code=Exit.UNAVAILABLE))
        assert "keystead emulator keyvault" in gone["hint"]


def test_a_port_that_is_taken_and_files_that_cannot_be(tmp_path: Path) -> None:
    def refused(*options: str) -> BaseException | None:
        return CliRunner().invoke(group, ["keyvault", *options]).exception

    with socket.create_server(("127.0.0.1", 0)) as taken:
        found = refused("--port", str(taken.getsockname()[1]))
    assert isinstance(found, InvalidRequest)
    assert "cannot be listened on" in found.detail
    mine = tmp_path / "notes.json"
    mine.write_text('{"mine": 1}')
    for option in ("--data", "--ca-file"):
        assert type(refused("--port", "0", option, str(mine))) is InvalidRequest
        assert mine.read_text() == '{"mine": 1}'
    assert type(refused("--port", "0", "--ca-file", str(tmp_path / "none" / "ca.pem"))) is FileNotFoundError


Started = tuple[subprocess.Popen[str], dict[str, str]]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., Started]]:
    """Starts the program; gives the process and the variables that it prints."""
    running = []

    def start(*arguments: str) -> Started:
        process = subprocess.Popen(
            [*HEEDING_SIGNALS, "emulator", "keyvault", "--port", "0", *arguments],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            cwd=tmp_path,
            env=environment(PYTHONUNBUFFERED="1", TMPDIR=str(tmp_path)),
        )
        running.append(process)
        assert process.stdout is not None
        found: dict[str, str] = {}
        for text in process.stdout:
            if export := re.fullmatch(r"  export (KEYSTEAD_\w+)=(\S+)\n", text):
                found[export[1]] = export[2]
            if len(found) == 2:
                return process, found
        raise AssertionError(process.communicate()[1])

    yield start
    for process in running:
        process.kill()
        process.communicate()


def invoke(variables: dict[str, str], *arguments: str) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "functions.cli", "emulator", "azure", *arguments],
        env=environment(**variables),
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout.strip()


@pytest.mark.slow
def test_all_there_is_survives_the_program(start: Callable[..., Started], tmp_path: Path) -> None:
    data = tmp_path / "kv.json"
    process, variables = start("--data", str(data))
    assert variables["KEYSTEAD_AZURE_EMULATOR_CA"] == str(tmp_path / "kv.ca.pem")
    invoke(variables, "create-vault", "acme-kv", "--entra-tenant", ENTRA)
    made = invoke(variables, "create-key", KEK, "--size", "2048")
    authority = Path(variables["KEYSTEAD_AZURE_EMULATOR_CA"]).read_text()
    assert data.stat().st_mode & 0o077 == 0
    process.kill()
    process.wait()
    process, variables = start("--data", str(data))
    assert Path(variables["KEYSTEAD_AZURE_EMULATOR_CA"]).read_text() == authority, "services that run trust it still"
    assert invoke(variables, "keys") == f"{made}  enabled"


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_it_quietly(start: Callable[..., Started], number: signal.Signals, tmp_path: Path) -> None:
    process, variables = start()
    assert re.fullmatch(r"127\.0\.0\.1:\d+", variables["KEYSTEAD_AZURE_EMULATOR"])
    assert Path(variables["KEYSTEAD_AZURE_EMULATOR_CA"]).is_file()
    process.send_signal(number)
    _, said = process.communicate(timeout=DEADLINE)
    assert (process.returncode, said) == (0, "stopped\n")
    assert [*tmp_path.iterdir()] == [], "the temporary authority is gone"
