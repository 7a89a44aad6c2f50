"""Help, documentation and exit codes say the same."""

import re
import subprocess
import sys
from pathlib import Path

import click
import pytest

from core import errors as tree
from core.errors import KeysteadError
from functions.cli.exits import MEANINGS, Exit, exit_for
from functions.cli.main import cli
from functions.cli.reference import END, START, commands, markdown
from functions.settings import SettingsError
from tests.cli.conftest import Run, errors

KEY_COMMANDS = ("configure", "export", "replace", "revert", "setup", "status", "validate")
EMULATOR_COMMANDS = (
    *("kms", "keyvault", "create-key", "disable-key", "enable-key", "schedule-deletion", "cancel-deletion"),
    *("put-policy", "keys", "fault", "clear-faults", "add-user", "create-role"),
)
AZURE_COMMANDS = (
    *("create-vault", "create-key", "rotate-key", "disable-key", "enable-key", "set-tags", "set-attributes", "keys"),
    *(
        "delete-vault",
        "recover-vault",
        "delete-key",
        "recover-key",
        "purge-key",
        "consent",
        "withdraw-consent",
        "disable-application",
    ),
    *(
        "enable-application",
        "block-access",
        "unblock-access",
        "grant",
        "revoke",
        "set-network",
        "fault",
        "clear-faults",
    ),
)
DOCUMENT = Path(__file__).resolve().parents[2] / "docs" / "cli.md"
ALL = dict(commands(cli))


def test_the_document_holds_the_reference() -> None:
    text = DOCUMENT.read_text(encoding="utf-8")
    found = text[text.index(START) : text.index(END) + len(END)]
    assert found == markdown(cli), "python -m functions.cli.reference makes the new one"


@pytest.mark.parametrize("path", ALL)
def test_every_option_is_explained_and_every_command_shown(path: str) -> None:
    command = ALL[path]
    assert command.help
    assert "Example" in (command.epilog or "")
    assert not [p.name for p in command.params if isinstance(p, click.Option) and not p.help]


def test_every_option_named_anywhere_in_the_document_exists() -> None:
    known = {name for command in ALL.values() for p in command.params for name in (*p.opts, *p.secondary_opts)} | {
        "--help",
        "--version",
    }
    named = set(re.findall(r"(?<![\w-])--[a-z][a-z-]*", DOCUMENT.read_text(encoding="utf-8")))
    assert named <= known, named - known


def test_the_commands_of_the_design() -> None:
    assert set(ALL) == {
        f"keystead {name}"
        for name in (
            *(
                "after-restore",
                "audit export",
                "audit verify",
                "check",
                "decrypt",
                "demo",
                "encrypt",
                "inspect",
                "rotate",
                "serve",
                "status",
                "token",
            ),
            *("policy", "receipt verify", "receipts", "resume", "suspend", "timeline"),
            *(f"tenant {name}" for name in ("create", "list", "show", "update")),
            *(f"key {name}" for name in KEY_COMMANDS),
            *(f"emulator {name}" for name in (*EMULATOR_COMMANDS, *(f"azure {name}" for name in AZURE_COMMANDS))),
        )
    }


def test_every_exit_code_has_a_meaning() -> None:
    assert set(MEANINGS) == set(Exit)


EXITS: list[tuple[Exit, list[type[KeysteadError]]]] = [
    (Exit.USAGE, [SettingsError]),
    (Exit.AUTH, [tree.Unauthenticated, tree.AccessDenied]),
    (Exit.WITHHELD, [tree.KeyRevoked, tree.KeySuspended, tree.KeyNetworkBlocked, tree.KeyWriteBlocked]),
    (Exit.UNAVAILABLE, [tree.KeyUnreachable, tree.VendorFault, tree.StoreUnavailable, tree.TooManyRequests]),
    (Exit.KEY_CHECK, [tree.KeyCheckFailed]),
    (Exit.INTEGRITY, [tree.MessageInvalid, tree.ContextMismatch, tree.StoreCorrupt]),
    (
        Exit.FAILED,
        [
            tree.InvalidRequest,
            tree.NotFound,
            tree.Conflict,
            tree.ApprovalNeeded,
            tree.PayloadTooLarge,
            tree.InternalError,
        ],
    ),
]


@pytest.mark.parametrize(("code", "classes"), EXITS)
def test_exit_codes(code: Exit, classes: list[type[KeysteadError]]) -> None:
    for cls in classes:
        assert exit_for(cls("x")) is code


def test_help_and_version(run: Run) -> None:
    text = run("--help").stdout
    for name in ("serve", "encrypt", "Exit codes", *(meaning for meaning in MEANINGS.values())):
        assert name in text
    assert re.fullmatch(r"keystead \d+\.\d+\.\d+\n", run("--version").stdout)
    for path in ALL:
        assert "Example" in run(*path.split()[1:], "-h").stdout


@pytest.mark.parametrize(
    "arguments", [["nonsense"], ["--nonsense"], ["encrypt"], ["tenant", "nonsense"], ["token", "-x"]]
)
def test_wrong_use(run: Run, arguments: list[str]) -> None:
    said = errors(run(*arguments, code=2))
    assert "--help" in said["hint"]


def test_a_setting_that_cannot_be(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KEYSTEAD_PORT", "many")
    assert "KEYSTEAD_PORT" in errors(run("rotate", code=2))["error"]


def test_help_loads_nothing_heavy() -> None:
    heavy = {"httpx", "starlette", "uvicorn", "jwt", "pydantic", "cryptography", "sqlite3", "core.bootstrap"}
    # Coverage, if it runs, has loaded things before.
    code = (
        "import sys; before = set(sys.modules); import functions.cli.main\n"
        f"print(*({heavy!r} & sys.modules.keys() - before))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == []
