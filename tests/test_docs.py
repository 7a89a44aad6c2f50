"""The documents say what the code does: settings, errors, states, parameters; and the README's commands run."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

from core import errors
from core.bootstrap import Config
from core.domain.states import State
from core.domain.tenants import KeyPolicy
from core.providers.aws_kms.checklist import NAMES
from functions.emulators.kms import LOCAL_ACCESS_KEY_ID, LOCAL_PRINCIPAL, LOCAL_SECRET_ACCESS_KEY, KmsEmulator
from functions.emulators.wire import serve
from functions.problems import status_of
from functions.settings import SETTINGS, Settings
from tests.cli.processes import environment, served

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()
DESIGN = (ROOT / "docs" / "design.md").read_text()


def test_the_readme_lists_every_setting_with_its_default() -> None:
    rows = re.findall(r"^\| `(KEYSTEAD_\w+)` \| (.*?) \| (.*?) \|$", README, re.MULTILINE)
    expected = []
    for setting in SETTINGS:
        default = getattr(Settings(), setting.field)
        shown = "" if default in ("", ()) else f"`{int(default) if isinstance(default, bool) else default}`"
        expected.append((setting.variable, shown, setting.meaning))
    assert [(name, default.strip(), meaning) for name, default, meaning in rows] == expected


def test_the_design_names_every_state() -> None:
    section = DESIGN.partition("## 5.")[2].partition("\n\n")[2].partition("1. **Lease.**")[0]
    assert set(re.findall(r"`(\w+)`", section.partition(". What each")[0])) == {state.value for state in State}


def test_the_designs_parameters_are_the_codes() -> None:
    rows = dict(re.findall(r"^\| `(\w+)` \| (\d+) \|", DESIGN, re.MULTILINE))
    policy, config = KeyPolicy(), Config()
    assert {name: float(value) for name, value in rows.items()} == {
        "lease": policy.lease,
        "outage_grace": policy.outage_grace,
        "state_age": config.state_age,
        "branch_key_rotation_days": policy.rotation_days,
    }


def test_the_error_tree_drawn_is_the_error_tree() -> None:
    drawn = set(re.findall(r"[+-] (\w+) ", errors.__doc__ or "")) | {"KeysteadError"}
    base = errors.KeysteadError
    classes: dict[str, type[errors.KeysteadError]] = {
        name: value for name, value in vars(errors).items() if isinstance(value, type) and issubclass(value, base)
    }
    assert drawn == set(classes)
    for name, status, code in re.findall(r"[+-] (\w+) +(\d{3}) (\w+)", errors.__doc__ or ""):
        assert classes[name].code == code, name
        assert status_of(classes[name]("x")) == int(status), name


def test_the_guide_names_every_check_of_an_examination() -> None:
    guide = (ROOT / "docs" / "byok.md").read_text()
    listed = re.findall(r"^\| `(\w+)` \|", guide.partition("<!-- checks")[2].partition("<!-- /checks")[0], re.MULTILINE)
    assert listed == ["entitled", *NAMES, "exclusive"]
    (told,) = re.findall(r"(\d+) named checks", README)
    assert int(told) == len(listed)


def test_relative_links_lead_somewhere() -> None:
    for page in [ROOT / "README.md", ROOT / "SECURITY.md", *ROOT.glob("docs/*.md")]:
        for target in re.findall(r"\]\((?!https?:|#)([^)#]+)", page.read_text()):
            assert (page.parent / target).exists(), f"{page.name} links to {target}"


@pytest.mark.slow
def test_the_readmes_commands_run(tmp_path: Path) -> None:
    """Every bash block of the README, in order, in one shell, in a copy of the directory, against a running service."""
    shutil.copy(ROOT / "LICENSE", tmp_path / "LICENSE")
    (tmp_path / ".venv" / "bin").mkdir(parents=True)
    tool = tmp_path / ".venv" / "bin" / "keystead"
    tool.write_text(f'#!/bin/sh\nexec {sys.executable} -m functions.cli "$@"\n')
    tool.chmod(0o755)
    blocks = re.findall(r"^```bash\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)
    assert len(blocks) >= 3
    emulator = KmsEmulator(now=time.time)
    emulator.add_principal(LOCAL_ACCESS_KEY_ID, LOCAL_SECRET_ACCESS_KEY, LOCAL_PRINCIPAL)
    with serve(emulator, port=0) as aws, served(tmp_path / ".keystead", tmp_path, "--aws-endpoint", aws.url) as lines:
        url = lines[0].split()[-1]
        script = "set -euo pipefail\n" + "\n".join(blocks).replace("http://127.0.0.1:8080", url)
        done = subprocess.run(
            ["bash", "-c", script],
            cwd=tmp_path,
            env=environment(KEYSTEAD_URL=url, KEYSTEAD_AWS_ENDPOINT_URL=aws.url),
            capture_output=True,
            text=True,
            check=False,
        )
    assert done.returncode == 0, done.stderr
    assert "the same, byte for byte" in done.stdout
    assert (tmp_path / "LICENSE.decrypted").read_bytes() == (ROOT / "LICENSE").read_bytes()
    assert '"message"' in done.stdout
    assert re.search(r"^state +active since", done.stdout, re.MULTILINE), "the walk through BYOK ends with its key"
    assert "refused: the key is turned off" in done.stdout
