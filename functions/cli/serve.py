"""``keystead serve``: the local service, and what to do with it."""

from __future__ import annotations

import os
import shlex
import shutil
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import click

from functions.cli import options, token

if TYPE_CHECKING:
    from functions.settings import Settings

FIRST_TENANT = "demo"
LIFETIME = 3600
"""Seconds the printed token is good for."""
REPOSITORY = Path(__file__).resolve().parent.parent.parent


@click.command(
    epilog="""\b
Examples:
  keystead serve
  keystead serve --port 9000 --data ./keystead-data --workers 2
  keystead serve --aws-endpoint http://127.0.0.1:4599
"""
)
@click.option("--port", type=click.IntRange(0, 65535), help="Port; 0 takes a free one [KEYSTEAD_PORT, else 8080].")
@click.option("--host", help="Address to listen on [KEYSTEAD_HOST, else 127.0.0.1].")
@options.data_option
@click.option("--workers", type=click.IntRange(1, 64), help="Processes that serve [KEYSTEAD_WORKERS, else 1].")
@click.option("--aws-endpoint", metavar="URL", help="Emulator of AWS KMS on this machine [KEYSTEAD_AWS_ENDPOINT_URL].")
@click.option("--allow-remote", is_flag=True, help="Allow an address that is not loopback. There is no TLS.")
def serve(
    port: int | None,
    host: str | None,
    data: Path | None,
    workers: int | None,
    aws_endpoint: str | None,
    allow_remote: bool,
) -> None:
    """Serve the API on this machine, with an embedded store.

    An empty data directory gets a first tenant, demo. Prints the address, a short-lived token and two curl lines that
    work as they are; logs go to stderr, one JSON object per line.
    """
    from functions.issuers import read_issuers
    from functions.local import server
    from functions.local.app import build_handler
    from functions.settings import Settings

    given = {
        "port": port,
        "host": host,
        "data": data,
        "workers": workers,
        "aws_endpoint_url": aws_endpoint,
        "allow_remote": allow_remote or None,
    }
    settings = replace(Settings.from_env(), **{k: v for k, v in given.items() if v is not None}).check()  # type: ignore[arg-type]
    # What cannot be served is refused before anything is made or printed.
    read_issuers(settings.issuers)
    settings.to_config()
    # Refuses a port that is taken before anything is printed, and learns a free one's number.
    with server.bind(settings.host, settings.port) as listener:
        settings = replace(settings, port=listener.getsockname()[1])
    settings = replace(settings, url="")
    make_data_directory(settings)
    build_handler(settings)[1].close()
    click.echo(banner(settings, first_tenant(settings)))
    server.serve(settings)


def make_data_directory(settings: Settings) -> None:
    """Make the data directory; here, and not by whichever part comes first, so that it is its owner's only.

    Raises:
        SettingsError: It cannot be made.
    """
    from functions.settings import SettingsError

    try:
        settings.data.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise SettingsError(
            f"the data directory {settings.data} cannot be made: {error.strerror}", hint="name another: --data"
        ) from None


def first_tenant(settings: Settings) -> str:
    """The tenant to show the service with: ``demo``, created if the store is empty, else the first there is.

    Returns:
        Its id, or "" where the store is in the memory of the service that is yet to start.

    Raises:
        KeysteadError: The data directory cannot be used.
    """
    from core.bootstrap import build
    from core.domain.tenants import SYSTEM
    from core.service.access import Caller, Permission

    if settings.store == "memory":
        return ""
    operator = Caller("keystead serve", "local", None, frozenset({Permission.PLATFORM_OPERATE}))
    make_data_directory(settings)
    application = build(settings.to_config())
    try:
        found = [record.tenant_id for record in application.keystead.list_tenants(operator, limit=100)]
        if not found:
            # With this the operator's chain is never empty: one that is, beside tenants, was cut off.
            application.audit.record(SYSTEM, "store.create", operator.subject, "ok")
            application.keystead.create_tenant(operator, FIRST_TENANT, display_name="Demo")
            return FIRST_TENANT
        return FIRST_TENANT if FIRST_TENANT in found else found[0]
    finally:
        application.close()


def banner(settings: Settings, tenant_id: str) -> str:
    """What is printed at the start.

    Args:
        settings: With the port that will be listened on.
        tenant_id: From `first_tenant`.
    """
    url = replace(settings, host=_reachable(settings.host)).base_url
    if not settings.local_issuer:
        return f"Keystead serves at {url}\nTokens of the local key are not accepted (KEYSTEAD_LOCAL_ISSUER)."
    if not tenant_id:
        made = token.mint(settings.data, "operator", None, token.PRESETS["operator"], LIFETIME)
        create = _curl(made, f"{url}/v1/tenants/{FIRST_TENANT}", "-X", "PUT")
        return f"Keystead serves at {url}, and forgets everything when it ends. Create a tenant:\n\n{create}\n"
    made = token.mint(settings.data, "first-steps", tenant_id, token.PRESETS["app"], LIFETIME)
    base = f"{url}/v1/tenants/{tenant_id}"
    source = _readme()
    raw = ("-H", "Content-Type: application/octet-stream", "--data-binary")
    lines = [
        f"Keystead serves at {url}",
        f"Data and keys are in {settings.data.resolve()}",
        *([f"AWS KMS is the emulator at {settings.aws_endpoint_url}"] if settings.aws_endpoint_url else []),
        *([f"Azure Key Vault is the emulator at {settings.azure_emulator}"] if settings.azure_emulator else []),
        "",
        f"Token of the tenant {tenant_id}, good for {LIFETIME // 3600} hour:",
        made,
        "",
        "In another shell, encrypt a file and decrypt it again:",
        _curl(made, f"{base}/encrypt", *raw, f"@{source}", "-o", f"{source.name}.keystead"),
        _curl(made, f"{base}/decrypt", *raw, f"@{source.name}.keystead", "-o", f"{source.name}.decrypted"),
        "",
        f"Another token: {program()} token --tenant {tenant_id} --data {shlex.quote(str(settings.data.resolve()))}",
        "Ctrl-C stops the service.",
        "",
    ]
    return "\n".join(lines)


def program() -> str:
    """How this program is started from this directory, for the shell: ``keystead`` where that finds it."""
    script = Path(sys.argv[0])
    if script.name == "__main__.py":  # python -m
        script = Path(sys.executable).with_name("keystead")
    if script.name != "keystead" or not script.is_file():
        return "keystead"
    found = shutil.which("keystead")
    if found and Path(found).resolve() == script.resolve():
        return "keystead"
    absolute = script.absolute()
    relative = os.path.relpath(absolute)
    shorter = relative if len(relative) < len(str(absolute)) else str(absolute)
    return shlex.quote(shorter)


def _curl(bearer: str, url: str, *arguments: str) -> str:
    return shlex.join(["curl", "-fsS", "-H", f"Authorization: Bearer {bearer}", *arguments, url])


def _readme() -> Path:
    # Any file will do; the README is one that whoever runs this has.
    for directory in (Path.cwd(), REPOSITORY):
        if (directory / "README.md").is_file():
            return directory / "README.md"
    return Path(__file__)


def _reachable(host: str) -> str:
    return {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104 - told apart, not listened on
