"""The set-up kit: what a tenant is told to do, done word for word, gives a key that passes."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest

from core.providers.aws_kms.setup_kit import ACCOUNT, KEY, REGION, setup_kit
from functions.emulators.kms import CUSTOMER_ACCOUNT, LOCAL_PRINCIPAL
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


def test_the_steps_save_every_document_they_use(stage: Stage) -> None:
    kit = stage.kms.setup_kit(TENANT, EXTERNAL_ID)
    commands = [command for step in kit["steps"] for command in step["commands"]]
    for name, document in kit["documents"].items():
        assert any(command.startswith(f"cat > {name}.json") for command in commands)
        assert any(f"file://{name}.json" in command for command in commands)
        assert any(json.dumps(document, indent=2) in command for command in commands)
    assert all(step.keys() == {"title", "text", "commands"} for step in kit["steps"])
    assert all(step["title"] and step["text"] for step in kit["steps"])
    assert REGION in "".join(commands)


@pytest.mark.parametrize("way", ["A", "B"])
def test_the_steps_work_in_their_order(stage: Stage, way: str) -> None:
    """Every file is there before it is used, and the key before its ARN is."""
    saved: dict[str, Any] = {}
    made = ""
    for step in stage.kms.setup_kit(TENANT, EXTERNAL_ID)["steps"]:
        for command in step["commands"] if step["title"].startswith(way) else ():
            assert made or KEY not in command
            document = re.fullmatch(r"cat > (\w+)\.json <<'EOF'\n(.*)\nEOF", command, re.DOTALL)
            if document:
                saved[document[1]] = filled(json.loads(document[2]), account=CUSTOMER_ACCOUNT, key=made)
            for name in re.findall(r"file://(\w+)\.json", command):
                assert name in saved
            if "create-key" in command:
                (policy,) = saved.values()
                made = stage.emulator.create_key(policy=policy, rotation=False)
                assert command.endswith("--query KeyMetadata.Arn --output text")
            if "enable-key-rotation" in command:
                stage.emulator.key(made).rotation = True
            if "put-role-policy" in command:
                stage.emulator.create_role(ROLE, saved["trust_policy"], {"use": saved["role_policy"]})
    access = stage.access(made) if way == "A" else stage.role_access(made)
    report = stage.kms.examine(access, CONTEXT)
    assert {check.result.value for check in report.checks} == {"pass"}


@pytest.mark.parametrize("partition", ["aws", "aws-cn", "aws-us-gov"])
def test_partitions(partition: str) -> None:
    kit = setup_kit(f"arn:{partition}:iam::999999999999:role/keystead", TENANT, EXTERNAL_ID)
    arns = [word for word in json.dumps(kit).replace('"', " ").split() if word.startswith("arn:")]
    assert {arn.split(":")[1] for arn in arns} == {partition}
