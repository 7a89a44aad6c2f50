"""The steps in which a tenant brings a key of its own, turns it off and on, and replaces it."""

from __future__ import annotations

from core.client.files import decrypt_file
from core.errors import Conflict, KeyCheckFailed, KeyRevoked
from functions.cli.demo.stage import Stage

ACME, GLOBEX = "acme", "globex"
CONTEXT = {"document": "letter"}
FAULTY_POLICY = {
    "Version": "2012-10-17",
    "Statement": [
        {
            "Effect": "Allow",
            "Principal": {"AWS": "arn:aws:iam::999999999999:role/keystead"},
            "Action": ["kms:Encrypt", "kms:Decrypt", "kms:DescribeKey", "kms:GenerateDataKey"],
            "Resource": "arn:aws:kms:*:*:key/*",
            "Condition": {"StringEquals": {"kms:EncryptionContext:tenant_id": "${aws:RequestedRegion}"}},
        }
    ],
}
"""A policy as it stands in a vendor's guide: it compares the tenant with the name of a Region."""


def faulty_key(stage: Stage) -> str:
    """A key whose policy is wrong is examined, refused, and told why."""
    client, arn = stage.client(ACME), stage.cloud.new_key(FAULTY_POLICY)
    report = client.validate_key(ACME, provider="aws_kms", key_arn=arn)
    fault = next(check for check in report.checks if check.name == "round_trip")
    stage.check(not report.ok and fault.result == "fail", "the examination fails")
    stage.check("RequestedRegion" in fault.observed + fault.remedy, "it names the policy's fault")
    stage.refused(
        KeyCheckFailed, lambda: client.configure_key(ACME, provider="aws_kms", key_arn=arn), "the same key, configured"
    )
    stage.check(client.key_status(ACME).platform_key, "nothing was changed")
    failed = [check.name for check in report.checks if check.result == "fail"]
    return f"{len(failed)} of {len(report.checks)} checks failed: {', '.join(failed)}"


def own_key(stage: Stage) -> str:
    """Acme makes a key by its setup kit, and is protected by it from then on."""
    client, kit = stage.client(ACME), stage.client(ACME).key_setup(ACME, "aws_kms")
    arn = stage.cloud.new_key(kit.documents["key_policy"])
    before = client.key_status(ACME)
    done = client.configure_key(ACME, provider="aws_kms", key_arn=arn, nickname="acme's own")
    stage.check(len(done.checks) > 10, "the key passed its examination")
    after = client.key_status(ACME)
    stage.check((after.state, after.kek, after.platform_key) == ("active", arn, False), "the key is in force")
    stage.check(after.active_sequence == before.active_sequence + 1, "a new version was born under it")
    stage.check(_letter(stage), "an old message still decrypts")
    stage.file("own-key.arn").write_text(arn, encoding="ascii")
    stage.refused(Conflict, lambda: client.revert_key(ACME), "going back, which was not allowed for")
    return f"{after.versions} versions under the key, exclusive from {after.exclusive_from[:10]}, no way back"


def taken_key(stage: Stage) -> str:
    """Another tenant cannot have the same key."""
    arn = stage.file("own-key.arn").read_text(encoding="ascii")
    raised = stage.refused(
        KeyCheckFailed,
        lambda: stage.client(GLOBEX).configure_key(GLOBEX, provider="aws_kms", key_arn=arn),
        "acme's key, for globex",
    )
    stage.check(ACME not in str(vars(raised)), "globex does not learn whose key it is")
    return "globex names acme's key: refused, and none the wiser"


def turned_off(stage: Stage) -> str:
    """Acme turns its key off: the service cannot read acme's data any more. It turns it on again: nothing is lost."""
    arn = stage.file("own-key.arn").read_text(encoding="ascii")
    stage.cloud.kms.disable_key(arn)
    nothing_is_cached(stage)
    other = stage.client(GLOBEX)
    stage.check(other.decrypt(GLOBEX, other.encrypt(GLOBEX, b"x", {}), {}) == b"x", "globex is served meanwhile")
    stage.cloud.kms.enable_key(arn)
    key_is_back(stage)
    stage.check(_letter(stage), "the message decrypts again")
    return "off: refused at once, globex served; on, and checked: everything is there"


def replaced(stage: Stage) -> str:
    """Acme replaces its key; the former one is not needed any more."""
    client, kit = stage.client(ACME), stage.client(ACME).key_setup(ACME, "aws_kms")
    former = stage.file("own-key.arn").read_text(encoding="ascii")
    arn = stage.cloud.new_key(kit.documents["key_policy"])
    done = client.configure_key(ACME, provider="aws_kms", key_arn=arn)
    stage.cloud.kms.schedule_key_deletion(former, days=7)
    stage.cloud.kms.disable_key(arn)
    nothing_is_cached(stage)
    stage.cloud.kms.enable_key(arn)
    key_is_back(stage)
    stage.check(_letter(stage), "the oldest message decrypts, with the former key on its way out")
    export = stage.client(ACME).key_export(ACME)
    stage.check(former not in str(export), "no row lies under the former key")
    return f"{done.key.versions} versions moved; of {len(export.items)} rows exported, none lies under the former key"


def nothing_is_cached(stage: Stage) -> None:
    """Check that acme's key, which was turned off, serves nothing: the refusal ends what a lease still allowed."""
    stage.refused(KeyRevoked, lambda: stage.client(ACME).rotate(ACME), "a rotation under a key turned off")
    stage.refused(KeyRevoked, lambda: _letter(stage), "decrypting under a key turned off")


def key_is_back(stage: Stage) -> None:
    """Check that acme's key, which was turned on again, serves: a check asks it now, and does not wait for a probe."""
    stage.check(stage.client(ACME).check_key(ACME).state == "active", "a check finds that the key serves again")


def _letter(stage: Stage) -> bool:
    back = stage.file("letter.by-key")
    decrypt_file(stage.client(ACME), ACME, stage.file("letter.keystead"), back, CONTEXT, overwrite=True)
    return back.read_bytes() == stage.file("letter.txt").read_bytes()
