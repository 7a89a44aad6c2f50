"""Makes copies of audit chains, and puts back from one what a restored store has lost."""

from __future__ import annotations

from dataclasses import dataclass

from core.domain.audit import EMPTY_HEAD, AuditEntry, AuditHead, fault
from core.domain.audit_copies import ChainCopy
from core.errors import Conflict, InvalidRequest, ProviderSignal, StoreCorrupt, StoreUnavailable
from core.ports import AuditLog
from core.service.audit import APPEND_ATTEMPTS, PAGE, AuditTrail


@dataclass(frozen=True, slots=True)
class PutBack:
    """What became of a copy.

    Attributes:
        entries: How many entries the store had lost and has again.
        diverged: Whether the chain went on differently after the backup, so that they could not be put back.
    """

    entries: int = 0
    diverged: bool = False


class AuditCopies:
    """Copies of the chains of this deployment.

    Args:
        log: Holds the entries.
        trail: Reads them, and signs checkpoints.
    """

    def __init__(self, log: AuditLog, trail: AuditTrail) -> None:
        self._log = log
        self._trail = trail

    def make(self, chain: str) -> ChainCopy:
        """Copy a chain as it is now.

        Raises:
            StoreUnavailable, StoreCorrupt: It cannot be read, or does not hold.
            Denial, Silence: The signing key does not serve.
        """
        checkpoint = self._trail.checkpoint(chain)
        if checkpoint is None:
            return ChainCopy(chain, (), "")
        last, _ = self._trail.statement(chain, checkpoint)
        entries = self.read(chain, up_to=last)
        copy = ChainCopy(chain, tuple(entries), checkpoint)
        try:
            self.check(copy)
        except InvalidRequest as error:
            raise StoreCorrupt(f"the audit chain of {chain} does not hold: {error.detail}") from None
        return copy

    def check(self, copy: ChainCopy) -> None:
        """Find out whether a copy is true: each entry follows from the one before, and a checkpoint names the last.

        Raises:
            InvalidRequest: It is not.
            StoreUnavailable: The keys that verify the checkpoint cannot be read now.
        """
        if not copy.entries:
            raise InvalidRequest("the copy of an audit chain has no entries")
        head = EMPTY_HEAD
        for entry in copy.entries:
            if problem := fault(entry, copy.chain, head):
                raise InvalidRequest(
                    f"the copy of an audit chain does not hold at entry {head.sequence + 1}: {problem}"
                )
            head = AuditHead(entry.sequence, entry.hash)
        try:
            named = self._trail.statement(copy.chain, copy.checkpoint)
        except ProviderSignal:
            raise StoreUnavailable("the signing keys cannot be read now") from None
        if named != (head.sequence, head.hash):
            raise InvalidRequest("the copy's signed checkpoint names another entry than its last")

    def put_back(self, copy: ChainCopy) -> PutBack:
        """Append what a chain has lost, exactly as it was; repeating changes nothing.

        Args:
            copy: Of this chain.

        Raises:
            InvalidRequest: The copy is not true.
            StoreUnavailable, StoreCorrupt: The chain cannot be read or written.
        """
        self.check(copy)
        count, attempts = 0, APPEND_ATTEMPTS
        while True:
            head = self._log.head(copy.chain)
            if head.sequence >= len(copy.entries):
                known = self._log.read(copy.chain, after=len(copy.entries) - 1, limit=1)
                return PutBack(count, diverged=not known or known[0].hash != copy.entries[-1].hash)
            if head != EMPTY_HEAD and copy.entries[head.sequence - 1].hash != head.hash:
                return PutBack(count, diverged=True)
            try:
                self._log.append(copy.entries[head.sequence])
                count += 1
            except Conflict:
                # Somebody else appended: the same, or something of today.
                attempts -= 1
                if not attempts:
                    raise StoreUnavailable("the audit chain is too busy", retry_after=1) from None

    def verified(self, chain: str) -> list[AuditEntry]:
        """A chain's entries from the first, each of which follows from the one before.

        Raises:
            StoreCorrupt: One does not.
            StoreUnavailable: They cannot be read.
        """
        entries, head = self.read(chain), EMPTY_HEAD
        for entry in entries:
            if problem := fault(entry, chain, head):
                raise StoreCorrupt(f"the audit chain does not hold at entry {head.sequence + 1}: {problem}")
            head = AuditHead(entry.sequence, entry.hash)
        return entries

    def read(self, chain: str, *, up_to: int | None = None) -> list[AuditEntry]:
        """A chain's entries from the first.

        Args:
            chain: The chain.
            up_to: Sequence of the last one wanted; None for all.

        Raises:
            StoreUnavailable, StoreCorrupt: They cannot be read.
        """
        entries: list[AuditEntry] = []
        while up_to is None or len(entries) < up_to:
            limit = PAGE if up_to is None else min(PAGE, up_to - len(entries))
            page = self._log.read(chain, after=len(entries), limit=limit)
            entries += page
            if len(page) < limit:
                break
        return entries
