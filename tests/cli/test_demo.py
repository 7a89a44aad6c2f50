"""The demo tells the truth: 0 only if every check held, and nothing is left of it."""

import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import SimpleNamespace

import pytest
from click.testing import CliRunner, Result

from core.errors import AccessDenied, MessageInvalid, NotFound
from functions.cli.demo import stage as stages
from functions.cli.demo import steps
from functions.cli.demo.cloud import Cloud
from functions.cli.demo.service import ServiceProcess
from functions.cli.demo.stage import Broken, Stage, Step
from functions.cli.main import cli
from functions.emulators.azure_world import AzureEmulator
from functions.emulators.kms import KmsEmulator
from tests.cli.processes import DEADLINE, HEEDING_SIGNALS, environment

NO_CLOUD = Cloud(KmsEmulator(now=lambda: 0.0), AzureEmulator(now=lambda: 0.0), {})


def test_a_check_that_does_not_hold_is_told(tmp_path: Path) -> None:
    stage = Stage(tmp_path, NO_CLOUD, large=1)
    stage.check(True, "fine")
    with pytest.raises(Broken, match="not so: the sky is green"):
        stage.check(False, "the sky is green")
    assert stage.checks == 2


def test_what_should_be_refused_and_is_not(tmp_path: Path) -> None:
    stage = Stage(tmp_path, NO_CLOUD, large=1)

    def refuse() -> None:
        raise AccessDenied("no")

    assert stage.refused(AccessDenied, refuse, "x").detail == "no"
    with pytest.raises(Broken, match="not refused"):
        stage.refused(AccessDenied, lambda: None, "x")
    with pytest.raises(Broken, match="access_denied, not with message_invalid"):
        stage.refused(MessageInvalid, refuse, "x")


def test_every_step_tells_what_it_is() -> None:
    assert len({step.title for step in steps.STEPS}) == len(steps.STEPS) >= 11
    assert all(step.run.__doc__ for step in steps.STEPS)


def test_too_little_room(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shutil.disk_usage", lambda _path: SimpleNamespace(free=700 << 20))
    monkeypatch.setattr(stages, "ServiceProcess", _Pretend)
    assert "--size" in CliRunner().invoke(cli, ["demo"]).stderr
    assert "there is no service" in CliRunner().invoke(cli, ["demo", "--size", "100"]).stdout


class _Pretend(ServiceProcess):
    """Starts nothing."""

    def start(self) -> None:
        raise NotFound("there is no service", hint="look for one")


def test_without_a_service_the_story_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stages, "ServiceProcess", _Pretend)
    result = CliRunner().invoke(cli, ["demo", "--size", "1"])
    assert result.exit_code == 1
    assert "FAILED" in result.stdout
    assert "NotFound: there is no service (look for one)" in result.stdout
    assert steps.STEPS[1].title not in result.stdout


@pytest.fixture
def tell(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[list[ServiceProcess]]:
    """Keeps the services that demos start, and fails if one is left."""
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    started: list[ServiceProcess] = []

    class Watched(ServiceProcess):
        def __init__(self, data: Path, output: Path, variables: Mapping[str, str]) -> None:
            super().__init__(data, output, variables)
            started.append(self)

    monkeypatch.setattr(stages, "ServiceProcess", Watched)
    yield started
    assert not [service for service in started if service.process_id]
    assert not list(tmp_path.iterdir()), "the temporary directory is gone"


def invoke() -> Result:
    return CliRunner().invoke(cli, ["demo", "--size", "2"])


@pytest.mark.slow
@pytest.mark.xdist_group("cli-processes")
def test_the_demo_holds(tell: list[ServiceProcess]) -> None:
    result = invoke()
    assert result.exit_code == 0, result.output
    assert result.stdout.count("\n    ok ") == len(steps.STEPS)
    assert "All of it held" in result.stdout
    assert len(tell) == 1


def _fails(_stage: Stage) -> str:
    raise Broken("planted")


def _bug(_stage: Stage) -> str:
    raise ZeroDivisionError


@pytest.mark.slow
@pytest.mark.xdist_group("cli-processes")
def test_a_planted_fault_shows(tell: list[ServiceProcess], monkeypatch: pytest.MonkeyPatch) -> None:
    planted = (*steps.STEPS[:2], Step("a planted fault", _fails), Step("a bug", _bug), *steps.STEPS[2:4])
    monkeypatch.setattr(steps, "STEPS", planted)
    result = invoke()
    assert result.exit_code == 1
    assert "Broken: planted" in result.stdout
    assert "ZeroDivisionError" in result.stdout
    assert result.stdout.count("\n    ok ") == 4, "what follows is still told"
    assert "2 of 6 steps failed" in result.stdout
    assert "All of it held" not in result.stdout


@pytest.mark.slow
@pytest.mark.xdist_group("cli-processes")
def test_a_service_that_does_not_refuse_is_found(tell: list[ServiceProcess], monkeypatch: pytest.MonkeyPatch) -> None:
    from core.client.client import KeysteadClient

    monkeypatch.setattr(KeysteadClient, "decrypt", lambda *_arguments, **_named: b"anything goes")
    result = invoke()
    assert result.exit_code == 1
    for title in ("a message is tampered with", "one tenant tries to reach another"):
        assert "FAILED" in result.stdout.partition(title)[2].splitlines()[1]


@pytest.mark.slow
@pytest.mark.xdist_group("cli-processes")
def test_an_interrupted_demo_leaves_nothing(tmp_path: Path) -> None:
    import signal
    import time

    process = subprocess.Popen(
        [*HEEDING_SIGNALS, "demo", "--size", "2000"],
        env=environment(TMPDIR=str(tmp_path)),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    service = 0
    for line in process.stdout:
        if " process " in line:
            service = int(line.partition(" process ")[2].split()[0])
        if "streamed" in line:
            break
    assert service
    time.sleep(0.2)
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=DEADLINE)
    assert (process.returncode, said) == (130, "error: interrupted\n")
    assert not list(tmp_path.iterdir())
    assert not Path(f"/proc/{service}").exists()
