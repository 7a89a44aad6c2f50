"""How every command ends: errors as ``error:`` and ``hint:`` lines, exit codes from one table, signals cleaned up."""

from __future__ import annotations

import errno
import os
import signal
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from types import FrameType
from typing import Any, NoReturn

import click

from core.client.publish import TargetExists
from core.errors import KeyCheckFailed, KeysteadError
from functions.cli.exits import MEANINGS, Exit, exit_for
from functions.cli.findings import findings
from functions.cli.streams import open_standard_streams

HELP = {"help_option_names": ["-h", "--help"]}
"""Settings of every top of a command tree. A command keeps its help option from when it is first called."""


class Terminated(BaseException):
    """A signal asked the program to end. Not an `Exception`: only clean-up may stand in its way."""


class _Interrupted(BaseException):
    """Ctrl-C, kept from click, which would turn it into an ordinary failure."""


class _BrokenPipe(BaseException):
    """The reader of stdout went away, kept from click for the same reason."""


class Cli(click.Group):
    """The top of the command tree."""

    def invoke(self, ctx: click.Context) -> Any:
        """Run a subcommand."""
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt:
            raise _Interrupted from None
        except BrokenPipeError:
            raise _BrokenPipe from None

    def main(
        self,
        args: Sequence[str] | None = None,
        prog_name: str | None = None,
        complete_var: str | None = None,
        standalone_mode: bool = True,  # noqa: ARG002 - ours to decide: errors are reported here
        **extra: Any,
    ) -> NoReturn:
        """Run the program and end the process with a code of the table."""
        open_standard_streams()
        with _termination_caught():
            code = self._run(args, prog_name or "keystead", complete_var, extra)
        _settle_stdout()
        sys.exit(code)

    def _run(
        self, args: Sequence[str] | None, prog_name: str, complete_var: str | None, extra: Mapping[str, Any]
    ) -> int:
        try:
            result = super().main(args, prog_name, complete_var, standalone_mode=False, **extra)
            sys.stdout.flush()
            return result if isinstance(result, int) else Exit.OK
        except (_Interrupted, KeyboardInterrupt, click.Abort):
            return report("interrupted", code=Exit.INTERRUPTED)
        except Terminated:
            return report("terminated", code=Exit.TERMINATED)
        except (_BrokenPipe, BrokenPipeError):
            _discard_stdout()
            return Exit.BROKEN_PIPE
        except click.exceptions.NoArgsIsHelpError as error:
            click.echo(error.format_message(), err=True)
            return Exit.USAGE
        except click.UsageError as error:
            hint = f"{error.ctx.command_path} --help" if error.ctx else "keystead --help"
            return report(error.format_message(), hint=getattr(error, "hint", None) or hint, code=Exit.USAGE)
        except click.ClickException as error:
            return report(error.format_message(), code=error.exit_code)
        except KeysteadError as error:
            if isinstance(error, KeyCheckFailed):
                _report_checks(error)
            notes = "".join(f" ({note})" for note in getattr(error, "__notes__", ()))
            return report(error.detail + notes, hint=error.hint, code=exit_for(error))
        except OSError as error:
            return report(f"{error.filename or 'system'}: {error.strerror or type(error).__name__}", hint=_hint(error))


def report(message: str, *, hint: str | None = None, code: int = Exit.FAILED) -> int:
    """Write the two lines an error consists of to stderr.

    Args:
        message: What happened.
        hint: What to do, if that is not obvious.
        code: Given back.
    """
    try:
        click.echo(f"error: {message}", err=True)
        if hint:
            click.echo(f"hint: {hint}", err=True)
    except OSError:  # nobody reads stderr either; the exit code still tells
        return code
    return code


def _report_checks(error: KeyCheckFailed) -> None:
    """Write what did not pass an examination to stderr."""
    from core.client.key_values import Check

    shown = [Check(**check) for check in error.checks if check["result"] in ("fail", "warn")]
    with suppress(OSError):  # as in `report`
        click.echo(findings(shown) + "\n" if shown else "", err=True, nl=False)


def exit_code_table() -> str:
    """The table of exit codes, for help."""
    return "\n".join(f"  {code.value:<4} {meaning}" for code, meaning in MEANINGS.items())


def _hint(error: OSError) -> str | None:
    if isinstance(error, TargetExists):
        return "--force replaces it"
    return "stdin or stdout is closed" if error.errno == errno.EBADF else None


@contextmanager
def _termination_caught() -> Iterator[None]:
    """Turn signals that would end the process where it stands, half-written files and all, into an exception."""
    before = {}
    for name in ("SIGTERM", "SIGHUP"):
        number = getattr(signal, name, None)
        if number is None or signal.getsignal(number) in (signal.SIG_IGN, None):  # as nohup wants it
            continue
        try:
            before[number] = signal.signal(number, _terminate)
        except ValueError:  # not the main thread: whoever runs that one decides
            break
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _terminate(_number: int, _frame: FrameType | None) -> NoReturn:
    raise Terminated


def _settle_stdout() -> None:
    # What could not be written stays in the buffer, and would change the exit code when the interpreter tries again.
    try:
        sys.stdout.flush()
    except (OSError, ValueError):
        _discard_stdout()


def _discard_stdout() -> None:
    # The interpreter flushes stdout once more at exit, and would complain about the same broken pipe.
    try:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except (OSError, ValueError):
        return
