"""Structured logs: one JSON object per line on stderr.

Loggers pass facts as ``extra={"fields": {...}}``. A safety net takes out what looks like a secret; nothing is meant to
reach it.
"""

from __future__ import annotations

import json
import logging
import logging.config
import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from functions.faults import facts

REDACTED = "[redacted]"
_SECRET_NAMES = frozenset(
    {"authorization", "token", "plaintext", "data_key", "key", "private_key", "secret", "password", "body", "cookie"}
)
# Tokens, private keys in PEM, bearer headers, base64 of 32 bytes (a key) and of anything long.
_SECRETS = re.compile(
    r"eyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]*\.?[A-Za-z0-9_-]*"
    r"|-----BEGIN [A-Z ]*PRIVATE KEY-----.*"
    r"|(?i:bearer)\s+\S+"
    r"|(?<![A-Za-z0-9+/])[A-Za-z0-9+/]{43}="
    r"|(?<![A-Za-z0-9+/])(?![0-9a-f]{64}(?![A-Za-z0-9+/]))[A-Za-z0-9+/]{64,}={0,2}",
    re.DOTALL,
)
_SHORTEST_SECRET = 20
_MAX_TEXT = 2000
_MAX_DEPTH = 6
_encode = json.JSONEncoder(separators=(",", ":"), default=str).encode


def redact(value: Any, *, depth: int = 0) -> Any:
    """Give a JSON value without what looks like a secret.

    Args:
        value: Anything; bytes become their length, unknown types their name.
        depth: Of nesting so far.
    """
    if value is None or isinstance(value, bool | int | float):
        return value
    if isinstance(value, str):
        return value if len(value) < _SHORTEST_SECRET else _SECRETS.sub(REDACTED, value)[:_MAX_TEXT]
    if isinstance(value, bytes | bytearray | memoryview):
        return f"[{len(value)} bytes]"
    if depth >= _MAX_DEPTH:
        return REDACTED
    if isinstance(value, Mapping):
        return {
            str(name): REDACTED if str(name).lower() in _SECRET_NAMES else redact(item, depth=depth + 1)
            for name, item in value.items()
        }
    if isinstance(value, Sequence | set | frozenset):
        return [redact(item, depth=depth + 1) for item in value]
    return f"[{type(value).__name__}]"


class JsonFormatter(logging.Formatter):
    """Formats a record as one line of JSON: time, level, logger, message, then the fields."""

    def format(self, record: logging.LogRecord) -> str:
        """One line; exceptions as types and places only."""
        line: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": redact(record.getMessage()),
        }
        given = getattr(record, "fields", None)
        if isinstance(given, Mapping):
            line |= {name: value for name, value in redact(given).items() if name not in line}
        if record.exc_info and record.exc_info[1] is not None:
            line |= facts(record.exc_info[1])
        return _encode(line)


def log_config(level: str) -> dict[str, Any]:
    """A `logging.config.dictConfig` that sends everything through `JsonFormatter` to stderr.

    Args:
        level: Least level of our own loggers; libraries are logged from ``warning``.
    """
    return {
        "version": 1,
        "disable_existing_loggers": False,
        "formatters": {"json": {"()": f"{__name__}.JsonFormatter"}},
        "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": "json", "stream": "ext://sys.stderr"}},
        "root": {"handlers": ["stderr"], "level": "WARNING"},
        "loggers": {"keystead": {"level": level.upper()}, "uvicorn.error": {"level": "WARNING"}},
    }


def configure(level: str) -> None:
    """Apply `log_config` to this process."""
    logging.config.dictConfig(log_config(level))
