"""The second person: what weakens a tenant's control waits until somebody else asks for the very same (DESIGN 7).

A tenant chooses this by ``approval="second_person"``. The first request is kept as a proposal; the same one by another
person within 24 hours takes it up and is carried out. A proposal is one document per kind of act, changed by
compare-and-set only, with a MAC of its own: nobody who can write the store can propose in another's name. What it is
about is bound by a digest of tenant, act, arguments and configuration revision, so that it never approves anything
that was asked of another key.

::

    (none) --one asks--> proposed --another asks for the same--> approved --the act is done--> done
                            |  24 h                                 |  10 min
                            v                                       v
                         (none)                                  (none)

While it is approved, either of the two may ask again: the act may have failed for a reason of its own.
"""

from __future__ import annotations

import hmac
import json
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from hashlib import sha256
from typing import Any, Protocol

from core.domain.instants import parse_instant
from core.domain.proposals import APPROVED, DONE, PROPOSED, Person, Proposal
from core.domain.tenants import MAC_FIELD, TenantRecord
from core.domain.timing import Instant
from core.domain.withdrawals import instant
from core.errors import ApprovalNeeded, Conflict, KeysteadError
from core.ports import TenantStore
from core.service.alarms import Alarms
from core.service.row_macs import RowMacs

SECOND_PERSON = "second_person"
REPLACE_KEY, REVERT_KEY, LOOSEN_POLICY = "replace_key", "revert_key", "loosen_policy"
"""The acts. Loosening is a longer lease or grace, turning the fallback on, and turning the second person off."""
PROPOSAL_SECONDS = 86400.0
CARRY_OUT_SECONDS = 600.0
PREFIX = "approval:"
ATTEMPTS = 5
_LABEL = b"keystead approval v1\n"


class Approver(Protocol):
    """A person's request, as far as it may take a second person."""

    def require(self, record: TenantRecord, action: str, arguments: Mapping[str, Any]) -> None:
        """Let an act pass that was proposed by another person, or keep it as a proposal.

        Does nothing for tenants who do not want a second person.

        Args:
            record: The tenant's record, as read for the act. What the act writes must fail if it has changed since.
            action: `REPLACE_KEY`, `REVERT_KEY` or `LOOSEN_POLICY`.
            arguments: Everything that makes this act another than others of its kind: JSON, never a secret.

        Raises:
            ApprovalNeeded: It is a proposal now.
            Conflict: Two others have just approved the same.
            StoreUnavailable, StoreCorrupt, VendorFault, KeyUnreachable: It cannot be told now.
        """
        ...

    def done(self) -> None:
        """Tell that the acts that `require` let pass have been done; they are spent. Never raises `KeysteadError`."""
        ...

    def withdraw(self, record: TenantRecord, action: str) -> None:
        """Void what is proposed or approved: somebody has just asked for the contrary.

        Raises:
            Conflict, StoreUnavailable, StoreCorrupt, VendorFault, KeyUnreachable: It cannot be done now.
        """
        ...


@dataclass(frozen=True, slots=True)
class Asked:
    """What became of a request.

    Attributes:
        proposal: What it asks for.
        displaced: A proposal of something else that it took the place of: of each act there is one at a time.
    """

    proposal: Proposal
    displaced: Proposal | None = None


class Approvals:
    """Keeps the proposals.

    Args:
        store: Holds them.
        macs: Holds the key that authenticates them.
        alarms: Tell the operator of one that somebody else wrote.
        now: Reads both clocks.
    """

    def __init__(self, store: TenantStore, macs: RowMacs, alarms: Alarms, now: Callable[[], Instant]) -> None:
        self._store = store
        self._macs = macs
        self._alarms = alarms
        self._now = now

    def by(self, subject: str, issuer: str, facts: dict[str, Any]) -> Approver:
        """What a request asks through.

        Args:
            subject, issuer: Who asks, as in `core.service.access.Caller`.
            facts: Who proposed and approved what is added to these, for the audit.
        """
        return _Request(self, Person(subject, issuer), facts)

    def require(self, record: TenantRecord, action: str, arguments: Mapping[str, Any], person: Person) -> Asked | None:
        """As `Approver.require`.

        Returns:
            What was approved, or is only proposed; None if the tenant does not want a second person.
        """
        if record.policy.approval != SECOND_PERSON:
            return None
        digest = _digest(record, action, arguments)
        for attempt in range(ATTEMPTS):
            revision, found = self._read(record.tenant_id, action)
            if attempt and found is not None and (found.digest, found.stage) == (digest, DONE):
                raise _just_approved()
            after = self._after(found, digest, person)
            try:
                if after != found:
                    self._write(record.tenant_id, action, after, revision)
            except Conflict:
                continue
            return Asked(after, found if found is not None and self._displaced(found, digest) else None)
        raise Conflict("others keep proposing at the same moment", hint="try again")

    def end(self, tenant_id: str, action: str, digest: str = "") -> None:
        """Spend what is approved, or with no digest void whatever there is.

        Raises:
            Conflict, StoreUnavailable, StoreCorrupt, VendorFault, KeyUnreachable: It cannot be done now.
        """
        for _ in range(ATTEMPTS):
            revision, found = self._read(tenant_id, action)
            if found is None or found.stage == DONE or (digest and digest != found.digest):
                return
            try:
                self._write(tenant_id, action, replace(found, stage=DONE), revision)
            except Conflict:
                continue
            return
        raise Conflict("others keep proposing at the same moment", hint="try again")

    def _after(self, found: Proposal | None, digest: str, person: Person) -> Proposal:
        now = self._now().wall
        if found is not None and found.digest == digest and now < parse_instant(found.ends):
            if found.stage == PROPOSED and person == found.proposer:
                return found
            if found.stage == PROPOSED:
                return replace(found, stage=APPROVED, approver=person, ends=instant(now + CARRY_OUT_SECONDS))
            if found.stage == APPROVED and person in (found.proposer, found.approver):
                return found
            if found.stage == APPROVED:
                raise _just_approved()
        return Proposal(digest, PROPOSED, person, proposed=instant(now), ends=instant(now + PROPOSAL_SECONDS))

    def _displaced(self, found: Proposal, digest: str) -> bool:
        return found.stage != DONE and found.digest != digest and self._now().wall < parse_instant(found.ends)

    def _read(self, tenant_id: str, action: str) -> tuple[int, Proposal | None]:
        document = self._store.read(tenant_id, PREFIX + action)
        if document is None:
            return 0, None
        body = {name: value for name, value in document.body.items() if name != MAC_FIELD}
        mac = document.body.get(MAC_FIELD)
        expected = self._mac(tenant_id, action, body)
        if isinstance(mac, str) and hmac.compare_digest(mac.encode(errors="replace"), expected.encode()):
            return document.revision, Proposal.from_body(body)
        # It counts for nothing, and the next proposal takes its place.
        self._alarms("store_corrupt", tenant_id, "approval", problem="its MAC is missing or wrong")
        return document.revision, None

    def _write(self, tenant_id: str, action: str, proposal: Proposal, revision: int) -> None:
        body = proposal.to_body()
        stored = {**body, MAC_FIELD: self._mac(tenant_id, action, body)}
        self._store.write(tenant_id, PREFIX + action, stored, expected_revision=revision)

    def _mac(self, tenant_id: str, action: str, body: Mapping[str, Any]) -> str:
        text = _canonical([tenant_id, action, dict(body)])
        return hmac.new(self._macs.key(), _LABEL + text, sha256).hexdigest()


class _Request:
    def __init__(self, approvals: Approvals, person: Person, facts: dict[str, Any]) -> None:
        self._approvals = approvals
        self._person = person
        self._facts = facts
        self._passed: set[tuple[str, str, str]] = set()

    def require(self, record: TenantRecord, action: str, arguments: Mapping[str, Any]) -> None:
        asked = self._approvals.require(record, action, arguments, self._person)
        if asked is None:
            return
        found, displaced = asked.proposal, asked.displaced
        self._facts["approval"] = {"action": action, **found.to_body()}
        if found.stage != APPROVED:
            until = datetime.fromtimestamp(parse_instant(found.ends), UTC)
            instead = ""
            if displaced is not None:
                self._facts["displaced"] = displaced.to_body()
                instead = f", in place of another one by {displaced.proposer.subject}"
            raise ApprovalNeeded(
                f"this tenant wants two people for this, and it is a proposal now{instead}",
                hint=f"another person with key:manage must send the same request before {until:%Y-%m-%d %H:%M} UTC",
            )
        self._passed.add((record.tenant_id, action, found.digest))

    def done(self) -> None:
        for passed in self._passed:
            # What stays approved for its minutes is bound to a configuration, or a policy, that is no more.
            with suppress(KeysteadError):
                self._approvals.end(*passed)
        self._passed.clear()

    def withdraw(self, record: TenantRecord, action: str) -> None:
        self._approvals.end(record.tenant_id, action)


class _Nobody:
    def require(self, record: TenantRecord, action: str, _arguments: Mapping[str, Any]) -> None:
        if record.policy.approval == SECOND_PERSON:
            raise ApprovalNeeded("this tenant wants two people for this, and nobody asks", hint=f"the act is {action}")

    def done(self) -> None:
        """Nothing was approved."""

    def withdraw(self, _record: TenantRecord, _action: str) -> None:
        """Proposals stay as they are."""


NOBODY: Approver = _Nobody()
"""For what is done on nobody's request: nothing that takes two people passes."""


def _just_approved() -> Conflict:
    return Conflict("others have just approved the same", hint="look at the key's status")


def _digest(record: TenantRecord, action: str, arguments: Mapping[str, Any]) -> str:
    asked = [record.tenant_id, record.configuration_revision, action, dict(arguments)]
    return sha256(_canonical(asked)).hexdigest()


def _canonical(value: Any) -> bytes:
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False).encode()
