"""Which version of a KEK to wrap under: the newest that may wrap, and never one older than what is in use already.

The newest is what the KMS tells, and a replica of it may lag, or another process may have been told of a newer one in
the meantime. So what rows name is weighed against it by the times at which the versions were made.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from core.domain.kek import Kek, KekDescription
from core.domain.tenants import TenantRecord
from core.errors import Denial, ProviderSignal
from core.service.providers import Providers


@dataclass(frozen=True, slots=True)
class Target:
    """What to put rows under.

    Attributes:
        kek: The KEK in force, or the version of it.
        unfit: Why its newest version is not the one; "" where it is.
        weighed: The versions that were compared.
        made: When they were made, in seconds since the epoch; those that are gone are missing.
    """

    kek: Kek
    unfit: str = ""
    weighed: frozenset[Kek] = frozenset()
    made: Mapping[Kek, float] = field(default_factory=dict)

    def overtaken_by(self, kek: Kek) -> bool:
        """Whether a row names a version of the same KEK that was not compared: all must be decided anew."""
        return kek.key == self.kek.key and kek != self.kek and kek not in self.weighed

    def supersedes(self, kek: Kek) -> bool:
        """Whether what lies under a KEK, or a version, is to be put under this one.

        Versions made in the same second: the one that the KMS calls the newest supersedes.
        """
        if kek == self.kek:
            return False
        return kek.key != self.kek.key or self.made.get(kek, 0) <= self.made.get(self.kek, 0)


class KekVersions:
    """Decides.

    Args:
        providers: Ask the KMS.
    """

    def __init__(self, providers: Providers) -> None:
        self._providers = providers

    def target(self, record: TenantRecord, active: Kek | None, named: Iterable[Kek] = ()) -> Target:
        """What to put a tenant's rows under. Where the KEK has no versions, nothing is asked.

        Args:
            record: The tenant's record, just read.
            active: What the ACTIVE row lies under; None where there is none.
            named: What other rows lie under.

        Raises:
            KeyRevoked, KeyWriteBlocked: Neither the newest version nor the one in use may wrap.
            KeyWithheld, KeyUnreachable, VendorFault: They cannot be told.
        """
        kek = Kek(record.kek)
        if not kek.versioned:
            return Target(kek)
        newest = self._providers.newest(record)
        others = {found for found in (active, *named) if found is not None and found.key == kek} - {newest.kek}
        found = {newest.kek: newest}
        for other in sorted(others, key=str):
            described = self._described(record, other)
            if described is not None:
                found[other] = described
        youngest = max(found.values(), key=lambda one: (one.made or 0, one is newest))
        in_use = None if active is None else found.get(active)
        weighed, made = frozenset({newest.kek, *others}), {one.kek: one.made or 0 for one in found.values()}
        if youngest.enabled:
            return Target(youngest.kek, "", weighed, made)
        if in_use is not None and in_use.enabled:
            return Target(in_use.kek, youngest.detail, weighed, made)
        withheld = in_use or youngest
        denial = Denial(f"the key may not wrap now: {withheld.detail}", cause=withheld.cause)
        raise self._providers.refusal(record.tenant_id, withheld.kek, denial)

    def _described(self, record: TenantRecord, kek: Kek) -> KekDescription | None:
        try:
            return self._providers.of(record, kek).describe(kek)
        except ProviderSignal as signal:
            if isinstance(signal, Denial) and signal.cause == "not_found":
                return None  # purged, and made anew under the same name
            raise self._providers.refusal(record.tenant_id, kek, signal) from None
