"""The environment, read once into frozen settings. Nothing else in the project reads it.

`functions.settings_table` has the table of what there is; docs are checked against it. What is misspelt is refused,
not ignored.
"""

from __future__ import annotations

import difflib
import os
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from functions.cloud_settings import (
    LOCAL_AZURE,
    LOCAL_CREDENTIALS,
    LOCAL_REGION,
    LOCAL_STAGE,
    aws_config,
    azure_config,
    check_clouds,
    refuse_redirections,
)
from functions.readers import is_loopback
from functions.settings_table import PREFIX, SETTINGS, Setting, SettingsError
from functions.signing_settings import check_signing_key, retired_signing_keys

if TYPE_CHECKING:
    from core.bootstrap import Config
    from core.domain.vaults import CloudName

__all__ = [
    "LOCAL_AZURE",
    "LOCAL_CREDENTIALS",
    "LOCAL_REGION",
    "LOCAL_STAGE",
    "SETTINGS",
    "Setting",
    "Settings",
    "SettingsError",
    "is_loopback",
    "markdown",
]


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
    azure_client_id: str = ""
    azure_home_tenant: str = ""
    azure_cloud: CloudName = "public"
    azure_managed_identity: str = ""
    azure_certificate_file: str = ""
    azure_client_secret: str = field(default="", repr=False)
    azure_redirect_url: str = ""
    azure_egress: tuple[str, ...] = ()
    azure_emulator: str = ""
    azure_emulator_ca: str = ""
    signing_key: str = ""
    retired_signing_keys: str = ""
    offerings: str = '{"default": ["aws_kms", "azure_key_vault"]}'
    canaries: str = field(default="", repr=False)
    backup_days: int = 35
    max_lease: int = 3600
    max_outage_grace: int = 86400
    confirm_after: int = 60
    check_interval: int = 60
    issuers: str = field(default="", repr=False)
    local_issuer: bool = True
    log_level: str = "info"
    name: str = "keystead"
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
        refuse_redirections(settings, given)
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
        check_clouds(self)
        check_signing_key(self)
        return self

    @property
    def base_url(self) -> str:
        """Where the command line finds the service."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return self.url or f"http://{host}:{self.port}"

    def to_config(self) -> Config:
        """What the composition root needs of the settings.

        Raises:
            SettingsError: The offerings, the canaries, or a file that is named, cannot be read or used.
        """
        from core.bootstrap import Config
        from functions.canary_settings import read_canaries
        from functions.offerings import read_offerings

        return Config(
            data_dir=self.data,
            store=self.store,
            table_name=self.table_name,
            aws=aws_config(self),
            azure=azure_config(self),
            signing_key=self.signing_key,
            retired_signing_keys=retired_signing_keys(self),
            offerings=read_offerings(self.offerings),
            canaries=read_canaries(self),
            backup_retention_days=self.backup_days,
            issuer=self.name,
            max_lease=self.max_lease,
            max_outage_grace=self.max_outage_grace,
            confirm_after=self.confirm_after,
            check_interval=self.check_interval,
        )


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
