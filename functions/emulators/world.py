"""What the emulator knows, and the hands that change it from outside: tests, the control API, the command line.

Each method raises `AwsError` for what is not there or malformed, as the service would.
"""

from __future__ import annotations

import re
import secrets
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from functions.emulators.aws_errors import AwsError
from functions.emulators.defaults import CUSTOMER_ACCOUNT, DEFAULT_REGION
from functions.emulators.faults import Fault, Faults
from functions.emulators.identities import Identities, Role
from functions.emulators.key_ring import KeyRing
from functions.emulators.kms_keys import DAY, Key
from functions.emulators.kms_management import default_policy, new_key_id
from functions.emulators.kms_specs import ENCRYPT, SYMMETRIC
from functions.emulators.policies import parse

_KEY_ARN = re.compile(r"arn:aws:kms:[a-z0-9-]+:\d{12}:key/[A-Za-z0-9-]+", re.ASCII)
STATES = frozenset({"Enabled", "Disabled", "Creating", "PendingImport", "Unavailable", "Updating"})


class World:
    """Keys, identities and faults of several accounts and Regions. Safe across threads.

    Args:
        now: Seconds since the epoch.
        sleep: How a fault's latency passes in process.

    Attributes:
        faults: In force.
        identities: Everybody known.
        ring: All keys.
        skew: Seconds that the answers' Date runs ahead of ``now``.
        revision: Counts changes of what is saved.
    """

    def __init__(self, now: Callable[[], float], sleep: Callable[[float], None] = time.sleep) -> None:
        self.now = now
        self.sleep = sleep
        self.skew = 0.0
        self.revision = 0
        self.faults = Faults()
        self.identities = Identities()
        self.ring = KeyRing()
        self.lock = threading.RLock()

    @contextmanager
    def _changing(self) -> Iterator[None]:
        with self.lock:
            yield
            self.revision += 1

    def add_principal(
        self, access_key_id: str, secret_access_key: str, arn: str, policies: Mapping[str, Any] | None = None
    ) -> None:
        """Add a long-lived identity.

        Args:
            access_key_id: Its key.
            secret_access_key: Its secret; in-process clients do not need it.
            arn: Of a user or a role.
            policies: Identity policies by name; None allows all of KMS and AssumeRole.
        """
        with self._changing():
            self.identities.add(access_key_id, secret_access_key, arn, policies)

    def create_key(
        self,
        account: str = CUSTOMER_ACCOUNT,
        region: str = DEFAULT_REGION,
        policy: Mapping[str, Any] | None = None,
        key_id: str | None = None,
        spec: str = SYMMETRIC,
        usage: str = ENCRYPT,
        origin: str = "AWS_KMS",
        custom_key_store_id: str | None = None,
        multi_region: bool = False,
        rotation: bool = True,
        manager: str = "CUSTOMER",
    ) -> str:
        """Make a key.

        Args:
            policy: None passes everything on to the identity policies of the key's own account, as AWS does.

        Returns:
            Its ARN.

        Raises:
            ValueError: Account, Region or key id are not of their form.
        """
        arn = f"arn:aws:kms:{region}:{account}:key/{key_id or new_key_id(multi_region=multi_region)}"
        if not _KEY_ARN.fullmatch(arn):
            raise ValueError("the account is 12 digits, and Region and key id are of letters, digits and hyphens")
        with self._changing():
            self.ring.add(
                Key(
                    arn,
                    parse(default_policy(account) if policy is None else policy, "key"),
                    self.now(),
                    spec,
                    usage,
                    origin,
                    custom_key_store_id,
                    multi_region,
                    manager,
                    rotation=rotation,
                )
            )
        return arn

    def key(self, arn: str) -> Key:
        """A key."""
        return self.ring.get(arn, self.now())

    def put_key_policy(self, arn: str, policy: Mapping[str, Any]) -> None:
        """Replace a key's policy."""
        with self._changing():
            self.key(arn).policy = parse(policy, "key")

    def disable_key(self, arn: str) -> None:
        """Disable a key."""
        with self._changing():
            self.key(arn).enabled = False

    def enable_key(self, arn: str) -> None:
        """Enable a key."""
        with self._changing():
            self.key(arn).enabled = True

    def schedule_key_deletion(self, arn: str, days: int = 30) -> None:
        """Start a key's waiting period."""
        with self._changing():
            key = self.key(arn)
            key.deletion_date, key.deletion_days = self.now() + days * DAY, days

    def cancel_key_deletion(self, arn: str) -> None:
        """End a key's waiting period; it is disabled then."""
        with self._changing():
            key = self.key(arn)
            key.deletion_date, key.enabled = None, False

    def delete_key(self, arn: str) -> None:
        """Delete a key as if its waiting period were over."""
        with self._changing():
            self.key(arn)
            self.ring.remove(arn)

    def set_valid_to(self, arn: str, instant: float | None) -> None:
        """Say when imported material expires (None: never)."""
        with self._changing():
            self.key(arn).valid_to = instant

    def expire_material(self, arn: str) -> None:
        """Let imported material expire now."""
        self.set_valid_to(arn, self.now())

    def set_key_state(self, arn: str, state: str) -> None:
        """Put a key into a state from outside.

        Raises:
            ValueError: It is not one of ``STATES``.
        """
        if state not in STATES:
            raise ValueError(f"a state is one of {', '.join(sorted(STATES))}")
        with self._changing():
            key = self.key(arn)
            key.forced_state = None if state in ("Enabled", "Disabled") else state
            key.enabled = state != "Disabled"

    def set_rotation(self, arn: str, on: bool) -> None:
        """Turn yearly rotation on or off."""
        with self._changing():
            self.key(arn).rotation = on

    def rotate_key(self, arn: str) -> None:
        """Give a key a new backing key now."""
        with self._changing():
            self.key(arn).backing.append(secrets.token_bytes(32))

    def create_role(
        self,
        arn: str,
        trust_policy: Mapping[str, Any],
        policies: Mapping[str, Mapping[str, Any]] | None = None,
        max_session: int = 3600,
    ) -> None:
        """Make a role; one of this ARN is replaced by another role, whose sessions are not the old one's."""
        with self._changing():
            parsed = {name: parse(document, "identity") for name, document in (policies or {}).items()}
            role_id = f"AROA{secrets.token_hex(8).upper()}"
            self.identities.roles[arn] = Role(arn, role_id, parse(trust_policy, "trust"), parsed, max_session)

    def delete_role(self, arn: str) -> None:
        """Delete a role: its sessions end at once."""
        with self._changing():
            self.identities.role(arn)
            del self.identities.roles[arn]

    def put_role_policy(self, arn: str, name: str, policy: Mapping[str, Any]) -> None:
        """Add or replace a role's policy: in force for sessions that are under way too."""
        with self._changing():
            self.identities.role(arn).policies[name] = parse(policy, "identity")

    def delete_role_policy(self, arn: str, name: str) -> None:
        """Take a policy from a role."""
        with self._changing():
            if self.identities.role(arn).policies.pop(name, None) is None:
                raise AwsError("NoSuchEntity", f"the role has no policy {name}", 404)

    def update_trust_policy(self, arn: str, trust_policy: Mapping[str, Any]) -> None:
        """Replace who may assume a role: sessions that are under way go on."""
        with self._changing():
            self.identities.role(arn).trust = parse(trust_policy, "trust")

    def add_fault(self, fault: Fault) -> None:
        """Put a fault in force."""
        self.faults.add(fault)

    def clear_faults(self) -> None:
        """End all faults."""
        self.faults.clear()
