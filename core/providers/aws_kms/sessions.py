"""Sessions of one tenant's access to one KEK, and the bounded cache of them.

Where a role is assumed, its temporary credentials live here and nowhere else, under a key that starts with the tenant
and its configuration revision: no other tenant's access, nor this one's of another time, can come to use them.
"""

from __future__ import annotations

from threading import Lock
from typing import NamedTuple

from core.domain.arns import KeyArn
from core.domain.kek import KeyAccess
from core.domain.timing import Instant
from core.ports import Clock
from core.providers.aws_kms.calls import Answer, Budget, Calls, Request
from core.providers.aws_kms.clients import Connection, Credentials
from core.providers.aws_kms.failures import Failure, Kind, silent
from core.providers.aws_kms.roles import assume_role, credentials_of

REUSE_SECONDS = 600
"""Age up to which a session is used again, if the lease allows it."""


class SessionKey(NamedTuple):
    """What a session is kept under: whose it is first, then all that it was made from."""

    tenant_id: str
    revision: int
    region: str
    role_arn: str
    external_id: str
    key_arn: str

    @classmethod
    def of(cls, access: KeyAccess) -> SessionKey:
        """The key for an access whose ARN has been checked."""
        region = KeyArn.parse(access.kek.locator).region
        return cls(access.tenant_id, access.revision, region, access.role_arn, access.external_id, access.kek.locator)

    def __repr__(self) -> str:
        return f"<SessionKey of {self.tenant_id!r} revision {self.revision} to {self.key_arn}>"


class Session(NamedTuple):
    """An assumed role's session: its credentials, and when they were asked for."""

    credentials: Credentials
    asked: Instant


class Entry(NamedTuple):
    """A session in use: how many seconds old it was when it was taken up; 0 if it was begun for this use."""

    session: Session
    age: float


class TenantSession:
    """One tenant's access to one KEK.

    Args:
        key: Whose, and to what.
        kms: Used for this access only.
        sts: Signs with our own credentials only.
        calls: Makes the calls.
        clock: Counts a session's age.
        restricted: Whether an assumed role is narrowed to the KEK and our actions. Examinations alone say no, to see
            what else it may do.
    """

    def __init__(
        self,
        key: SessionKey,
        kms: Connection,
        sts: Connection,
        calls: Calls,
        clock: Clock,
        *,
        restricted: bool = True,
    ) -> None:
        self._key = key
        self._kms, self._sts = kms, sts
        self._calls, self._clock = calls, clock
        self._restricted = restricted
        self._session: Session | None = None
        self._lock = Lock()  # held while one caller assumes the role

    def visit(self, budget: Budget, lease: float) -> Visit:
        """One operation's use of this access.

        Args:
            budget: Ends it.
            lease: Seconds for which a session may be used again.
        """
        return Visit(self, budget, lease)

    def prepare(self) -> None:
        """Make the clients, if they are not made yet; no I/O."""
        self._kms.prepare()
        if self._key.role_arn:
            self._sts.prepare()

    def close(self) -> None:
        """Close idle connections."""
        self._kms.close()

    def rest(self) -> None:
        """Close idle connections until they are needed again."""
        self._kms.rest()

    def ask_kms(self, request: Request, budget: Budget, credentials: Credentials | None) -> Answer | Failure:
        """Make one KMS call with these credentials; none are our own."""
        return self._kms.ask(self._calls, request, budget, credentials)

    def enter(self, budget: Budget, lease: float) -> Entry | Failure | None:
        """A session young enough, or a new one; None where our own credentials sign."""
        if not self._key.role_arn:
            return None
        limit = min(lease, REUSE_SECONDS)
        found = self._usable(limit)
        if found is not None:
            return found
        if limit <= 0:  # nobody else's session will do
            return self._begin(budget)
        if not self._lock.acquire(timeout=max(budget.left(), 0)):
            return silent("AssumeRole", "time was up while another call assumed the role")
        try:
            return self._usable(limit) or self._begin(budget)
        finally:
            self._lock.release()

    def forget(self, session: Session) -> None:
        """Use this session no more, wherever it is used now."""
        if self._session is session:
            self._session = None

    def assume(self, budget: Budget, external_id: str | None) -> Credentials | Failure:
        """Assume the role with any external id, or none, and keep nothing. For examinations.

        Args:
            budget: Ends it.
            external_id: What to present; None to present nothing.
        """
        key = self._key
        asked = assume_role(key.role_arn, key.tenant_id, external_id, key.key_arn if self._restricted else "")
        answer = self._sts.ask(self._calls, asked, budget)
        return answer if isinstance(answer, Failure) else credentials_of(answer)

    def _usable(self, limit: float) -> Entry | None:
        session = self._session
        if session is None or limit <= 0:
            return None
        age = self._now().elapsed(session.asked)
        return Entry(session, max(age, 0.0)) if age < limit else None

    def _begin(self, budget: Budget) -> Entry | Failure:
        asked = self._now()
        found = self.assume(budget, self._key.external_id)
        if isinstance(found, Failure):
            return found
        self._session = session = Session(found, asked)
        return Entry(session, 0.0)

    def _now(self) -> Instant:
        return Instant(self._clock.wall(), self._clock.boot())


class Visit:
    """One operation's use of an access: several calls, one budget, and at most one session (or one renewal of it).

    Args:
        session: The access.
        budget: Ends it.
        lease: Seconds for which a session may be used again.
    """

    def __init__(self, session: TenantSession, budget: Budget, lease: float) -> None:
        self._session = session
        self._budget = budget
        self._lease = lease
        self._entered: Entry | None = None
        self._is_own = False

    @property
    def proved_ago(self) -> float:
        """Seconds before this visit for which nobody asked whether the role may still be assumed."""
        return 0.0 if self._entered is None else self._entered.age

    def ask(self, request: Request) -> Answer | Failure:
        """Make a KMS call, assuming the role before the first one where there is no session to use again."""
        entered = self._enter()
        if isinstance(entered, Failure):
            return entered
        found = self._ask(request, entered)
        if entered is None or not isinstance(found, Failure):
            return found
        if found.kind in (Kind.DENIAL, Kind.STATE, Kind.CREDENTIALS):
            self._session.forget(entered.session)
        if found.kind is not Kind.CREDENTIALS:
            return found
        # The role's session ended early (or its role is gone): STS knows more.
        self._entered, self._lease = None, 0
        entered = self._enter()
        if entered is None or isinstance(entered, Failure):
            return entered or found
        found = self._ask(request, entered)
        if isinstance(found, Failure) and found.kind is Kind.CREDENTIALS:
            self._session.forget(entered.session)
            return silent(request.operation, f"{found.seen}, for a session just begun")
        return found

    def _ask(self, request: Request, entered: Entry | None) -> Answer | Failure:
        credentials = None if entered is None else entered.session.credentials
        return self._session.ask_kms(request, self._budget, credentials)

    def _enter(self) -> Entry | Failure | None:
        if self._entered is None and not self._is_own:
            found = self._session.enter(self._budget, self._lease)
            if isinstance(found, Failure):
                return found
            self._entered, self._is_own = found, found is None
        return self._entered
