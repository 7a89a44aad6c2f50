"""Files come out whole or not at all."""

import io
import os
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest

from core.client import publish
from core.client.client import KeysteadClient
from core.client.files import decrypt_file, encrypt_file, encrypt_stream
from core.client.problems import ServiceUnreachable, UnexpectedAnswer
from core.client.publish import published
from core.domain.message_header import parse_header
from core.errors import AccessDenied, ContextMismatch, InvalidRequest, MessageInvalid
from tests.client.fake_service import FakeService, client

FRAME = 64 * 1024
CONTEXT = {"app": "crm"}


@pytest.fixture
def fake() -> FakeService:
    return FakeService()


@pytest.fixture
def service(fake: FakeService) -> Iterator[KeysteadClient]:
    with client(fake) as made:
        yield made


@pytest.fixture
def plain(tmp_path: Path) -> Path:
    path = tmp_path / "plain"
    path.write_bytes(os.urandom(3 * FRAME + 17))
    return path


@pytest.fixture
def message(service: KeysteadClient, plain: Path, tmp_path: Path) -> Path:
    path = tmp_path / "message"
    encrypt_file(service, "acme", plain, path, CONTEXT)
    return path


def names(directory: Path) -> set[str]:
    return {path.name for path in directory.iterdir()}


@pytest.mark.parametrize("size", [0, 1, FRAME - 1, FRAME, FRAME + 1, 5 * FRAME])
def test_round_trip(service: KeysteadClient, fake: FakeService, tmp_path: Path, size: int) -> None:
    data = os.urandom(size)
    plain, message, out = tmp_path / "p", tmp_path / "m", tmp_path / "o"
    plain.write_bytes(data)
    told: list[int] = []
    assert encrypt_file(service, "acme", plain, message, CONTEXT, progress=told.append) == size
    assert sum(told) == size
    assert len(data) < 32 or data[:32] not in message.read_bytes()
    header = parse_header(message.read_bytes())
    assert header.context == {"app": "crm", "tenant_id": "acme", "keystead-use": "caller"}
    assert decrypt_file(service, "acme", message, out, CONTEXT, progress=told.append) == size
    assert out.read_bytes() == data
    assert names(tmp_path) == {"p", "m", "o"}
    assert fake.calls == ["POST /v1/tenants/acme/data-keys", "POST /v1/tenants/acme/data-keys/decrypt"]


def test_permissions(service: KeysteadClient, message: Path, plain: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.write_bytes(b"old")
    out.chmod(0o666)
    decrypt_file(service, "acme", message, out, CONTEXT, overwrite=True)
    assert stat.S_IMODE(out.stat().st_mode) == 0o600
    umask = os.umask(0o027)
    try:
        encrypt_file(service, "acme", plain, tmp_path / "m2", {})
    finally:
        os.umask(umask)
    assert stat.S_IMODE((tmp_path / "m2").stat().st_mode) == 0o640


DAMAGES: list[Callable[[bytes], bytes]] = [
    lambda m: m[:-1],
    lambda m: m[: len(m) // 2],
    lambda m: m[: 3 * (FRAME + 32)],
    lambda m: m[:100],
    lambda m: b"",
    lambda m: m + b"\0",
    lambda m: m[:-1] + bytes([m[-1] ^ 1]),
    lambda m: m[: len(m) // 2] + bytes([m[len(m) // 2] ^ 1]) + m[len(m) // 2 + 1 :],
    lambda m: m.replace(b"acme", b"acne"),
]


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_message_leaves_nothing(
    service: KeysteadClient, message: Path, tmp_path: Path, damage: Callable[[bytes], bytes]
) -> None:
    message.write_bytes(damage(message.read_bytes()))
    with pytest.raises(MessageInvalid):
        decrypt_file(service, "acme", message, tmp_path / "out", CONTEXT)
    assert names(tmp_path) == {"plain", "message"}


def test_a_damaged_message_leaves_what_was_there(service: KeysteadClient, message: Path, tmp_path: Path) -> None:
    message.write_bytes(message.read_bytes()[:-1])
    out = tmp_path / "out"
    out.write_bytes(b"kept")
    with pytest.raises(MessageInvalid):
        decrypt_file(service, "acme", message, out, CONTEXT, overwrite=True)
    assert out.read_bytes() == b"kept"
    assert names(tmp_path) == {"plain", "message", "out"}


def by_name_only(monkeypatch: pytest.MonkeyPatch) -> None:
    """As where there are no files without a name, or no way to give them one."""
    monkeypatch.setattr(publish, "_open_nameless", lambda _directory, _mode: None)


@pytest.mark.parametrize("nameless", [True, False])
@pytest.mark.parametrize("stop", [KeyboardInterrupt, SystemExit, RuntimeError])
def test_an_interruption_leaves_nothing(
    service: KeysteadClient,
    message: Path,
    plain: Path,
    tmp_path: Path,
    stop: type[BaseException],
    nameless: bool,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    if not nameless:
        by_name_only(monkeypatch)

    def interrupt(_done: int) -> None:
        # The output is already on disk in part.
        parts = [name for name in names(tmp_path) if name.endswith(".part")]
        assert bool(parts) is not nameless
        raise stop

    with pytest.raises(stop):
        decrypt_file(service, "acme", message, tmp_path / "out", CONTEXT, progress=interrupt)
    with pytest.raises(stop):
        encrypt_file(service, "acme", plain, tmp_path / "out", CONTEXT, progress=interrupt)
    assert names(tmp_path) == {"plain", "message"}


def test_a_full_disk_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_handle: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space"), published(tmp_path / "out") as out:
        out.write(b"x")
    assert names(tmp_path) == set()


@pytest.mark.parametrize(
    ("context", "raised"),
    [({}, ContextMismatch), ({"app": "x"}, ContextMismatch), ({"app": "crm", "b": ""}, ContextMismatch)],
)
def test_another_context(
    service: KeysteadClient,
    fake: FakeService,
    message: Path,
    tmp_path: Path,
    context: dict[str, str],
    raised: type[Exception],
) -> None:
    with pytest.raises(raised):
        decrypt_file(service, "acme", message, tmp_path / "out", context)
    assert len(fake.calls) == 1, "the service was asked for a key although the context differs"
    assert names(tmp_path) == {"plain", "message"}


def test_another_tenant(service: KeysteadClient, message: Path, tmp_path: Path) -> None:
    with pytest.raises(MessageInvalid):
        decrypt_file(service, "globex", message, tmp_path / "out", CONTEXT)
    with pytest.raises(AccessDenied):
        encrypt_file(service, "globex", message, tmp_path / "out", CONTEXT)
    assert names(tmp_path) == {"plain", "message"}


def test_an_existing_target_is_kept_unless_told(service: KeysteadClient, plain: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.write_bytes(b"kept")
    with pytest.raises(FileExistsError):
        encrypt_file(service, "acme", plain, out, CONTEXT)
    assert out.read_bytes() == b"kept"
    encrypt_file(service, "acme", plain, out, CONTEXT, overwrite=True)
    assert out.read_bytes() != b"kept"


@pytest.mark.parametrize("nameless", [True, False])
def test_a_target_that_appears_meanwhile_is_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, nameless: bool
) -> None:
    if not nameless:
        by_name_only(monkeypatch)
    target = tmp_path / "out"
    publication = published(target)
    publication.__enter__().write(b"new")
    target.write_bytes(b"kept")
    with pytest.raises(FileExistsError):
        publication.__exit__(None, None, None)
    assert target.read_bytes() == b"kept"
    assert names(tmp_path) == {"out"}


@pytest.mark.parametrize("nameless", [True, False])
@pytest.mark.parametrize("there", [True, False])
def test_a_replacement_comes_in_one_step(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, nameless: bool, there: bool
) -> None:
    if not nameless:
        by_name_only(monkeypatch)
    target = tmp_path / "out"
    if there:
        target.write_bytes(b"old")
    with published(target, overwrite=True) as out:
        out.write(b"new")
        assert target.exists() == there
    assert target.read_bytes() == b"new"
    assert names(tmp_path) == {"out"}
    assert stat.S_IMODE(target.stat().st_mode) == 0o600


def test_a_replacement_that_fails_leaves_what_was_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_from: Path, _to: Path) -> None:
        raise PermissionError(1, "Operation not permitted")

    (tmp_path / "out").write_bytes(b"old")
    monkeypatch.setattr(Path, "replace", refuse)
    with pytest.raises(PermissionError), published(tmp_path / "out", overwrite=True) as out:
        out.write(b"new")
    assert (tmp_path / "out").read_bytes() == b"old"
    assert names(tmp_path) == {"out"}


@pytest.mark.skipif(not hasattr(os, "O_TMPFILE"), reason="this system has no files without a name")
def test_what_is_not_published_never_had_a_name(tmp_path: Path) -> None:
    """A process that is killed on the spot cannot clean up."""
    code = (
        "import os, sys; from pathlib import Path; from core.client.publish import published\n"
        f"with published(Path({str(tmp_path / 'out')!r})) as out:\n"
        "    out.write(b'plaintext' * 100_000); out.flush(); os.kill(os.getpid(), 9)"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=Path(__file__).parents[2], check=False)
    assert done.returncode == -9
    assert names(tmp_path) == set()


def test_without_links_the_name_is_given_by_renaming(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_links(_from: Path, _to: Path, **_how: object) -> None:
        raise OSError(95, "Operation not supported")

    monkeypatch.setattr(os, "link", no_links)
    assert publish._open_nameless(tmp_path, 0o600) is None
    with published(tmp_path / "out") as out:
        out.write(b"new")
    assert (tmp_path / "out").read_bytes() == b"new"
    with pytest.raises(FileExistsError), published(tmp_path / "out2") as out:
        (tmp_path / "out2").write_bytes(b"kept")
    assert names(tmp_path) == {"out", "out2"}


def test_input_and_output_must_differ(service: KeysteadClient, plain: Path, tmp_path: Path) -> None:
    (tmp_path / "soft").symlink_to(plain)
    (tmp_path / "hard").hardlink_to(plain)
    before = plain.read_bytes()
    for same in (plain, tmp_path / "soft", tmp_path / "hard", tmp_path / "." / "plain"):
        with pytest.raises(InvalidRequest, match="same file"):
            encrypt_file(service, "acme", plain, same, {}, overwrite=True)
    assert plain.read_bytes() == before


def test_only_regular_files_are_replaced(service: KeysteadClient, plain: Path, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "directory").mkdir()
    for name in ("fifo", "directory"):
        with pytest.raises(OSError, match="not a regular file"):
            encrypt_file(service, "acme", plain, tmp_path / name, {}, overwrite=True)
    with pytest.raises(FileNotFoundError, match="no such directory"):
        encrypt_file(service, "acme", plain, tmp_path / "missing" / "x", {})
    with pytest.raises(FileNotFoundError):
        encrypt_file(service, "acme", tmp_path / "missing", tmp_path / "x", {})


def test_a_symbolic_link_is_written_through(service: KeysteadClient, plain: Path, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tmp_path / "real")
    encrypt_file(service, "acme", plain, tmp_path / "link", {})
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "real").is_file()


def test_a_message_of_the_service_s_own_key_is_not_opened_here(tmp_path: Path) -> None:
    fake = FakeService()

    def unmarked(request: httpx.Request) -> httpx.Response:
        answer = fake(request).json()
        answer["context"].pop("keystead-use")
        return httpx.Response(200, json=answer)

    with pytest.raises(UnexpectedAnswer, match="not marked"):
        encrypt_stream(client(unmarked), "acme", io.BytesIO(b"x"), io.BytesIO(), {})


@pytest.mark.parametrize(
    "change",
    [
        {"context": {"tenant_id": "other", "keystead-use": "caller"}},
        {"context": {"tenant_id": "acme", "app": "other", "keystead-use": "caller"}},
        {"context": {"tenant_id": "acme", "keystead-use": "caller", "keystead-note": "of the service's choosing"}},
        {"context": {"tenant_id": "acme", "keystead-use": "caller", "aws-crypto-public-key": "x"}},
        {"encrypted_data_key": "AAAA"},
    ],
)
def test_a_grant_for_something_else_is_refused(change: dict[str, object]) -> None:
    fake = FakeService()
    out = io.BytesIO()
    with pytest.raises(UnexpectedAnswer, match=r"something else|cannot be read"):
        encrypt_stream(
            client(lambda request: httpx.Response(200, json=fake(request).json() | change)),
            "acme",
            io.BytesIO(),
            out,
            {},
        )
    assert not out.getvalue()


def test_the_service_gone_leaves_nothing(plain: Path, tmp_path: Path) -> None:
    def gone(_request: httpx.Request) -> httpx.Response:
        raise httpx.ConnectError("refused")

    with pytest.raises(ServiceUnreachable):
        encrypt_file(client(gone), "acme", plain, tmp_path / "out", {})
    assert names(tmp_path) == {"plain"}
