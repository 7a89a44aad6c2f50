"""The signing key of a deployment: from the key file to a KMS, from key to key, and back. Old statements verify on."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from core.bootstrap import AwsConfig, AzureConfig, Config, Leaves, local_leaves
from core.domain import jws
from core.errors import Denial, InvalidRequest, StoreCorrupt
from core.providers.aws_kms.signer import AwsSigner
from core.providers.azure_key_vault.signer import AzureSigner
from core.providers.local_signer import FILE, LocalSigner
from core.service.audit import AuditTrail
from core.service.timekeeper import Timekeeper
from functions.emulators.azure_wire import serve as serve_azure
from functions.emulators.azure_world import AzureEmulator
from functions.emulators.defaults import (
    DEFAULT_REGION,
    LOCAL_ACCESS_KEY_ID,
    LOCAL_ACCOUNT,
    LOCAL_PRINCIPAL,
    LOCAL_SECRET_ACCESS_KEY,
)
from functions.emulators.kms import KmsEmulator
from functions.emulators.wire import serve
from tests.conformance.signer import verified

CLIENT, HOME = "00000000-0000-4000-8000-0000000000a1", "00000000-0000-4000-8000-0000000000a2"
NOW = 1_800_000_000.0
MakeKey = Callable[[], str]


@contextmanager
def aws(directory: Path) -> Iterator[tuple[Config, MakeKey]]:
    emulator = KmsEmulator(now=lambda: NOW)
    emulator.add_principal(LOCAL_ACCESS_KEY_ID, LOCAL_SECRET_ACCESS_KEY, LOCAL_PRINCIPAL)
    with serve(emulator, max_age=None) as server:
        reached = AwsConfig(
            frozenset({DEFAULT_REGION}),
            endpoint_url=server.url,
            access_key_id=LOCAL_ACCESS_KEY_ID,
            secret_access_key=LOCAL_SECRET_ACCESS_KEY,
        )
        yield (
            Config(data_dir=directory, aws=reached),
            lambda: emulator.create_key(LOCAL_ACCOUNT, spec="ECC_NIST_P256", usage="SIGN_VERIFY", rotation=False),
        )


@contextmanager
def azure(directory: Path) -> Iterator[tuple[Config, MakeKey]]:
    emulator = AzureEmulator(lambda: NOW)
    emulator.add_application(CLIENT, HOME, "secret")
    vault = emulator.create_vault("kv-signing", HOME)
    emulator.grant(vault, CLIENT, actions=("read", "sign"))
    with serve_azure(emulator) as server:
        reached = AzureConfig(CLIENT, HOME, client_secret="secret", dial=server.dial, ca_file=server.ca_file)
        yield (
            Config(data_dir=directory, azure=reached),
            lambda: emulator.create_key(vault, "signing", kty="EC"),
        )


@contextmanager
def running(config: Config, **changes: Any) -> Iterator[Leaves]:
    leaves = local_leaves(replace(config, **changes))
    try:
        yield leaves
    finally:
        for close in leaves.closers:
            close()


def trail(leaves: Leaves) -> AuditTrail:
    now = Timekeeper(leaves.clock, lambda _: None).now
    return AuditTrail(leaves.audit_log, leaves.tenant_store, leaves.signer, now)


def checkpoint(leaves: Leaves) -> str:
    """A signed checkpoint of the operator's chain, which is added to first."""
    trail(leaves).record("_system", "test", "tester", "ok")
    found = trail(leaves).checkpoint("_system")
    assert found is not None
    return found


def published(leaves: Leaves) -> list[Mapping[str, str]]:
    return [*leaves.signer.jwks()["keys"]]


@pytest.mark.parametrize(("cloud", "signer"), [(aws, AwsSigner), (azure, AzureSigner)], ids=["aws", "azure"])
def test_every_statement_verifies_whatever_signed_it(cloud: Any, signer: type, tmp_path: Path) -> None:
    with cloud(tmp_path) as (config, make_key):
        with running(config) as leaves:
            assert type(leaves.signer) is LocalSigner
            statements = [checkpoint(leaves)]
        first, second = make_key(), make_key()
        retired: tuple[Mapping[str, str], ...] = ()
        for key in (first, second):
            with running(config, signing_key=key, retired_signing_keys=retired) as leaves:
                assert type(leaves.signer) is signer
                statements.append(checkpoint(leaves))
                retired = tuple(published(leaves))
                for statement in statements:
                    assert verified(statement, leaves.signer.jwks()) == jws.verify(statement, {"keys": retired})
                assert trail(leaves).verify("_system", checkpoints=statements).ok
        assert [found["alg"] for found in retired] == ["ES256", "ES256", "EdDSA"]
        with running(config, retired_signing_keys=retired) as leaves:
            statements.append(checkpoint(leaves))
            keys = published(leaves)
            assert [found["alg"] for found in keys] == ["EdDSA", "ES256", "ES256"]
            assert trail(leaves).verify("_system", checkpoints=statements).ok


def test_a_deployment_that_never_had_a_key_file_gets_none(tmp_path: Path) -> None:
    with aws(tmp_path) as (config, make_key), running(config, signing_key=make_key()) as leaves:
        assert [found["alg"] for found in published(leaves)] == ["ES256"]
        assert not (tmp_path / "signing" / FILE).exists()


def test_the_start_needs_no_kms_and_the_key_set_does(tmp_path: Path) -> None:
    key = "arn:aws:kms:eu-central-1:999999999999:key/00000000-0000-4000-8000-000000000000"
    with aws(tmp_path) as (config, _), running(config, signing_key=key) as leaves, pytest.raises(Denial) as raised:
        leaves.signer.jwks()
    assert raised.value.cause == "not_found"


def test_a_key_file_that_is_damaged_is_not_passed_over(tmp_path: Path) -> None:
    with aws(tmp_path) as (config, make_key):
        with running(config):
            pass
        (tmp_path / "signing" / FILE).write_bytes(b"{")
        with pytest.raises(StoreCorrupt):
            local_leaves(replace(config, signing_key=make_key()))


@pytest.mark.parametrize(
    "changes",
    [
        {"signing_key": f"https://kv-1.vault.azure.net/keys/signing/{'0' * 32}"},
        {"signing_key": "local"},
        {"signing_key": "arn:aws:kms:eu-central-1:999999999999:alias/signing"},
        {"retired_signing_keys": ({"kty": "RSA"},)},
    ],
    ids=["no application", "no key", "alias", "retired"],
)
def test_configurations_that_cannot_be(tmp_path: Path, changes: dict[str, Any]) -> None:
    with pytest.raises(InvalidRequest):
        local_leaves(replace(Config(data_dir=tmp_path, store="memory"), **changes))
