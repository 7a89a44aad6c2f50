"""What serve finds, makes and prints before it serves."""

from pathlib import Path

import pytest

from core.bootstrap import build
from functions.cli import serve
from functions.cli.serve import banner, first_tenant, program
from functions.identity import Identity
from functions.local.issuer import LocalIssuer
from functions.settings import Settings
from tests.cli.conftest import Run, errors


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(data=tmp_path / "data", port=8123)


def make(settings: Settings, *tenants: str) -> None:
    settings.data.mkdir(mode=0o700)
    application = build(settings.to_config())
    for tenant_id in tenants:
        application.tenants.create(tenant_id, "")
    application.close()


def test_an_empty_store_gets_a_tenant(settings: Settings) -> None:
    assert first_tenant(settings) == "demo"
    application = build(settings.to_config())
    (entry,) = application.audit.read("demo")
    application.close()
    assert (entry.action, entry.subject) == ("tenant.create", "keystead serve")
    assert settings.data.stat().st_mode & 0o077 == 0
    assert first_tenant(settings) == "demo"


def test_a_new_store_s_operator_chain_begins_with_it(settings: Settings) -> None:
    for _ in range(2):
        first_tenant(settings)
    application = build(settings.to_config())
    (entry,) = application.audit.read("_system")
    application.close()
    assert entry.action == "store.create"


def test_a_store_with_tenants_gets_no_such_entry(settings: Settings) -> None:
    make(settings, "acme")
    first_tenant(settings)
    application = build(settings.to_config())
    assert not application.audit.read("_system"), "an operator's chain that was cut off must not grow again unnoticed"
    application.close()


@pytest.mark.parametrize("data", ["/dev/null", "file", "file/below"])
def test_a_data_directory_that_cannot_be(run: Run, data: str) -> None:
    Path("file").touch()
    said = errors(run("serve", "--port", "0", "--data", data, code=2))
    assert "cannot be made" in said["error"]
    assert "--data" in said["hint"]


@pytest.mark.parametrize(("tenants", "shown"), [(["acme", "zeta"], "acme"), (["acme", "demo"], "demo")])
def test_a_store_with_tenants_gets_no_other(settings: Settings, tenants: list[str], shown: str) -> None:
    make(settings, *tenants)
    assert first_tenant(settings) == shown
    application = build(settings.to_config())
    assert [record.tenant_id for record in application.tenants.page()] == tenants
    application.close()


def test_the_token_printed_is_an_application_s(settings: Settings) -> None:
    text = banner(settings, "demo")
    token = next(line for line in text.splitlines() if line.startswith("eyJ"))
    caller = Identity([LocalIssuer.open(settings.data).trusted()]).identify(f"Bearer {token}", "r")
    assert caller.tenant_id == "demo"
    assert caller.scopes == {"data:encrypt", "data:decrypt", "data:keys"}
    assert text.startswith("Keystead serves at http://127.0.0.1:8123\n")
    assert str(settings.data.resolve()) in text
    assert text.count(f"Bearer {token}'") == 2


def test_paths_with_blanks_survive_the_shell(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    directory = tmp_path / "it's a place"
    directory.mkdir()
    (directory / "README.md").write_text("x")
    monkeypatch.chdir(directory)
    assert "it'\"'\"'s a place/README.md'" in banner(settings, "demo")


def test_there_is_always_a_file_to_show_it_with(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(serve, "REPOSITORY", tmp_path)
    assert serve._readme().is_file()


@pytest.mark.parametrize(("host", "url"), [("0.0.0.0", "http://127.0.0.1:8123"), ("::", "http://[::1]:8123")])
def test_the_address_printed_can_be_connected_to(settings: Settings, host: str, url: str) -> None:
    listening = Settings(data=settings.data, port=8123, host=host, allow_remote=True)
    assert banner(listening, "demo").startswith(f"Keystead serves at {url}\n")


def test_without_the_local_issuer_no_token_is_printed(settings: Settings) -> None:
    text = banner(Settings(data=settings.data, local_issuer=False), "demo")
    assert "eyJ" not in text
    assert not settings.data.exists()


def test_a_store_in_memory_is_shown_how_to_fill(settings: Settings) -> None:
    memory = Settings(data=settings.data, store="memory")
    assert first_tenant(memory) == ""
    text = banner(memory, "")
    assert "-X PUT" in text
    assert text.count("curl ") == 1


@pytest.mark.parametrize(
    "arguments",
    [
        ["--port", "65536"],
        ["--workers", "0"],
        ["--host", "192.0.2.1"],
        ["--host", "0.0.0.0"],
        ["--aws-endpoint", "http://kms.example:4599"],
        ["--aws-endpoint", "127.0.0.1:4599"],
    ],
)
def test_what_cannot_be_served(run: Run, tmp_path: Path, arguments: list[str]) -> None:
    result = run("serve", "--data", str(tmp_path / "data"), *arguments, code=2)
    assert errors(result)["error"]
    assert result.stdout == ""
    assert not (tmp_path / "data").exists()


@pytest.mark.parametrize("issuers", ["{", "[{}]", "missing.json", '{"issuer": "x"}'])
def test_issuers_that_cannot_be_used_are_told_before_anything_is_made(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, issuers: str
) -> None:
    monkeypatch.setenv("KEYSTEAD_ISSUERS", issuers)
    result = run("serve", "--port", "0", "--data", str(tmp_path / "data"), code=2)
    assert "KEYSTEAD_ISSUERS" in errors(result)["error"]
    assert result.stdout == ""
    assert not (tmp_path / "data").exists()


@pytest.mark.parametrize(
    "environment",
    [
        {"KEYSTEAD_STAGE": "prod", "KEYSTEAD_AWS_ENDPOINT_URL": "http://127.0.0.1:4599"},
        {"KEYSTEAD_STAGE": "prod", "AWS_ENDPOINT_URL_KMS": "http://127.0.0.1:4599"},
        {"KEYSTEAD_OFFERINGS": "missing.json"},
    ],
)
def test_where_keys_are_is_settled_before_anything_is_made(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, environment: dict[str, str]
) -> None:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    result = run("serve", "--port", "0", "--data", str(tmp_path / "data"), code=2)
    assert [*environment][-1] in errors(result)["error"]
    assert errors(result)["hint"]
    assert result.stdout == ""
    assert not (tmp_path / "data").exists()


def test_an_emulator_is_for_the_local_stage(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KEYSTEAD_STAGE", "prod")
    arguments = ["--port", "0", "--data", str(tmp_path / "data"), "--aws-endpoint", "http://127.0.0.1:4599"]
    assert "stage local" in errors(run("serve", *arguments, code=2))["error"]


def test_the_banner_tells_of_the_emulator(settings: Settings) -> None:
    emulated = Settings(data=settings.data, port=8123, aws_endpoint_url="http://127.0.0.1:4599")
    assert "AWS KMS is the emulator at http://127.0.0.1:4599\n" in banner(emulated, "demo")
    assert "emulator" not in banner(settings, "demo")


def test_without_any_issuer_nothing_is_printed(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KEYSTEAD_LOCAL_ISSUER", "0")
    result = run("serve", "--port", "0", "--data", str(tmp_path / "data"), code=2)
    assert "issuer" in errors(result)["error"]
    assert result.stdout == ""
    assert not list((tmp_path / "data").iterdir())


@pytest.mark.parametrize(
    ("started_as", "path", "shown"),
    [
        ("venv/bin/keystead", "/nowhere", "venv/bin/keystead"),
        ("venv/bin/keystead", "venv/bin", "keystead"),
        ("a b/keystead", "/nowhere", "'a b/keystead'"),
        ("gone/keystead", "/nowhere", "keystead"),
        ("pytest", "/nowhere", "keystead"),
    ],
)
def test_the_program_is_named_as_the_shell_finds_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, started_as: str, path: str, shown: str
) -> None:
    monkeypatch.chdir(tmp_path)
    for directory in ("venv/bin", "a b"):
        Path(directory).mkdir(parents=True)
        (Path(directory) / "keystead").touch(mode=0o755)
    monkeypatch.setenv("PATH", str(tmp_path / path))
    monkeypatch.setattr("sys.argv", [str(tmp_path / started_as)])
    assert program() == shown
