"""Which offering may use which cloud: data that the operator sets, for what its contracts say."""

from __future__ import annotations

from collections.abc import Mapping

from core.domain.kek import ProviderName

Offerings = Mapping[str, frozenset[ProviderName]]

DEFAULT_OFFERINGS: Offerings = {"default": frozenset({"aws_kms", "azure_key_vault"})}
"""Where the operator sets none: every tenant may bring a key from either cloud."""


def entitled(offerings: Offerings, offering: str, provider: ProviderName) -> bool:
    """Whether tenants of an offering may hold their KEK with a provider; one that is not in the table may not."""
    return provider in offerings.get(offering, frozenset())
