"""How the texts of the environment are read: each reader gives a value, or raises a `ValueError` whose text follows
the variable's name."""

from __future__ import annotations

import re
from collections.abc import Callable

_REGION = re.compile(r"[a-z]{2,5}(-[a-z]+){1,3}-[0-9]{1,2}")
_ACCOUNT = re.compile(r"[0-9]{12}")
_PRINCIPAL = re.compile(r"arn:[a-z-]+:iam::[0-9]{12}:(role|user)/[\x21-\x7e]{1,576}")
_STAGE = re.compile(r"[a-z0-9-]{1,20}")


def number(low: int, high: int) -> Callable[[str], int]:
    """A whole number of a range."""

    def read(text: str) -> int:
        if not (text.isascii() and text.isdigit() and len(text) < 10 and low <= int(text) <= high):
            raise ValueError(f"is a whole number from {low} to {high}")
        return int(text)

    return read


def one_of(*choices: str) -> Callable[[str], str]:
    """One of some words, in lower case."""

    def read(text: str) -> str:
        if text.lower() not in choices:
            raise ValueError(f"is one of {', '.join(choices)}")
        return text.lower()

    return read


def switch(text: str) -> bool:
    """On or off."""

    if text.lower() not in {"1", "true", "yes", "0", "false", "no"}:
        raise ValueError("is 1 or 0")
    return text.lower() in {"1", "true", "yes"}


def names(text: str) -> tuple[str, ...]:
    """Names separated by commas, in lower case."""

    return tuple(name.strip().lower() for name in text.split(",") if name.strip())


def _each(form: re.Pattern[str], what: str) -> Callable[[str], tuple[str, ...]]:
    def read(text: str) -> tuple[str, ...]:
        found = names(text)
        if not all(form.fullmatch(name) for name in found):
            raise ValueError(f"is {what}, separated by commas")
        return found

    return read


def _like(form: re.Pattern[str], what: str) -> Callable[[str], str]:
    def read(text: str) -> str:
        if not form.fullmatch(text):
            raise ValueError(f"is {what}")
        return text

    return read


def url(text: str) -> str:
    """An http or https address, without a slash at its end."""

    if not text.startswith(("http://", "https://")):
        raise ValueError("starts with http:// or https://")
    return text.rstrip("/")


def text(text: str) -> str:
    """Anything."""

    return text


regions = _each(_REGION, "names of Regions such as eu-central-1")
accounts = _each(_ACCOUNT, "AWS account ids of 12 digits")
principal = _like(_PRINCIPAL, "the ARN of an IAM role or user")
stage = _like(_STAGE, "a name of 1 to 20 lower-case letters, digits and hyphens")
