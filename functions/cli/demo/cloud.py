"""The customers' clouds of the demo: an emulated AWS KMS and an emulated Azure in the demo's own process."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from functions.emulators.azure_wire import serve as serve_azure
from functions.emulators.azure_world import AzureEmulator
from functions.emulators.kms import (
    CUSTOMER_ACCOUNT,
    DEFAULT_REGION,
    LOCAL_ACCESS_KEY_ID,
    LOCAL_PRINCIPAL,
    LOCAL_SECRET_ACCESS_KEY,
    KmsEmulator,
)
from functions.emulators.wire import serve
from functions.settings import LOCAL_AZURE

ACCOUNT = "<YOUR-ACCOUNT>"
"""What a setup kit leaves for the tenant to fill in."""
ENTRA_TENANT = "11112222-3333-4444-5555-666677778888"
"""The customer's Entra tenant."""
RSA_BITS = 2048
"""Of the customer's keys in Azure: made faster than those of the 3072 bits that are recommended."""


@dataclass(frozen=True, slots=True)
class Cloud:
    """The emulators, and where the service finds them.

    Attributes:
        kms: AWS KMS.
        azure: Azure Key Vault and Entra.
        variables: For the environment of the service.
    """

    kms: KmsEmulator
    azure: AzureEmulator
    variables: Mapping[str, str]

    def new_key(self, policy: Mapping[str, Any]) -> str:
        """Make a key in the customer's account, as the customer would in its console; gives its ARN."""
        filled = json.loads(json.dumps(policy).replace(ACCOUNT, CUSTOMER_ACCOUNT))
        return str(self.kms.create_key(account=CUSTOMER_ACCOUNT, region=DEFAULT_REGION, policy=filled))

    def new_vault(self, name: str) -> str:
        """Make a vault in the customer's Entra tenant, and let the service's application in there; gives its URL."""
        self.azure.consent(LOCAL_AZURE[0], ENTRA_TENANT)
        return self.azure.create_vault(name, ENTRA_TENANT)

    def new_vault_key(self, vault_url: str, name: str, tags: Mapping[str, str]) -> str:
        """Make a key in a vault, with the role on it that a setup kit names; gives its newest version."""
        self.azure.grant(vault_url, LOCAL_AZURE[0], key=name)
        return self.azure.create_key(vault_url, name, size=RSA_BITS, key_ops=("wrapKey", "unwrapKey"), tags=tags)


@contextmanager
def cloud() -> Iterator[Cloud]:
    """Both clouds on free loopback ports, gone at the end."""
    kms, azure = KmsEmulator(now=time.time), AzureEmulator(now=time.time)
    kms.add_principal(LOCAL_ACCESS_KEY_ID, LOCAL_SECRET_ACCESS_KEY, LOCAL_PRINCIPAL)
    azure.add_application(*LOCAL_AZURE)
    with (
        TemporaryDirectory(prefix="keystead-demo-") as trust,
        serve(kms, port=0) as aws_server,
        serve_azure(azure, port=0, ca_file=Path(trust) / "ca.pem") as azure_server,
    ):
        variables = {
            "KEYSTEAD_AWS_ENDPOINT_URL": aws_server.url,
            "KEYSTEAD_AZURE_EMULATOR": azure_server.dial,
            "KEYSTEAD_AZURE_EMULATOR_CA": azure_server.ca_file,
        }
        yield Cloud(kms, azure, variables)
