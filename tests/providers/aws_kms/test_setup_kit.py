"""The set-up kit: what a tenant is told to do, done word for word, gives a key that passes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from core.providers.aws_kms.setup_kit import ACCOUNT, KEY, setup_kit
from functions.emulators.kms import CUSTOMER_ACCOUNT, DEFAULT_REGION, LOCAL_PRINCIPAL
from tests.providers.aws_kms.stage import CONTEXT, EXTERNAL_ID, ROLE, TENANT, Stage


def filled(document: Any, **values: str) -> Any:
    text = json.dumps(document)
    for placeholder, value in values.items():
        text = text.replace({"account": ACCOUNT, "key": KEY}[placeholder], value)
    return json.loads(text)


def test_by_key_policy(stage: Stage) -> None:
    kit = stage.kms.setup_kit(TENANT, EXTERNAL_ID)
    assert kit["identity"] == LOCAL_PRINCIPAL
    arn = stage.emulator.create_key(policy=filled(kit["documents"]["key_policy"], account=CUSTOMER_ACCOUNT))
    report = stage.kms.examine(stage.access(arn), CONTEXT)
    assert {check.result.value for check in report.checks} == {"pass"}


def test_by_role(stage: Stage) -> None:
    documents = stage.kms.setup_kit(TENANT, EXTERNAL_ID)["documents"]
    arn = stage.emulator.create_key(policy=filled(documents["key_policy_for_role"], account=CUSTOMER_ACCOUNT))
    stage.emulator.create_role(ROLE, documents["trust_policy"], {"k": filled(documents["role_policy"], key=arn)})
    report = stage.kms.examine(stage.role_access(arn), CONTEXT)
    assert {check.result.value for check in report.checks} == {"pass"}


def test_the_documents_bind_the_tenant_and_nothing_more(stage: Stage) -> None:
    documents = stage.kms.setup_kit(TENANT, EXTERNAL_ID)["documents"]
    assert set(documents) == {"key_policy", "trust_policy", "role_policy", "key_policy_for_role"}
    for name in ("key_policy", "role_policy"):
        crypto, describe = documents[name]["Statement"][-2:]
        assert crypto["Action"] == ["kms:Encrypt", "kms:Decrypt"]
        assert crypto["Condition"] == {"StringEquals": {"kms:EncryptionContext:tenant_id": TENANT}}
        assert describe["Action"] == ["kms:DescribeKey", "kms:GetKeyRotationStatus"]
        assert "Condition" not in describe
    (trust,) = documents["trust_policy"]["Statement"]
    assert trust["Principal"] == {"AWS": LOCAL_PRINCIPAL}
    assert trust["Condition"] == {"StringEquals": {"sts:ExternalId": EXTERNAL_ID}}


def test_the_steps_have_their_form(stage: Stage) -> None:
    kit = stage.kms.setup_kit(TENANT, EXTERNAL_ID)
    assert all(step.keys() == {"title", "text", "commands"} for step in kit["steps"])
    assert all(step["title"] and step["text"] and step["commands"] for step in kit["steps"])
    for document in kit["documents"].values():
        # Else an unquoted here-document would change it.
        assert not {*"$`\\"} & {*json.dumps(document)}


STUB = """#!{python}
import json, os, sys
with open("calls", "a") as file:
    read = {{a[7:]: json.load(open(a[7:])) for a in sys.argv if a.startswith("file://")}}
    print(json.dumps([[os.path.basename(sys.argv[0]), *sys.argv[1:]], read]), file=file)
if "create-key" in sys.argv:
    print("{arn}")
"""


@pytest.mark.slow
@pytest.mark.parametrize("way", ["A", "B"])
def test_the_steps_can_be_pasted_into_a_shell(stage: Stage, tmp_path: Path, way: str) -> None:
    """Bash makes of them the calls that are meant, with the documents filled in; and these let the service in."""
    kit = stage.kms.setup_kit(TENANT, EXTERNAL_ID)
    arn = stage.emulator.create_key(account=CUSTOMER_ACCOUNT, rotation=True)
    for name in ("aws", "keystead"):
        (tmp_path / name).write_text(STUB.format(python=sys.executable, arn=arn))
        (tmp_path / name).chmod(0o700)
    other = {"A": "B", "B": "A"}[way]
    blocks = [block for step in kit["steps"] if not step["title"].startswith(other) for block in step["commands"]]
    ran = subprocess.run(
        ["bash", "-u", "-e"],
        input="\n".join(blocks) + "\n",
        cwd=tmp_path,
        env={"PATH": f"{tmp_path}{os.pathsep}{os.environ['PATH']}"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (ran.returncode, ran.stderr) == (0, "")
    calls, files = zip(*map(json.loads, (tmp_path / "calls").read_text().splitlines()), strict=True)
    region, role = ["--region", DEFAULT_REGION], ["--role-name", ROLE.rpartition("/")[2]]
    policy = {"A": "key_policy", "B": "key_policy_for_role"}[way]
    shown = ["--query", "KeyMetadata.Arn", "--output", "text"]
    granted = [
        ["aws", "iam", "create-role", *role, "--assume-role-policy-document", "file://trust_policy.json"],
        [
            "aws",
            "iam",
            "put-role-policy",
            *role,
            "--policy-name",
            "use",
            "--policy-document",
            "file://role_policy.json",
        ],
    ]
    used = ["--tenant", TENANT, "--arn", arn, *(["--role", ROLE] if way == "B" else [])]
    assert [*calls] == [
        ["aws", "kms", "create-key", *region, "--policy", f"file://{policy}.json", *shown],
        ["aws", "kms", "enable-key-rotation", *region, "--key-id", arn],
        *(granted if way == "B" else []),
        ["keystead", "key", "validate", *used],
        ["keystead", "key", "configure", *used],
    ]
    written = {name: document for read in files for name, document in read.items()}
    wanted = [policy, *(["trust_policy", "role_policy"] if way == "B" else [])]
    assert written == {
        f"{name}.json": filled(kit["documents"][name], account=CUSTOMER_ACCOUNT, key=arn) for name in wanted
    }
    stage.emulator.put_key_policy(arn, written[f"{policy}.json"])
    if way == "B":
        stage.emulator.create_role(ROLE, written["trust_policy.json"], {"use": written["role_policy.json"]})
    report = stage.kms.examine(stage.role_access(arn) if way == "B" else stage.access(arn), CONTEXT)
    assert {check.result.value for check in report.checks} == {"pass"}


@pytest.mark.parametrize("partition", ["aws", "aws-cn", "aws-us-gov"])
def test_partitions(partition: str) -> None:
    kit = setup_kit(f"arn:{partition}:iam::999999999999:role/keystead", TENANT, EXTERNAL_ID)
    arns = [word for word in json.dumps(kit).replace('"', " ").split() if word.startswith("arn:")]
    assert {arn.split(":")[1] for arn in arns} == {partition}
