"""Writes and verifies audit chains, and signs checkpoints of them (DESIGN 8)."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from threading import Lock
from typing import Any
from zlib import crc32

from core.domain import jws
from core.domain.audit import EMPTY_HEAD, AuditEntry, AuditHead, fault
from core.domain.branch_keys import CREATE_TIME_FORMAT
from core.domain.timing import Instant
from core.errors import Conflict, InvalidRequest, KeysteadError, StoreCorrupt, StoreUnavailable
from core.ports import AuditLog, Signer, TenantStore

CHECKPOINT_EVERY = 64
"""Entries between signed checkpoints."""
CHECKPOINTS = "audit-checkpoints"
STATEMENT = "keystead-audit-checkpoint"
KEPT_CHECKPOINTS = 200
APPEND_ATTEMPTS = 50
LOCKS = 64
PAGE = 500
log = logging.getLogger("keystead.audit")


@dataclass(frozen=True, slots=True)
class AuditVerdict:
    """What verifying a chain found.

    Attributes:
        chain: The chain.
        ok: Whether everything holds.
        entries: How many entries were read.
        checkpoints: How many signed checkpoints were checked.
        first_fault: Sequence of the first entry that does not hold, or None.
        problem: What is wrong with it, or "".
        head: The last entry that holds.
    """

    chain: str
    ok: bool
    entries: int
    checkpoints: int
    first_fault: int | None
    problem: str
    head: AuditHead


class AuditTrail:
    """The chains of this deployment.

    Args:
        log: Holds the entries.
        documents: Holds the checkpoints.
        signer: Signs them.
        now: Reads both clocks.
    """

    def __init__(self, audit_log: AuditLog, documents: TenantStore, signer: Signer, now: Callable[[], Instant]) -> None:
        self._log = audit_log
        self._documents = documents
        self._signer = signer
        self._now = now
        self._locks = [Lock() for _ in range(LOCKS)]

    def record(
        self, chain: str, action: str, subject: str, outcome: str, details: Mapping[str, Any] | None = None
    ) -> AuditEntry:
        """Append an entry.

        Args:
            chain: Tenant id or ``_system``.
            action: What was done or refused.
            subject: Who did it.
            outcome: ``ok`` or an error code.
            details: Facts as JSON values; never a secret.

        Raises:
            StoreUnavailable: It could not be stored.
        """
        # One slow chain must not hold up the others: chains share a lock only by chance.
        with self._locks[crc32(chain.encode()) % LOCKS]:
            for _ in range(APPEND_ATTEMPTS):
                head = self._log.head(chain)
                entry = self._link(AuditEntry(chain, 0, "", action, subject, outcome, dict(details or {})), head)
                try:
                    self._log.append(entry)
                    break
                except Conflict:
                    continue  # another process appended first
            else:
                raise StoreUnavailable("the audit chain is too busy", retry_after=1)
        if entry.sequence % CHECKPOINT_EVERY == 0:
            try:
                self.checkpoint(chain)
            except KeysteadError as error:
                log.warning("no audit checkpoint", extra={"fields": {"chain": chain, "code": error.code}})
        return entry

    def end(self, chain: str) -> int:
        """Sequence of a chain's last entry; 0 where there is none.

        Raises:
            StoreUnavailable, StoreCorrupt: It cannot be read.
        """
        return self._log.head(chain).sequence

    def read(self, chain: str, *, after: int = 0, limit: int = 100) -> Sequence[AuditEntry]:
        """A page of entries, oldest first.

        Raises:
            InvalidRequest: The limit is not 1 to 1000.
            StoreUnavailable, StoreCorrupt: They cannot be read.
        """
        if not 1 <= limit <= 1000 or after < 0:
            raise InvalidRequest("a page holds 1 to 1000 entries, after a sequence of 0 or more")
        return self._log.read(chain, after=after, limit=limit)

    def checkpoint(self, chain: str) -> str | None:
        """Sign the head of a chain and keep the statement, unless it is signed already.

        Returns:
            The newest checkpoint, a compact JWS; None for an empty chain.

        Raises:
            StoreUnavailable: It cannot be stored.
            Denial, Silence: The signing key does not serve.
        """
        for _ in range(APPEND_ATTEMPTS):
            head, (kept, revision) = self._log.head(chain), self._kept(chain)
            if head == EMPTY_HEAD:
                return None
            signed = self._sequence(chain, kept[-1]) if kept else 0
            if signed > head.sequence:
                raise StoreCorrupt("the audit chain ends before an entry that a signed checkpoint names")
            if signed == head.sequence:
                return kept[-1]
            statement = self._signer.sign(
                {"typ": STATEMENT, "chain": chain, "sequence": head.sequence, "hash": head.hash, "time": self._time()}
            )
            body = {"checkpoints": [*kept, statement][-KEPT_CHECKPOINTS:]}
            try:
                self._documents.write(chain, CHECKPOINTS, body, expected_revision=revision)
                return statement
            except Conflict:
                continue
        raise StoreUnavailable("the audit checkpoints are too busy", retry_after=1)

    def checkpoints(self, chain: str) -> Sequence[str]:
        """The kept checkpoints, oldest first, the last of the present head.

        Raises:
            As `checkpoint`.
        """
        self.checkpoint(chain)
        return tuple(self._kept(chain)[0])

    def statement(self, chain: str, statement: str) -> tuple[int, str]:
        """What a signed checkpoint says: sequence and hash of the entry that it names.

        Args:
            chain: The chain that it must be of.
            statement: A compact JWS.

        Raises:
            InvalidRequest: It is none of this deployment's, or of another chain.
        """
        body = jws.verify(statement, self._signer.jwks())
        sequence, entry_hash = body.get("sequence"), body.get("hash")
        if body.get("chain") != chain or body.get("typ") != STATEMENT:
            raise InvalidRequest("the checkpoint is of another chain")
        if type(sequence) is not int or not isinstance(entry_hash, str):
            raise InvalidRequest("the checkpoint does not name an entry")
        return sequence, entry_hash

    def verify(self, chain: str, *, checkpoints: Sequence[str] = ()) -> AuditVerdict:
        """Check a whole chain: every link, the head, and every checkpoint kept here or given.

        Args:
            chain: Tenant id or ``_system``.
            checkpoints: Statements kept elsewhere; they show a truncation even if the store was rewritten.

        Raises:
            StoreUnavailable: It cannot be read.
        """
        statements = list(checkpoints)
        expected: dict[int, str] = {}
        try:
            # One that is kept here and elsewhere is one.
            statements = list(dict.fromkeys([*self._kept(chain)[0], *checkpoints]))
            for statement in statements:
                sequence, entry_hash = self.statement(chain, statement)
                if expected.setdefault(sequence, entry_hash) != entry_hash:
                    raise InvalidRequest("two checkpoints of one entry differ")
        except (InvalidRequest, StoreCorrupt) as error:
            return AuditVerdict(chain, False, 0, len(statements), None, f"a checkpoint fails: {error}", EMPTY_HEAD)
        try:
            head, problem = self._walk(chain, expected)
            if not problem and self._log.head(chain).sequence < head.sequence:
                problem = "the head names an earlier entry"
        except StoreCorrupt:
            head, problem = EMPTY_HEAD, "the stored head cannot be read"
        beyond = [sequence for sequence in expected if sequence > head.sequence]
        if not problem and beyond:
            problem = f"the chain ends before entry {max(beyond)}, which a signed checkpoint names"
        fault = head.sequence + 1 if problem else None
        return AuditVerdict(chain, not problem, head.sequence, len(statements), fault, problem, head)

    def _kept(self, chain: str) -> tuple[list[str], int]:
        # The statements kept, oldest first, and the revision of the document that holds them.
        document = self._documents.read(chain, CHECKPOINTS)
        if document is None:
            return [], 0
        kept = document.body.get("checkpoints")
        if not isinstance(kept, list) or not all(isinstance(statement, str) for statement in kept):
            raise StoreCorrupt("the stored audit checkpoints cannot be read")
        return kept, document.revision

    def _sequence(self, chain: str, statement: str) -> int:
        try:
            return self.statement(chain, statement)[0]
        except InvalidRequest:
            raise StoreCorrupt("a stored audit checkpoint does not verify") from None

    def _walk(self, chain: str, expected: Mapping[int, str]) -> tuple[AuditHead, str]:
        head = EMPTY_HEAD
        end = self._log.head(chain)
        while True:
            try:
                page = self._log.read(chain, after=head.sequence, limit=PAGE)
            except StoreCorrupt:
                return head, "the stored entry cannot be read"
            for entry in page:
                if problem := fault(entry, chain, head, expected.get(entry.sequence, "")):
                    return head, problem
                head = AuditHead(entry.sequence, entry.hash)
                if head.sequence == end.sequence and head != end:
                    return head, "the head does not name the last entry"
            if len(page) < PAGE:
                break
        if head.sequence < end.sequence:
            return head, "entries are missing at the end"
        return head, ""

    def _link(self, entry: AuditEntry, head: AuditHead) -> AuditEntry:
        fields = {**entry.body(), "sequence": head.sequence + 1, "time": self._time(), "previous": head.hash}
        linked = AuditEntry(**fields)
        return AuditEntry(**fields, hash=linked.computed_hash())

    def _time(self) -> str:
        return datetime.fromtimestamp(self._now().wall, UTC).strftime(CREATE_TIME_FORMAT)
