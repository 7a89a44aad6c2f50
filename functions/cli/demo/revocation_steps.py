"""The steps in which a tenant withdraws its key and gets a receipt, by the stopwatch, and in which all comes back."""

from __future__ import annotations

import base64
import json
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path
from typing import Any

from core.bootstrap import open_audit
from core.client.files import decrypt_file, encrypt_file
from core.errors import KeyRevoked, KeySuspended
from functions.cli.audit import verify_chains
from functions.cli.demo.readers import Readers, until
from functions.cli.demo.stage import Broken, Stage
from functions.cli.exits import Exit
from functions.cli.serve import REPOSITORY
from functions.cli.timeline import drawn, pen_for

INITECH, GLOBEX = "initech", "globex"
DOCUMENT = b"Dear Initech, this is what only you may read."
LEASE = 2
"""Seconds, so that the story is short; 60 if nothing is chosen."""
RESTORED_WITHIN = 30
"""Seconds after a key serves again in which its data does."""
PATIENCE = 30
"""Seconds to wait for anything else."""


def prepared(stage: Stage) -> str:
    """Initech brings a key and chooses a short lease; its officer keeps a copy of the service's public keys."""
    stage.check(stage.client().create_tenant(INITECH).tenant_id == INITECH, "initech is created")
    client = stage.client(INITECH)
    arn = stage.cloud.new_key(client.key_setup(INITECH, "aws_kms").documents["key_policy"])
    client.configure_key(INITECH, provider="aws_kms", key_arn=arn)
    tuned = client.set_policy(INITECH, lease=LEASE)
    stage.check((tuned.state, tuned.bounds["kms_answers"]) == ("active", LEASE), "the lease is in force")
    message = client.encrypt(INITECH, DOCUMENT, {})
    stage.check(client.decrypt(INITECH, message, {}) == DOCUMENT, "a document is encrypted and decrypted")
    stage.file("initech.txt").write_bytes(DOCUMENT)
    encrypt_file(client, INITECH, stage.file("initech.txt"), stage.file("initech.file"), {})
    stage.file("jwks.json").write_text(_public_keys(stage), encoding="ascii")
    stage.file("initech.keystead").write_bytes(message)
    stage.file("initech.arn").write_text(arn, encoding="ascii")
    bounds = tuned.bounds
    return f"the KMS is asked every {bounds['kms_answers']:g} s; kill switch within {bounds['kill_switch']:g} s"


def withdrawn(stage: Stage) -> str:
    """Initech turns its key off in its own cloud, while clients read. Nobody tells the service."""
    client, arn = stage.client(INITECH), stage.file("initech.arn").read_text(encoding="ascii")
    message, other = stage.file("initech.keystead").read_bytes(), stage.client(GLOBEX)
    with (
        Readers(client, INITECH, message, DOCUMENT) as readers,
        Readers(other, GLOBEX, other.encrypt(GLOBEX, DOCUMENT, {}), DOCUMENT) as others,
    ):
        _seen(stage, until(lambda: readers.served and others.served, PATIENCE), "both tenants are served")
        stage.check(not readers.refused, "nothing is refused while the key serves")
        stage.cloud.kms.disable_key(arn)
        act = time.monotonic()
        _seen(stage, until(lambda: readers.refused, PATIENCE), "the withdrawal is seen")
        revoked = _seen(
            stage, until(lambda: client.key_status(INITECH).state == "revoked", PATIENCE), "it is confirmed"
        )
        issued = _seen(stage, until(lambda: client.receipts(INITECH), PATIENCE), "a receipt is issued")
        _seen(stage, until(lambda: others.served[-1] > issued, PATIENCE), "globex is served to the end")
    refused, last = readers.refused[0][0] - act, max(readers.served) - act
    stage.check(last <= LEASE, f"nothing that was asked for more than {LEASE} s after the act was served")
    stage.check(readers.codes == {KeyRevoked.code}, f"every refusal says so, and nothing else: {readers.codes}")
    stage.check(not others.refused, f"globex is served all the while, without one refusal: {others.codes}")
    status = client.key_status(INITECH)
    stage.check((status.cause, status.may_read, status.may_write) == ("disabled", False, False), "it says why")
    stage.check(bool(status.request_id) and status.first_denial < status.confirmed, "it was refused twice")
    stage.refused(KeyRevoked, lambda: client.encrypt(INITECH, b"x", {}), "encrypting under a withdrawn key")
    stage.refused(KeyRevoked, lambda: client.new_data_key(INITECH, {}), "a data key under a withdrawn key")
    since = sum(sent > act for sent in others.served)
    return (
        f"first refusal after {refused:.2f} s, nothing served after {max(last, 0):.2f} s, revoked after "
        f"{revoked - act:.2f} s, receipt after {issued - act:.2f} s; globex was served {since} times meanwhile"
    )


def receipt_verified(stage: Stage) -> str:
    """The receipt is verified by a process that knows no service, with the keys that were kept; a forged one fails."""
    client = stage.client(INITECH)
    status, (entry,) = client.key_status(INITECH), client.receipts(INITECH)
    statement = client.receipt(INITECH, entry.id).statement
    kept, forged = stage.file("initech.receipt"), stage.file("forged.receipt")
    kept.write_text(statement, encoding="ascii")
    code, told = _verify(stage, kept)
    receipt = told["receipt"]
    stage.check((code, told["ok"]) == (Exit.OK, True), f"the receipt holds: {told['problem']}")
    stage.check((receipt["tenant_id"], receipt["kek"]) == (INITECH, status.kek), "it names initech and its key")
    stage.check((receipt["cause"], receipt["kms_request_id"]) == ("disabled", status.request_id), "and the refusal")
    stage.check(receipt["longest_lease"] == LEASE, "it names the lease that was in force")
    stage.check(receipt["data_keys"]["at_most"] > 0, "it counts the data key that was handed out for a file")
    stage.check(receipt["confirmed"] < receipt["not_served_after"], "it says from when on nothing is served")
    header, payload, signature = statement.split(".")
    changed = json.dumps({**json.loads(_decoded(payload)), "cause": "policy"}).encode()
    forged.write_text(".".join((header, _encoded(changed), signature)), encoding="ascii")
    code, told = _verify(stage, forged)
    stage.check((code, told["ok"]) == (Exit.INTEGRITY, False), "a receipt with another cause does not hold")
    return f"valid: nothing served after {receipt['not_served_after'][:19]} UTC; with another cause in it: not valid"


def restored(stage: Stage) -> str:
    """Initech turns its key on again; nobody tells the service, and nothing is lost."""
    client, arn = stage.client(INITECH), stage.file("initech.arn").read_text(encoding="ascii")
    message, back = stage.file("initech.keystead").read_bytes(), stage.file("initech.back")
    stage.refused(KeyRevoked, lambda: client.decrypt(INITECH, message, {}), "decrypting before it is on again")
    stage.cloud.kms.enable_key(arn)
    act = time.monotonic()
    with Readers(client, INITECH, message, DOCUMENT) as readers:
        served = (
            _seen(stage, until(lambda: readers.served, RESTORED_WITHIN), f"it is served within {RESTORED_WITHIN} s")
            - act
        )
    stage.check(readers.codes <= {KeyRevoked.code}, f"until then the refusal is the same: {readers.codes}")
    decrypt_file(client, INITECH, stage.file("initech.file"), back, {})
    stage.check(back.read_bytes() == DOCUMENT, "the file is read again, too")
    status, (entry,) = client.key_status(INITECH), client.receipts(INITECH)
    stage.check((status.state, status.receipt) == ("active", ""), "the key is active again")
    stage.check(entry.not_served_after > entry.confirmed and bool(entry.reinstated), "the receipt's end is listed")
    changes = [(change.before, change.after) for change in status.timeline]
    stage.check(("hold", "revoked") in changes, "the timeline tells of the confirmation")
    stage.check(changes[-1] == ("revoked", "active"), "and of the end")
    told = "\n".join(f"        {line}".rstrip() for line in drawn(status, pen_for(sys.stdout.encoding)))
    return f"served again after {served:.2f} s, everything is there; its timeline:\n{told}"


def kill_switch(stage: Stage) -> str:
    """The kill switch stops everything at once, whatever the KMS says, and is turned off again."""
    client, message = stage.client(INITECH), stage.file("initech.keystead").read_bytes()
    began = time.monotonic()
    suspended = client.suspend_key(INITECH, reason="the demo")
    took = time.monotonic() - began
    stage.check(suspended.state == "suspended", "the key is suspended")
    stage.refused(KeySuspended, lambda: client.decrypt(INITECH, message, {}), "decrypting while suspended")
    stage.refused(KeySuspended, lambda: client.encrypt(INITECH, b"x", {}), "encrypting while suspended")
    stage.check(client.check_key(INITECH).state == "suspended", "the KMS's yes does not end it")
    stage.check(client.resume_key(INITECH).state == "active", "the key is resumed")
    stage.check(client.decrypt(INITECH, message, {}) == DOCUMENT, "the document decrypts again")
    stage.check(len(client.receipts(INITECH)) == 1, "a kill switch is no withdrawal, and has no receipt")
    with closing(open_audit(stage.data)) as store:
        (verdict,) = verify_chains(store, INITECH)
    with stage.application() as application:
        acts = [entry.action for entry in application.audit.read(INITECH, limit=1000)]
    stage.check(verdict.ok, f"initech's audit chain holds: {verdict.problem}")
    stage.check({"key.suspend", "key.resume", "key.state"} <= set(acts), "the chain tells of all of it")
    return f"on: refused after {took * 1000:.0f} ms; off: served again; {verdict.entries} entries in the chain hold"


def _public_keys(stage: Stage) -> str:
    import httpx

    return httpx.get(f"{stage.service.url}/.well-known/jwks.json", trust_env=False, timeout=5).text


def _verify(stage: Stage, receipt: Path) -> tuple[int, dict[str, Any]]:
    """Run ``keystead receipt verify`` in a process of its own, without token or address of a service."""
    command = [sys.executable, "-m", "functions.cli", "receipt", "verify", str(receipt), "--json"]
    done = subprocess.run(  # noqa: S603 - our own program and arguments
        [*command, "--jwks", str(stage.file("jwks.json"))],
        cwd=REPOSITORY,
        env={},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    if not done.stdout:
        raise Broken(f"the verification did not run: {done.stderr.strip()}")
    return done.returncode, json.loads(done.stdout)


def _seen(stage: Stage, at: float | None, what: str) -> float:
    stage.check(at is not None, what)
    return at or 0.0


def _decoded(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


def _encoded(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()
