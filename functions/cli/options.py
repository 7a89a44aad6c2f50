"""Options that several commands share, and what they are turned into."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from core.errors import InvalidRequest, Unauthenticated
from functions.cli.progress import tell_wait

if TYPE_CHECKING:
    from core.client.client import KeysteadClient

F = TypeVar("F", bound=Callable[..., Any])
MAX_TOKEN_FILE = 64 * 1024


@dataclass(frozen=True, slots=True)
class Target:
    """Which service to speak to, with what token, for which tenant.

    Attributes:
        url: The service.
        token: Bearer token.
        tenant: Tenant named by option or environment, or "".
        ca_file: Authorities to trust instead of the system's, or None.
    """

    url: str
    token: str
    tenant: str
    ca_file: Path | None

    def __repr__(self) -> str:
        return f"Target({self.url!r}, tenant={self.tenant!r})"

    def connect(self) -> KeysteadClient:
        """Give a client; nothing is sent yet.

        Raises:
            Unauthenticated: There is no token.
            InvalidRequest: The URL cannot be used.
        """
        from core.client.client import KeysteadClient

        if not self.token:
            raise Unauthenticated(
                "no token", hint="export KEYSTEAD_TOKEN=$(keystead token --tenant TENANT), or give --token-file FILE"
            )
        return KeysteadClient(self.url, self.token, ca_file=self.ca_file, on_wait=tell_wait)

    def tenant_id(self) -> str:
        """The tenant to act for: as named, else the token's own.

        Raises:
            Unauthenticated: The token is none.
            click.UsageError: Neither is there.
        """
        found = self.tenant or claimed_tenant(self.token)
        if not found and self.token and _claims(self.token) is None:
            raise Unauthenticated(
                "the token is malformed", hint="'keystead token' makes one for this machine's service"
            )
        if not found:
            raise click.UsageError("no tenant: give --tenant, set KEYSTEAD_TENANT, or use a token of a tenant")
        return found


def usage_error(message: str, hint: str) -> click.UsageError:
    """An error in how the command is used, with a hint of its own."""
    error = click.UsageError(message)
    error.hint = hint  # type: ignore[attr-defined]
    return error


def service_options(command: F) -> F:
    """Add --url, --token-file and --ca-file."""
    for option in (
        click.option("--ca-file", type=click.Path(path_type=Path), help="Authorities to trust, PEM."),
        click.option("--token-file", type=click.Path(path_type=Path), help="File with the token [KEYSTEAD_TOKEN]."),
        click.option("--url", help="The service [KEYSTEAD_URL, else this machine's]."),
    ):
        command = option(command)
    return command


def tenant_option(command: F) -> F:
    """Add --tenant, for commands that act for one."""
    return click.option("-t", "--tenant", default="", help="Tenant [KEYSTEAD_TENANT, else the token's].")(command)


def context_option(command: F) -> F:
    """Add --context, which gives a mapping."""
    return click.option(
        "-c",
        "--context",
        multiple=True,
        callback=_pairs,
        metavar="KEY=VALUE",
        help="Encryption context pair; repeat for more. Readable in the message, not secret.",
    )(command)


def data_option(command: F) -> F:
    """Add --data, for commands that work on the local data directory."""
    return click.option("--data", type=click.Path(path_type=Path), help="Data directory [KEYSTEAD_DATA].")(command)


def target(url: str | None, token_file: Path | None, ca_file: Path | None, tenant: str = "") -> Target:
    """Put the shared options and the environment together; options win.

    Raises:
        SettingsError: A variable of the environment cannot be read.
        OSError: The token file cannot be read.
        click.UsageError: The address has no scheme.
    """
    from functions.settings import Settings, is_loopback

    if url and "://" not in url:
        host = url[1:].partition("]")[0] if url.startswith("[") else url.partition("/")[0].partition(":")[0]
        scheme = "http" if is_loopback(host) else "https"
        raise usage_error("--url does not say http or https", f"write {scheme}://{url}")
    settings = Settings.from_env()
    token = settings.token if token_file is None else read_token(token_file)
    return Target(url or settings.base_url, token, tenant or settings.tenant, ca_file)


def read_token(path: Path) -> str:
    """Read a token from a file.

    Raises:
        Unauthenticated: It holds none.
        OSError: It cannot be read.
    """
    with path.open("rb") as file:
        data = file.read(MAX_TOKEN_FILE + 1)
    token = data.decode("ascii", "replace").strip()
    if not token or len(data) > MAX_TOKEN_FILE:
        raise Unauthenticated(f"there is no token in {path}")
    return token


def claimed_tenant(token: str) -> str:
    """The ``tenant_id`` that a JWT claims, unproved, or "". The service decides; this only saves an option."""
    found = (_claims(token) or {}).get("tenant_id")
    return found if isinstance(found, str) else ""


def claimed_scopes(token: str) -> frozenset[str]:
    """The scopes that a JWT claims, unproved; likewise."""
    found = (_claims(token) or {}).get("scope")
    return frozenset(found.split()) if isinstance(found, str) else frozenset()


def _claims(token: str) -> dict[str, Any] | None:
    """What a token claims, unproved, or None if it does not have the form of a JWT."""
    parts = token.split(".")
    if len(parts) != 3:
        return None
    try:
        claims = json.loads(base64.urlsafe_b64decode(parts[1] + "=" * (-len(parts[1]) % 4)))
    except (ValueError, RecursionError):
        return None
    return claims if isinstance(claims, dict) else None


def existing_data(data: Path | None, *holds: str) -> Path:
    """The local data directory, which must be there: these commands look, they do not create.

    Args:
        data: From the option; None for the environment's.
        holds: Names of what the service made in it, without which it is no data directory.

    Raises:
        InvalidRequest: There is none.
        SettingsError: A variable of the environment cannot be read.
        OSError: It cannot be looked at.
    """
    from functions.settings import Settings

    directory = data or Settings.from_env().data
    hint = "'keystead serve' makes one; --data names another"
    if not directory.is_dir():
        raise InvalidRequest(f"there is no data directory {directory}", hint=hint)
    missing = [name for name in holds if not (directory / name).exists()]
    if missing:
        raise InvalidRequest(f"{directory} is no data directory of the service: it has no {missing[0]}", hint=hint)
    return directory


def _pairs(_ctx: click.Context, _parameter: click.Parameter, values: tuple[str, ...]) -> dict[str, str]:
    out: dict[str, str] = {}
    for value in values:
        key, equals, text = value.partition("=")
        if not equals or not key:
            raise click.BadParameter("must be KEY=VALUE")
        if key in out:
            raise click.BadParameter("a key is given twice")
        out[key] = text
    return out
