"""Sessions of one tenant's access to one key, and the bounded cache of them.

A session is one access token, held by one client with connections of its own. It lives here and nowhere else, under a
key that starts with the tenant and its configuration revision: no other tenant's access, nor this one's of another
time, can come to use it. Entra does not recall tokens, so a session is given up after `REUSE_SECONDS` at the latest.
"""

from __future__ import annotations

from collections.abc import Callable
from threading import Lock
from typing import NamedTuple

from core.domain.kek import KeyAccess
from core.domain.timing import Instant
from core.domain.vaults import VaultKey
from core.ports import Clock
from core.providers.azure_key_vault.calls import Answer, Budget, Calls, Request
from core.providers.azure_key_vault.clients import ClientFactory, VaultClient
from core.providers.azure_key_vault.failures import TOKEN, Failure, silent
from core.providers.azure_key_vault.meanings import Kind
from core.providers.azure_key_vault.tokens import Tokens

REUSE_SECONDS = 600
"""Age up to which a token is used again, if the lease allows it."""
YOUNG_SECONDS = 10
"""Age below which a token is neither replaced nor given up because of what a vault says: however often it says it, a
key costs one token in so many seconds."""


class SessionKey(NamedTuple):
    """What a session is kept under: whose it is first, then all that it was made from."""

    tenant_id: str
    revision: int
    entra_tenant: str
    host: str
    key_name: str

    @classmethod
    def of(cls, access: KeyAccess) -> SessionKey:
        """The key for an access that has been checked."""
        key = VaultKey.parse(access.kek.locator)
        return cls(access.tenant_id, access.revision, access.entra_tenant, key.host, key.name)


class Session(NamedTuple):
    """A client with its token, and when the token was asked for."""

    client: VaultClient
    asked: Instant


class Entry(NamedTuple):
    """A session in use: how many seconds old it was when it was taken up; 0 if it was begun for this use."""

    session: Session
    age: float


class TenantSession:
    """One tenant's access to one key.

    Args:
        key: Whose, and to what.
        factory: Makes clients.
        tokens: Gets tokens.
        calls: Makes the calls.
        clock: Counts a token's age.
    """

    def __init__(self, key: SessionKey, factory: ClientFactory, tokens: Tokens, calls: Calls, clock: Clock) -> None:
        self._key = key
        self._factory = factory
        self._tokens = tokens
        self._calls, self._clock = calls, clock
        self._session: Session | None = None
        self._lock = Lock()  # held while one caller asks for a token

    def visit(self, budget: Budget, lease: float) -> Visit:
        """One operation's use of this access.

        Args:
            budget: Ends it.
            lease: Seconds for which a token may be used again.
        """
        return Visit(self, budget, lease)

    def prepare(self) -> None:
        """Load the SDK, if it is not loaded yet; no I/O."""
        self._factory.prepare()

    def close(self) -> None:
        """Forget the token and close idle connections."""
        session, self._session = self._session, None
        if session is not None:
            session.client.rest()

    def ask_vault(self, request: Request, budget: Budget, client: VaultClient) -> Answer | Failure:
        """Make one call to the vault with a client's token."""
        return self._calls.make(request, lambda line: client.ask(request, line), budget, self._key.host)

    def enter(self, budget: Budget, lease: float) -> Entry | Failure:
        """A session young enough, or a new one."""
        limit = min(lease, REUSE_SECONDS)
        found = self._usable(limit)
        if found is not None:
            return found
        if limit <= 0:  # nobody else's token will do
            return self._begin(budget)
        return self._locked(lambda: self._usable(limit) or self._begin(budget), budget)

    def renew(self, refused: Session, budget: Budget, lease: float) -> Entry | Failure:
        """A newer session than the one whose token a vault refused: another call's, if there is one, or a new one."""

        def newer() -> Entry | Failure:
            self.forget(refused)
            found = self._usable(min(lease, REUSE_SECONDS))
            return found if found is not None and found.age < self._age(refused) else self._begin(budget)

        return self._locked(newer, budget)

    def is_young(self, session: Session) -> bool:
        """Whether its token was issued just now."""
        return self._age(session) < YOUNG_SECONDS

    def forget(self, session: Session) -> None:
        """Use this session no more, wherever it is used now."""
        if self._session is session:
            self._session = None

    def _locked(self, find: Callable[[], Entry | Failure], budget: Budget) -> Entry | Failure:
        if not self._lock.acquire(timeout=max(budget.left(), 0)):
            return silent(TOKEN, "time was up while another call asked for a token")
        try:
            return find()
        finally:
            self._lock.release()

    def _usable(self, limit: float) -> Entry | None:
        session = self._session
        if session is None or limit <= 0:
            return None
        age = self._age(session)
        return Entry(session, age) if age < limit else None

    def _begin(self, budget: Budget) -> Entry | Failure:
        asked = self._now()
        found = self._tokens.get(self._key.entra_tenant, self._key.host, budget)
        if isinstance(found, Failure):
            return found
        self._session = session = Session(self._factory.client(self._key.host, found), asked)
        return Entry(session, 0.0)

    def _age(self, session: Session) -> float:
        return max(self._now().elapsed(session.asked), 0.0)

    def _now(self) -> Instant:
        return Instant(self._clock.wall(), self._clock.boot())


class Visit:
    """One operation's use of an access: several calls, one budget, and at most one token (or one renewal of it).

    Args:
        session: The access.
        budget: Ends it.
        lease: Seconds for which a token may be used again.
    """

    def __init__(self, session: TenantSession, budget: Budget, lease: float) -> None:
        self._session = session
        self._budget = budget
        self._lease = lease
        self._entered: Entry | None = None

    @property
    def proved_ago(self) -> float:
        """Seconds before this visit for which nobody asked Entra whether we may still enter."""
        return 0.0 if self._entered is None else self._entered.age

    def ask(self, request: Request) -> Answer | Failure:
        """Make a call to the vault, asking for a token before the first one where there is none to use again."""
        entered = self._enter()
        if isinstance(entered, Failure):
            return entered
        found = self._ask(request, entered)
        if _refuses_token(found) and not self._session.is_young(entered.session):
            # The vault does not take a token that it may have taken before: Entra is asked for another.
            self.rest()
            self._entered = None
            entered = self._session.renew(entered.session, self._budget, self._lease)
            if isinstance(entered, Failure):
                return entered
            self._entered = entered
            found = self._ask(request, entered)
        if not isinstance(found, Failure):
            return found
        if found.kind in (Kind.DENIAL, Kind.STATE) and not self._session.is_young(entered.session):
            self._session.forget(entered.session)
        if _refuses_token(found):
            # Entra has just shown that our own credentials are in order, and nothing that a tenant does ends like
            # this: a vault of another directory says so. What is left is trouble between the two services.
            return silent(request.operation, f"{found.seen}, for a token just issued")
        return found

    def rest(self) -> None:
        """Close idle connections until they are needed again."""
        if self._entered is not None:
            self._entered.session.client.rest()

    def _ask(self, request: Request, entered: Entry) -> Answer | Failure:
        return self._session.ask_vault(request, self._budget, entered.session.client)

    def _enter(self) -> Entry | Failure:
        if self._entered is None:
            found = self._session.enter(self._budget, self._lease)
            if isinstance(found, Failure):
                return found
            self._entered = found
        return self._entered


def _refuses_token(found: Answer | Failure) -> bool:
    return isinstance(found, Failure) and found.kind is Kind.CREDENTIALS
