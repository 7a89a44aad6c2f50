"""The story, step by step. Each step checks what it says and gives one line on it."""

from __future__ import annotations

import os
import resource
import time
from pathlib import Path

from core.client.files import decrypt_file, encrypt_file
from core.domain.message_header import MAX_HEADER, parse_header
from core.errors import AccessDenied, ContextMismatch, MessageInvalid
from functions.cli.demo.audit_steps import audit_holds, old_backup_is_found, tampered_audit_is_found
from functions.cli.demo.key_steps import faulty_key, own_key, replaced, taken_key, turned_off
from functions.cli.demo.move_steps import azure_off, back_to_aws, foreign_vault, new_version, to_azure
from functions.cli.demo.revocation_steps import kill_switch, prepared, receipt_verified, restored, withdrawn
from functions.cli.demo.stage import Stage, Step, digest
from functions.cli.serve import REPOSITORY

ACME, GLOBEX = "acme", "globex"
LETTER = "Dear Acme, this is what only you may read. Yours, the service.\n"
CONTEXT = {"document": "letter"}
MEMORY_ALLOWED = 48
"""MiB that a large file may add to the peak memory of the process that encrypts and decrypts it."""


def start(stage: Stage) -> str:
    """The service, in a process of its own."""
    stage.service.start()
    stage.check(stage.data.is_dir(), "the service made its data directory")
    return f"process {stage.service.process_id} on {stage.service.url}, embedded store"


def tenants(stage: Stage) -> str:
    """Two tenants, each with a branch key of its own."""
    operator = stage.client()
    for tenant_id in (ACME, GLOBEX):
        stage.check(operator.create_tenant(tenant_id).tenant_id == tenant_id, f"{tenant_id} is created")
    listed = {found.tenant_id for found in operator.list_tenants()}
    stage.check({ACME, GLOBEX} <= listed, "both are listed")
    keys = {stage.client(tenant_id).key_status(tenant_id).branch_key_id for tenant_id in (ACME, GLOBEX)}
    stage.check(len(keys) == 2, "their branch keys differ")
    stage.copy_data("old-backup")
    return "acme and globex, each with a branch key of its own"


def text(stage: Stage) -> str:
    """A text, encrypted on this machine under a handed-out data key."""
    plain, message, back = (stage.file(name) for name in ("letter.txt", "letter.keystead", "letter.back"))
    plain.write_text(LETTER, encoding="utf-8")
    client = stage.client(ACME)
    encrypt_file(client, ACME, plain, message, CONTEXT)
    stage.check(LETTER.encode() not in message.read_bytes(), "the text is not in the message")
    decrypt_file(client, ACME, message, back, CONTEXT)
    stage.check(back.read_text(encoding="utf-8") == LETTER, "the text comes back")
    stage.refused(
        ContextMismatch, lambda: decrypt_file(client, ACME, message, stage.file("x"), {}), "a missing context"
    )
    return f"{len(LETTER)} bytes became a message of {message.stat().st_size}, and came back"


def licence(stage: Stage) -> str:
    """A file of the world outside, encrypted by the service itself."""
    source = next(path for path in (REPOSITORY / "LICENSE", REPOSITORY / "README.md", Path(__file__)) if path.is_file())
    data = source.read_bytes()
    client = stage.client(ACME)
    message = client.encrypt(ACME, data, {"file": source.name})
    stage.check(data[:64] not in message, "the file is not in the message")
    stage.check(client.decrypt(ACME, message, {"file": source.name}) == data, "the file comes back")
    stage.file("service.keystead").write_bytes(message)
    return f"{source.name}, {len(data)} bytes, through the service and back"


def large(stage: Stage) -> str:
    """A large file, streamed."""
    plain, message, back = (stage.file(name) for name in ("large", "large.keystead", "large.back"))
    with plain.open("wb") as out:
        for _ in range(stage.large >> 20):
            out.write(os.urandom(1 << 20))
    client, memory = stage.client(ACME), _peak_memory()
    began = time.perf_counter()
    encrypt_file(client, ACME, plain, message, {"file": "large"})
    between = time.perf_counter()
    decrypt_file(client, ACME, message, back, {"file": "large"})
    ended = time.perf_counter()
    added = _peak_memory() - memory
    stage.check(digest(back) == digest(plain), "the large file comes back")
    stage.check(added <= MEMORY_ALLOWED, f"it takes at most {MEMORY_ALLOWED} MiB of memory, it took {added:.0f}")
    for path in (plain, message, back):
        path.unlink()
    size = stage.large >> 20
    return (
        f"{size} MiB: encrypted at {size / (between - began):.0f} MiB/s, decrypted at "
        f"{size / (ended - between):.0f} MiB/s, {added:.0f} MiB of memory more"
    )


def rotate(stage: Stage) -> str:
    """A new version of the branch key; old messages still open."""
    client, before = stage.client(ACME), stage.file("letter.keystead")
    version = client.rotate(ACME)
    after, back = stage.file("letter2.keystead"), stage.file("letter2.back")
    encrypt_file(client, ACME, stage.file("letter.txt"), after, CONTEXT)
    stage.check(_version(after) == version.version, "new messages name the new version")
    stage.check(_version(before) != version.version, "old messages name the old one")
    for message in (before, after):
        decrypt_file(client, ACME, message, back, CONTEXT, overwrite=True)
        stage.check(back.read_text(encoding="utf-8") == LETTER, f"{message.name} decrypts")
    raw = client.encrypt(ACME, b"new", {})
    stage.check(parse_header(raw).edks[0].version_id == version.version, "the service uses the new version too")
    return f"version {version.sequence} is active; messages of both versions decrypt"


def across_tenants(stage: Stage) -> str:
    """Neither tenant reaches the other's data."""
    acme, globex = stage.client(ACME), stage.client(GLOBEX)
    message = stage.file("service.keystead").read_bytes()
    pairs = dict(parse_header(message).context)
    pairs.pop("tenant_id")
    stage.refused(AccessDenied, lambda: acme.encrypt(GLOBEX, b"x", {}), "acme's token on globex's route")
    stage.refused(AccessDenied, lambda: acme.key_status(GLOBEX), "acme's token on globex's key")
    stage.refused(AccessDenied, lambda: acme.key_status("nobody"), "acme's token on a tenant that is not there")
    stage.refused(MessageInvalid, lambda: globex.decrypt(GLOBEX, message, pairs), "acme's message given to globex")
    edk, context = parse_header(stage.file("letter.keystead").read_bytes()).edks[0], CONTEXT
    stage.refused(
        MessageInvalid,
        lambda: globex.open_data_key(GLOBEX, edk.serialise(), context),
        "acme's data key given to globex",
    )
    stage.refused(
        MessageInvalid,
        lambda: decrypt_file(globex, GLOBEX, stage.file("letter.keystead"), stage.file("x"), CONTEXT),
        "acme's file given to globex",
    )
    return "acme's token on globex's routes: 403; acme's messages given to globex: 422"


def tampered(stage: Stage) -> str:
    """One bit, anywhere."""
    message, client = stage.file("service.keystead").read_bytes(), stage.client(ACME)
    pairs = dict(parse_header(message).context)
    pairs.pop("tenant_id")
    places = [
        0,
        10,
        parse_header(message).size - 60,
        parse_header(message).size - 1,
        len(message) // 2,
        len(message) - 1,
    ]
    for place in places:
        changed = bytearray(message)
        changed[place] ^= 1
        stage.refused(MessageInvalid, lambda: client.decrypt(ACME, bytes(changed), pairs), f"byte {place} changed")  # noqa: B023 - called at once
    return f"one bit changed in {len(places)} places of a message: refused every time"


def truncated(stage: Stage) -> str:
    """A file that was cut off leaves nothing behind."""
    source, cut, out = stage.file("cut.txt"), stage.file("cut.keystead"), stage.file("cut.back")
    source.write_bytes(LETTER.encode() * 4096)
    client = stage.client(ACME)
    encrypt_file(client, ACME, source, cut, {})
    os.truncate(cut, cut.stat().st_size - 1)
    before = set(stage.directory.iterdir())
    stage.refused(MessageInvalid, lambda: decrypt_file(client, ACME, cut, out, {}), "a message without its last byte")
    stage.check(set(stage.directory.iterdir()) == before, "nothing is left of it, not even in part")
    return f"a message of {cut.stat().st_size + 1} bytes without its last one: refused, and no output appeared"


def again(stage: Stage) -> str:
    """The service ends and starts again; everything is there."""
    stage.restart()
    back, client = stage.file("letter.again"), stage.client(ACME)
    decrypt_file(client, ACME, stage.file("letter.keystead"), back, CONTEXT)
    stage.check(back.read_text(encoding="utf-8") == LETTER, "an old message decrypts after a restart")
    stage.check(client.key_status(ACME).active_sequence == 2, "the new version is still the active one")
    return "stopped, started, and the oldest message still decrypts"


STEPS: tuple[Step, ...] = (
    Step("the service starts", start),
    Step("two tenants are created", tenants),
    Step("a text is encrypted and decrypted", text),
    Step("a real file goes through the service", licence),
    Step("a large file is streamed", large),
    Step("the branch key is rotated", rotate),
    Step("one tenant tries to reach another", across_tenants),
    Step("a message is tampered with", tampered),
    Step("a file is cut off", truncated),
    Step("the service is restarted", again),
    Step("a key with a faulty policy is refused", faulty_key),
    Step("acme brings its own key", own_key),
    Step("globex tries to take it", taken_key),
    Step("acme turns its key off, and on again", turned_off),
    Step("acme replaces its key", replaced),
    Step("acme moves its key from AWS to Azure", to_azure),
    Step("globex tries to take that one", foreign_vault),
    Step("acme turns its key in Azure off, and on again", azure_off),
    Step("the key in Azure gets a new version", new_version),
    Step("acme moves back to AWS", back_to_aws),
    Step("the audit chains are verified", audit_holds),
    Step("an audit log is tampered with", tampered_audit_is_found),
    Step("an old backup is passed off as the audit log", old_backup_is_found),
    Step("initech brings its own key, with a short lease", prepared),
    Step("initech turns its key off: the stopwatch runs", withdrawn),
    Step("the receipt is verified without the service", receipt_verified),
    Step("initech turns its key on: everything comes back", restored),
    Step("the kill switch is turned on, and off", kill_switch),
)


def _version(message: Path) -> str:
    with message.open("rb") as file:
        return parse_header(file.read(MAX_HEADER)).edks[0].version_id


def _peak_memory() -> float:
    """MiB."""
    try:
        status = Path("/proc/self/status").read_text(encoding="ascii", errors="replace")
        return int(status.partition("VmHWM:")[2].split()[0]) / 1024
    except (OSError, ValueError, IndexError):
        # Counts what ran in this process before the program, too, and may so hide growth.
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
