"""The documents say what the code does: settings, errors, states, parameters; and the README's commands run."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import time
from contextlib import ExitStack
from pathlib import Path

import pytest

from core import errors
from core.bootstrap import Config
from core.domain.key_policy import KeyPolicy
from core.domain.states import State
from core.providers.aws_kms.checklist import NAMES as AWS_CHECKS
from core.providers.azure_key_vault.checklist import NAMES as AZURE_CHECKS
from functions.emulators.azure_wire import serve as serve_azure
from functions.emulators.azure_world import AzureEmulator
from functions.emulators.kms import LOCAL_ACCESS_KEY_ID, LOCAL_PRINCIPAL, LOCAL_SECRET_ACCESS_KEY, KmsEmulator
from functions.emulators.wire import serve
from functions.problems import status_of
from functions.settings import LOCAL_AZURE, SETTINGS, Settings
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


@pytest.mark.parametrize(
    ("cloud", "told", "names"), [("aws_kms", "AWS", AWS_CHECKS), ("azure_key_vault", "Azure", AZURE_CHECKS)]
)
def test_the_guide_names_every_check_of_an_examination(cloud: str, told: str, names: tuple[str, ...]) -> None:
    guide = (ROOT / "docs" / "byok.md").read_text()
    table = guide.partition(f"<!-- checks: {cloud};")[2].partition("<!-- /checks")[0]
    listed = re.findall(r"^\| `(\w+)` \|", table, re.MULTILINE)
    assert listed == ["entitled", *names, "exclusive"]
    counted = {cloud: int(number) for number, cloud in re.findall(r"(\d+) named checks in (\w+)", README)}
    assert counted[told] == len(listed)


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
    emulator, emulated_azure = KmsEmulator(now=time.time), AzureEmulator(now=time.time)
    emulator.add_principal(LOCAL_ACCESS_KEY_ID, LOCAL_SECRET_ACCESS_KEY, LOCAL_PRINCIPAL)
    emulated_azure.add_application(*LOCAL_AZURE)
    with ExitStack() as running:
        aws = running.enter_context(serve(emulator, port=0))
        azure = running.enter_context(serve_azure(emulated_azure, port=0))
        clouds = {
            "KEYSTEAD_AWS_ENDPOINT_URL": aws.url,
            "KEYSTEAD_AZURE_EMULATOR": azure.dial,
            "KEYSTEAD_AZURE_EMULATOR_CA": azure.ca_file,
        }
        lines = running.enter_context(served(tmp_path / ".keystead", tmp_path, **clouds))
        url = lines[0].split()[-1]
        script = "set -euo pipefail\n" + "\n".join(blocks).replace("http://127.0.0.1:8080", url)
        done = subprocess.run(
            ["bash", "-c", script],
            cwd=tmp_path,
            env=environment(KEYSTEAD_URL=url, **clouds),
            capture_output=True,
            text=True,
            check=False,
        )
    assert done.returncode == 0, done.stderr
    assert "the same, byte for byte" in done.stdout
    assert (tmp_path / "LICENSE.decrypted").read_bytes() == (ROOT / "LICENSE").read_bytes()
    assert '"message"' in done.stdout
    walks = re.findall(r"^state +active since.*\n(?:.*\n){0,3}?key +(\S+)", done.stdout, re.MULTILINE)
    assert {kek.partition(":")[0] for kek in walks} == {"arn", "https"}, "each walk through BYOK shows its key"
    for said in ("refused: the key is turned off", "refused: the key in Azure is turned off", "and so is reading"):
        assert said in done.stdout
    assert "This key can be put to use." in done.stdout
    assert (tmp_path / "LICENSE.served").read_bytes() == (ROOT / "LICENSE").read_bytes()
