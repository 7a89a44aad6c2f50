"""The customers' cloud of the demo: an emulated AWS KMS in the demo's own process."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from functions.emulators.kms import (
    CUSTOMER_ACCOUNT,
    DEFAULT_REGION,
    LOCAL_ACCESS_KEY_ID,
    LOCAL_PRINCIPAL,
    LOCAL_SECRET_ACCESS_KEY,
    KmsEmulator,
)
from functions.emulators.wire import serve

ACCOUNT = "<YOUR-ACCOUNT>"
"""What a setup kit leaves for the tenant to fill in."""


@dataclass(frozen=True, slots=True)
class Cloud:
    """The emulator, and where the service finds it."""

    kms: KmsEmulator
    url: str

    def new_key(self, policy: Mapping[str, Any]) -> str:
        """Make a key in the customer's account, as the customer would in its console; gives its ARN."""
        filled = json.loads(json.dumps(policy).replace(ACCOUNT, CUSTOMER_ACCOUNT))
        return str(self.kms.create_key(account=CUSTOMER_ACCOUNT, region=DEFAULT_REGION, policy=filled))


@contextmanager
def cloud() -> Iterator[Cloud]:
    """A cloud on a free loopback port, gone at the end."""
    kms = KmsEmulator(now=time.time)
    kms.add_principal(LOCAL_ACCESS_KEY_ID, LOCAL_SECRET_ACCESS_KEY, LOCAL_PRINCIPAL)
    with serve(kms, port=0) as server:
        yield Cloud(kms, server.url)
