"""The command reference as Markdown, made from the commands themselves: ``python -m functions.cli.reference``.

docs/cli.md holds it between two markers; a test compares them.
"""

from __future__ import annotations

from collections.abc import Iterator

import click

from functions.cli.exits import MEANINGS
from functions.cli.token import PRESETS

START, END = "<!-- reference: made by `python -m functions.cli.reference` -->", "<!-- end of reference -->"


def markdown(cli: click.Group) -> str:
    """Every command with its arguments and options, then scopes and exit codes.

    Args:
        cli: The top of the command tree.
    """
    parts = [_command(path, command) for path, command in commands(cli)]
    return "\n\n".join([START, *parts, scopes(), exit_codes(), END])


def commands(group: click.Group, path: str = "keystead") -> Iterator[tuple[str, click.Command]]:
    """Every command that does something, with the words that call it, in alphabetical order."""
    for name, command in sorted(group.commands.items()):
        if isinstance(command, click.Group):
            yield from commands(command, f"{path} {name}")
        else:
            yield f"{path} {name}", command


def exit_codes() -> str:
    """The table of exit codes."""
    rows = [f"| {code.value} | {meaning} |" for code, meaning in MEANINGS.items()]
    return "\n".join(["### Exit codes", "", "| code | meaning |", "|---|---|", *rows])


def scopes() -> str:
    """The table of scopes that go together."""
    rows = [f"| `{name}` | {', '.join(f'`{scope}`' for scope in names)} |" for name, names in PRESETS.items()]
    return "\n".join(["### Scopes by one name", "", "| name | scopes |", "|---|---|", *rows])


def _command(path: str, command: click.Command) -> str:
    context = click.Context(command, info_name=path)
    arguments = [p.make_metavar(context) for p in command.params if isinstance(p, click.Argument)]
    lines = [f"### `{' '.join([path, *arguments])}`", "", _prose(command.help or "")]
    options = [p.get_help_record(context) for p in command.params if isinstance(p, click.Option)]
    if options:
        lines += ["", "| option | meaning |", "|---|---|"]
        lines += [f"| `{_cell(names)}` | {_cell(meaning)} |" for names, meaning in filter(None, options)]
    examples = _examples(command.epilog or "")
    return "\n".join([*lines, "", "```sh", *examples, "```"] if examples else lines)


def _cell(text: str) -> str:
    return text.replace("|", r"\|")


def _prose(text: str) -> str:
    return "\n\n".join(" ".join(paragraph.split()) for paragraph in text.split("\n\n"))


def _examples(epilog: str) -> list[str]:
    _, _, after = epilog.partition("Example")
    return [line.strip() for line in after.splitlines()[1:] if line.strip()]


if __name__ == "__main__":
    from functions.cli.main import cli as top

    click.echo(markdown(top))
