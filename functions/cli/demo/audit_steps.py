"""The auditor's part of the story."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from pathlib import Path

from core.bootstrap import STORE, open_audit
from functions.cli.audit import SYSTEM, verify_chains
from functions.cli.demo.stage import Stage
from functions.cli.output import counted

ACTOR, VICTIM = "acme", "globex"


def audit_holds(stage: Stage) -> str:
    """Every chain holds, and the refusals stand where they belong."""
    with closing(open_audit(stage.data)) as store:
        verdicts = verify_chains(store)
    with stage.application() as application:
        refused = {
            chain: [e for e in application.audit.read(chain, limit=1000) if e.action == "access.denied"]
            for chain in (ACTOR, VICTIM, SYSTEM)
        }
    for verdict in verdicts:
        stage.check(verdict.ok, f"the chain {verdict.chain} holds: {verdict.problem}")
        stage.check(verdict.entries > 0, f"the chain {verdict.chain} has entries")
    stage.check({ACTOR, VICTIM, SYSTEM} <= {verdict.chain for verdict in verdicts}, "every chain was looked at")
    stage.check(bool(refused[ACTOR]) and bool(refused[SYSTEM]), "who tried is on record, for itself and the operator")
    stage.check(not refused[VICTIM], "nobody writes into the victim's chain")
    entries = sum(verdict.entries for verdict in verdicts)
    return f"{counted(len(verdicts), 'chain')}, {counted(entries, 'entry', 'entries')}: every link holds"


def tampered_audit_is_found(stage: Stage) -> str:
    """An entry changed, one cut out, two exchanged, the end cut off."""
    found = []
    for kind, statement in (
        ("cut", "DELETE FROM audit WHERE chain = ? AND sequence = 1"),
        ("moved", "UPDATE audit SET sequence = 1000 - sequence WHERE chain = ? AND sequence > 0"),
        (
            "ended",
            "DELETE FROM audit WHERE chain = ? AND sequence = (SELECT max(sequence) FROM audit WHERE chain = ?1)",
        ),
    ):
        copy = stage.copy_data(f"audit-{kind}")
        with closing(sqlite3.connect(copy / STORE)) as store, store:
            store.execute(statement, (ACTOR,))
        found.append(_problem(stage, copy))
    copy = stage.copy_data("audit-changed")
    with closing(sqlite3.connect(copy / STORE)) as store, store:
        ((entry,),) = store.execute("SELECT entry FROM audit WHERE chain = ? AND sequence = 1", (ACTOR,)).fetchall()
        changed = json.dumps({**json.loads(entry), "subject": "somebody else"})
        store.execute("UPDATE audit SET entry = ? WHERE chain = ? AND sequence = 1", (changed, ACTOR))
    found.append(_problem(stage, copy))
    return f"in {len(found)} copies an entry was cut out, moved, cut off or changed: found every time"


def old_backup_is_found(stage: Stage) -> str:
    """A store rolled back is whole in itself; a checkpoint kept elsewhere gives it away."""
    with stage.application() as application:
        checkpoint = application.audit.checkpoint(ACTOR) or ""
    with closing(open_audit(stage.directory / "old-backup")) as store:
        alone = store.verify(ACTOR)
        against = store.verify(ACTOR, [checkpoint])
    stage.check(alone.ok, "the old backup is whole in itself")
    stage.check(not against.ok, "the signed checkpoint shows that it is old")
    whole = counted(alone.entries, "whole entry", "whole entries")
    return f"{whole}, and a signed checkpoint that knows of more: found"


def _problem(stage: Stage, copy: Path) -> str:
    with closing(open_audit(copy)) as store:
        verdict = store.verify(ACTOR)
    stage.check(not verdict.ok, f"the tampering in {copy.name} is found")
    return verdict.problem
