"""Reaches tenants' KEKs in AWS KMS: `core.ports.KeyConnector`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from threading import Lock
from typing import Any

from core.domain.arns import KeyArn, RoleArn
from core.domain.checks import Report
from core.domain.kek import KeyAccess
from core.domain.tenants import SYSTEM
from core.errors import InvalidRequest, OwnFault
from core.ports import Clock
from core.providers._session_cache import SessionCache
from core.providers.aws_kms.calls import OPERATION_SECONDS, Budget, Calls
from core.providers.aws_kms.clients import ClientFactory, Connection
from core.providers.aws_kms.examination import EXAMINATION_SECONDS, Examination
from core.providers.aws_kms.failures import Failure
from core.providers.aws_kms.identity import OwnIdentity, account_of, unfit_principal
from core.providers.aws_kms.provider import AwsKeyProvider
from core.providers.aws_kms.sessions import SessionKey, TenantSession
from core.providers.aws_kms.settings import AwsSettings
from core.providers.aws_kms.setup_kit import setup_kit


class AwsKms:
    """Connector to AWS KMS. Thread-safe; does no I/O until a key is used.

    Args:
        settings: What the operator configures.
        clock: Counts budgets and the age of sessions.
        remaining: Seconds of KMS time left to the request under way; asked when an operation begins.
        limit: Most accesses kept ready. Each that was used holds a client of about 0.4 MB, but no connection while no
            operation is under way.
    """

    def __init__(
        self,
        settings: AwsSettings,
        clock: Clock,
        *,
        remaining: Callable[[], float] = lambda: OPERATION_SECONDS,
        limit: int = 256,
    ) -> None:
        self._settings = settings
        self._clock = clock
        self._remaining = remaining
        self._factory = ClientFactory(settings)
        self._calls = Calls()
        self._sts: dict[str, Connection] = {}
        self._sts_lock = Lock()
        self._sessions: SessionCache[SessionKey, TenantSession] = SessionCache(
            limit, lambda key: self._session(key, restricted=True)
        )
        home = min(settings.regions, default="us-east-1")
        self._identity = OwnIdentity(self._sts_in(home), self._calls)

    def connect(self, access: KeyAccess) -> AwsKeyProvider:
        """See `core.ports.KeyConnector.connect`.

        Raises:
            InvalidRequest: The KEK is not an ARN of a KMS key, lies in a Region or account where tenants' keys may not
                lie (the service's own, its canaries, may lie in any account but that of our identity), or is reached
                by a role without an external id.
        """
        key, role = _parsed(access)
        if key.region not in self._settings.regions:
            raise InvalidRequest(f"keys in the Region {key.region} are not served", hint=self._regions_hint())
        self._check_accounts(access, {key.account, role.account if role else key.account})
        if role and not access.external_id:
            raise InvalidRequest("a role is assumed with an external id only")
        session = self._sessions.get(SessionKey.of(access))
        return AwsKeyProvider(access.kek, session, access.lease, self._operation)

    def examine(self, access: KeyAccess, context: Mapping[str, str]) -> Report:
        """See `core.ports.KeyConnector.examine`. Takes at most about 30 seconds.

        Raises:
            InvalidRequest: The KEK is not an ARN of a KMS key, or the role not one of a role.
        """
        key, role = _parsed(access)
        sessions = {
            restricted: self._session(SessionKey.of(access), restricted=restricted) for restricted in (True, False)
        }
        self._identity.prepare()
        for session in sessions.values():
            session.prepare()
        try:
            return Examination(
                access=access,
                key=key,
                role=role,
                context=context,
                regions=self._settings.regions,
                own_accounts=self._own_accounts(),
                identity=self._identity,
                principal=self._settings.principal,
                session=sessions[True],
                unrestricted=sessions[False],
                budget=lambda seconds, remaining: Budget(self._clock, seconds, remaining),
            ).report(Budget(self._clock, EXAMINATION_SECONDS, lambda: EXAMINATION_SECONDS))
        finally:
            for session in sessions.values():
                session.close()

    def setup_kit(self, tenant_id: str, external_id: str, entra_tenant: str = "") -> Mapping[str, Any]:  # noqa: ARG002
        """See `core.ports.KeyConnector.setup_kit`; an Entra tenant means nothing here.

        Raises:
            Silence: As there. `OwnFault`: also if we are neither a role nor a user, whom a policy should not name.
        """
        principal = self._settings.principal
        if not principal:
            self._identity.prepare()
            found = self._identity.find(self._operation())
            if isinstance(found, Failure):
                raise found.signal()
            principal = found.principal
        unfit = unfit_principal(principal)
        if unfit:
            raise OwnFault(f"tenants' policies cannot name us: {unfit}")
        return setup_kit(principal, tenant_id, external_id)

    def close(self) -> None:
        """Close every connection and forget every session."""
        self._sessions.clear()
        with self._sts_lock:
            connections = list(self._sts.values())
        for connection in connections:
            connection.close()

    def _operation(self) -> Budget:
        return Budget(self._clock, OPERATION_SECONDS, self._remaining)

    def _session(self, key: SessionKey, *, restricted: bool) -> TenantSession:
        kms = Connection(self._factory, "kms", key.region)
        return TenantSession(key, kms, self._sts_in(key.region), self._calls, self._clock, restricted=restricted)

    def _sts_in(self, region: str) -> Connection:
        # Shared by all tenants: it signs with our own credentials, which are no tenant's, and keeps nothing of a call.
        with self._sts_lock:
            return self._sts.setdefault(region, Connection(self._factory, "sts", region))

    def _check_accounts(self, access: KeyAccess, accounts: set[str]) -> None:
        if access.tenant_id != SYSTEM:
            if accounts & self._own_accounts():
                raise InvalidRequest("a tenant's key or role cannot lie in the platform's own account")
        elif accounts & self._home_accounts():
            # Within one account a key's policy is enough: it would serve on after we lost the permission to ask others.
            raise InvalidRequest("a canary cannot lie in the account that this service's identity lies in")

    def _own_accounts(self) -> frozenset[str]:
        return self._settings.accounts | self._home_accounts()

    def _home_accounts(self) -> frozenset[str]:
        known = self._identity.known
        return frozenset({account_of(self._settings.principal), known.account if known else ""} - {""})

    def _regions_hint(self) -> str:
        return f"keys may lie in {', '.join(sorted(self._settings.regions)) or 'no Region at all'}"


def _parsed(access: KeyAccess) -> tuple[KeyArn, RoleArn | None]:
    key = KeyArn.parse(access.kek.locator)
    role = RoleArn.parse(access.role_arn) if access.role_arn else None
    if role and role.partition != key.partition:
        raise InvalidRequest("the role and the key lie in different partitions of AWS")
    return key, role
