"""Conditions of IAM policies: operators, condition keys and policy variables. What is not known here fails closed."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from functools import lru_cache

Values = Mapping[str, tuple[str, ...]]
"""Condition keys of a request, in lower case, and their values. A key that is absent has no entry."""

KNOWN = frozenset(
    {
        *("aws:calledvia", "aws:currenttime", "aws:principalaccount", "aws:principalarn", "aws:principalisawsservice"),
        *("aws:principalorgid", "aws:principaltype", "aws:requestedregion", "aws:securetransport", "aws:sourceaccount"),
        *("aws:sourcearn", "aws:sourceip", "aws:sourceorgid", "aws:sourcevpc", "aws:sourcevpce", "aws:tokenissuetime"),
        *("aws:userid", "aws:viaawsservice"),
        *("kms:calleraccount", "kms:encryptionalgorithm", "kms:encryptioncontextkeys", "kms:grantconstrainttype"),
        *("kms:granteeprincipal", "kms:grantisforawsresource", "kms:grantoperations", "kms:keyorigin", "kms:keyspec"),
        *("kms:keyusage", "kms:multiregion", "kms:viaservice"),
        *("sts:externalid", "sts:rolesessionname", "sts:sourceidentity"),
        *("kms:signingalgorithm", "kms:messagetype"),
    }
)
KNOWN_PREFIXES = ("kms:encryptioncontext:", "aws:principaltag/", "aws:resourcetag/")
_VARIABLE = re.compile(r"\$\{([^}]*)\}")
_DEFAULT = re.compile(r"(.*?)\s*,\s*'([^']*)'")
_LITERAL = {"*": "*", "?": "?", "$": "$"}


class Unknown(Exception):
    """An operator, key or variable this evaluator does not know: nothing is allowed, and a Deny applies."""


@lru_cache(maxsize=4096)
def glob(pattern: str) -> re.Pattern[str]:
    """A pattern with ``*`` and ``?`` as a regular expression; nothing else in it is special."""
    parts = (".*" if c == "*" else "." if c == "?" else re.escape(c) for c in pattern)
    return re.compile("".join(parts), re.DOTALL)


def _instant(text: str) -> float:
    # Seconds since the epoch, as AWS takes them too and the emulator writes them, or ISO 8601.
    try:
        return float(text) if text.replace(".", "", 1).isdigit() else datetime.fromisoformat(text).timestamp()
    except ValueError:
        raise Unknown(f"no date: {text}") from None


def _like(value: str, wanted: str) -> bool:
    return glob(wanted).fullmatch(value) is not None


_POSITIVE: Mapping[str, Callable[[str, str], bool]] = {
    "StringEquals": lambda value, wanted: value == wanted,
    "StringEqualsIgnoreCase": lambda value, wanted: value.casefold() == wanted.casefold(),
    "StringLike": _like,
    "ArnEquals": _like,
    "ArnLike": _like,
    "Bool": lambda value, wanted: value.lower() == wanted.lower(),
    "DateEquals": lambda value, wanted: _instant(value) == _instant(wanted),
    "DateLessThan": lambda value, wanted: _instant(value) < _instant(wanted),
    "DateLessThanEquals": lambda value, wanted: _instant(value) <= _instant(wanted),
    "DateGreaterThan": lambda value, wanted: _instant(value) > _instant(wanted),
    "DateGreaterThanEquals": lambda value, wanted: _instant(value) >= _instant(wanted),
}
_NEGATED: Mapping[str, str] = {
    "StringNotEquals": "StringEquals",
    "StringNotEqualsIgnoreCase": "StringEqualsIgnoreCase",
    "StringNotLike": "StringLike",
    "ArnNotEquals": "ArnEquals",
    "ArnNotLike": "ArnLike",
    "DateNotEquals": "DateEquals",
}


def resolve(text: str, values: Values) -> str:
    """Put the values of policy variables into a text.

    Raises:
        Unknown: A variable has no single value in this request, and no default.
    """

    def value(found: re.Match[str]) -> str:
        name, default = found[1], None
        if with_default := _DEFAULT.fullmatch(name):
            name, default = with_default.groups()
        if name in _LITERAL:
            return _LITERAL[name]
        held = values.get(name.strip().lower(), ())
        if len(held) == 1:
            return held[0]
        if default is None:
            raise Unknown(f"no value for {found[0]}")
        return default

    return _VARIABLE.sub(value, text) if "${" in text else text


def holds(condition: Mapping[str, Mapping[str, Sequence[str]]], values: Values, *, variables: bool) -> bool:
    """Whether every operator and key of a condition block matches.

    Args:
        condition: Operator -> key -> wanted values.
        values: Of the request.
        variables: Whether policy variables count (policies of version 2012-10-17).

    Raises:
        Unknown: It cannot be told.
    """
    # Not `all` of a generator: something unknown must be met even behind something that does not match.
    found = [
        _matches(operator, key.lower(), [resolve(w, values) for w in wanted] if variables else wanted, values)
        for operator, keys in condition.items()
        for key, wanted in keys.items()
    ]
    return all(found)


def _matches(operator: str, key: str, wanted: Sequence[str], values: Values) -> bool:
    if key not in KNOWN and not key.startswith(KNOWN_PREFIXES):
        raise Unknown(f"condition key {key}")
    quantifier, _, base = operator.rpartition(":")
    if_exists = base.endswith("IfExists")
    base = base.removesuffix("IfExists")
    held = values.get(key)
    if base == "Null" and not quantifier and not if_exists:
        return any((held is None) == (w.lower() == "true") for w in wanted)
    positive = _POSITIVE.get(_NEGATED.get(base, base))
    if positive is None or quantifier not in ("", "ForAnyValue", "ForAllValues"):
        raise Unknown(f"condition operator {operator}")
    negated = base in _NEGATED
    if held is None:
        return if_exists or quantifier == "ForAllValues" or (negated and not quantifier)
    if not quantifier and len(held) != 1:
        raise Unknown(f"{key} has several values and {operator} takes one")
    each = [any(positive(value, w) for w in wanted) != negated for value in held]
    return all(each) if quantifier == "ForAllValues" else any(each)
