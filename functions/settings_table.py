"""The table of settings: every variable of the environment that there is, how it is read, and what it means."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from core.domain.vaults import CLOUDS
from core.errors import KeysteadError
from functions import readers

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
        "azure_client_id",
        readers.guid,
        "Client id of the multi-tenant application through which tenants' keys in Azure are reached; without it, no "
        "Azure Key Vault",
    ),
    Setting(
        "azure_home_tenant",
        readers.guid,
        "Id of the platform's own Entra tenant, which the application lives in; no tenant's vault belongs to it",
    ),
    Setting("azure_cloud", readers.one_of(*CLOUDS), "Which of Microsoft's clouds the application belongs to"),
    Setting(
        "azure_managed_identity",
        readers.guid,
        "Client id of the managed identity that stands in for the application; this, a certificate or a secret",
    ),
    Setting("azure_certificate_file", readers.text, "PEM file with the application's certificate and its private key"),
    Setting("azure_client_secret", readers.text, "The application's secret, where there is nothing better"),
    Setting(
        "azure_redirect_url",
        readers.landing,
        "Where Entra sends a tenant's administrator after the consent: this service's /v1/azure/consent, as the "
        "application has it registered",
    ),
    Setting(
        "azure_egress",
        readers.addresses,
        "Addresses that this service calls from, for tenants' firewalls: IP addresses and CIDR blocks, separated by "
        "commas",
    ),
    Setting(
        "azure_emulator",
        readers.loopback,
        "Emulator of Azure Key Vault and Entra on this machine, as 127.0.0.1:PORT, in stage local only",
    ),
    Setting("azure_emulator_ca", readers.text, "PEM file with that emulator's own certificate authority"),
    Setting(
        "signing_key",
        readers.text,
        "Key that signs receipts and audit checkpoints: ARN of one in AWS KMS, identifier of a version of one in "
        "Azure Key Vault; without it, a key file in the data directory",
    ),
    Setting(
        "retired_signing_keys",
        readers.text,
        "File with the public keys that signed before, as a JWK set; they stay in the one that this service publishes",
    ),
    Setting(
        "offerings",
        readers.text,
        "Which offering covers keys in which clouds: JSON, or a file that holds it",
    ),
    Setting(
        "canaries",
        readers.text,
        "Keys of the operator's own that tell our faults from tenants' withdrawals: JSON, or a file that holds it",
    ),
    Setting(
        "backup_days",
        readers.number(0, 3650),
        "Days for which backups of the store are kept; until then they open under a tenant's former key",
    ),
    Setting(
        "max_lease",
        readers.number(0, 3600),
        "Longest lease, in seconds, that a tenant may have; lowered later, it binds those who chose more before",
    ),
    Setting(
        "max_outage_grace",
        readers.number(0, 86_400),
        "Longest outage grace, in seconds, that a tenant may have; likewise",
    ),
    Setting(
        "confirm_after",
        readers.number(1, 600),
        "Seconds between two denials by a policy or an identity before a withdrawal counts as confirmed",
    ),
    Setting(
        "check_interval",
        readers.number(1, 900),
        "Seconds between two checks of a key that was used lately",
    ),
    Setting("issuers", readers.text, "Trusted issuers of tokens: JSON, or the path of a file that holds it"),
    Setting("local_issuer", readers.switch, "0 to refuse tokens of the key in the data directory"),
    Setting("log_level", readers.one_of("debug", "info", "warning", "error"), "Least level of what is logged"),
    Setting("name", readers.text, "Public name or URL of this service, as receipts name it"),
    Setting("url", readers.url, "Command line: the service to speak to"),
    Setting("token", readers.text, "Command line: the token to present"),
    Setting("tenant", readers.text, "Command line: the tenant to act on"),
)
