"""The demo's readers tell what was served, what was refused, and what was wrong."""

from collections.abc import Callable
from itertools import count

import httpx
import pytest

from core.client.client import KeysteadClient
from functions.cli.demo.readers import Readers, until
from tests.client.fake_service import client, problem

PLAIN = b"what it was"
Answer = Callable[[], httpx.Response]


def content(data: bytes) -> httpx.Response:
    return httpx.Response(200, content=data, headers={"content-type": "application/octet-stream"})


def served() -> httpx.Response:
    return content(PLAIN)


def wrong() -> httpx.Response:
    return content(b"something else")


def refused() -> httpx.Response:
    return problem(424, "key_revoked", detail="refused")


def answering(*answers: Answer) -> KeysteadClient:
    """Answers in order, the last one for ever."""
    asked = count()
    return client(lambda _request: answers[min(next(asked), len(answers) - 1)]())


@pytest.mark.parametrize(
    ("answers", "codes"),
    [
        ((served,), set()),
        ((refused,), {"key_revoked"}),
        ((wrong,), {"wrong"}),
        ((served, refused), {"key_revoked"}),
        ((wrong, refused), {"wrong", "key_revoked"}),
    ],
)
def test_what_is_seen(answers: tuple[Answer, ...], codes: set[str]) -> None:
    with answering(*answers) as talks, Readers(talks, "acme", b"message", PLAIN) as readers:
        assert until(lambda: len(readers.served) + len(readers.refused) > 3 and readers.codes == codes, 10) is not None
    assert readers.codes == codes
    assert bool(readers.served) is (served in answers)


def test_what_never_comes_is_not_seen() -> None:
    assert until(lambda: False, 0.01) is None


def test_the_readers_end_with_the_block() -> None:
    with answering(served) as talks:
        with Readers(talks, "acme", b"message", PLAIN) as readers:
            assert until(lambda: readers.served, 10) is not None
        seen = len(readers.served)
        assert until(lambda: len(readers.served) > seen, 0.1) is None
