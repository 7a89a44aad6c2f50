"""Plants secrets in a deployment's life and looks for them in whatever was written."""

from __future__ import annotations

import gc
import json
import traceback
from base64 import b64encode, urlsafe_b64encode
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress

import pytest

from core.errors import KeysteadError
from core.service.access import Caller, Permission
from tests.byok.deployment import Deployment

PLAINTEXT = b"CANARY-plaintext-7f3a"
OWNER = Caller("officer", "test", "acme", frozenset(Permission) - {Permission.PLATFORM_OPERATE})


def spied(provider: type, monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    """Every plain key that a provider hands to the service or takes from it, from now on."""
    seen: list[bytes] = []
    for name in ("wrap", "unwrap"):
        original = getattr(provider, name)

        def spy(self: object, *args: object, _original: Callable[..., object] = original, **kw: object) -> object:
            seen.extend(arg for arg in args if isinstance(arg, bytes))
            result = _original(self, *args, **kw)
            key = getattr(result, "key", None)
            seen.extend([key] if isinstance(key, bytes) else [])
            return result

        monkeypatch.setattr(provider, name, spy)
    return seen


def forms(secret: bytes) -> Iterator[str]:
    """A secret as it may be written."""
    yield secret.hex()
    yield b64encode(secret).decode().rstrip("=")
    yield urlsafe_b64encode(secret).decode().rstrip("=")
    yield repr(secret)[2:-1]
    yield str(list(secret))[1:-1]


def written(deployment: Deployment, acts: Iterable[Callable[[], object]], caplog: pytest.LogCaptureFixture) -> str:
    """Everything that a life writes anywhere: results, errors, logs, audit, events, documents, representations."""
    texts: list[str] = []
    for act in acts:
        try:
            result = act()
        except KeysteadError as error:
            texts += [repr(error), str(error), str(error.hint), str(vars(error))]
            texts += traceback.format_exception(error)
        else:
            if not isinstance(result, bytes):
                texts.append(repr(result))
    assert len(texts) > 20
    texts += [f"{record.getMessage()} {vars(record)}" for record in caplog.records]
    for chain in ("acme", "_system"):
        texts += [json.dumps({**entry.body()}) for entry in deployment.audit(chain)]
    texts += [repr(event) for event in deployment.events.events]
    texts += [text for _, text in deployment.tenants._documents.values()]
    for thing in gc.get_objects():
        if str(type(thing).__module__).startswith("core."):
            with suppress(ReferenceError):
                texts.append(repr(thing))
    return "\n".join(texts)
