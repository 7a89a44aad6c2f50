"""The environment becomes settings, or a sentence that says what is wrong with it."""

from __future__ import annotations

import json
from dataclasses import fields, replace
from pathlib import Path

import pytest

from core.bootstrap import AwsConfig, Config
from core.domain.offerings import DEFAULT_OFFERINGS
from functions.emulators.defaults import LOCAL_ACCESS_KEY_ID, LOCAL_SECRET_ACCESS_KEY
from functions.issuers import read_issuers
from functions.offerings import read_offerings
from functions.settings import SETTINGS, Settings, SettingsError, is_loopback
from tests.functions import tokens


def test_the_table_is_the_fields() -> None:
    assert [setting.field for setting in SETTINGS] == [item.name for item in fields(Settings)]
    assert all(setting.meaning for setting in SETTINGS)


def test_nothing_set_is_the_defaults() -> None:
    assert Settings.from_env({}) == Settings()
    assert Settings.from_env({"PATH": "/bin", "KEYSTEAD_PORT": ""}) == Settings()


def test_everything_set() -> None:
    found = Settings.from_env(
        {
            "KEYSTEAD_STAGE": "test-1",
            "KEYSTEAD_DATA": "/var/lib/keystead",
            "KEYSTEAD_HOST": "::1",
            "KEYSTEAD_PORT": "0",
            "KEYSTEAD_WORKERS": "4",
            "KEYSTEAD_THREADS": "8",
            "KEYSTEAD_MAX_REQUESTS": "64",
            "KEYSTEAD_SHUTDOWN_TIMEOUT": "3",
            "KEYSTEAD_ALLOW_REMOTE": "yes",
            "KEYSTEAD_ALLOWED_HOSTS": "Keys.Example, other.example,",
            "KEYSTEAD_STORE": "SQLite",
            "KEYSTEAD_TABLE_NAME": "t",
            "KEYSTEAD_AWS_REGIONS": "eu-central-1, us-gov-west-1",
            "KEYSTEAD_AWS_ACCOUNTS": "999999999999,",
            "KEYSTEAD_AWS_PRINCIPAL": "arn:aws:iam::999999999999:role/app/keystead",
            "KEYSTEAD_OFFERINGS": "offerings.json",
            "KEYSTEAD_BACKUP_DAYS": "7",
            "KEYSTEAD_MAX_LEASE": "0",
            "KEYSTEAD_MAX_OUTAGE_GRACE": "600",
            "KEYSTEAD_CONFIRM_AFTER": "1",
            "KEYSTEAD_CHECK_INTERVAL": "900",
            "KEYSTEAD_ISSUERS": "[]",
            "KEYSTEAD_LOCAL_ISSUER": "0",
            "KEYSTEAD_LOG_LEVEL": "debug",
            "KEYSTEAD_URL": "https://keys.example/",
            "KEYSTEAD_TOKEN": "secret-token",
            "KEYSTEAD_TENANT": "acme",
        }
    )
    assert found == Settings(
        stage="test-1",
        data=Path("/var/lib/keystead"),
        host="::1",
        port=0,
        workers=4,
        threads=8,
        max_requests=64,
        shutdown_timeout=3,
        allow_remote=True,
        allowed_hosts=("keys.example", "other.example"),
        store="sqlite",
        table_name="t",
        aws_regions=("eu-central-1", "us-gov-west-1"),
        aws_accounts=("999999999999",),
        aws_principal="arn:aws:iam::999999999999:role/app/keystead",
        offerings="offerings.json",
        backup_days=7,
        max_lease=0,
        max_outage_grace=600,
        confirm_after=1,
        check_interval=900,
        issuers="[]",
        local_issuer=False,
        log_level="debug",
        url="https://keys.example",
        token="secret-token",
        tenant="acme",
    )
    assert "secret-token" not in repr(found)
    assert found.base_url == "https://keys.example"


@pytest.mark.parametrize(
    ("variable", "value", "said"),
    [
        ("KEYSTEAD_PROT", "1", "did you mean KEYSTEAD_PORT?"),
        ("KEYSTEAD_ALLOWED_HOST", "x", "did you mean KEYSTEAD_ALLOWED_HOSTS?"),
        ("KEYSTEAD_ZZZZZZ", "x", "known are KEYSTEAD_STAGE, KEYSTEAD_DATA"),
        ("KEYSTEAD_PORT", "http", "from 0 to 65535"),
        ("KEYSTEAD_PORT", "65536", "from 0 to 65535"),
        ("KEYSTEAD_PORT", "-1", "from 0 to 65535"),
        ("KEYSTEAD_WORKERS", "0", "from 1 to 64"),
        ("KEYSTEAD_STORE", "redis", "one of sqlite, memory"),
        ("KEYSTEAD_ALLOW_REMOTE", "maybe", "1 or 0"),
        ("KEYSTEAD_LOG_LEVEL", "loud", "one of debug"),
        ("KEYSTEAD_URL", "ftp://x", "http://"),
        ("KEYSTEAD_HOST", "0.0.0.0", "KEYSTEAD_ALLOW_REMOTE"),
        ("KEYSTEAD_HOST", "keys.example", "KEYSTEAD_ALLOW_REMOTE"),
        ("KEYSTEAD_STAGE", "Prod!", "lower-case"),
        ("KEYSTEAD_STAGE", "a" * 21, "1 to 20"),
        ("KEYSTEAD_AWS_REGIONS", "eu-central-1,everywhere", "Regions"),
        ("KEYSTEAD_AWS_REGIONS", "eu-central-1 us-east-1", "commas"),
        ("KEYSTEAD_AWS_ACCOUNTS", "1234", "12 digits"),
        ("KEYSTEAD_AWS_PRINCIPAL", "keystead", "ARN"),
        ("KEYSTEAD_AWS_PRINCIPAL", "arn:aws:iam::999999999999:root", "role or user"),
        ("KEYSTEAD_BACKUP_DAYS", "many", "from 0 to 3650"),
        ("KEYSTEAD_MAX_LEASE", "3601", "from 0 to 3600"),
        ("KEYSTEAD_MAX_OUTAGE_GRACE", "86401", "from 0 to 86400"),
        ("KEYSTEAD_CONFIRM_AFTER", "0", "from 1 to 600"),
        ("KEYSTEAD_CONFIRM_AFTER", "601", "from 1 to 600"),
        ("KEYSTEAD_CHECK_INTERVAL", "0", "from 1 to 900"),
        ("KEYSTEAD_CHECK_INTERVAL", "901", "from 1 to 900"),
        ("KEYSTEAD_AWS_ENDPOINT_URL", "127.0.0.1:4599", "http://"),
        ("KEYSTEAD_AWS_ENDPOINT_URL", "http://kms.example", "loopback"),
        ("KEYSTEAD_AWS_ENDPOINT_URL", "http://10.0.0.1:4599", "loopback"),
        ("KEYSTEAD_AWS_ENDPOINT_URL", "http://0.0.0.0:4599", "loopback"),
        ("KEYSTEAD_AWS_ENDPOINT_URL", "http://127.0.0.1.evil.test", "loopback"),
        ("KEYSTEAD_AWS_ENDPOINT_URL", "http://127.0.0.1@evil.test", "loopback"),
        ("KEYSTEAD_AWS_ENDPOINT_URL", "http://user@127.0.0.1", "loopback"),
        ("KEYSTEAD_AWS_ENDPOINT_URL", "http://[::1", "no address"),
        ("KEYSTEAD_AWS_ENDPOINT_URL", "http://127.0.0.1:port", "no address"),
    ],
)
def test_refusals_name_the_variable_and_the_way_out(variable: str, value: str, said: str) -> None:
    with pytest.raises(SettingsError) as caught:
        Settings.from_env({variable: value})
    assert variable in caught.value.detail
    assert said in f"{caught.value.detail} {caught.value.hint}"
    assert caught.value.hint


def test_memory_is_for_one_process() -> None:
    with pytest.raises(SettingsError, match="one process"):
        Settings.from_env({"KEYSTEAD_STORE": "memory", "KEYSTEAD_WORKERS": "2"})


def test_url_of_the_service_on_this_machine() -> None:
    assert Settings().base_url == "http://127.0.0.1:8080"
    assert Settings(host="::1", port=1).base_url == "http://[::1]:1"


def test_to_config() -> None:
    config = Settings(table_name="t", store="memory").to_config()
    assert config == Config(data_dir=Path(".keystead"), store="memory", table_name="t")
    assert config.aws is None


def test_to_config_with_caps_and_pace() -> None:
    given = Settings(store="memory", max_lease=300, max_outage_grace=0, confirm_after=5, check_interval=30)
    config = given.to_config()
    assert (config.max_lease, config.max_outage_grace) == (300, 0)
    assert (config.confirm_after, config.check_interval) == (5, 30)


def test_to_config_with_aws() -> None:
    given = Settings(
        stage="prod",
        aws_regions=("eu-central-1", "us-east-1"),
        aws_accounts=("999999999999",),
        aws_principal="arn:aws:iam::999999999999:role/keystead",
        offerings='{"shield": ["aws_kms"]}',
        backup_days=7,
    )
    config = given.check().to_config()
    assert config.aws == AwsConfig(
        frozenset({"eu-central-1", "us-east-1"}),
        frozenset({"999999999999"}),
        "arn:aws:iam::999999999999:role/keystead",
    )
    assert (config.offerings, config.backup_retention_days) == ({"shield": frozenset({"aws_kms"})}, 7)


@pytest.mark.parametrize("url", ["http://127.0.0.1:4599", "http://[::1]:4599/", "http://localhost:4599"])
def test_to_config_with_an_emulator(url: str) -> None:
    config = Settings.from_env({"KEYSTEAD_AWS_ENDPOINT_URL": url}).to_config()
    assert config.aws is not None
    assert config.aws.endpoint_url == url.rstrip("/")
    assert config.aws.regions == {"eu-central-1"}
    assert (config.aws.access_key_id, config.aws.secret_access_key) == (LOCAL_ACCESS_KEY_ID, LOCAL_SECRET_ACCESS_KEY)
    assert LOCAL_SECRET_ACCESS_KEY not in repr(config)
    named = Settings(aws_endpoint_url=url, aws_regions=("us-east-1",)).to_config().aws
    assert named is not None
    assert named.regions == {"us-east-1"}


@pytest.mark.parametrize("stage", ["dev", "test", "prod", "locale"])
@pytest.mark.parametrize(
    "variable",
    ["KEYSTEAD_AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_KMS", "AWS_ENDPOINT_URL_STS"],
)
def test_outside_of_the_local_stage_nothing_redirects_the_calls_to_aws(stage: str, variable: str) -> None:
    address = {variable: "http://127.0.0.1:4599"}
    with pytest.raises(SettingsError, match=variable) as caught:
        Settings.from_env({"KEYSTEAD_STAGE": stage, **address})
    assert caught.value.hint
    assert Settings.from_env(address).stage == "local"
    assert Settings.from_env({"KEYSTEAD_STAGE": stage, variable: "", "AWS_ENDPOINT_URLS": "x"}).stage == stage


def test_an_option_is_checked_like_the_variable() -> None:
    for given in (Settings(stage="prod"), Settings()):
        with pytest.raises(SettingsError, match="KEYSTEAD_AWS_ENDPOINT_URL"):
            replace(given, aws_endpoint_url="http://kms.example:4599").check()
    with pytest.raises(SettingsError, match="stage local"):
        replace(Settings(stage="prod"), aws_endpoint_url="http://127.0.0.1:4599").check()


def test_offerings_inline_and_from_a_file(tmp_path: Path) -> None:
    text = '{"default": [], "Healthcare Shield": ["azure_key_vault"], "both": ["aws_kms", "azure_key_vault"]}'
    (tmp_path / "offerings.json").write_text(text, encoding="utf-8")
    for given in (text, f" {text}", str(tmp_path / "offerings.json")):
        assert read_offerings(given) == {
            "default": frozenset(),
            "Healthcare Shield": frozenset({"azure_key_vault"}),
            "both": frozenset({"aws_kms", "azure_key_vault"}),
        }
    assert read_offerings(Settings().offerings) == DEFAULT_OFFERINGS


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "{}",
        "no/such/file",
        '{"default": "aws_kms"}',
        '{"default": ["gcp"]}',
        '{"default": ["local"]}',
        '{"default": ["aws_kms", "aws_kms"]}',
        '{"default": [["aws_kms"]]}',
        '{"default": null}',
        '{"": []}',
        '{"a\\u0007": []}',
        '{"a": [], "a": []}',
        '{"' + "a" * 101 + '": []}',
        '{"a": ' + "[" * 100_000,
    ],
)
def test_offerings_that_are_refused(text: str) -> None:
    with pytest.raises(SettingsError, match="KEYSTEAD_OFFERINGS") as caught:
        read_offerings(text)
    assert caught.value.hint


@pytest.mark.parametrize(("host", "loopback"), [("127.9.9.9", True), ("::1", True), ("localhost", True)])
def test_loopback(host: str, loopback: bool) -> None:
    assert is_loopback(host) is loopback


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "10.0.0.1", "localhost.evil.test", ""])
def test_beyond_loopback(host: str) -> None:
    assert not is_loopback(host)


GOOD = {"issuer": tokens.ISSUER, "audience": "keystead", "jwks": tokens.jwks(), "tenants": "*"}


def test_issuers_inline_and_from_files(tmp_path: Path) -> None:
    (tmp_path / "jwks.json").write_text(json.dumps(tokens.jwks()), encoding="utf-8")
    other = {**GOOD, "issuer": "b", "tenants": ["acme"], "platform": True, "jwks": str(tmp_path / "jwks.json")}
    text = json.dumps([GOOD, other])
    (tmp_path / "issuers.json").write_text(text, encoding="utf-8")
    for given in (text, str(tmp_path / "issuers.json")):
        first, second = read_issuers(given)
        assert (first.issuer, first.tenants, first.platform, set(first.keys)) == (
            tokens.ISSUER,
            None,
            False,
            {"r", "e", "o"},
        )
        assert (second.tenants, second.platform) == (frozenset({"acme"}), True)
    assert read_issuers("") == ()


@pytest.mark.parametrize(
    "document",
    [
        {},
        GOOD,
        ["x"],
        [GOOD, GOOD],
        [{**GOOD, "extra": 1}],
        [{name: value for name, value in GOOD.items() if name != "tenants"}],
        [{**GOOD, "tenants": []}],
        [{**GOOD, "tenants": ["Acme"]}],
        [{**GOOD, "tenants": "acme"}],
        [{**GOOD, "tenants": ["acme", "acme"]}],
        [{**GOOD, "platform": "yes"}],
        [{**GOOD, "issuer": ""}],
        [{**GOOD, "audience": None}],
        [{**GOOD, "jwks": {"keys": []}}],
        [{**GOOD, "jwks": "no/such/file"}],
    ],
)
def test_issuers_that_are_refused(document: object) -> None:
    with pytest.raises(SettingsError, match="KEYSTEAD_ISSUERS"):
        read_issuers(json.dumps(document))


@pytest.mark.parametrize("text", ["[", "no/such/file", "[" * 100_000])
def test_issuers_that_cannot_be_read(text: str) -> None:
    with pytest.raises(SettingsError, match="KEYSTEAD_ISSUERS"):
        read_issuers(text)
