"""Runs the steps and tells how each went."""

from __future__ import annotations

import shutil
import time
from tempfile import gettempdir

import click

from core.errors import InvalidRequest, KeysteadError
from functions.cli.exits import Exit

MIB = 1 << 20
SPARE = 256 * MIB
"""Bytes of disk the demo wants besides the large file and what becomes of it."""


@click.command(epilog="\b\nExamples:\n  keystead demo\n  keystead demo --size 2000\n")
@click.option("--size", type=click.IntRange(1, 100_000), default=200, show_default=True, help="MiB of the large file.")
@click.pass_context
def demo(ctx: click.Context, size: int) -> None:
    """Tell the whole story on this machine, and check every word of it.

    Starts a service of its own in a temporary directory, encrypts and decrypts real files, rotates, tries what must be
    refused, withdraws a key by the stopwatch, and verifies the audit chains and the receipt. Ends with 0 only if every
    check held. Nothing is left behind.
    """
    from functions.cli.demo.stage import staged
    from functions.cli.demo.steps import STEPS

    if shutil.disk_usage(gettempdir()).free < 3 * size * MIB + SPARE:
        raise InvalidRequest("too little room in the temporary directory", hint="a smaller --size, or another TMPDIR")
    began = time.perf_counter()
    failed = 0
    with staged(large=size * MIB) as stage:
        click.echo(f"The story of Keystead in {len(STEPS)} steps. Everything is real, and in {stage.directory}.\n")
        for number, step in enumerate(STEPS, start=1):
            click.echo(f"{number:>2}. {step.title}")
            started = time.perf_counter()
            try:
                line, mark = step.run(stage), "ok"
            except (KeysteadError, OSError) as error:
                line, mark = f"{type(error).__name__}: {error}", "FAILED"
                hint = getattr(error, "hint", None)
                line += f" ({hint})" if hint else ""
            except Exception as error:  # noqa: BLE001 - whatever breaks a step, the others and the clean-up follow
                line, mark = f"{type(error).__name__}: {error}", "FAILED"
            failed += mark != "ok"
            click.echo(f"    {mark:<6} {_duration(time.perf_counter() - started):>8}  {line}")
            if failed and not stage.service.process_id:
                break
        checks = stage.checks
    took = _duration(time.perf_counter() - began)
    if failed:
        click.echo(f"\nIt did not hold: {failed} of {len(STEPS)} steps failed. {took}.")
        ctx.exit(Exit.FAILED)
    click.echo(
        f"\nAll of it held: {len(STEPS)} steps, {checks} checks, {took}. The service is stopped, the directory gone."
    )


def _duration(seconds: float) -> str:
    return f"{seconds * 1000:.0f} ms" if seconds < 1 else f"{seconds:.1f} s"
