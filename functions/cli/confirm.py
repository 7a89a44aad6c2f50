"""Asking before something is done that cannot simply be undone."""

from __future__ import annotations

import sys

import click

from core.errors import InvalidRequest
from functions.cli.options import usage_error
from functions.cli.output import printable


def confirm(question: str, *, yes: bool) -> None:
    """Ask on stderr; do nothing if the answer is yes.

    Args:
        question: What is about to be done.
        yes: Whether the answer was given with the command.

    Raises:
        InvalidRequest: The answer is no.
        click.UsageError: Nobody is there to answer.
    """
    if yes:
        return
    try:
        agreed = click.confirm(printable(question), err=True)
    except click.Abort:
        if sys.stdin.isatty():
            raise
        click.echo(err=True)
        raise usage_error("this asks before it acts, and stdin holds no answer", "--yes answers it") from None
    if not agreed:
        raise InvalidRequest("nothing was changed: the answer was no")
