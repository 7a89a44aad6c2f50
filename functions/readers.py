"""How the texts of the environment are read: each reader gives a value, or raises a `ValueError` whose text follows
the variable's name."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable

MIN_PREFIX = 8
"""Bits of the widest block of addresses that one service can call from."""
_REGION = re.compile(r"[a-z]{2,5}(-[a-z]+){1,3}-[0-9]{1,2}")
_ACCOUNT = re.compile(r"[0-9]{12}")
_PRINCIPAL = re.compile(r"arn:[a-z-]+:iam::[0-9]{12}:(role|user)/[\x21-\x7e]{1,576}")
_GUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_LANDING = re.compile(r"https?://[A-Za-z0-9.:\[\]-]+(/[A-Za-z0-9._~/-]*)?")
_LOOPBACK = re.compile(r"127(\.[0-9]{1,3}){3}:[0-9]{1,5}")
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


def guid(text: str) -> str:
    """A GUID, in lower case."""
    if not text.isascii() or not _GUID.fullmatch(text.lower()):
        raise ValueError("is a GUID such as 11112222-3333-4444-5555-666677778888")
    return text.lower()


def addresses(text: str) -> tuple[str, ...]:
    """IP addresses and CIDR blocks separated by commas, each once, as they are written canonically."""
    return tuple(dict.fromkeys(_block(name) for name in names(text)))


def _block(name: str) -> str:
    wrong = ValueError("is IP addresses and CIDR blocks such as 203.0.113.7,198.51.100.0/28, separated by commas")
    try:
        block = ipaddress.ip_network(name)
    except ValueError:
        raise wrong from None
    # Tenants open their firewalls to these: what means everybody, or nobody in particular, is a slip.
    if "%" in name or block.prefixlen < MIN_PREFIX or block.is_loopback or block.is_link_local or block.is_multicast:
        raise wrong
    return str(block.network_address) if block.num_addresses == 1 else str(block)


def loopback(text: str) -> str:
    """An address and port of this machine."""
    host, _, port = text.rpartition(":")
    if not _LOOPBACK.fullmatch(text) or not is_loopback(host) or not 0 < int(port) < 65536:
        raise ValueError("is an address and port of this machine such as 127.0.0.1:4600")
    return text


def is_loopback(host: str) -> bool:
    """Whether an address to listen on is reachable from this machine only."""
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


landing = _like(_LANDING, "an address that starts with https:// and has neither query nor fragment")
regions = _each(_REGION, "names of Regions such as eu-central-1")
accounts = _each(_ACCOUNT, "AWS account ids of 12 digits")
principal = _like(_PRINCIPAL, "the ARN of an IAM role or user")
stage = _like(_STAGE, "a name of 1 to 20 lower-case letters, digits and hyphens")
