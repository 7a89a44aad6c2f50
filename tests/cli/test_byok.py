"""A tenant brings its own key, takes it away and back, replaces it, moves it to another cloud and leaves: the real
service, the real emulators."""

import json
import time
from pathlib import Path
from typing import Any

import httpx
import pytest

from functions.cli.exits import Exit
from functions.emulators.azure_wire import AzureEmulatorServer
from functions.emulators.azure_wire import serve as serve_azure
from functions.emulators.azure_world import AzureEmulator
from functions.settings import LOCAL_AZURE
from tests.cli.conftest import Run, errors
from tests.cli.processes import DEADLINE, emulated, mint, served

ACCOUNT = "111122223333"
ROLE = f"arn:aws:iam::{ACCOUNT}:role/keystead-byok"
ENTRA_TENANT = "11112222-3333-4444-5555-666677778888"
PLAIN = b"the tenant's own\n"


def variables(server: AzureEmulatorServer) -> dict[str, str]:
    """What tells services and commands where the emulator of Azure is."""
    return {"KEYSTEAD_AZURE_EMULATOR": server.dial, "KEYSTEAD_AZURE_EMULATOR_CA": server.ca_file}


class Story:
    """The commands of the tenant's key officer, and what must hold after each."""

    def __init__(self, run: Run, emulator: str) -> None:
        self.run = run
        self.emulator = emulator
        self.messages: list[str] = []
        Path("plain").write_bytes(PLAIN)

    def document(self, name: str, key: str = "") -> dict[str, Any]:
        """A document of the setup kit, with the tenant's own account put in."""
        text = self.run("key", "setup", "--only", name).stdout
        found: dict[str, Any] = json.loads(text.replace("<YOUR-ACCOUNT>", ACCOUNT).replace("<KEY-ARN>", key))
        return found

    def new_key(self, policy: dict[str, Any] | None) -> str:
        """A key as the tenant makes it in its own account."""
        given: list[str] = []
        if policy is not None:
            Path("policy.json").write_text(json.dumps(policy))
            given = ["--policy", "policy.json"]
        return self.run("emulator", "create-key", *given, "--url", self.emulator).stdout.strip()

    def new_role(self, key: str) -> None:
        """A role as the tenant makes it for this service; the emulator's command line has no word for it."""
        body = {
            "arn": ROLE,
            "trust_policy": self.document("trust_policy"),
            "policies": {"use-key": self.document("role_policy", key)},
        }
        answer = httpx.post(f"{self.emulator}/_emulator/create-role", json=body, trust_env=False)
        assert answer.status_code == 200, answer.text

    def new_key_in_azure(self) -> str:
        """A key as the tenant makes it in Azure; its identifier, without a version."""
        vault = self.run("emulator", "azure", "create-vault", "demo-kv", "--entra-tenant", ENTRA_TENANT).stdout.strip()
        key = f"{vault}/keys/kek"
        self.run("emulator", "azure", "consent", ENTRA_TENANT)
        tags = self.run("key", "setup", "azure_key_vault", "--only", "tags").stdout_bytes
        self.run("emulator", "azure", "create-key", key, "--size", "2048", "--tags", "-", stdin=tags)
        self.run("emulator", "azure", "grant", key)
        return key

    def withdraw(self, key: str) -> None:
        self.run("emulator", "disable-key", key, "--url", self.emulator)

    def give_back(self, key: str) -> None:
        self.run("emulator", "enable-key", key, "--url", self.emulator)

    def encrypt(self) -> None:
        self.messages.append(f"message-{len(self.messages)}")
        self.run("encrypt", "plain", "-o", self.messages[-1])

    def everything_opens(self) -> None:
        """Messages made before and after every change of key."""
        self.encrypt()
        for message in self.messages:
            assert self.run("decrypt", message).stdout_bytes == PLAIN, message

    def nothing_opens(self) -> None:
        for message in self.messages:
            assert errors(self.run("decrypt", message, code=Exit.WITHHELD))["error"]

    def becomes(self, state: str) -> dict[str, Any]:
        """Wait until the service has put the key into a state; gives the status."""
        deadline = time.monotonic() + DEADLINE
        while (found := self.status())["state"] != state:
            assert time.monotonic() < deadline, found
            time.sleep(0.1)
        return found

    def is_back(self) -> None:
        """A check asks the key at once, where requests would wait for the next probe."""
        assert self.run("check").stdout.split()[:2] == ["demo", "active"]
        self.everything_opens()

    def status(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.run("key", "status", "--json").stdout)
        return found


@pytest.mark.slow
@pytest.mark.xdist_group("cli-processes")
def test_the_way_of_a_key(tmp_path: Path, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    data = tmp_path / "data"
    azure = AzureEmulator(time.time)
    azure.add_application(*LOCAL_AZURE)
    with (
        emulated(tmp_path) as emulator,
        serve_azure(azure) as server,
        served(data, tmp_path, "--aws-endpoint", emulator, **variables(server)) as banner,
    ):
        assert f"AWS KMS is the emulator at {emulator}" in banner
        assert f"Azure Key Vault is the emulator at {server.dial}" in banner
        for name, value in variables(server).items():
            monkeypatch.setenv(name, value)
        monkeypatch.setenv("KEYSTEAD_URL", banner[0].split()[-1])
        monkeypatch.setenv("KEYSTEAD_TOKEN", mint(data, "-t", "demo", "-s", "app", "-s", "admin"))
        story = Story(run, emulator)
        operator_decides(story, mint(data, "-s", "operator"), monkeypatch)
        tell(story)


def operator_decides(story: Story, operator: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A policy that is not bound to the tenant passes only if the operator says so."""
    policy = story.document("key_policy")
    for statement in policy["Statement"]:
        statement.pop("Condition", None)
    unbound = story.new_key(policy)

    def checked(code: Exit) -> str:
        found = json.loads(story.run("key", "validate", "--arn", unbound, "--json", code=code).stdout)
        return str(next(check["result"] for check in found["checks"] if check["name"] == "tenant_bound"))

    def decide(option: str) -> None:
        with monkeypatch.context() as as_operator:
            as_operator.setenv("KEYSTEAD_TOKEN", operator)
            story.run("tenant", "update", "demo", option)

    assert checked(Exit.KEY_CHECK) == "fail"
    decide("--accept-unbound-policy")
    assert checked(Exit.OK) == "warn"
    decide("--require-bound-policy")
    assert checked(Exit.KEY_CHECK) == "fail"


def tell(story: Story) -> None:
    """Validate, configure, withdraw, give back, replace, go back."""
    run = story.run
    story.everything_opens()

    # A key whose policy does not name this service passes nothing, and nothing is changed.
    closed = story.new_key(None)
    report = json.loads(run("key", "validate", "--arn", closed, "--json", code=Exit.KEY_CHECK).stdout)
    assert [check["name"] for check in report["checks"] if check["result"] == "fail"] == ["round_trip"]
    refused = run("key", "configure", "--arn", closed, code=Exit.KEY_CHECK)
    assert "fail  round_trip" in refused.stderr
    assert "remedy: Allow arn:aws:iam::" in refused.stderr
    assert story.status()["platform_key"] is True

    # Replace is for tenants with a key of their own.
    first = story.new_key(story.document("key_policy"))
    assert "key configure" in errors(run("key", "replace", "--arn", first, "--yes", code=Exit.FAILED))["hint"]

    assert run("key", "validate", "--arn", first).stdout.endswith("This key can be put to use.\n")
    assert story.status()["platform_key"] is True
    run("key", "configure", "--arn", first, "--nickname", "first", "--reversible")
    found = story.status()
    assert (found["state"], found["kek"], found["nickname"]) == ("active", first, "first")
    assert (found["versions"], found["active_sequence"], found["reversible"]) == (2, 2, True)
    assert found["exclusive_from"] > found["since"]
    assert (found["pending"], found["move"], found["unreadable_versions"]) == (None, None, 0)
    story.everything_opens()

    # Withdrawn: the next use of the key finds out, and from then on nothing opens; given back, everything does.
    story.withdraw(first)
    assert errors(run("rotate", code=Exit.WITHHELD))["error"]
    story.nothing_opens()
    found = story.becomes("revoked")
    assert (found["cause"], found["kms_code"], bool(found["receipt"])) == ("disabled", "DisabledException", True)
    story.nothing_opens()
    story.give_back(first)
    story.is_back()
    found = story.status()
    assert (found["state"], found["cause"], found["receipt"]) == ("active", "", "")

    # Replaced by a key that is reached through a role of the tenant's.
    second = story.new_key(story.document("key_policy_for_role"))
    story.new_role(second)
    run("key", "replace", "--arn", second, "--role", ROLE, stdin=b"y\n")
    found = story.status()
    assert (found["kek"], found["role_arn"], found["active_sequence"]) == (second, ROLE, 3)
    story.withdraw(first)
    story.everything_opens()
    exported = json.loads(run("key", "export").stdout)
    assert (exported["kek"], len(exported["items"])) == (second, 4)
    assert {item["kms-arn"]["S"] for item in exported["items"]} == {second}

    # Moved to Azure: the keys in AWS are not needed any more; a new version of the key there is taken up by a check.
    kek = story.new_key_in_azure()
    named = ["--key-name", kek, "--entra-tenant", ENTRA_TENANT]
    assert run("key", "validate", *named).stdout.endswith("This key can be put to use.\n")
    run("key", "replace", *named, "--nickname", "in Azure", stdin=b"y\n")
    found = story.status()
    assert (found["provider"], found["kek"], found["role_arn"]) == ("azure_key_vault", kek, "")
    assert (found["entra_tenant"], found["active_sequence"], found["reversible"]) == (ENTRA_TENANT, 4, True)
    story.withdraw(second)
    story.everything_opens()
    run("emulator", "azure", "disable-key", kek)
    assert errors(run("rotate", code=Exit.WITHHELD))["error"]
    story.nothing_opens()
    run("emulator", "azure", "enable-key", kek)
    story.is_back()
    newer = run("emulator", "azure", "rotate-key", kek).stdout.strip()
    assert f"new key version {newer[-32:]} taken up" in run("check").stdout
    run("emulator", "azure", "disable-key", found["kek_version"])
    story.everything_opens()
    exported = json.loads(run("key", "export").stdout)
    assert {item["kms-arn"]["S"] for item in exported["items"]} == {newer}

    # And back to the platform's key, which was allowed at the start.
    run("key", "revert", "--yes")
    found = story.status()
    assert (found["state"], found["platform_key"], found["active_sequence"]) == ("platform", True, 6)
    run("emulator", "azure", "disable-key", kek)
    story.everything_opens()
    assert errors(run("key", "revert", "--yes", code=Exit.FAILED))["error"]
    assert run("check").stdout.split()[:2] == ["demo", "platform"]
