"""The settings of Azure become a configuration, or a sentence that says what is wrong with them and no secret."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, fields, replace
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path

import pytest
from azure.identity._constants import EnvironmentVariables
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.x509.oid import NameOID

from core.bootstrap import Config, build
from core.bootstrap.parts import AzureConfig
from core.ports import Clock
from core.providers.azure_key_vault.settings import AzureSettings
from functions import cloud_settings
from functions.settings import LOCAL_AZURE, Settings, SettingsError

CLIENT, HOME, IDENTITY = (f"{digit * 8}-{digit * 4}-{digit * 4}-{digit * 4}-{digit * 12}" for digit in "abc")
SECRET = "canary-secret"
APPLICATION = {"KEYSTEAD_AZURE_CLIENT_ID": CLIENT, "KEYSTEAD_AZURE_HOME_TENANT": HOME}
WITH_SECRET = {**APPLICATION, "KEYSTEAD_AZURE_CLIENT_SECRET": SECRET}
EMULATOR = {"KEYSTEAD_AZURE_EMULATOR": "127.0.0.1:4600", "KEYSTEAD_AZURE_EMULATOR_CA": "ca.pem"}


@pytest.fixture(autouse=True)
def in_a_directory_of_pem_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    certificate, key, locked = pems()
    (tmp_path / "ca.pem").write_bytes(certificate)
    (tmp_path / "app.pem").write_bytes(key + certificate)
    (tmp_path / "no-key.pem").write_bytes(certificate)
    (tmp_path / "no-certificate.pem").write_bytes(key)
    (tmp_path / "locked.pem").write_bytes(certificate + locked)
    (tmp_path / "LICENSE").write_text("not a certificate", encoding="ascii")


@cache
def pems() -> tuple[bytes, bytes, bytes]:
    """A certificate, its private key, and that under a password."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "keystead")])
    now = datetime.now(UTC)
    builder = x509.CertificateBuilder(name, name, key.public_key(), 1, now, now + timedelta(days=1))
    encoding, form = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8
    private = key.private_bytes(encoding, form, serialization.NoEncryption())
    locked = key.private_bytes(encoding, form, serialization.BestAvailableEncryption(b"a password"))
    return builder.sign(key, SHA256()).public_bytes(encoding), private, locked


@pytest.mark.parametrize("name", ["LICENSE", "no-key.pem", "no-certificate.pem", "locked.pem"])
def test_a_certificate_file_that_is_none_stops_the_start(name: str) -> None:
    said = refusal({**APPLICATION, "KEYSTEAD_AZURE_CERTIFICATE_FILE": name})
    assert "KEYSTEAD_AZURE_CERTIFICATE_FILE names is not a PEM file with a certificate and its private key" in said


@pytest.mark.parametrize("name", ["LICENSE", "no-certificate.pem"])
def test_an_authority_that_is_none_stops_the_start(name: str) -> None:
    said = refusal({**EMULATOR, "KEYSTEAD_AZURE_EMULATOR_CA": name})
    assert "KEYSTEAD_AZURE_EMULATOR_CA names is not a PEM file with a certificate" in said


def config(environ: dict[str, str]) -> AzureConfig | None:
    return Settings.from_env(environ).to_config().azure


def refusal(environ: dict[str, str]) -> str:
    with pytest.raises(SettingsError) as caught:
        Settings.from_env(environ).to_config()
    assert caught.value.hint
    said = f"{caught.value.detail} {caught.value.hint}"
    assert "canary" not in said + repr(caught.value)
    return said


def test_without_an_application_there_is_no_azure() -> None:
    assert config({}) is None
    assert config({"KEYSTEAD_AWS_REGIONS": "eu-central-1"}) is None


def test_everything_set() -> None:
    found = config(
        {
            "KEYSTEAD_STAGE": "prod",
            "KEYSTEAD_AZURE_CLIENT_ID": CLIENT.upper(),
            "KEYSTEAD_AZURE_HOME_TENANT": HOME.upper(),
            "KEYSTEAD_AZURE_CLOUD": "USGovernment",
            "KEYSTEAD_AZURE_MANAGED_IDENTITY": IDENTITY.upper(),
            "KEYSTEAD_AZURE_REDIRECT_URL": "https://keys.example/v1/azure/consent",
            "KEYSTEAD_AZURE_EGRESS": "203.0.113.7, 198.51.100.0/28, 2001:DB8:0::/48, 203.0.113.7/32,",
        }
    )
    assert found == AzureConfig(
        client_id=CLIENT,
        home_tenant=HOME,
        cloud="usgovernment",
        managed_identity=IDENTITY,
        redirect_url="https://keys.example/v1/azure/consent",
        egress=("203.0.113.7", "198.51.100.0/28", "2001:db8::/48"),
    )


@pytest.mark.parametrize(
    ("variable", "value", "expected"),
    [
        ("KEYSTEAD_AZURE_MANAGED_IDENTITY", IDENTITY, {"managed_identity": IDENTITY}),
        ("KEYSTEAD_AZURE_CERTIFICATE_FILE", "app.pem", {"certificate_file": "app.pem"}),
        ("KEYSTEAD_AZURE_CLIENT_SECRET", SECRET, {"client_secret": SECRET}),
    ],
)
@pytest.mark.parametrize("stage", ["local", "prod"])
def test_each_credential_alone(stage: str, variable: str, value: str, expected: dict[str, str]) -> None:
    found = config({**APPLICATION, "KEYSTEAD_STAGE": stage, variable: value})
    assert found == AzureConfig(client_id=CLIENT, home_tenant=HOME, **expected)  # type: ignore[arg-type]
    # An emulator beside an application of one's own leaves that in force.
    if stage == "local":
        emulated = config({**APPLICATION, variable: value, **EMULATOR})
        assert found is not None
        assert emulated == replace(found, dial="127.0.0.1:4600", ca_file="ca.pem")


def test_an_emulator_alone_has_an_application_of_its_own() -> None:
    client_id, home_tenant, secret = LOCAL_AZURE
    assert (client_id, home_tenant) == ("00000000-0000-4000-8000-00000000a991", "00000000-0000-4000-8000-000000000001")
    local = AzureConfig(
        client_id=client_id,
        home_tenant=home_tenant,
        client_secret=secret,
        dial="127.0.0.1:4600",
        ca_file="ca.pem",
    )
    assert config(EMULATOR) == local
    more = {"KEYSTEAD_AZURE_CLOUD": "china", "KEYSTEAD_AZURE_EGRESS": "203.0.113.7"}
    landing = {"KEYSTEAD_AZURE_REDIRECT_URL": "http://127.0.0.1:8080/v1/azure/consent"}
    assert config({**EMULATOR, **more, **landing}) == replace(
        local, cloud="china", egress=("203.0.113.7",), redirect_url="http://127.0.0.1:8080/v1/azure/consent"
    )


def test_the_connector_gets_all_of_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever is configured reaches the provider under the same name, and is let go of at the end."""
    made: list[tuple[AzureSettings, float]] = []
    closed: list[str] = []

    class Recorded:
        def __init__(self, settings: AzureSettings, clock: Clock, *, remaining: Callable[[], float]) -> None:
            assert clock.wall() > 0
            made.append((settings, remaining()))

        def close(self) -> None:
            closed.append("azure")

    monkeypatch.setattr("core.providers.azure_key_vault.AzureKeyVault", Recorded)
    told = {item.name: f"text of {item.name}" for item in fields(AzureConfig)}
    given = AzureConfig(**{**told, "cloud": "china", "egress": ("203.0.113.7",)})  # type: ignore[arg-type]
    application = build(Config(data_dir=Path("data"), store="memory", azure=given))
    assert [*application.leaves.connectors] == ["azure_key_vault"]
    ((settings, remaining),) = made
    assert asdict(settings) == asdict(given)
    assert 0 < remaining < 60
    assert not closed
    application.close()
    assert closed == ["azure"]


def test_both_clouds_beside_each_other() -> None:
    settings = Settings.from_env({**EMULATOR, "KEYSTEAD_AWS_REGIONS": "eu-central-1", "KEYSTEAD_STORE": "memory"})
    application = build(settings.to_config())
    assert {*application.leaves.connectors} == {"aws_kms", "azure_key_vault"}
    assert len(application.leaves.closers) == 2
    application.close()


def test_no_secret_is_shown() -> None:
    for environ in (WITH_SECRET, EMULATOR):
        settings = Settings.from_env(environ)
        made = settings.to_config()
        for secret in (SECRET, LOCAL_AZURE[2]):
            assert secret not in repr(settings)
            assert secret not in repr(made)
            assert secret not in str(made.azure)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (
            {"KEYSTEAD_AZURE_HOME_TENANT": HOME},
            "KEYSTEAD_AZURE_HOME_TENANT is set, and KEYSTEAD_AZURE_CLIENT_ID is not",
        ),
        ({"KEYSTEAD_AZURE_MANAGED_IDENTITY": IDENTITY}, "KEYSTEAD_AZURE_CLIENT_ID is not"),
        ({"KEYSTEAD_AZURE_CERTIFICATE_FILE": "app.pem"}, "KEYSTEAD_AZURE_CLIENT_ID is not"),
        ({"KEYSTEAD_AZURE_CLIENT_SECRET": SECRET}, "KEYSTEAD_AZURE_CLIENT_SECRET is set"),
        ({"KEYSTEAD_AZURE_CLOUD": "china"}, "KEYSTEAD_AZURE_CLOUD is set"),
        ({"KEYSTEAD_AZURE_EGRESS": "203.0.113.7"}, "KEYSTEAD_AZURE_EGRESS is set"),
        ({"KEYSTEAD_AZURE_REDIRECT_URL": "https://keys.example/"}, "KEYSTEAD_AZURE_REDIRECT_URL is set"),
        ({**EMULATOR, "KEYSTEAD_AZURE_HOME_TENANT": HOME}, "KEYSTEAD_AZURE_CLIENT_ID is not"),
        ({**EMULATOR, "KEYSTEAD_AZURE_CLIENT_SECRET": SECRET}, "KEYSTEAD_AZURE_CLIENT_ID is not"),
        ({"KEYSTEAD_AZURE_CLIENT_ID": CLIENT}, "KEYSTEAD_AZURE_HOME_TENANT is not"),
        ({"KEYSTEAD_AZURE_CLIENT_ID": CLIENT, **EMULATOR}, "KEYSTEAD_AZURE_HOME_TENANT is not"),
        ({**WITH_SECRET, "KEYSTEAD_AZURE_HOME_TENANT": ""}, "KEYSTEAD_AZURE_HOME_TENANT is not"),
        (APPLICATION, "exactly one credential, and none is set"),
        ({**APPLICATION, **EMULATOR}, "exactly one credential, and none is set"),
        (
            {**WITH_SECRET, "KEYSTEAD_AZURE_MANAGED_IDENTITY": IDENTITY},
            "KEYSTEAD_AZURE_MANAGED_IDENTITY and KEYSTEAD_AZURE_CLIENT_SECRET are set",
        ),
        ({**WITH_SECRET, "KEYSTEAD_AZURE_CERTIFICATE_FILE": "app.pem"}, "exactly one credential"),
        ({**APPLICATION, "KEYSTEAD_AZURE_CERTIFICATE_FILE": "canary.pem"}, "KEYSTEAD_AZURE_CERTIFICATE_FILE names"),
        ({**APPLICATION, "KEYSTEAD_AZURE_CERTIFICATE_FILE": "."}, "cannot be read"),
        ({"KEYSTEAD_AZURE_EMULATOR": "127.0.0.1:4600"}, "go together"),
        ({"KEYSTEAD_AZURE_EMULATOR_CA": "ca.pem"}, "go together"),
        ({**WITH_SECRET, "KEYSTEAD_AZURE_EMULATOR_CA": "ca.pem"}, "go together"),
        ({**EMULATOR, "KEYSTEAD_AZURE_EMULATOR_CA": "canary.pem"}, "KEYSTEAD_AZURE_EMULATOR_CA names"),
    ],
    ids=str,
)
def test_what_does_not_go_together(given: dict[str, str], said: str) -> None:
    assert said in refusal(given)


@pytest.mark.parametrize(
    ("variable", "values"),
    [
        *(
            (
                f"KEYSTEAD_AZURE_{name}",
                (
                    *("canary", f"{{{CLIENT}}}", CLIENT.replace("-", ""), f"{CLIENT}\n", f" {CLIENT}", f"{CLIENT}a"),
                    *("acme.onmicrosoft.com", CLIENT.replace("a", "g"), CLIENT.replace("aaaa-", "\uff41aaa-")),
                ),
            )
            for name in ("CLIENT_ID", "HOME_TENANT", "MANAGED_IDENTITY")
        ),
        ("KEYSTEAD_AZURE_CLOUD", ("canary", "germany", "azurecloud", "public,china")),
        (
            "KEYSTEAD_AZURE_EGRESS",
            (
                *("canary", "203.0.113.7;198.51.100.1", "203.0.113.7 198.51.100.1", "203.0.113.7/24", "203.0.113.256"),
                *("0.0.0.0/0", "0.0.0.0/1", "::/0", "1", "10.1", "127.0.0.1", "::1", "169.254.169.254", "224.0.0.1"),
                *("fe80::1%eth0", "2001:db8::1%canary", "203.0.113.7-203.0.113.9", "$(canary)"),
            ),
        ),
        (
            "KEYSTEAD_AZURE_REDIRECT_URL",
            (
                *("canary", "keys.example", "ftp://keys.example/", "//keys.example", "https://", "https:///x"),
                *("https://canary:x@keys.example/", "https://keys.example/?canary", "https://keys.example/#canary"),
                *("https://keys.example/a b", "https://keys.example/\n", "https://keys.example/%2e", "https://[::1/x"),
                *("https://keys.example:port/x", "https://k\u00e9ys.example/", "https://keys.example\\x"),
            ),
        ),
        (
            "KEYSTEAD_AZURE_EMULATOR",
            (
                *("canary", "127.0.0.1", "127.0.0.1:", ":4600", "127.0.0.1:0", "127.0.0.1:65536", "127.0.0.1:46000000"),
                *("https://127.0.0.1:4600", "127.0.0.1:4600/x", "10.0.0.1:4600", "0.0.0.0:4600", "127.0.0.256:4600"),
                *("127.0.0.1.canary.example:4600", "canary@127.0.0.1:4600", "[::1]:4600", "127.1:4600", "::1:4600"),
                *(
                    " 127.0.0.1:4600",
                    "127.0.0.1:4600\n",
                    "127.0.0.1:+460",
                    "127.0.0.1:\u0664600",
                    "vault.azure.net:443",
                ),
            ),
        ),
    ],
)
def test_values_that_cannot_be(variable: str, values: tuple[str, ...]) -> None:
    for value in values:
        given = {**WITH_SECRET, variable: value}
        if variable == "KEYSTEAD_AZURE_EMULATOR":
            given |= {"KEYSTEAD_AZURE_EMULATOR_CA": "ca.pem"}
        assert refusal(given).startswith(variable), value


@pytest.mark.parametrize("url", ["http://127.0.0.1:8080/c", "http://localhost/c", "http://[::1]:1/c"])
def test_a_landing_page_without_tls_is_for_this_machine(url: str) -> None:
    given = {**WITH_SECRET, "KEYSTEAD_AZURE_REDIRECT_URL": url}
    found = config(given)
    assert found is not None
    assert found.redirect_url == url
    assert "is not https" in refusal({**given, "KEYSTEAD_STAGE": "prod"})


@pytest.mark.parametrize("url", ["http://keys.example/c", "http://10.0.0.1/c", "http://127.0.0.1.evil.test/c"])
@pytest.mark.parametrize("stage", ["local", "prod"])
def test_a_landing_page_without_tls_elsewhere_is_refused(stage: str, url: str) -> None:
    assert "is not https" in refusal(
        {**WITH_SECRET, "KEYSTEAD_AZURE_REDIRECT_URL": url, "KEYSTEAD_STAGE": stage},
    )


@pytest.mark.parametrize("stage", ["dev", "test", "prod", "locale"])
@pytest.mark.parametrize("application", [{}, WITH_SECRET])
def test_outside_of_the_local_stage_there_is_no_emulator(stage: str, application: dict[str, str]) -> None:
    for given in (EMULATOR, *({name: value} for name, value in EMULATOR.items())):
        said = refusal({**application, **given, "KEYSTEAD_STAGE": stage})
        assert "outside of the stage local" in said
        assert said.startswith(tuple(given))


def test_an_option_is_checked_like_the_variable() -> None:
    for address in ("10.0.0.1:4600", "localhost:4600"):
        with pytest.raises(SettingsError, match="KEYSTEAD_AZURE_EMULATOR is an address"):
            replace(Settings(azure_emulator_ca="ca.pem"), azure_emulator=address).check()
    with pytest.raises(SettingsError, match="stage local"):
        replace(Settings(stage="prod"), azure_emulator="127.0.0.1:1", azure_emulator_ca="ca.pem").check()
    with pytest.raises(SettingsError, match="no such address"):
        replace(Settings.from_env(WITH_SECRET), azure_redirect_url="https://keys.example/?x").check()


@pytest.mark.parametrize("stage", ["dev", "prod"])
@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("AZURE_AUTHORITY_HOST", "https://login.evil.test"),
        ("AZURE_AUTHORITY_HOST", "login.microsoftonline.com.evil.test"),
        ("AZURE_AUTHORITY_HOST", "https://login.microsoftonline.com@evil.test/"),
        ("AZURE_AUTHORITY_HOST", "https://login.microsoftonline.com/tenant"),
        ("AZURE_AUTHORITY_HOST", "http://login.microsoftonline.com"),
        ("AZURE_AUTHORITY_HOST", "https://login.chinacloudapi.cn"),
        ("AZURE_POD_IDENTITY_AUTHORITY_HOST", "http://169.254.169.254"),
        ("AZURE_IDENTITY_DISABLE_MULTITENANTAUTH", "1"),
        ("AZURE_REGIONAL_AUTHORITY_NAME", "westeurope"),
        ("MSAL_FORCE_REGION", "westeurope"),
    ],
)
def test_outside_of_the_local_stage_nothing_redirects_the_calls_to_azure(stage: str, variable: str, value: str) -> None:
    said = refusal({**WITH_SECRET, "KEYSTEAD_STAGE": stage, variable: value})
    assert said.startswith(f"{variable} sends the calls to Azure elsewhere")
    assert value not in said
    assert Settings.from_env({**WITH_SECRET, variable: value}).stage == "local"
    assert Settings.from_env({**WITH_SECRET, "KEYSTEAD_STAGE": stage, variable: ""}).stage == stage


@pytest.mark.parametrize(
    ("cloud", "authority"),
    [
        ("", "https://login.microsoftonline.com/"),
        ("public", "login.microsoftonline.com"),
        ("china", "https://login.chinacloudapi.cn"),
        ("usgovernment", "HTTPS://Login.MicrosoftOnline.US/"),
    ],
)
def test_the_authority_of_the_own_cloud_is_none_elsewhere(cloud: str, authority: str) -> None:
    """Azure's Kubernetes names it in every container with an identity."""
    given = {"KEYSTEAD_STAGE": "prod", "AZURE_AUTHORITY_HOST": authority}
    assert Settings.from_env({**WITH_SECRET, **given, "KEYSTEAD_AZURE_CLOUD": cloud}).stage == "prod"
    assert Settings.from_env(given).stage == "prod", "a deployment without an application may run in any cloud"
    if cloud not in ("", "public"):
        assert refusal({**WITH_SECRET, **given}).startswith("AZURE_AUTHORITY_HOST")


def test_what_azures_own_hosts_set_is_taken() -> None:
    hosts = {"IDENTITY_ENDPOINT": "http://127.0.0.1:41000/msi/token", "IDENTITY_HEADER": "x", "MSI_ENDPOINT": "x"}
    identity = {**APPLICATION, "KEYSTEAD_AZURE_MANAGED_IDENTITY": IDENTITY}
    assert Settings.from_env({**identity, **hosts, "KEYSTEAD_STAGE": "prod"}).stage == "prod"


def test_every_variable_by_which_the_library_finds_entra_is_known() -> None:
    """A newer azure-identity that reads another one must be looked at before it is taken."""
    names = {value for name, value in vars(EnvironmentVariables).items() if name.isupper() and isinstance(value, str)}
    looked_at = {
        *("AZURE_CLIENT_ID", "AZURE_CLIENT_SECRET", "AZURE_TENANT_ID", "AZURE_USERNAME", "AZURE_PASSWORD"),
        *("AZURE_CLIENT_CERTIFICATE_PATH", "AZURE_CLIENT_CERTIFICATE_PASSWORD", "AZURE_CLIENT_SEND_CERTIFICATE_CHAIN"),
        *("AZURE_FEDERATED_TOKEN_FILE", "AZURE_TOKEN_CREDENTIALS"),
        *("IDENTITY_ENDPOINT", "IDENTITY_HEADER", "IDENTITY_SERVER_THUMBPRINT", "IMDS_ENDPOINT"),
        *("MSI_ENDPOINT", "MSI_SECRET"),
        # Read only by a WorkloadIdentityCredential that was told to.
        *("AZURE_KUBERNETES_SNI_NAME", "AZURE_KUBERNETES_TOKEN_PROXY"),
        *("AZURE_KUBERNETES_CA_FILE", "AZURE_KUBERNETES_CA_DATA"),
    }
    refused = {*cloud_settings._AZURE_REDIRECTIONS, cloud_settings._AUTHORITY} - {"MSAL_FORCE_REGION"}
    assert refused <= names
    assert names - refused - looked_at == set()
