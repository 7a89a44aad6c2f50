"""How the commands of ``keystead emulator`` reach one that is running: its URL, its control API, policy files."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import urlsplit

import click

from core.errors import InvalidRequest, NotFound, Unavailable
from functions.cli.options import usage_error
from functions.cli.output import opened, printable
from functions.emulators.defaults import DEFAULT_PORT

if TYPE_CHECKING:
    from ssl import SSLContext

F = TypeVar("F", bound=Callable[..., Any])
DEFAULT_URL = f"http://127.0.0.1:{DEFAULT_PORT}"
ACCOUNT_PLACEHOLDER = b"<YOUR-ACCOUNT>"
KEY_PLACEHOLDER = b"<KEY-ARN>"
MAX_POLICY_FILE = 64 * 1024
TIMEOUT = 10


def _loopback_url(_ctx: click.Context, _parameter: click.Parameter, given: str | None) -> str:
    from functions.settings import Settings, is_loopback

    value = given or Settings.from_env().aws_endpoint_url or DEFAULT_URL
    try:
        parts = urlsplit(value)
        known = parts.scheme == "http" and is_loopback(parts.hostname or "") and parts.path in ("", "/")
    except ValueError:
        known = False
    if not known:
        raise click.BadParameter(f"an emulator is on this machine, at a URL like {DEFAULT_URL}")
    return value.rstrip("/")


def url_option(command: F) -> F:
    """Add --url, which names a running emulator."""
    return click.option(
        "--url", callback=_loopback_url, help=f"The running emulator [KEYSTEAD_AWS_ENDPOINT_URL, else {DEFAULT_URL}]."
    )(command)


def ask(
    url: str,
    name: str,
    body: dict[str, Any] | None = None,
    *,
    ca_file: Path | None = None,
    hint: str = "'keystead emulator kms' starts one; --url names another",
) -> dict[str, Any]:
    """Ask the control API: GET without a body, POST with one.

    Args:
        url: The emulator.
        name: Of the request.
        body: Of a POST.
        ca_file: PEM file with the emulator's certificate authority, where the URL is https.
        hint: What to do if nothing answers.

    Raises:
        Unavailable: Nothing answers, or the certificate authority is gone, as it is where the emulator has ended.
        NotFound, InvalidRequest: It refused.
    """
    import httpx

    verify = True if ca_file is None else _trusting(ca_file, hint)
    try:
        with httpx.Client(trust_env=False, timeout=TIMEOUT, verify=verify) as client:
            at = f"{url}/_emulator/{name}"
            answer = client.get(at) if body is None else client.post(at, json=body)
        found = answer.json()
    except httpx.HTTPError:
        raise Unavailable(f"no emulator answers at {url}", hint=hint) from None
    except ValueError:
        raise InvalidRequest(f"what answers at {url} is no emulator") from None
    if not isinstance(found, dict) or (answer.status_code != 200 and "error" not in found):
        raise InvalidRequest(f"what answers at {url} is no emulator")
    if answer.status_code == 200:
        return found
    refusal = NotFound if answer.status_code == 404 else InvalidRequest
    raise refusal(printable(f"the emulator refused: {found['error']} ({found.get('code', '')})"))


def _trusting(ca_file: Path, hint: str) -> SSLContext:
    from ssl import SSLError, create_default_context

    try:
        return create_default_context(cafile=ca_file)
    except SSLError:
        raise InvalidRequest(f"{ca_file} holds no certificate authority") from None
    except OSError as error:
        raise Unavailable(f"the emulator's authority {ca_file} cannot be read: {error.strerror}", hint=hint) from None


def read_policy(source: str, account: str, key: str = "") -> Any:
    """Read a policy, filling in what a setup kit leaves to its reader.

    Args:
        source: File, or ``-`` for stdin.
        account: For <YOUR-ACCOUNT>, 12 digits.
        key: For <KEY-ARN>, or "" if it may not occur.

    Raises:
        InvalidRequest: It is not JSON, or longer than 64 KiB.
        click.UsageError: It needs a key.
        OSError: It cannot be read.
    """
    with opened(source) as file:
        data = file.read(MAX_POLICY_FILE + 1)
    if len(data) > MAX_POLICY_FILE:
        raise InvalidRequest("the policy is longer than 64 KiB")
    if not key and KEY_PLACEHOLDER in data:
        raise usage_error("the policy leaves <KEY-ARN> to be filled in", "create-role fills it: --key ARN")
    filled = data.replace(ACCOUNT_PLACEHOLDER, account.encode()).replace(KEY_PLACEHOLDER, key.encode())
    try:
        return json.loads(filled)
    except (ValueError, RecursionError):
        raise InvalidRequest("the policy is not JSON") from None
