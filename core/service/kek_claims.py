"""Which tenant a KEK belongs to: one KEK, one tenant, for good.

A claim is a document of the service's own partition, named by a digest of the key's identity, made once and never taken
back: what a key has wrapped for one tenant must never be asked of it by another, however the two are related.
"""

from __future__ import annotations

import hmac
from hashlib import sha256

from core.domain.arns import KeyArn
from core.domain.kek import Kek
from core.domain.tenants import SYSTEM
from core.errors import Conflict, StoreCorrupt
from core.ports import TenantStore
from core.service.row_macs import RowMacs

PREFIX = "kek:"
_LABEL = b"keystead kek claim v1\n"


class KekClaims:
    """Keeps the claims.

    Args:
        store: Holds them.
        macs: Holds the key that authenticates them.
    """

    def __init__(self, store: TenantStore, macs: RowMacs) -> None:
        self._store = store
        self._macs = macs

    def free_for(self, kek: Kek, tenant_id: str) -> bool:
        """Whether a tenant may have a KEK: nobody has it, or the tenant itself.

        Raises:
            StoreUnavailable, StoreCorrupt, VendorFault, KeyUnreachable: It cannot be told now.
        """
        owner = self._owner(kek)
        return owner is None or owner == tenant_id

    def claim(self, kek: Kek, tenant_id: str) -> bool:
        """Give a KEK to a tenant.

        Returns:
            Whether it is the tenant's now.

        Raises:
            StoreUnavailable, StoreCorrupt, VendorFault, KeyUnreachable: It cannot be told now.
        """
        body = {"tenant_id": tenant_id, "mac": self._mac(kek, tenant_id)}
        try:
            self._store.write(SYSTEM, _name(kek), body, expected_revision=0)
        except Conflict:
            return self._owner(kek) == tenant_id
        return True

    def _owner(self, kek: Kek) -> str | None:
        document = self._store.read(SYSTEM, _name(kek))
        if document is None:
            return None
        owner, mac = document.body.get("tenant_id"), document.body.get("mac")
        if not isinstance(owner, str) or not isinstance(mac, str):
            raise StoreCorrupt("a stored claim of a key cannot be read")
        if not hmac.compare_digest(self._mac(kek, owner).encode(), mac.encode()):
            raise StoreCorrupt("a stored claim of a key is refused: its MAC is wrong")
        return owner

    def _mac(self, kek: Kek, tenant_id: str) -> str:
        return hmac.new(self._macs.key(), _LABEL + f"{_identity(kek)}\n{tenant_id}".encode(), sha256).hexdigest()


def _identity(kek: Kek) -> str:
    return KeyArn.parse(kek.locator).identity if kek.provider == "aws_kms" else kek.key.locator


def _name(kek: Kek) -> str:
    return PREFIX + sha256(_identity(kek).encode()).hexdigest()
