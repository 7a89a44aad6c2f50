"""The service's parts over its own stores, for commands that work where the service works, without asking it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from core.errors import InvalidRequest
from functions.cli import options

if TYPE_CHECKING:
    from core.bootstrap import Application
    from core.service.access import Caller

WHO = "keystead (command line)"
"""Subject under which the audit chain tells of them."""


@contextmanager
def opened(data: Path | None) -> Iterator[Application]:
    """Put the service together as its settings say, without serving; a service may run beside it.

    Args:
        data: From the option; None for the environment's.

    Raises:
        InvalidRequest: There is no data directory.
        SettingsError, KeysteadError, OSError: It cannot be used.
    """
    from core.bootstrap import KEKS, SIGNING, STORE, build
    from functions.settings import Settings

    settings = Settings.from_env()
    if settings.store == "memory":
        raise InvalidRequest("a service with KEYSTEAD_STORE=memory keeps no store")
    directory = options.existing_data(data, KEKS, SIGNING, STORE)
    with closing(build(replace(settings, data=directory).to_config())) as application:
        yield application


def operator() -> Caller:
    """Who acts: whoever may read and write the stores needs no token."""
    from core.service.access import Caller, Permission

    return Caller(WHO, "local", None, frozenset({Permission.PLATFORM_OPERATE}))
