"""The steps in which a tenant's key moves from AWS to Azure, is turned off and renewed there, and moves back."""

from __future__ import annotations

from typing import Any

from core.client.files import decrypt_file, encrypt_file
from core.client.key_values import KeyStatus
from core.domain.kek import Kek
from core.errors import KeyCheckFailed
from functions.cli.demo.cloud import ENTRA_TENANT
from functions.cli.demo.key_steps import key_is_back, nothing_is_cached
from functions.cli.demo.stage import Stage, digest

ACME, GLOBEX = "acme", "globex"
CONTEXT = {"document": "letter"}
MESSAGES = ("letter.keystead", "letter2.keystead", "letter3.keystead")
"""Encrypted under the platform's key, before and after a rotation, and under a key in AWS."""
NAME = "kek"


def to_azure(stage: Stage) -> str:
    """Acme's key moves from AWS to Azure; no message is touched, and the key in AWS is not needed any more."""
    client, before = stage.client(ACME), stage.client(ACME).key_status(ACME)
    encrypt_file(client, ACME, stage.file("letter.txt"), stage.file("letter3.keystead"), CONTEXT)
    bodies = {name: digest(stage.file(name)) for name in MESSAGES}
    stage.file("bodies").write_text(repr(bodies), encoding="ascii")
    kit = client.key_setup(ACME, "azure_key_vault", entra_tenant=ENTRA_TENANT)
    vault_url = stage.cloud.new_vault("acme-kv")
    version = stage.cloud.new_vault_key(vault_url, NAME, kit.documents["tags"])
    stage.file("vault").write_text(vault_url, encoding="ascii")
    done = client.configure_key(ACME, **_in_azure(stage))
    stage.check(before.provider == "aws_kms" and done.key.provider == "azure_key_vault", "the cloud is another")
    stage.check((done.key.state, done.key.kek) == ("active", Kek(version).key.locator), "the key is in force")
    stage.check(done.key.kek_version == version, "new data hangs on its newest version")
    stage.check(done.key.versions == before.versions + 1, "no version is lost, and one is new")
    stage.cloud.kms.disable_key(before.kek)
    _all_is_there(stage, version)
    return f"{_told(done.key)}: all open, none was rewritten, and AWS is off"


def foreign_vault(stage: Stage) -> str:
    """Globex names acme's key in Azure, and learns nothing."""
    client = stage.client(GLOBEX)
    report = client.validate_key(GLOBEX, **_in_azure(stage))
    results = {check.name: check.result for check in report.checks}
    stage.check(results["proof_of_control"] == "fail", "globex cannot show that the key is its own")
    names = [*results]
    after = names[names.index("proof_of_control") + 1 :]
    stage.check({results[name] for name in after} == {"skip"}, "nothing is told of a key that is not its own")
    # What globex hears of a key that is not there is the same, word for word.
    absent = client.validate_key(GLOBEX, **{**_in_azure(stage), "key_name": "no-such-key"})
    stage.check(absent == report, "nor whether it is there")
    stage.refused(KeyCheckFailed, lambda: client.configure_key(GLOBEX, **_in_azure(stage)), "acme's key, for globex")
    return f"refused at proof_of_control; {len(after)} checks told globex nothing"


def azure_off(stage: Stage) -> str:
    """Acme turns its key in Azure off, and on again."""
    client, other = stage.client(ACME), stage.client(GLOBEX)
    kek = client.key_status(ACME).kek
    stage.cloud.azure.set_enabled(kek, enabled=False)
    nothing_is_cached(stage)
    stage.check(other.decrypt(GLOBEX, other.encrypt(GLOBEX, b"x", {}), {}) == b"x", "globex is served meanwhile")
    stage.cloud.azure.set_enabled(kek, enabled=True)
    key_is_back(stage)
    for name in MESSAGES:
        stage.check(_opens(stage, name), f"{name} decrypts again")
    return "off: refused at once, globex served; on, and checked: everything is there"


def new_version(stage: Stage) -> str:
    """The key in Azure is rotated there; a check takes the new version up, and the old one is not needed any more."""
    before = stage.client(ACME).key_status(ACME)
    version = stage.cloud.azure.rotate_key(before.kek)
    operator = stage.client()
    after = operator.check_key(ACME)
    stage.check(before.kek_version != version == after.kek_version, "the check takes the new version up")
    stage.check(after.active_sequence == before.active_sequence + 1, "a branch key version was born under it")
    stage.check(after.kek_versions == (version,), "nothing names the old version any more")
    stage.check(operator.check_key(ACME).active_sequence == after.active_sequence, "another check changes nothing")
    stage.cloud.azure.set_enabled(before.kek, enabled=False)
    nothing_is_cached(stage)
    stage.cloud.azure.set_enabled(version, enabled=True)
    key_is_back(stage)
    _all_is_there(stage, version)
    return f"{before.kek_version[-32:][:8]}... gave way to {version[-32:][:8]}...; {after.versions} versions rewrapped"


def back_to_aws(stage: Stage) -> str:
    """Acme's key moves back to AWS, and the key in Azure is deleted."""
    client, before = stage.client(ACME), stage.client(ACME).key_status(ACME)
    kit = client.key_setup(ACME, "aws_kms")
    arn = stage.cloud.new_key(kit.documents["key_policy"])
    done = client.configure_key(ACME, provider="aws_kms", key_arn=arn)
    stage.check((done.key.provider, done.key.kek) == ("aws_kms", arn), "the key is in force")
    stage.check(done.key.versions == before.versions + 1, "no version is lost, and one is new")
    stage.cloud.azure.delete_key(before.kek)
    stage.cloud.kms.disable_key(arn)
    nothing_is_cached(stage)
    stage.cloud.kms.enable_key(arn)
    key_is_back(stage)
    _all_is_there(stage, arn)
    return f"{_told(done.key)}: all open, none was rewritten, and the key in Azure is deleted"


def _in_azure(stage: Stage) -> dict[str, Any]:
    return {
        "provider": "azure_key_vault",
        "vault_url": stage.file("vault").read_text(encoding="ascii"),
        "key_name": NAME,
        "entra_tenant": ENTRA_TENANT,
    }


def _all_is_there(stage: Stage, kek: str) -> None:
    """Check that every message opens and is byte for byte what it was, and that every row lies under one KEK."""
    for name in MESSAGES:
        stage.check(_opens(stage, name), f"{name} decrypts")
    bodies = {name: digest(stage.file(name)) for name in MESSAGES}
    stage.check(repr(bodies) == stage.file("bodies").read_text(encoding="ascii"), "no message was rewritten")
    items = stage.client(ACME).key_export(ACME).items
    stage.check({item["kms-arn"]["S"] for item in items} == {kek}, "every row lies under the key in force")


def _opens(stage: Stage, message: str) -> bool:
    back = stage.file(f"{message}.back")
    decrypt_file(stage.client(ACME), ACME, stage.file(message), back, CONTEXT, overwrite=True)
    return back.read_bytes() == stage.file("letter.txt").read_bytes()


def _told(status: KeyStatus) -> str:
    return f"{status.versions} versions, {len(MESSAGES)} messages"
