"""What a change of key makes of a tenant's record, and which changes its state allows: decisions, no I/O."""

from __future__ import annotations

from dataclasses import replace

from core.domain.bindings import UNBOUND, Binding, LostKek
from core.domain.instants import parse_instant
from core.domain.kek import Kek
from core.domain.key_target import KeyTarget
from core.domain.states import RULES, Signal, State, check_transition
from core.domain.tenants import TenantRecord
from core.errors import Conflict, InvalidRequest
from core.service.revocation.signals import signalled

NOT_YET_OWN = frozenset({State.PLATFORM, State.SCHEDULED})
"""States of a tenant that has no KEK of its own wholly in force yet."""
PAST = 86400.0
"""Seconds by which an activation date may lie in the past: today's, in any time zone."""


def check_movable(record: TenantRecord, ends: State) -> None:
    """Refuse a change of key that the tenant's state does not let end.

    Args:
        record: The tenant's record.
        ends: The state that the change ends in.

    Raises:
        KeySuspended: The kill switch is on: nothing moves.
        Conflict: The state table has no such transition.
    """
    if record.state is State.SUSPENDED:
        raise RULES[record.state].refusal()
    check_transition(record.state, ends)


def check_change(record: TenantRecord, target: KeyTarget) -> None:
    """Refuse to put a tenant under a KEK of its own where its state, or what was fixed at enablement, forbids it.

    Raises:
        KeySuspended, Conflict: As `check_movable`; or the target asks for a way back that was given up.
    """
    check_movable(record, State.ACTIVE)
    if target.reversible and not record.reversible and record.state not in NOT_YET_OWN:
        raise Conflict("whether there is a way back was fixed when the tenant's own key was enabled: there is none")


def same_way(record: TenantRecord, target: KeyTarget) -> bool:
    """Whether a target is the KEK in force, reached as it is now."""
    through = (record.kek, record.binding.role_arn, record.binding.entra_tenant)
    return through == (target.locator, target.role_arn, target.entra_tenant)


def replaces(record: TenantRecord, target: KeyTarget, platform: Kek) -> bool:
    """Whether a KEK of the tenant's own that is in force would give way: not for its first, nor to finish a change."""
    return platform.locator not in record.keks and not same_way(record, target)


def lies_ahead(record: TenantRecord, target: KeyTarget, now: float) -> bool:
    """Whether a target is for later.

    Args:
        record: The tenant's record.
        target: What is asked for.
        now: Seconds since the epoch.

    Raises:
        InvalidRequest: Its date is more than a day ago, and it is not a repetition.
        Conflict: It is for later, and the tenant has a KEK of its own, or is on its way to one.
    """
    if not target.activation:
        return False
    activation = parse_instant(target.activation)
    known = {(record.kek, target.activation)}
    if record.pending is not None:
        known.add((record.pending.locator, record.pending.activation))
    if activation < now - PAST and (target.locator, target.activation) not in known:
        # More likely a slip of the year than a wish, and for most tenants there is no way back.
        raise InvalidRequest("the activation date lies in the past", hint="leave it out to use the key at once")
    if activation <= now:
        return False
    if record.state not in NOT_YET_OWN or record.moving_from is not None:
        raise Conflict(
            "only the first key of a tenant can be scheduled", hint="leave the activation date out to replace it"
        )
    return True


def may_go_back(record: TenantRecord, platform: Kek) -> None:
    """Refuse the way back to the platform's key where there is none.

    Raises:
        Conflict: It was given up at enablement, or another change of key is under way.
    """
    if record.moving_from == platform.locator:
        return  # never fully enabled
    if record.moving_from is not None:
        raise Conflict("a change of key is under way", hint="finish it first: POST key/check")
    if not record.reversible:
        raise Conflict(
            "this tenant's key was enabled for good: there is no way back to the platform's key",
            hint="another key of the tenant's own can replace it",
        )


def binding_for(record: TenantRecord, target: KeyTarget) -> Binding:
    """How a tenant's rows are to hang on a KEK.

    A KEK that rows lie under already keeps them, whether it is in force, being left, or given up and returned; a new
    one counts from the configuration revision that is about to be written.
    """
    known = record.every_binding().get(target.locator)
    since = record.configuration_revision + 1 if known is None else known.since
    return Binding(
        role_arn=target.role_arn,
        since=since,
        nickname=target.nickname,
        custom_key_store=target.custom_key_store,
        unbound_policy=target.unbound_policy,
        entra_tenant=target.entra_tenant,
    )


def ends(record: TenantRecord, platform: Kek) -> Signal | None:
    """Which signal a finished change of key is; None where it changes no state.

    Args:
        record: As it is.
        platform: The platform's KEK.
    """
    if record.moving_from is None:
        return None
    return Signal.REVERT if record.kek == platform.locator else Signal.MOVE


def finished(
    record: TenantRecord,
    signal: Signal | None,
    now: float,
    *,
    lost: tuple[LostKek, ...],
    probe_digest: str,
    exclusive_from: str,
    fallback_branch_key: str,
) -> TenantRecord:
    """The record after all that was to be done is done.

    Args:
        record: As it is, its sequence floor raised.
        signal: From `ends`.
        now: Seconds since the epoch.
        lost: KEKs that rows still wait under.
        probe_digest: Of the probe under the KEK in force.
        exclusive_from: When the last backup with a row under a former KEK has expired; "" for none.
        fallback_branch_key: The branch key of a fallback that rows may still be made for; "" for none.
    """
    after, withdrawal = record, record.withdrawal
    if withdrawal is not None and Kek(withdrawal.kek).key.locator == record.kek:
        # The KEK in force refused meanwhile: only it can end that. But it is wholly in force now.
        after = replace(record, withdrawal=replace(withdrawal, back_to=State.ACTIVE.value))
    elif signal is not None:
        after = signalled(record, signal, Kek(record.kek), now)
    # Rows that still lie under a lost KEK will lie in backups for as long again once they are fetched.
    moved = record.moving_from is not None or lost != record.lost_keks
    return replace(
        after,
        fallback_branch_key=fallback_branch_key,
        moving_from=None,
        moving_binding=UNBOUND,
        lost_keks=lost,
        probe_digest=probe_digest,
        exclusive_from=exclusive_from if moved else record.exclusive_from,
    )


def redirected(
    record: TenantRecord, kek: Kek, binding: Binding, probe_digest: str, *, reversible: bool
) -> TenantRecord:
    """The record with another KEK, or the same one reached otherwise, under a new configuration revision.

    Args:
        record: As it is.
        kek: The KEK to move to.
        binding: How its rows hang on it.
        probe_digest: Of the probe under it; "" for the platform's.
        reversible: Whether there is a way back to the platform's.
    """
    same = kek.locator == record.kek
    return replace(
        record,
        kek=kek.locator,
        binding=binding,
        moving_from=record.moving_from if same else record.kek,
        moving_binding=record.moving_binding if same else record.binding,
        configuration_revision=record.configuration_revision + 1,
        probe_digest=probe_digest,
        reversible=reversible,
        pending=None,
        exclusive_from=record.exclusive_from if same else "",
    )
