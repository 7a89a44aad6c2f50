"""The program as its users meet it: real processes, pipes, signals and terminals."""

import os
import pty
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.cli.processes import DEADLINE, HEEDING_SIGNALS, KEYSTEAD, environment, mint, served

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("cli-processes")]


@dataclass(frozen=True)
class Live:
    """A running service, and the variables of a caller of its tenant."""

    data: Path
    printed: list[str]
    env: dict[str, str]


@pytest.fixture(scope="module")
def live(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Live]:
    directory = tmp_path_factory.mktemp("live")
    data = directory / "data"
    with served(data, directory) as printed:
        env = environment(KEYSTEAD_URL=printed[0].split()[-1], KEYSTEAD_TOKEN=mint(data, "--tenant", "demo"))
        yield Live(data, printed, env)


@pytest.fixture
def message(live: Live, tmp_path: Path) -> Path:
    """12 MiB of binary, encrypted."""
    path = tmp_path / "message"
    done = run(live, "encrypt", "-", "-o", str(path), stdin=os.urandom(12 << 20))
    assert done.returncode == 0, done.stderr
    return path


def run(live: Live, *arguments: str, stdin: bytes = b"") -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(
        [*KEYSTEAD, *arguments], env=live.env, input=stdin, capture_output=True, check=False, timeout=DEADLINE
    )


def names(directory: Path) -> set[str]:
    return {path.name for path in directory.iterdir()}


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + DEADLINE
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def written_below(directory: Path, process_id: int) -> int:
    """Bytes of the largest file below a directory that a process holds open, with a name or without."""
    sizes = [0]
    for descriptor in Path(f"/proc/{process_id}/fd").iterdir():
        with suppress(OSError):
            if Path(descriptor.readlink()).is_relative_to(directory):
                sizes.append(descriptor.stat().st_size)
    return max(sizes)


def test_the_printed_curl_lines_work_as_printed(live: Live, tmp_path: Path) -> None:
    lines = [line for line in live.printed if line.startswith("curl ")]
    assert len(lines) == 2
    # In another shell: without our variables, in another directory.
    plain_env = {"PATH": os.environ["PATH"]}
    for line in lines:
        subprocess.run(["bash", "-c", line], cwd=tmp_path, env=plain_env, check=True, timeout=DEADLINE)
    message, back = sorted(tmp_path.iterdir(), key=lambda path: path.suffix, reverse=True)
    assert message.suffix == ".keystead"
    assert message.read_bytes()[:3] == b"\x02\x04\x78"
    source = next(part for part in lines[0].split() if part.startswith("@"))[1:].strip("'")
    assert back.read_bytes() == Path(source).read_bytes()
    assert back.stat().st_size > 0


def test_a_second_start_finds_its_data_and_prints_again(tmp_path: Path) -> None:
    data = tmp_path / "data"
    with served(data, tmp_path) as printed:
        env = environment(KEYSTEAD_URL=printed[0].split()[-1], KEYSTEAD_TOKEN=mint(data, "-t", "demo"))
        first = run(Live(data, printed, env), "encrypt", "-", stdin=b"kept").stdout
    with served(data, tmp_path, "--workers", "2") as printed:
        assert sum(line.startswith("curl ") for line in printed) == 2, "printed once, whatever the number of workers"
        env = environment(KEYSTEAD_URL=printed[0].split()[-1], KEYSTEAD_TOKEN=mint(data, "-t", "demo"))
        assert run(Live(data, printed, env), "decrypt", "-", stdin=first).stdout == b"kept"
    assert "Authorization" not in (tmp_path / "serve.log").read_text()


def test_a_port_that_is_taken(live: Live, tmp_path: Path) -> None:
    port = live.printed[0].rpartition(":")[2]
    done = run(live, "serve", "--port", port, "--data", str(tmp_path / "data"))
    assert done.returncode == 2
    assert b"error: port" in done.stderr
    assert done.stdout == b""


def test_https_where_http_is_spoken(live: Live) -> None:
    done = run(live, "status", "--url", live.printed[0].split()[-1].replace("http:", "https:"))
    assert done.returncode == 5
    assert b"hint: does it speak http" in done.stderr


def test_loopback_only(live: Live, tmp_path: Path) -> None:
    done = run(live, "serve", "--host", "0.0.0.0", "--port", "0", "--data", str(tmp_path / "data"))
    assert (done.returncode, done.stdout) == (2, b"")


def test_round_trip_through_pipes(live: Live, tmp_path: Path) -> None:
    program = " ".join(KEYSTEAD)
    script = f"head -c 5000000 /dev/zero | {program} encrypt - -c a=b | {program} decrypt - -c a=b | sha256sum"
    done = subprocess.run(["bash", "-c", script], env=live.env, capture_output=True, check=True, timeout=DEADLINE)
    expected = subprocess.run(["bash", "-c", "head -c 5000000 /dev/zero | sha256sum"], capture_output=True, check=True)
    assert (done.stdout, done.stderr) == (expected.stdout, b"")


@pytest.mark.parametrize(
    ("number", "code", "word"),
    [
        (signal.SIGINT, 130, b"interrupted"),
        (signal.SIGTERM, 143, b"terminated"),
        (signal.SIGHUP, 143, b"terminated"),
        (signal.SIGKILL, -9, b""),
    ],
)
def test_an_interrupted_decrypt_leaves_nothing(
    live: Live, message: Path, tmp_path: Path, number: signal.Signals, code: int, word: bytes
) -> None:
    data = message.read_bytes()
    before = names(tmp_path)
    process = subprocess.Popen(
        [*HEEDING_SIGNALS, "decrypt", "-", "-o", str(tmp_path / "out")],
        env=live.env,
        stdin=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert process.stdin is not None
    process.stdin.write(data[: len(data) // 2])
    process.stdin.flush()
    until(lambda: written_below(tmp_path, process.pid) > 1 << 20)
    process.send_signal(number)
    _, said = process.communicate(timeout=DEADLINE)
    assert process.returncode == code
    assert said == (b"error: " + word + b"\n" if word else b"")
    assert names(tmp_path) == before


def test_a_truncated_message_gives_a_pipe_nothing(live: Live, message: Path, tmp_path: Path) -> None:
    message.write_bytes(message.read_bytes()[:-1])
    done = run(live, "decrypt", str(message))
    assert (done.returncode, done.stdout) == (6, b"")
    assert done.stderr.startswith(b"error: ")
    done = run(live, "decrypt", str(message), "-o", str(tmp_path / "out"))
    assert done.returncode == 6
    assert names(tmp_path) == {"message"}


def test_a_reader_that_goes_away(live: Live, message: Path) -> None:
    reading, writing = os.pipe()
    process = subprocess.Popen(
        [*KEYSTEAD, "decrypt", str(message)], env=live.env, stdout=writing, stderr=subprocess.PIPE
    )
    os.close(writing)
    assert os.read(reading, 10)
    os.close(reading)
    _, said = process.communicate(timeout=DEADLINE)
    assert (process.returncode, said) == (141, b"")


def in_shell(live: Live, script: str, directory: Path) -> subprocess.CompletedProcess[bytes]:
    """Run a line of shell; ``keystead`` in it is the program."""
    program = f'keystead() {{ {" ".join(KEYSTEAD)} "$@"; }}; '
    return subprocess.run(
        ["bash", "-c", program + script],
        cwd=directory,
        env=live.env,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        check=False,
        timeout=DEADLINE,
    )


def test_streams_that_are_closed_and_not_needed(live: Live, tmp_path: Path) -> None:
    (tmp_path / "plain").write_bytes(b"plain")
    for number, closed in enumerate(["<&-", ">&-", "2>&-", "<&- >&-", "<&- >&- 2>&-"]):
        script = f"keystead encrypt plain -o m{number} {closed} && keystead decrypt m{number} -o p{number} {closed}"
        done = in_shell(live, script, tmp_path)
        assert (done.returncode, done.stdout, done.stderr) == (0, b"", b""), closed
        assert (tmp_path / f"p{number}").read_bytes() == b"plain"


@pytest.mark.parametrize(
    ("script", "said"),
    [
        ("keystead encrypt - -o out <&-", b"stdin or stdout is closed"),
        ("keystead encrypt plain >&-", b"stdin or stdout is closed"),
        ("keystead inspect plain >&-", b"error: "),
        ("keystead token -t demo --data data >&-", b"error: "),
        ("keystead --version >&-", b"stdin or stdout is closed"),
        ("keystead encrypt plain > /dev/full", b"No space left"),
        ("keystead encrypt - -o out <&- 2>&-", b""),
    ],
)
def test_streams_that_are_closed_and_needed(live: Live, tmp_path: Path, script: str, said: bytes) -> None:
    (tmp_path / "plain").write_bytes(b"plain")
    done = in_shell(live, script, tmp_path)
    assert done.returncode in (1, 6)
    assert said in done.stderr
    assert b"Traceback" not in done.stderr
    assert b"Exception" not in done.stderr
    assert names(tmp_path) == {"plain"}


@pytest.mark.parametrize("command", ["encrypt", "decrypt"])
def test_stdin_is_not_overwritten_either(live: Live, message: Path, tmp_path: Path, command: str) -> None:
    before = message.read_bytes()
    (tmp_path / "link").symlink_to(message)
    for name in ("message", "link"):
        done = in_shell(live, f"keystead {command} - -o {name} --force < message", tmp_path)
        assert done.returncode == 1
        assert b"same file" in done.stderr
    assert message.read_bytes() == before


def on_terminal(live: Live, *arguments: str) -> tuple[int, bytes, bytes]:
    """Run with stdout and stderr on two terminals; gives the exit code and what each showed."""
    pairs = [pty.openpty() for _ in range(2)]
    process = subprocess.Popen(
        [*KEYSTEAD, *arguments], env=live.env, stdin=subprocess.DEVNULL, stdout=pairs[0][1], stderr=pairs[1][1]
    )
    shown = [bytearray(), bytearray()]

    def read(index: int) -> None:
        try:
            while chunk := os.read(pairs[index][0], 65536):
                shown[index].extend(chunk)
        except OSError:  # Linux tells the end of a terminal in this way
            return

    readers = [threading.Thread(target=read, args=(index,)) for index in range(2)]
    for _, inner in pairs:
        os.close(inner)
    for reader in readers:
        reader.start()
    code = process.wait(DEADLINE)
    for reader in readers:
        reader.join(DEADLINE)
    for outer, _ in pairs:
        os.close(outer)
    return code, bytes(shown[0]), bytes(shown[1])


def test_a_terminal_never_gets_binary(live: Live, message: Path, tmp_path: Path) -> None:
    code, shown, said = on_terminal(live, "decrypt", str(message))
    assert (code, shown) == (2, b"")
    assert b"-o FILE" in said
    code, shown, said = on_terminal(live, "encrypt", str(message))
    assert (code, shown) == (2, b"")
    (tmp_path / "text").write_text("just text\n")
    assert run(live, "encrypt", str(tmp_path / "text"), "-o", str(tmp_path / "m")).returncode == 0
    code, shown, said = on_terminal(live, "decrypt", str(tmp_path / "m"))
    assert (code, shown.replace(b"\r", b""), said) == (0, b"just text\n", b"")


def test_a_bar_is_shown_for_large_files_on_a_terminal(live: Live, tmp_path: Path) -> None:
    large, message = tmp_path / "large", tmp_path / "m"
    with large.open("wb") as out:
        out.truncate(20 << 20)
    code, _, said = on_terminal(live, "encrypt", str(large), "-o", str(message))
    assert code == 0
    assert b"encrypting" in said
    assert b"100%" in said
    code, _, said = on_terminal(live, "decrypt", str(message), "-o", str(tmp_path / "back"))
    assert code == 0
    assert b"decrypting" in said
    assert run(live, "decrypt", str(message), "-o", str(tmp_path / "again")).stderr == b"", "not on a terminal: no bar"


def test_the_console_script_is_this_program() -> None:
    script = Path(KEYSTEAD[0]).with_name("keystead")
    if not script.exists():
        assert "CI" not in os.environ, "CI installs the project, and its console script with it"
        pytest.skip("the project is not installed here")
    done = subprocess.run([script, "--version"], env=environment(), capture_output=True, check=True, timeout=DEADLINE)
    assert done.stdout.startswith(b"keystead ")
