"""IAM policies, parsed once and evaluated often: key policies, identity policies, session policies, trust policies."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from functions.emulators.aws_errors import AwsError
from functions.emulators.conditions import Unknown, Values, glob, holds, resolve

Kind = Literal["key", "identity", "trust"]
MAX_POLICY = 32 * 1024
_RESOURCE = re.compile(r"arn:[^:<>]+:[^:<>]+:[^<>]*:.+")
_PRINCIPAL = re.compile(
    r"\d{12}|arn:aws[a-z-]*:(iam|sts)::\d{12}:(root|(user|role|assumed-role|federated-user)/[^\s<>]+)"
)
_FIELDS = frozenset(
    {"Sid", "Effect", "Principal", "Action", "NotAction", "Resource", "NotResource", "Condition"}
)  # not NotPrincipal: it is refused, not guessed at


@dataclass(frozen=True, slots=True)
class Ask:
    """What is asked of policies.

    Attributes:
        action: Such as ``kms:Decrypt``.
        resource: ARN.
        principals: ARNs the caller is known by.
        account: The caller's.
        values: Condition keys.
    """

    action: str
    resource: str
    principals: frozenset[str]
    account: str
    values: Values


@dataclass(frozen=True, slots=True)
class Decision:
    """What a policy says to an ask.

    Attributes:
        denied: By an explicit Deny.
        direct: Allowed to the caller itself, or to anybody.
        delegated: Allowed to the caller's account, which passes it on by its own identity policies.
    """

    denied: bool = False
    direct: bool = False
    delegated: bool = False


@dataclass(frozen=True, slots=True)
class Statement:
    """One statement of a policy; ``principals`` is None in identity policies."""

    deny: bool
    principals: tuple[str, ...] | None
    actions: tuple[str, ...]
    not_actions: tuple[str, ...]
    resources: tuple[str, ...]
    not_resources: tuple[str, ...]
    condition: Mapping[str, Mapping[str, Sequence[str]]]

    def applies(self, ask: Ask, *, variables: bool) -> bool:
        """Whether action, resource and condition match; the principal is not looked at."""
        action = ask.action.lower()
        if self.not_actions:
            if any(glob(a).fullmatch(action) for a in self.not_actions):
                return False
        elif not any(glob(a).fullmatch(action) for a in self.actions):
            return False
        try:
            return self._names(ask, variables=variables) and holds(self.condition, ask.values, variables=variables)
        except Unknown:
            return self.deny

    def _names(self, ask: Ask, *, variables: bool) -> bool:
        def named(patterns: tuple[str, ...]) -> bool:
            return "*" in patterns or any(
                glob(resolve(p, ask.values) if variables else p).fullmatch(ask.resource) is not None for p in patterns
            )

        return not named(self.not_resources) if self.not_resources else named(self.resources)


@dataclass(frozen=True, slots=True)
class Policy:
    """A parsed policy and the document it was made of."""

    document: Mapping[str, Any]
    statements: tuple[Statement, ...]
    variables: bool

    def decide(self, ask: Ask) -> Decision:
        """Evaluate every statement. Identity policies allow directly."""
        denied = direct = delegated = False
        for statement in self.statements:
            to = _addressed(statement.principals, ask)
            if not to or not statement.applies(ask, variables=self.variables):
                continue
            if statement.deny:
                denied = True
            elif to == "caller":
                direct = True
            else:
                delegated = True
        return Decision(denied, direct, delegated)


def decide_all(policies: Sequence[Policy], ask: Ask) -> Decision:
    """What several policies of one identity say together."""
    found = [policy.decide(ask) for policy in policies]
    return Decision(any(d.denied for d in found), any(d.direct for d in found), any(d.delegated for d in found))


def _addressed(principals: tuple[str, ...] | None, ask: Ask) -> Literal["caller", "account", ""]:
    if principals is None or "*" in principals or not ask.principals.isdisjoint(principals):
        return "caller"
    if ask.account in principals or any(p.endswith(f":iam::{ask.account}:root") for p in principals):
        return "account"
    return ""


def parse(document: Mapping[str, Any] | str, kind: Kind) -> Policy:
    """Read a policy document.

    Args:
        document: As a mapping or as JSON.
        kind: Key policies need Principal and Resource, identity (and session) policies Resource and no Principal,
            trust policies Principal and no Resource.

    Raises:
        AwsError: ``MalformedPolicyDocumentException``, or ``LimitExceededException`` if it is too long.
    """
    if isinstance(document, str):
        if len(document.encode("utf-8", "replace")) > MAX_POLICY:
            raise AwsError("LimitExceededException", "the policy is longer than 32 KiB")
        try:
            document = json.loads(document)
        except (ValueError, RecursionError):
            raise malformed("it is not JSON") from None
    if not isinstance(document, Mapping):
        raise malformed("it is not an object")
    version = document.get("Version", "2008-10-17")
    statements = document.get("Statement")
    if version not in ("2008-10-17", "2012-10-17"):
        raise malformed("its version is unknown")
    if isinstance(statements, Mapping):
        statements = [statements]
    if not isinstance(statements, list) or not statements:
        raise malformed("it has no statement")
    parsed = tuple(_statement(statement, kind) for statement in statements)
    return Policy(json.loads(json.dumps(document)), parsed, version == "2012-10-17")


def malformed(why: str) -> AwsError:
    """The refusal of a policy document."""
    return AwsError("MalformedPolicyDocumentException", f"the policy is malformed: {why}")


def _statement(statement: Any, kind: Kind) -> Statement:
    if not isinstance(statement, Mapping) or not {*statement} <= _FIELDS:
        raise malformed("a statement has a field that no policy has")
    if statement.get("Effect") not in ("Allow", "Deny"):
        raise malformed("a statement's effect is neither Allow nor Deny")
    if ("Action" in statement) == ("NotAction" in statement):
        raise malformed("a statement needs Action or NotAction")
    if (kind == "identity") == ("Principal" in statement):
        raise malformed("an identity policy has no Principal" if kind == "identity" else "a statement has no Principal")
    if (kind == "trust") == ("Resource" in statement or "NotResource" in statement):
        raise malformed("a trust policy has no Resource" if kind == "trust" else "a statement has no Resource")
    resources = _texts(statement.get("Resource", "*" if kind == "trust" else []))
    not_resources = _texts(statement.get("NotResource", []))
    for resource in (*resources, *not_resources):
        if kind == "identity" and resource != "*" and not _RESOURCE.fullmatch(resource):
            raise malformed("a resource is neither an ARN nor *")
    return Statement(
        statement["Effect"] == "Deny",
        None if kind == "identity" else _principals(statement["Principal"]),
        tuple(action.lower() for action in _texts(statement.get("Action", []))),
        tuple(action.lower() for action in _texts(statement.get("NotAction", []))),
        resources,
        not_resources,
        _condition(statement.get("Condition", {})),
    )


def _principals(principal: Any) -> tuple[str, ...]:
    if principal == "*":
        return ("*",)
    if not isinstance(principal, Mapping) or not principal or not {*principal} <= {"AWS", "Service", "Federated"}:
        raise malformed("a principal is not of a known kind")
    found = _texts(principal.get("AWS", []))
    # A service or a federated user never calls the emulator; the statement stays, and matches nobody.
    for name in found:
        if name != "*" and "*" in name:
            raise malformed("a principal has a wildcard within an ARN")
        if name != "*" and not _PRINCIPAL.fullmatch(name):
            raise malformed("a principal is neither the ARN of an account, a role or a user, nor an account")
    return found


def _texts(value: Any) -> tuple[str, ...]:
    found = [value] if isinstance(value, str) else value
    if not isinstance(found, list) or not all(isinstance(text, str) for text in found):
        raise malformed("a field is neither a text nor a list of texts")
    return tuple(found)


def _condition(block: Any) -> Mapping[str, Mapping[str, Sequence[str]]]:
    def texts(value: Any) -> tuple[str, ...]:
        if isinstance(value, bool):
            return (str(value).lower(),)
        return (str(value),) if isinstance(value, int) else _texts(value)

    if not isinstance(block, Mapping) or not all(isinstance(keys, Mapping) for keys in block.values()):
        raise malformed("a condition is not of the form operator, key, value")
    return {operator: {key: texts(value) for key, value in keys.items()} for operator, keys in block.items()}
