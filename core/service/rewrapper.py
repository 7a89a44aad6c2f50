"""What a change of KEK does with branch key rows: rewraps the versions, and has a new ACTIVE one born.

Each step is a conditional write that can be repeated (`core.service.key_mover` says when).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

from core.domain.bindings import LostKek
from core.domain.branch_keys import ACTIVE, StoredRow
from core.domain.kek import Kek
from core.domain.tenants import TenantRecord
from core.errors import Conflict, Denial, Silence, VendorFault
from core.service.branch_key_writer import BranchKeyWriter
from core.service.kek_versions import Target
from core.service.row_checks import RowChecks
from core.service.tenant_view import TenantView


@dataclass(slots=True)
class Moved:
    """What a run of the routine did.

    Attributes:
        rewrapped: Versions put under the KEK in force.
        rotated: Whether a new ACTIVE version was born.
        waiting: Versions that wait under a former KEK that refuses.
        left_behind: Versions that stay under an older version of the KEK in force, because that version refuses.
        left_under: Which versions of the KEK those are.
        kek_version: The version of the KEK that everything else lies under, or "".
        unfit: Why the KEK's newest version was not taken up, or "".
        branch_key_begun: Whether a new branch key was begun, because the former KEK refuses.
    """

    rewrapped: int = 0
    rotated: bool = False
    waiting: int = 0
    branch_key_begun: bool = False
    left_behind: int = 0
    left_under: set[str] = field(default_factory=set)
    kek_version: str = ""
    unfit: str = ""


class Rewrapper:
    """Puts rows under the KEK in force.

    Args:
        rows: Read and check the rows.
        writer: Writes them.
    """

    def __init__(self, rows: RowChecks, writer: BranchKeyWriter) -> None:
        self._rows = rows
        self._writer = writer

    def rewrap(
        self,
        view: TenantView,
        record: TenantRecord,
        target: Target,
        done: Moved,
        give_up: Callable[[TenantView, TenantRecord, StoredRow, Denial | Silence, Moved], None],
    ) -> set[Kek]:
        """Rewrap every version that does not lie under the KEK in force yet.

        Args:
            view: The tenant's view.
            record: Its record, just read.
            target: What to put them under.
            done: Counts.
            give_up: Decides what is to become of a row whose KEK gave this signal; returns if it may stay.

        Returns:
            The KEKs, or versions of them, that refuse what lies under them.

        Raises:
            Conflict: Somebody else was first: start over.
            KeyWithheld, Unavailable, ServiceFault: As `BranchKeyWriter.rewrap`, and what ``give_up`` raises.
        """
        done.waiting = done.left_behind = 0
        done.left_under.clear()
        refusing: set[Kek] = set()
        for branch_key_id in record.branch_keys:
            for stored in self._rows_of(view, record, branch_key_id):
                kek = stored.row.kek
                if target.overtaken_by(kek):
                    raise Conflict("another process takes up a newer version")
                if not target.supersedes(kek):
                    continue
                if kek not in refusing:
                    try:
                        self._writer.rewrap(record, stored, target.kek)
                        done.rewrapped += 1
                        continue
                    except (Denial, Silence) as signal:
                        give_up(view, record, stored, signal, done)
                    except VendorFault:
                        if kek.key.locator not in {lost.locator for lost in record.lost_keks}:
                            raise  # a lost KEK may be one that this deployment does not reach any more
                    refusing.add(kek)
                if kek.key.locator == record.kek:
                    done.left_behind += 1
                    done.left_under.add(kek.version)
                else:
                    done.waiting += 1
        return refusing

    def bear(self, view: TenantView, record: TenantRecord, target: Target) -> None:
        """Write the first version of a fallback's branch key where a process died before it did.

        Whoever is about to write it finds this one: a branch key has one first version.

        Raises:
            As `rewrap`.
        """
        fallback = record.fallback_branch_key
        if fallback and self._rows.read(view, fallback, ACTIVE) is None:
            self._same(view, record)
            self._writer.create(replace(record, branch_key_id=fallback), target.kek)

    def renew_active(self, view: TenantView, record: TenantRecord, target: Target) -> bool:
        """Have a new ACTIVE version born under the KEK in force, unless the one there is lies under it.

        Raises:
            As `rewrap`.
        """
        active = self._rows.read(view, record.branch_key_id, ACTIVE)
        self._same(view, record)
        if active is None:
            if record.sequence_floor > 0:
                raise self._rows.missing(record.tenant_id, record.branch_key_id, ACTIVE)
            self._writer.create(record, target.kek)
            return True
        if target.overtaken_by(active.row.kek):
            raise Conflict("another process takes up a newer version")
        if not target.supersedes(active.row.kek):
            return False
        renewed = self._writer.rotate(record, active, target.kek)
        view.saw(record.branch_key_id, renewed.mac.sequence if renewed.mac else 0)
        return True

    def settled(self, view: TenantView, record: TenantRecord, target: Target, refusing: set[Kek]) -> bool:
        """Whether nothing is left to rewrap but what waits.

        Args:
            view, record, target: As `rewrap`.
            refusing: What `rewrap` gave.
        """
        # A rotation or a first branch key of before the fence rose may have come after the versions were listed.
        lost = {kek.locator for kek in record.lost_keks}
        for branch_key_id in record.branch_keys:
            allowed = {record.kek} if branch_key_id == record.branch_key_id else {record.kek} | lost
            for stored in self._rows_of(view, record, branch_key_id):
                kek = stored.row.kek
                if kek.key.locator not in allowed:
                    return False
                unsettled = target.overtaken_by(kek) or target.supersedes(kek)
                if kek.key == target.kek.key and kek not in refusing and unsettled:
                    return False
        return True

    def named(self, view: TenantView, record: TenantRecord) -> tuple[Kek | None, set[Kek]]:
        """What the ACTIVE row lies under, and what all other rows of the tenant do."""
        active = self._rows.read(view, record.branch_key_id, ACTIVE)
        others = {
            stored.row.kek
            for branch_key_id in record.branch_keys
            for stored in self._rows_of(view, record, branch_key_id)
        }
        return None if active is None else active.row.kek, others

    def still_lost(self, view: TenantView, record: TenantRecord) -> tuple[LostKek, ...]:
        """The lost KEKs that rows still lie under."""
        if not record.lost_keks:
            return ()
        waiting = {
            stored.row.kek.key.locator
            for branch_key_id in record.former_branch_keys
            for stored in self._rows_of(view, record, branch_key_id)
        }
        return tuple(kek for kek in record.lost_keks if kek.locator in waiting and kek.locator != record.kek)

    def _rows_of(self, view: TenantView, record: TenantRecord, branch_key_id: str) -> Sequence[StoredRow]:
        # The primary's ACTIVE row is not rewrapped: a new version takes its place.
        rows = [*self._rows.versions(view, branch_key_id)]
        if branch_key_id != record.branch_key_id:
            active = self._rows.read(view, branch_key_id, ACTIVE)
            rows += [] if active is None else [active]
        self._same(view, record)
        return rows

    def _same(self, view: TenantView, record: TenantRecord) -> None:
        # What was just read was checked against the view; what is done with it follows the record.
        if view.record != record:
            raise Conflict("the tenant's record changed meanwhile")
