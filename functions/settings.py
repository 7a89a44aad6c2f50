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

from core.errors import KeysteadError

if TYPE_CHECKING:
    from core.bootstrap import Config

PREFIX = "KEYSTEAD_"


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


def _number(low: int, high: int) -> Callable[[str], int]:
    def read(text: str) -> int:
        if not (text.isascii() and text.isdigit() and len(text) < 10 and low <= int(text) <= high):
            raise ValueError(f"is a whole number from {low} to {high}")
        return int(text)

    return read


def _one_of(*choices: str) -> Callable[[str], str]:
    def read(text: str) -> str:
        if text.lower() not in choices:
            raise ValueError(f"is one of {', '.join(choices)}")
        return text.lower()

    return read


def _switch(text: str) -> bool:
    if text.lower() not in {"1", "true", "yes", "0", "false", "no"}:
        raise ValueError("is 1 or 0")
    return text.lower() in {"1", "true", "yes"}


def _names(text: str) -> tuple[str, ...]:
    return tuple(name.strip().lower() for name in text.split(",") if name.strip())


def _url(text: str) -> str:
    if not text.startswith(("http://", "https://")):
        raise ValueError("starts with http:// or https://")
    return text.rstrip("/")


def _text(text: str) -> str:
    return text


SETTINGS: tuple[Setting, ...] = (
    Setting("data", Path, "Directory of the embedded store, the platform KEK and the signing keys"),
    Setting("host", _text, "Address to listen on"),
    Setting("port", _number(0, 65535), "Port to listen on; 0 takes a free one"),
    Setting("workers", _number(1, 64), "Processes that serve"),
    Setting("threads", _number(1, 256), "Requests one process works on at a time"),
    Setting("max_requests", _number(1, 10_000), "Requests one process holds at a time; more are answered 429"),
    Setting("shutdown_timeout", _number(0, 600), "Seconds that requests under way get at shutdown"),
    Setting("allow_remote", _switch, "1 to listen on an address that is not loopback; there is no TLS"),
    Setting("allowed_hosts", _names, "Host names to answer to besides loopback's, separated by commas"),
    Setting("store", _one_of("sqlite", "memory"), "Where rows, tenants and audit are kept; memory forgets at the end"),
    Setting("table_name", _text, "Logical key store name; bound into every wrapped branch key, never changed later"),
    Setting("issuers", _text, "Trusted issuers of tokens: JSON, or the path of a file that holds it"),
    Setting("local_issuer", _switch, "0 to refuse tokens of the key in the data directory"),
    Setting("log_level", _one_of("debug", "info", "warning", "error"), "Least level of what is logged"),
    Setting("url", _url, "Command line: the service to speak to"),
    Setting("token", _text, "Command line: the token to present"),
    Setting("tenant", _text, "Command line: the tenant to act on"),
)


@dataclass(frozen=True, slots=True)
class Settings:
    """Everything that can be set; `SETTINGS` says what each field means. Seconds unless named."""

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
        return cls(**values).check()

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
        return self

    @property
    def base_url(self) -> str:
        """Where the command line finds the service."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return self.url or f"http://{host}:{self.port}"

    def to_config(self) -> Config:
        """What the composition root needs of the settings."""
        from core.bootstrap import Config

        return Config(data_dir=self.data, store=self.store, table_name=self.table_name)


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
