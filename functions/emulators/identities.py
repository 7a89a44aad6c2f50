"""Who calls: long-lived identities, roles, and the sessions of roles."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from functions.emulators.aws_errors import AwsError
from functions.emulators.policies import Policy, parse

EVERYTHING: Mapping[str, Any] = {
    "Version": "2012-10-17",
    "Statement": [{"Effect": "Allow", "Action": ["kms:*", "sts:AssumeRole"], "Resource": "*"}],
}
"""What a long-lived identity may do if nothing else is said; the other side's policies still decide."""
MAX_SESSIONS = 10_000


@dataclass(frozen=True, slots=True)
class Caller:
    """A caller at the time of a call.

    Attributes:
        arn: As GetCallerIdentity gives it: for a role, that of the session.
        principal_arn: As in ``aws:PrincipalArn``: for a role, the role's.
        account: 12 digits.
        user_id: Unique id.
        policies: Of the identity.
        session_policy: What the session is cut down to, or None.
        is_role: Whether assuming a role from here is chaining.
        issued: When the session began, or None.
    """

    arn: str
    principal_arn: str
    account: str
    user_id: str
    policies: tuple[Policy, ...]
    session_policy: Policy | None = None
    is_role: bool = False
    issued: float | None = None

    @property
    def principals(self) -> frozenset[str]:
        """The ARNs that a policy may name this caller by."""
        return frozenset({self.arn, self.principal_arn})

    def values(self, now: float, region: str) -> dict[str, tuple[str, ...]]:
        """The condition keys that do not depend on the operation."""
        found: dict[str, tuple[str, ...]] = {
            "aws:currenttime": (str(now),),
            "aws:principalaccount": (self.account,),
            "aws:principalarn": (self.principal_arn,),
            "aws:principalisawsservice": ("false",),
            "aws:principaltype": ("AssumedRole" if self.is_role else "User",),
            "aws:requestedregion": (region,),
            "aws:securetransport": ("true",),  # the wire here stands for one that is
            "aws:userid": (self.user_id,),
            "aws:viaawsservice": ("false",),
        }
        if self.issued is not None:
            found["aws:tokenissuetime"] = (str(self.issued),)
        return found


@dataclass(slots=True)
class Principal:
    """A long-lived identity and its secret."""

    access_key_id: str
    secret: str = field(repr=False)
    arn: str
    policies: dict[str, Policy]

    def caller(self) -> Caller:
        """This identity as a caller; one that is a role looks like a session of it."""
        account, name = account_of(self.arn), self.arn.rpartition("/")[2]
        if ":role/" not in self.arn:
            return Caller(self.arn, self.arn, account, self.access_key_id, tuple(self.policies.values()))
        return Caller(
            session_arn(self.arn, self.access_key_id),
            self.arn,
            account,
            f"{name}:{self.access_key_id}",
            tuple(self.policies.values()),
            is_role=True,
        )


@dataclass(slots=True)
class Role:
    """A role that can be assumed. ``role_id`` tells it from a later one of the same name."""

    arn: str
    role_id: str
    trust: Policy
    policies: dict[str, Policy]
    max_session: int = 3600


@dataclass(frozen=True, slots=True)
class Session:
    """Temporary credentials of a role."""

    access_key_id: str
    secret: str = field(repr=False)
    token: str = field(repr=False)
    role_arn: str
    role_id: str
    name: str
    issued: float
    expires: float
    policy: Policy | None


@dataclass(slots=True)
class Identities:
    """Everybody the emulator knows.

    Attributes:
        deleted_role_code: What the session of a deleted role hears.
    """

    principals: dict[str, Principal] = field(default_factory=dict)
    roles: dict[str, Role] = field(default_factory=dict)
    sessions: dict[str, Session] = field(default_factory=dict)
    deleted_role_code: str = "AccessDeniedException"

    def add(self, access_key_id: str, secret: str, arn: str, policies: Mapping[str, Any] | None) -> None:
        """Add a long-lived identity.

        Raises:
            AwsError: A policy is malformed.
        """
        documents = {"default": EVERYTHING} if policies is None else policies
        parsed = {name: parse(document, "identity") for name, document in documents.items()}
        self.principals[access_key_id] = Principal(access_key_id, secret, arn, parsed)

    def role(self, arn: str) -> Role:
        """A role.

        Raises:
            AwsError: There is none.
        """
        if arn not in self.roles:
            raise AwsError("NoSuchEntity", f"there is no role {arn}", 404)
        return self.roles[arn]

    def open_session(self, role: Role, name: str, policy: Policy | None, now: float, duration: float) -> Session:
        """Issue temporary credentials."""
        for old in [key for key, session in self.sessions.items() if session.expires + 3600 <= now]:
            del self.sessions[old]
        while len(self.sessions) >= MAX_SESSIONS:
            del self.sessions[next(iter(self.sessions))]
        session = Session(
            f"ASIA{secrets.token_hex(8).upper()}",
            secrets.token_urlsafe(30),
            secrets.token_urlsafe(120),
            role.arn,
            role.role_id,
            name,
            now,
            now + duration,
            policy,
        )
        self.sessions[session.access_key_id] = session
        return session

    def secret(self, access_key_id: str) -> str:
        """The secret that a request of this key must be signed with.

        Raises:
            AwsError: The key is unknown.
        """
        found = self.principals.get(access_key_id) or self.sessions.get(access_key_id)
        if found is None:
            raise AwsError("UnrecognizedClientException", "The security token included in the request is invalid.")
        return found.secret

    def caller(self, access_key_id: str, now: float) -> Caller:
        """Who an access key stands for, with the policies in force now.

        Raises:
            AwsError: Nobody, the session is over, or its role is gone.
        """
        self.secret(access_key_id)
        if access_key_id in self.principals:
            return self.principals[access_key_id].caller()
        session = self.sessions[access_key_id]
        if session.expires <= now:
            raise AwsError("ExpiredTokenException", "The security token included in the request is expired")
        role = self.roles.get(session.role_arn)
        if role is None or role.role_id != session.role_id:
            raise AwsError(self.deleted_role_code, "the role of this session does not exist")
        return Caller(
            session_arn(role.arn, session.name),
            role.arn,
            account_of(role.arn),
            f"{role.role_id}:{session.name}",
            tuple(role.policies.values()),
            session.policy,
            is_role=True,
            issued=session.issued,
        )

    def principal_arn(self, access_key_id: str) -> str:
        """The role or user an access key belongs to, or "" if nobody's."""
        if access_key_id in self.principals:
            return self.principals[access_key_id].arn
        session = self.sessions.get(access_key_id)
        return "" if session is None else session.role_arn


def account_of(arn: str) -> str:
    """The account in an ARN, or ""."""
    return (arn.split(":") + [""] * 5)[4]


def session_arn(role_arn: str, session_name: str) -> str:
    """The ARN of a role's session; the role's path is not in it."""
    partition = role_arn.split(":")[1]
    return f"arn:{partition}:sts::{account_of(role_arn)}:assumed-role/{role_arn.rpartition('/')[2]}/{session_name}"
