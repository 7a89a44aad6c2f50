"""Handed-out data keys: fresh, marked, and opened only as such (DESIGN 4)."""

from __future__ import annotations

import pytest

from core.domain.context import serialise
from core.domain.encrypted_data_key import parse_serialised
from core.domain.message import DataKey
from core.domain.message import encrypt as encrypt_message
from core.domain.states import State
from core.errors import ContextMismatch, InvalidRequest, KeysteadError, KeySuspended, MessageInvalid
from core.service.handed_out_keys import HandedOutKeys
from tests.service.world import World


@pytest.fixture
def handed_out(world: World) -> HandedOutKeys:
    return world.app.keystead._parts.handed_out


def test_a_grant_opens_again_and_marks_its_context(world: World, handed_out: HandedOutKeys) -> None:
    grant = handed_out.grant("acme", {"app": "x"})
    assert len(grant.data_key) == 32
    assert grant.context == {"tenant_id": "acme", "keystead-use": "caller", "app": "x"}
    assert handed_out.open("acme", grant.encrypted_data_key, {"app": "x"}) == grant.data_key
    assert handed_out.open("acme", grant.encrypted_data_key, grant.context) == grant.data_key
    assert grant.data_key.hex() not in repr(grant)


def test_grants_are_fresh_and_the_service_never_uses_them(world: World, handed_out: HandedOutKeys) -> None:
    grants = [handed_out.grant("acme", {}) for _ in range(3)]
    assert len({grant.data_key for grant in grants}) == 3
    assert all(grant.encrypted_data_key not in world.encrypt() for grant in grants)


def test_the_services_own_data_keys_do_not_open(world: World, handed_out: HandedOutKeys) -> None:
    message = world.encrypt()
    edk = message[message.index(b"\x00\x11aws-kms-hierarchy") :][:151]
    parse_serialised(edk)
    with pytest.raises(MessageInvalid):
        handed_out.open("acme", edk, {})


def test_a_message_made_with_a_grant_decrypts_in_the_service(world: World, handed_out: HandedOutKeys) -> None:
    grant = handed_out.grant("acme", {"app": "x"})
    key = DataKey.wrapped(grant.data_key, parse_serialised(grant.encrypted_data_key), serialise(grant.context))
    assert world.decrypt(encrypt_message(key, b"made outside"), {"app": "x"}) == b"made outside"


@pytest.mark.parametrize(
    ("context", "error"),
    [
        ({}, MessageInvalid),
        ({"app": "y"}, MessageInvalid),
        ({"app": "x", "more": "y"}, MessageInvalid),
        ({"app": "x", "tenant_id": "other"}, ContextMismatch),
        ({"app": "x", "keystead-use": "service"}, ContextMismatch),
        ({"app": "x", "aws-crypto-public-key": "k"}, InvalidRequest),
    ],
)
def test_any_other_context_is_refused(
    handed_out: HandedOutKeys, context: dict[str, str], error: type[KeysteadError]
) -> None:
    grant = handed_out.grant("acme", {"app": "x"})
    with pytest.raises(error):
        handed_out.open("acme", grant.encrypted_data_key, context)


def test_another_tenants_grant_is_refused(world: World, handed_out: HandedOutKeys) -> None:
    world.tenant("other")
    grant = handed_out.grant("other", {})
    with pytest.raises(MessageInvalid):
        handed_out.open("acme", grant.encrypted_data_key, {})


@pytest.mark.parametrize("data", [b"", b"\x00", b"\x00\x11aws-kms-hierarchy", bytes(151), b"\xff" * 300])
def test_garbage_is_refused(handed_out: HandedOutKeys, data: bytes) -> None:
    with pytest.raises(MessageInvalid):
        handed_out.open("acme", data, {})


def test_suspension_stops_new_grants_and_openings(world: World, handed_out: HandedOutKeys) -> None:
    grant = handed_out.grant("acme", {})
    world.walk_to(State.SUSPENDED)
    world.clock.advance(10)
    with pytest.raises(KeySuspended):
        handed_out.grant("acme", {})
    with pytest.raises(KeySuspended):
        handed_out.open("acme", grant.encrypted_data_key, {})


def test_a_grant_given_while_a_purge_comes_is_made_anew(world: World, handed_out: HandedOutKeys) -> None:
    asked = world.kms.branch_unwraps()
    purges = [True]

    def purge_once() -> None:
        if purges:
            purges.pop()
            world.app.gate.purge("acme")

    world.kms.after_unwrap = purge_once
    handed_out.grant("acme", {})
    assert world.kms.branch_unwraps() == asked + 2
