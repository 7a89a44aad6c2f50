"""The environment, read once into frozen settings. Nothing else in the project reads it.

`SETTINGS` is the table of what there is; docs are checked against it. What is misspelt is refused, not ignored.
"""

from __future__ import annotations

import difflib
import ipaddress
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal
from urllib.parse import urlsplit

from core.errors import KeysteadError
from functions import readers

if TYPE_CHECKING:
    from core.bootstrap import AwsConfig, Config

PREFIX = "KEYSTEAD_"
LOCAL_STAGE = "local"
"""The stage of a developer's machine: the only one in which AWS may be an emulator."""
LOCAL_REGION = "eu-central-1"
LOCAL_CREDENTIALS = ("keystead-local", "keystead-local-secret")
"""What the emulator knows this service by; worth nothing anywhere else. As in `functions.emulators`."""
_ENDPOINT = "AWS_ENDPOINT_URL"


class SettingsError(KeysteadError):
    """A setting, or what it names, cannot be used. Stops the service before it serves.

    Args:
        detail: Names the variable, never its value where that may be secret.
        hint: How to set it right.
    """

    code = "settings_invalid"
    title = "Settings invalid"


@dataclass(frozen=True, slots=True)
class Setting:
    """One variable: the field it fills, how it is read, and what it means."""

    field: str
    read: Callable[[str], Any]
    meaning: str

    @property
    def variable(self) -> str:
        """Its name in the environment."""
        return PREFIX + self.field.upper()


SETTINGS: tuple[Setting, ...] = (
    Setting(
        "stage",
        readers.stage,
        "Where this runs: local, or dev, test, prod and the like, where nothing of an emulator is taken",
    ),
    Setting("data", Path, "Directory of the embedded store, the platform KEK and the signing keys"),
    Setting("host", readers.text, "Address to listen on"),
    Setting("port", readers.number(0, 65535), "Port to listen on; 0 takes a free one"),
    Setting("workers", readers.number(1, 64), "Processes that serve"),
    Setting("threads", readers.number(1, 256), "Requests one process works on at a time"),
    Setting("max_requests", readers.number(1, 10_000), "Requests one process holds at a time; more are answered 429"),
    Setting("shutdown_timeout", readers.number(0, 600), "Seconds that requests under way get at shutdown"),
    Setting("allow_remote", readers.switch, "1 to listen on an address that is not loopback; there is no TLS"),
    Setting("allowed_hosts", readers.names, "Host names to answer to besides loopback's, separated by commas"),
    Setting(
        "store", readers.one_of("sqlite", "memory"), "Where rows, tenants and audit are kept; memory forgets at the end"
    ),
    Setting(
        "table_name", readers.text, "Logical key store name; bound into every wrapped branch key, never changed later"
    ),
    Setting(
        "aws_regions",
        readers.regions,
        "Regions of AWS in which tenants' keys may lie, separated by commas; without any, no AWS KMS",
    ),
    Setting(
        "aws_accounts",
        readers.accounts,
        "The platform's own AWS accounts besides the one it runs in, separated by commas; no tenant's key lies there",
    ),
    Setting(
        "aws_principal",
        readers.principal,
        "ARN of the role that tenants' policies name; asked of AWS if not set, which cannot tell a role's path",
    ),
    Setting("aws_endpoint_url", readers.url, "Emulator of AWS KMS and STS on this machine, in stage local only"),
    Setting(
        "offerings",
        readers.text,
        "Which offering covers keys in which clouds: JSON, or a file that holds it",
    ),
    Setting(
        "backup_days",
        readers.number(0, 3650),
        "Days for which backups of the store are kept; until then they open under a tenant's former key",
    ),
    Setting("issuers", readers.text, "Trusted issuers of tokens: JSON, or the path of a file that holds it"),
    Setting("local_issuer", readers.switch, "0 to refuse tokens of the key in the data directory"),
    Setting("log_level", readers.one_of("debug", "info", "warning", "error"), "Least level of what is logged"),
    Setting("url", readers.url, "Command line: the service to speak to"),
    Setting("token", readers.text, "Command line: the token to present"),
    Setting("tenant", readers.text, "Command line: the tenant to act on"),
)


@dataclass(frozen=True, slots=True)
class Settings:
    """Everything that can be set; `SETTINGS` says what each field means. Seconds unless named."""

    stage: str = LOCAL_STAGE
    data: Path = Path(".keystead")
    host: str = "127.0.0.1"
    port: int = 8080
    workers: int = 1
    threads: int = 16
    max_requests: int = 128
    shutdown_timeout: int = 10
    allow_remote: bool = False
    allowed_hosts: tuple[str, ...] = ()
    store: Literal["sqlite", "memory"] = "sqlite"
    table_name: str = "keystead-branch-keys"
    aws_regions: tuple[str, ...] = ()
    aws_accounts: tuple[str, ...] = ()
    aws_principal: str = ""
    aws_endpoint_url: str = ""
    offerings: str = '{"default": ["aws_kms", "azure_key_vault"]}'
    backup_days: int = 35
    issuers: str = field(default="", repr=False)
    local_issuer: bool = True
    log_level: str = "info"
    url: str = ""
    token: str = field(default="", repr=False)
    tenant: str = ""

    @classmethod
    def from_env(cls, environ: Mapping[str, str] | None = None) -> Settings:
        """Read the settings.

        Args:
            environ: Variables; None for those of this process. An empty value counts as unset.

        Raises:
            SettingsError: A variable has no known name or a value that it cannot have, or two do not go together.
        """
        given = {name: value for name, value in (os.environ if environ is None else environ).items() if value}
        known = {setting.variable: setting for setting in SETTINGS}
        values: dict[str, Any] = {}
        for name in sorted(given):
            if not name.startswith(PREFIX):
                continue
            if name not in known:
                near = difflib.get_close_matches(name, known, n=1, cutoff=0.75)
                hint = f"did you mean {near[0]}?" if near else f"known are {', '.join(known)}"
                raise SettingsError(f"{name} is not a setting", hint=hint)
            try:
                values[known[name].field] = known[name].read(given[name])
            except ValueError as error:
                raise SettingsError(f"{name} {error}", hint=known[name].meaning) from None
        settings = cls(**values).check()
        redirected = sorted(name for name in given if name == _ENDPOINT or name.startswith(f"{_ENDPOINT}_"))
        if redirected and settings.stage != LOCAL_STAGE:
            raise SettingsError(
                f"{redirected[0]} sends the calls to AWS elsewhere, outside of the stage {LOCAL_STAGE}",
                hint=f"unset it; an emulator is for KEYSTEAD_STAGE={LOCAL_STAGE}",
            )
        return settings

    def check(self) -> Settings:
        """Give the settings back if they go together.

        Raises:
            SettingsError: They do not.
        """
        if self.store == "memory" and self.workers > 1:
            raise SettingsError(
                "KEYSTEAD_STORE=memory serves one process only", hint="leave KEYSTEAD_WORKERS at 1, or use sqlite"
            )
        if not self.allow_remote and not is_loopback(self.host):
            raise SettingsError(
                "KEYSTEAD_HOST is not a loopback address",
                hint="the local service has no TLS; set KEYSTEAD_ALLOW_REMOTE=1 and KEYSTEAD_ALLOWED_HOSTS if a "
                "proxy in front of it has",
            )
        self._check_endpoint()
        return self

    def _check_endpoint(self) -> None:
        if not self.aws_endpoint_url:
            return
        hint = "it is for an emulator on this machine: 'keystead emulator kms' prints its address"
        if self.stage != LOCAL_STAGE:
            raise SettingsError(f"KEYSTEAD_AWS_ENDPOINT_URL is set outside of the stage {LOCAL_STAGE}", hint=hint)
        try:
            parts = urlsplit(self.aws_endpoint_url)
            host, _ = parts.hostname, parts.port
        except ValueError:
            raise SettingsError("KEYSTEAD_AWS_ENDPOINT_URL is no address", hint=hint) from None
        if parts.scheme not in ("http", "https") or "@" in parts.netloc or not is_loopback(host or ""):
            raise SettingsError("KEYSTEAD_AWS_ENDPOINT_URL is not a loopback address", hint=hint)

    @property
    def base_url(self) -> str:
        """Where the command line finds the service."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return self.url or f"http://{host}:{self.port}"

    def to_config(self) -> Config:
        """What the composition root needs of the settings.

        Raises:
            SettingsError: The offerings cannot be read.
        """
        from core.bootstrap import Config
        from functions.offerings import read_offerings

        return Config(
            data_dir=self.data,
            store=self.store,
            table_name=self.table_name,
            aws=self._aws(),
            offerings=read_offerings(self.offerings),
            backup_retention_days=self.backup_days,
        )

    def _aws(self) -> AwsConfig | None:
        from core.bootstrap import AwsConfig

        regions, accounts = frozenset(self.aws_regions), frozenset(self.aws_accounts)
        if self.aws_endpoint_url:
            endpoint = self.aws_endpoint_url.rstrip("/")
            key_id, secret = LOCAL_CREDENTIALS
            regions = regions or frozenset({LOCAL_REGION})
            return AwsConfig(regions, accounts, self.aws_principal, endpoint, key_id, secret)
        return AwsConfig(regions, accounts, self.aws_principal) if regions else None


def is_loopback(host: str) -> bool:
    """Whether an address to listen on is reachable from this machine only."""
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def markdown() -> str:
    """The settings as a Markdown table, for the documentation."""
    defaults = {item.name: item.default for item in fields(Settings)}
    rows = ["| variable | default | meaning |", "|---|---|---|"]
    rows += [f"| `{item.variable}` | {_shown(defaults[item.field])} | {item.meaning} |" for item in SETTINGS]
    return "\n".join(rows)


def _shown(value: object) -> str:
    if isinstance(value, bool):
        return "`1`" if value else "`0`"
    return f"`{value}`" if value not in ("", ()) else ""
