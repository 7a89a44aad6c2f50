"""The setup kit: what a tenant is told to do, done word for word, gives a key that passes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from core.domain.consent import check_state, tenant_of
from core.domain.kek import Kek
from core.domain.vaults import CloudName, VaultKey
from core.errors import InvalidRequest
from core.providers.azure_key_vault import AzureSettings
from core.providers.azure_key_vault.setup_kit import setup_kit
from tests.providers.azure_key_vault.stage import CLIENT_ID, CONTEXT, DIRECTORY, EXTERNAL_ID, HOME, TENANT, Stage

VAULT_ROLE, HSM_ROLE = "e147488a-f6f5-4113-8e2d-b22465e65bf6", "33413926-3206-4cdd-b39a-83574fe37a17"
REDIRECT = "https://keystead.example/v1/azure/consent?from=entra&to=us"
SETTINGS = AzureSettings(CLIENT_ID, HOME, redirect_url=REDIRECT, egress=("192.0.2.1", "198.51.100.0/24"))
OBJECT_ID, VAULT_ID = "55555555-5555-4555-8555-555555555555", "/subscriptions/s/resourceGroups/g/providers/x/vaults/v"
PROOF = f"keystead-proof={EXTERNAL_ID}"
STUB = """#!{python}
import json, os, sys
with open("calls", "a") as file:
    print(json.dumps([os.path.basename(sys.argv[0]), *sys.argv[1:]]), file=file)
for asked, answer in {answers}:
    if set(asked) <= set(sys.argv):
        if answer is None:
            sys.exit(3)
        print(answer)
        break
"""
ANSWERS = [
    (("account", "tenantId"), DIRECTORY),
    (("sp", "show", "id"), OBJECT_ID),
    (("keyvault", "show", "id"), VAULT_ID),
    (("sp", "show"), None),
]


def run(kit: Any, way: str, folder: Path, edited: str = "") -> tuple[list[list[str]], str]:
    """Paste one way's commands into a shell: what was called, and what was printed."""
    for name in ("az", "keystead"):
        (folder / name).write_text(STUB.format(python=sys.executable, answers=ANSWERS))
        (folder / name).chmod(0o700)
    blocks = [
        command
        for step in kit["steps"]
        if step["title"][:2] == f"{way}." or step["title"][1] != "."
        for command in step["commands"]
    ]
    if edited:
        assert blocks[0] == "VAULT=my-vault KEY=keystead-kek"
        blocks[0] = edited
    ran = subprocess.run(
        ["bash", "-u", "-e"],
        input="\n".join(blocks) + "\n",
        cwd=folder,
        env={"PATH": f"{folder}{os.pathsep}{os.environ['PATH']}"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (ran.returncode, ran.stderr) == (0, "")
    return [json.loads(line) for line in (folder / "calls").read_text().splitlines()], ran.stdout


def option(call: list[str], name: str) -> str:
    return call[call.index(name) + 1]


ASSIGNEE = ["--assignee-object-id", OBJECT_ID, "--assignee-principal-type", "ServicePrincipal"]
OPS = ["--ops", "wrapKey", "unwrapKey", "--tags", PROOF]
RSA = ["--size", "3072", *OPS]
IPS = ["--ip-address", "192.0.2.1", "198.51.100.0/24"]
POLICY = ["--key-permissions", "get", "wrapKey", "unwrapKey"]
HSM = ["--hsm-name", "kv-9"]
WAYS: dict[str, tuple[str, list[list[str]]]] = {
    "A": (
        "https://kv-9.vault.azure.net",
        [
            ["keyvault", "update", "--name", "kv-9", "--enable-purge-protection", "true"],
            ["keyvault", "key", "create", "--vault-name", "kv-9", "--name", "kek", "--kty", "RSA", *RSA],
            ["keyvault", "show", "--name", "kv-9", "--query", "id", "--output", "tsv"],
            ["role", "assignment", "create", "--role", VAULT_ROLE, *ASSIGNEE, "--scope", f"{VAULT_ID}/keys/kek"],
            ["keyvault", "network-rule", "add", "--name", "kv-9", *IPS],
        ],
    ),
    "B": (
        "https://kv-9.vault.azure.net",
        [
            ["keyvault", "update", "--name", "kv-9", "--enable-purge-protection", "true"],
            ["keyvault", "key", "create", "--vault-name", "kv-9", "--name", "kek", "--kty", "RSA", *RSA],
            ["keyvault", "set-policy", "--name", "kv-9", "--object-id", OBJECT_ID, *POLICY],
            ["keyvault", "network-rule", "add", "--name", "kv-9", *IPS],
        ],
    ),
    "C": (
        "https://kv-9.managedhsm.azure.net",
        [
            ["keyvault", "update-hsm", *HSM, "--enable-purge-protection", "true"],
            ["keyvault", "key", "create", *HSM, "--name", "kek", "--kty", "RSA-HSM", *RSA],
            ["keyvault", "role", "assignment", "create", *HSM, "--role", HSM_ROLE, *ASSIGNEE, "--scope", "/keys/kek"],
            ["keyvault", "network-rule", "add", *HSM, *IPS],
        ],
    ),
}


@pytest.mark.slow
@pytest.mark.parametrize("known", [DIRECTORY, ""], ids=["known Entra tenant", "Entra tenant of the shell"])
@pytest.mark.parametrize("way", WAYS)
def test_the_steps_can_be_pasted_into_a_shell(stage: Stage, tmp_path: Path, way: str, known: str) -> None:
    """Bash makes of them the calls that are meant; and what these make, passes."""
    kit = setup_kit(SETTINGS, TENANT, EXTERNAL_ID, known)
    calls, printed = run(kit, way, tmp_path, "VAULT=kv-9 KEY=kek")
    url, of_way = WAYS[way]
    shown = ["ad", "sp", "show", "--id", CLIENT_ID]
    used = ["--tenant", TENANT, "--vault-url", url, "--entra-tenant", DIRECTORY, "--key-name", "kek"]
    asked = [] if known else [["account", "show", "--query", "tenantId", "--output", "tsv"]]
    in_azure = [
        *asked,
        shown,
        ["ad", "sp", "create", "--id", CLIENT_ID],
        [*shown, "--query", "id", "--output", "tsv"],
        *of_way,
    ]
    assert calls == [
        *(["az", *call] for call in in_azure),
        ["keystead", "key", "validate", *used],
        ["keystead", "key", "configure", *used],
    ]
    link = urlsplit(printed.strip())
    assert (link.scheme, link.netloc) == ("https", "login.microsoftonline.com")
    assert link.path == f"/{DIRECTORY}/v2.0/adminconsent"
    query = {name: values[0] for name, values in parse_qs(link.query, strict_parsing=True).items()}
    assert query.keys() == {"client_id", "scope", "redirect_uri", "state"}
    assert (query["client_id"], query["scope"]) == (CLIENT_ID, "https://vault.azure.net/.default")
    assert query["redirect_uri"] == REDIRECT
    assert tenant_of(query["state"]) == TENANT
    check_state(query["state"], TENANT, EXTERNAL_ID, DIRECTORY)
    _carry_out(stage, kit, of_way, hsm=way == "C", access="policy" if way == "B" else "rbac")


def _carry_out(stage: Stage, kit: Any, calls: list[list[str]], *, hsm: bool, access: str) -> None:
    create = next(call for call in calls if call[:3] == ["keyvault", "key", "create"])
    vault = stage.new_vault(hsm=hsm, access=access, purge_protection=True)
    stage.emulator.revoke(vault, CLIENT_ID)
    name, _, value = option(create, "--tags").partition("=")
    assert kit["documents"]["tags"] == {name: value}
    ops = create[create.index("--ops") + 1 : create.index("--tags")]
    kid = stage.emulator.create_key(
        vault, option(create, "--name"), option(create, "--kty"), int(option(create, "--size")), ops, tags={name: value}
    )
    stage.emulator.grant(vault, CLIENT_ID, "" if access == "policy" else "kek")
    report = stage.kms.examine(stage.access(Kek(kid)), CONTEXT)
    left = {"access_model", "rotation"} if access == "policy" else {"rotation"}
    assert report.ok
    assert {check.name for check in report.checks if check.result.value != "pass"} == left


def test_the_link_asks_the_named_entra_tenant() -> None:
    directory = "abcdefab-cdef-4abc-8def-abcdefabcdef"
    documents = setup_kit(SETTINGS, TENANT, EXTERNAL_ID, directory.upper())["documents"]
    link = urlsplit(documents["application"]["consent_url"])
    assert link.path == f"/{directory}/v2.0/adminconsent"
    state = parse_qs(link.query)["state"][0]
    check_state(state, TENANT, EXTERNAL_ID, directory)
    with pytest.raises(InvalidRequest):
        check_state(state, TENANT, EXTERNAL_ID, HOME)
    assert parse_qs(link.query)["redirect_uri"] == [REDIRECT]
    assert "consent_url" not in setup_kit(SETTINGS, TENANT, EXTERNAL_ID)["documents"]["application"]


def test_without_an_address_to_come_back_to_there_is_no_link() -> None:
    """Entra's consent page requires one; a service principal can be made without that page."""
    kit = setup_kit(replace(SETTINGS, redirect_url=""), TENANT, EXTERNAL_ID, DIRECTORY)
    assert "consent_url" not in kit["documents"]["application"]
    assert "adminconsent" not in json.dumps(kit)
    (step,) = (step for step in kit["steps"] if "no link" in step["text"])
    (command,) = step["commands"]
    assert f"az ad sp create --id {CLIENT_ID}" in command
    both = [step["commands"] for step in setup_kit(SETTINGS, TENANT, EXTERNAL_ID, DIRECTORY)["steps"]]
    assert [step["commands"] for step in kit["steps"]] == [each[1:] if command in each else each for each in both]


@pytest.mark.parametrize(
    "entra_tenant", ["contoso.onmicrosoft.com", "organizations", "common", f"{DIRECTORY}/x", "$(id)"]
)
def test_what_is_no_id_of_an_entra_tenant(entra_tenant: str) -> None:
    with pytest.raises(InvalidRequest):
        setup_kit(SETTINGS, TENANT, EXTERNAL_ID, entra_tenant)


def test_the_kit_is_made_without_asking_anybody(stage: Stage) -> None:
    kit = stage.kms.setup_kit(TENANT, EXTERNAL_ID, DIRECTORY)
    assert stage.made() == []
    assert kit.keys() == {"identity", "documents", "steps"}
    assert kit["identity"] == f"application {CLIENT_ID}"
    application = kit["documents"]["application"]
    assert application["client_id"] == CLIENT_ID
    assert {*application["roles"].values()} == {VAULT_ROLE, HSM_ROLE}
    for step in kit["steps"]:
        assert step.keys() == {"title", "text", "commands"}
        assert step["title"]
        assert step["text"]
        assert step["commands"]
        assert not {"<", ">"} & {*step["text"]}  # placeholders are variables


def test_the_external_id_stands_where_the_tag_is_only() -> None:
    text = json.dumps(setup_kit(SETTINGS, TENANT, EXTERNAL_ID, DIRECTORY))
    assert text.count(EXTERNAL_ID) == text.count(PROOF) + 2  # the document of tags, and the template
    assert text.count(PROOF) == 3


@pytest.mark.slow
def test_what_a_shell_would_read_is_quoted(tmp_path: Path) -> None:
    odd = "xid $(touch owned) 'quoted' \"twice\""
    calls, _ = run(setup_kit(SETTINGS, TENANT, odd, DIRECTORY), "A", tmp_path)
    create = next(call for call in calls if call[1:4] == ["keyvault", "key", "create"])
    assert option(create, "--tags") == f"keystead-proof={odd}"
    assert not (tmp_path / "owned").exists()


def test_no_firewall_steps_without_addresses() -> None:
    steps = setup_kit(replace(SETTINGS, egress=()), TENANT, EXTERNAL_ID)["steps"]
    assert not [step for step in steps if "network-rule" in " ".join(step["commands"])]


@pytest.mark.parametrize(
    ("cloud", "authority", "domains", "first"),
    [
        ("public", "login.microsoftonline.com", ("vault.azure.net", "managedhsm.azure.net"), ""),
        (
            "china",
            "login.chinacloudapi.cn",
            ("vault.azure.cn", "managedhsm.azure.cn"),
            "az cloud set --name AzureChinaCloud",
        ),
        (
            "usgovernment",
            "login.microsoftonline.us",
            ("vault.usgovcloudapi.net", "managedhsm.usgovcloudapi.net"),
            "az cloud set --name AzureUSGovernment",
        ),
    ],
)
def test_clouds(cloud: CloudName, authority: str, domains: tuple[str, str], first: str) -> None:
    kit = setup_kit(replace(SETTINGS, cloud=cloud), TENANT, EXTERNAL_ID, DIRECTORY)
    commands = [command for step in kit["steps"] for command in step["commands"]]
    urls = [command for command in commands if command.startswith("VAULT_URL=")]
    assert urls == [f'VAULT_URL="https://$VAULT.{domain}"' for domain in (domains[0], domains[0], domains[1])]
    for url in urls:
        assert VaultKey.of(url.partition('"')[2].rstrip('"').replace("$VAULT", "my-vault"), "kek").cloud == cloud
    assert [command for command in commands if command.startswith("az cloud")] == [first] * bool(first)
    link = kit["documents"]["application"]["consent_url"]
    assert link.startswith(f"https://{authority}/{DIRECTORY}/")
    assert parse_qs(urlsplit(link).query)["scope"] == [f"https://{domains[0]}/.default"]


def test_the_template_lets_to_one_key_and_no_more() -> None:
    template = setup_kit(SETTINGS, TENANT, EXTERNAL_ID)["documents"]["arm_template"]
    assert template["$schema"].startswith("https://schema.management.azure.com/schemas/2019-04-01/")
    key, role = template["resources"]
    assert key["properties"] == {"kty": "RSA", "keySize": 3072, "keyOps": ["wrapKey", "unwrapKey"]}
    assert key["tags"] == {"keystead-proof": EXTERNAL_ID}
    of_key = "resourceId('Microsoft.KeyVault/vaults/keys', parameters('vaultName'), parameters('keyName'))"
    assert role["scope"] == f"[{of_key}]"
    assert role["dependsOn"] == [f"[{of_key}]"]
    assert "One that exists already is left as it is" in template["parameters"]["keyName"]["metadata"]["description"]
    assert VAULT_ROLE in role["properties"]["roleDefinitionId"]
    assert role["properties"]["principalType"] == "ServicePrincipal"
    used = {name for name in template["parameters"] if f"parameters('{name}')" in json.dumps(template["resources"])}
    assert used == {*template["parameters"]} == {"vaultName", "keyName", "principalId"}
