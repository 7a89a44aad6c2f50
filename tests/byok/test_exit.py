"""Leaving: a tenant reads its messages with the official client and its own key, the service gone."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from base64 import b64decode
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import boto3
import pytest

from core.domain import context as contexts
from core.domain.context import USE_KEY
from core.domain.encrypted_data_key import parse_serialised
from core.domain.message import DataKey
from core.domain.message import encrypt as encrypt_message
from core.errors import KeyRevoked
from functions.emulators.kms import CUSTOMER_ACCOUNT, DEFAULT_REGION
from tests.byok.deployment import Deployment
from tests.interop.official import Official, cloud

SCRIPT = Path(__file__).resolve().parents[2] / "docs" / "exit" / "decrypt.py"
OFFICER = ("tenants-own", "tenants-own-secret", f"arn:aws:iam::{CUSTOMER_ACCOUNT}:user/officer")
CONTEXT = {"app": "billing"}
pytestmark = pytest.mark.slow


def loaded() -> ModuleType:
    """The script, as a module."""
    spec = importlib.util.spec_from_file_location("exit_decrypt", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def script() -> ModuleType:
    return loaded()


def export(deployment: Deployment) -> dict[str, Any]:
    """The export as the API's JSON gives it."""
    found = deployment.app.keystead._parts.key_exports.export("acme")
    document = {
        "tenant_id": found.tenant_id,
        "table_name": found.table_name,
        "kek": found.kek,
        "branch_key_ids": list(found.branch_key_ids),
        "items": [dict(item) for item in found.items],
    }
    return dict(json.loads(json.dumps(document)))


def officers_kms(deployment: Deployment) -> Any:
    """The tenant's own KMS client, over the wire."""
    return boto3.client(
        "kms",
        region_name=DEFAULT_REGION,
        endpoint_url=deployment.endpoint,
        aws_access_key_id=OFFICER[0],
        aws_secret_access_key=OFFICER[1],
    )


def written(deployment: Deployment) -> tuple[dict[bytes, bytes], str, str]:
    """Messages of every time of a tenant's life with us: before its own key, under it, rotated, under another."""
    deployment.emulator.add_principal(*OFFICER)
    deployment.tenant("acme")
    encryption = deployment.app.encryption
    messages = {}

    def write(text: bytes) -> None:
        messages[text] = encryption.encrypt("acme", text, CONTEXT)

    write(b"under the platform's key")
    first, second = deployment.new_key("acme"), deployment.new_key("acme")
    deployment.configure("acme", first)
    write(b"under the tenant's own")
    deployment.app.rotation.rotate("acme")
    write(b"after a rotation")
    deployment.configure("acme", second)
    write(b"under another")
    deployment.app.rotation.rotate("acme")
    write(b"after another rotation")
    return messages, first, second


def test_the_script_reads_every_message_with_the_tenants_own_key(deployment: Deployment, script: ModuleType) -> None:
    messages, first, second = written(deployment)
    exported = export(deployment)
    deployment.emulator.disable_key(first)  # nothing hangs on the former key any more
    kms = officers_kms(deployment)
    for text, message in messages.items():
        assert script.decrypt(exported, message, CONTEXT, kms) == text
    with pytest.raises(script.Failed, match="encryption context"):
        script.decrypt(exported, messages[b"under another"], {"app": "other"}, kms)
    deployment.emulator.disable_key(second)
    with pytest.raises(script.Failed, match=r"^KMS refused: DisabledException: "):
        script.decrypt(exported, messages[b"under another"], CONTEXT, kms)


def test_it_reads_messages_made_with_handed_out_keys(deployment: Deployment, script: ModuleType) -> None:
    deployment.emulator.add_principal(*OFFICER)
    deployment.tenant("acme")
    deployment.configure("acme", deployment.new_key("acme"))
    grant = deployment.app.keystead._parts.handed_out.grant("acme", CONTEXT)
    assert USE_KEY in grant.context
    message = encrypt_message(
        DataKey.wrapped(grant.data_key, parse_serialised(grant.encrypted_data_key), contexts.serialise(grant.context)),
        b"on the caller's side",
    )
    kms = officers_kms(deployment)
    assert script.decrypt(export(deployment), message, CONTEXT, kms) == b"on the caller's side"


def test_it_runs_as_the_tenant_would_run_it(deployment: Deployment, tmp_path: Path) -> None:
    messages, _, _ = written(deployment)
    text, message = list(messages.items())[-1]
    (tmp_path / "export.json").write_text(json.dumps(export(deployment)))
    (tmp_path / "message").write_bytes(message)
    command = [sys.executable, str(SCRIPT), "export.json", "message", "-c", "app=billing", "-o", "out"]
    environment = {"PATH": os.environ["PATH"], "AWS_ACCESS_KEY_ID": OFFICER[0], "AWS_SECRET_ACCESS_KEY": OFFICER[1]}
    ran = subprocess.run(
        [*command, "--endpoint-url", deployment.endpoint],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr[-2000:]
    assert (tmp_path / "out").read_bytes() == text
    assert (tmp_path / "out").stat().st_mode & 0o777 == 0o600


def test_the_official_client_needs_no_more_than_table_key_and_logical_name(deployment: Deployment) -> None:
    """Before and after rotation and replacement, from a real table holding the exported items bit for bit."""
    messages, first, second = written(deployment)
    exported = export(deployment)
    with cloud() as account:
        account.new_table("rows")
        for item in exported["items"]:
            stored = {**item, "enc": {"B": b64decode(item["enc"]["B"])}}
            account.dynamodb.put_item(TableName="rows", Item=stored)
        account = replace(account, kms=officers_kms(deployment))
        official = Official(account, "rows", exported["table_name"], second)
        keyring = official.hierarchical(exported["branch_key_ids"][0])
        for text, message in messages.items():
            plaintext, _ = official.client.decrypt(source=message, keyring=keyring)
            assert plaintext == text
        former = Official(account, "rows", exported["table_name"], first)
        with pytest.raises(Exception, match=r"(?i)arn|kms"):
            former.client.decrypt(
                source=messages[b"under another"], keyring=former.hierarchical(exported["branch_key_ids"][0])
            )


def test_what_is_lost_for_now_is_in_the_export_and_stays_shut(deployment: Deployment, script: ModuleType) -> None:
    messages, _, second = written(deployment)
    deployment.emulator.disable_key(second)
    deployment.configure("acme", deployment.new_key("acme"))
    exported = export(deployment)
    assert len(exported["branch_key_ids"]) == 2
    kms = officers_kms(deployment)
    message = messages[b"under another"]
    with pytest.raises(KeyRevoked):
        deployment.app.encryption.decrypt("acme", message, CONTEXT)
    with pytest.raises(script.Failed, match=r"^KMS refused: DisabledException: "):
        script.decrypt(exported, message, CONTEXT, kms)
    deployment.emulator.enable_key(second)
    assert script.decrypt(exported, message, CONTEXT, kms) == b"under another"
