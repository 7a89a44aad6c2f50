"""What is said while something takes a while."""

import sys

import pytest

from core.errors import StoreUnavailable
from functions.cli.options import Target
from functions.cli.progress import tell_wait

ERROR = StoreUnavailable("the store is busy")


@pytest.mark.parametrize(
    ("watched", "seconds", "said"),
    [(True, 5, "note: the store is busy; trying again in 5 s\n"), (True, 0.25, ""), (False, 5, "")],
)
def test_waiting_is_told_to_who_watches(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], watched: bool, seconds: float, said: str
) -> None:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: watched)
    tell_wait(ERROR, seconds)
    captured = capsys.readouterr()
    assert (captured.out, captured.err) == ("", said)


def test_the_commands_clients_tell() -> None:
    with Target("http://127.0.0.1:1", "token", "acme", None).connect() as client:
        assert client._transport._on_wait is tell_wait
