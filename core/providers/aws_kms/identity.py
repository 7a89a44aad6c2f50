"""Who we are to AWS: the account we ask from, and the ARN that tenants' policies name."""

from __future__ import annotations

import re
from dataclasses import dataclass
from threading import Lock

from core.providers.aws_kms.calls import Answer, Budget, Calls, Request
from core.providers.aws_kms.clients import Connection
from core.providers.aws_kms.failures import Failure

_ASSUMED = re.compile(r"arn:([a-z-]+):sts::(\d{12}):assumed-role/([^/]+)/.+")
_PRINCIPAL = re.compile(r"arn:[a-z-]+:iam::(\d{12}):(role|user)/(?:.+/)?([^/]+)")
_ACCOUNT = re.compile(r"arn:[a-z-]+:[a-z]+::(\d{12}):.+")


@dataclass(frozen=True, slots=True)
class Identity:
    """Who we are.

    Attributes:
        arn: What GetCallerIdentity told.
        account: 12 digits.
    """

    arn: str
    account: str

    @property
    def principal(self) -> str:
        """The ARN to name in a policy: of a session its role, without a path, which is not told."""
        return _ASSUMED.sub(r"arn:\1:iam::\2:role/\3", self.arn)

    def refusal(self, named: str) -> str:
        """Why tenants' policies cannot name us so; "" if they can.

        Args:
            named: ARN that they name; its path may be another, as a role's is not told.
        """
        unfit = unfit_principal(self.principal)
        if unfit:
            return unfit
        found, wanted = _PRINCIPAL.fullmatch(self.principal), _PRINCIPAL.fullmatch(named)
        if found is None or wanted is None or found.groups() != wanted.groups():
            return f"this service is {self.arn}, and not {named}, as tenants' policies are told"
        return ""


class OwnIdentity:
    """Finds out who we are, once.

    Args:
        sts: Signs with our own credentials.
        calls: Makes the call.
    """

    def __init__(self, sts: Connection, calls: Calls) -> None:
        self._sts = sts
        self._calls = calls
        self._lock = Lock()
        self.known: Identity | None = None
        """What was found before, or None."""

    def prepare(self) -> None:
        """Make the client, if it is not made yet; no I/O."""
        self._sts.prepare()

    def find(self, budget: Budget) -> Identity | Failure:
        """Who we are, as found before or by GetCallerIdentity now."""
        if self.known is None:
            answer = self._sts.ask(self._calls, Request("GetCallerIdentity", {}, _is_identity), budget)
            if isinstance(answer, Failure):
                return answer
            with self._lock:
                self.known = Identity(answer["Arn"], answer["Account"])
        return self.known


def account_of(arn: str) -> str:
    """The account in the ARN of an IAM or STS principal, or ""."""
    found = _ACCOUNT.fullmatch(arn)
    return found[1] if found else ""


def unfit_principal(arn: str) -> str:
    """Why no policy should name a principal; "" if it may be named.

    Naming an account's root would let in the whole account, and a federated user's sessions have no lasting name.
    """
    return "" if _PRINCIPAL.fullmatch(arn) else f"this service is {arn}, which is neither a role nor a user"


def _is_identity(answer: Answer) -> bool:
    return bool(account_of(answer["Arn"])) and account_of(answer["Arn"]) == answer["Account"]
