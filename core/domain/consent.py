"""The state of a consent link: whose link it was, when Entra sends the browser of a tenant's administrator back.

A state shows that this service made the link for that tenant and, where it was known, for that Entra tenant. It shows
nothing of whoever follows the link, so a consent that comes back proves no control of a key: the key's own tag does.

Layout: ``v1.<tenant id>.<Entra tenant, or nothing>.<MAC>``; the MAC is HMAC-SHA256, keyed by the tenant's external id,
over a label and the two ids, in base64url without padding.
"""

from __future__ import annotations

import re
from base64 import urlsafe_b64encode
from hmac import compare_digest, digest

from core.domain.tenants import check_tenant_id
from core.domain.vaults import entra_tenant as checked_entra_tenant
from core.errors import InternalError, InvalidRequest

_LABEL = b"keystead azure consent v1"
_STATE = re.compile(r"v1\.([a-z0-9][a-z0-9-]{0,62})\.([0-9a-f-]{36})?\.([A-Za-z0-9_-]{43})", re.ASCII)


def make_state(tenant_id: str, external_id: str, entra_tenant: str = "") -> str:
    """The state for one tenant's consent link.

    Args:
        tenant_id: Readable in the state.
        external_id: As in `core.domain.kek.KeyAccess`; not readable in the state.
        entra_tenant: The Entra tenant that the link asks, a lower-case GUID; "" if it is not known yet.

    Raises:
        InvalidRequest: One of the ids is not well formed.
        InternalError: The external id is empty: anybody could make such a state.
    """
    check_tenant_id(tenant_id)
    if entra_tenant and checked_entra_tenant(entra_tenant) != entra_tenant:
        raise InvalidRequest("the id of an Entra tenant is kept in lower case")
    if not external_id:
        raise InternalError("a consent link is made for a tenant that has its external id")
    message = b"\0".join((_LABEL, tenant_id.encode(), entra_tenant.encode()))
    mac = urlsafe_b64encode(digest(external_id.encode(), message, "sha256")).rstrip(b"=").decode()
    return f"v1.{tenant_id}.{entra_tenant}.{mac}"


def tenant_of(state: str) -> str:
    """The tenant that a state names; not to be believed before `check_state`.

    Raises:
        InvalidRequest: It is no state.
    """
    return _parsed(state)[0]


def check_state(state: str, tenant_id: str, external_id: str, entra_tenant: str) -> None:
    """Refuse a state that was not made for this tenant and Entra tenant.

    Args:
        state: As it came back.
        tenant_id: The tenant.
        external_id: The tenant's; where it has none yet, no state was made for it.
        entra_tenant: The Entra tenant that Entra says has consented. A state made before one was known fits any.

    Raises:
        InvalidRequest: It was not, whatever the reason.
    """
    named, asked, _ = _parsed(state)
    if named != tenant_id or not external_id or asked not in ("", checked_entra_tenant(entra_tenant)):
        raise _refusal()
    if not compare_digest(make_state(named, external_id, asked), state):
        raise _refusal()


def _parsed(state: str) -> tuple[str, str, str]:
    found = _STATE.fullmatch(state)
    if found is None:
        raise _refusal()
    tenant_id, entra_tenant, mac = found.groups()
    return tenant_id, entra_tenant or "", mac


def _refusal() -> InvalidRequest:
    return InvalidRequest(
        "this is not the state of a consent link of this tenant", hint="take a new link from the set-up kit"
    )
