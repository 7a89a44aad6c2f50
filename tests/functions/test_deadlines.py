"""What the host has left for a request bounds how long the handler waits for a KMS."""

from __future__ import annotations

import json
from collections.abc import Mapping

import pytest

from core.errors import Silence
from core.service.kms_budget import RESERVE, SECONDS
from functions.handlers import Admission, Handler
from functions.identity import Identity
from functions.messages import Request
from tests.functions import tokens
from tests.service.world import World

PATH = "/v1/tenants/acme/decrypt"


def request(message: bytes, seconds_left: float | None) -> Request:
    headers = dict([tokens.bearer(tokens.mint())], **{"content-type": "application/octet-stream"})
    headers = {name.lower(): value for name, value in headers.items()}
    return Request("POST", PATH, headers=headers, body=message, seconds_left=seconds_left)


@pytest.mark.parametrize(
    ("seconds_left", "before", "given"),
    [(None, 60, SECONDS), (60, 0, SECONDS), (1, 0, 0.7), (1, 0.2, 0.5), (900, 899, 0.7)],
)
def test_a_kms_that_hangs_is_given_up_within_what_is_left(
    seconds_left: float | None, before: float, given: float
) -> None:
    world = World()
    world.tenant()
    message = world.encrypt()
    world.app = world.process()
    world.app.records.read("acme")  # the row MAC key is unwrapped already
    handler = Handler(world.app.keystead, Identity([tokens.issuer()]), timer=world.clock.boot)
    told: list[float] = []

    def hang(operation: str, context: Mapping[str, str]) -> None:
        told.append(world.app.keystead._parts.budget.remaining())
        world.clock.advance(told[-1])
        raise Silence("no answer")

    world.kms.trouble = hang
    admitted = handler.admit(request(message, seconds_left))
    assert isinstance(admitted, Admission)
    world.clock.advance(before)  # while the body arrives
    answer = handler.serve(admitted, message)
    assert (answer.status, json.loads(answer.body)["code"]) == (503, "key_unreachable")
    assert told == pytest.approx([given])
    assert world.app.keystead._parts.budget.remaining() == SECONDS


def test_without_time_left_nothing_is_asked_and_what_is_cached_is_served() -> None:
    world = World()
    world.tenant()
    message = world.encrypt()
    handler = Handler(world.app.keystead, Identity([tokens.issuer()]), timer=world.clock.boot)
    asked: list[str] = []
    world.kms.trouble = lambda operation, context: asked.append(operation)
    answer = handler.handle(request(message, RESERVE))
    assert (answer.status, answer.body) == (200, b"secret")
    world.app = world.process()
    world.app.records.read("acme")
    asked.clear()
    handler = Handler(world.app.keystead, Identity([tokens.issuer()]), timer=world.clock.boot)
    assert handler.handle(request(message, RESERVE)).status == 503
    assert asked == []
    assert handler.handle(request(message, 1)).status == 200
