"""Leaving with a key in Azure: an export opens with the key and what docs/exit.md tells, and with nothing of ours."""

from __future__ import annotations

from base64 import b64decode
from collections.abc import Iterator, Mapping
from hashlib import sha384
from typing import Any

import pytest

from core.domain.vaults import VaultKey
from tests.byok.clouds import TwoClouds, two_clouds


@pytest.fixture
def clouds() -> Iterator[TwoClouds]:
    with two_clouds() as made:
        made.tenant("acme")
        yield made


def text(value: Mapping[str, str]) -> str:
    """A value of DynamoDB's JSON, as text."""
    ((kind, found),) = value.items()
    assert kind in ("S", "N")
    return found


def digest(item: Mapping[str, Any], table_name: str) -> bytes:
    """As docs/exit.md tells it; on purpose not by our own serialisation."""
    context = {name: text(value) for name, value in item.items() if name != "enc"} | {"tablename": table_name}
    out = len(context).to_bytes(2, "big")
    for part in (part for key in sorted(context, key=str.encode) for part in (key, context[key])):
        out += len(part.encode()).to_bytes(2, "big") + part.encode()
    return sha384(out).digest()


def exported(clouds: TwoClouds) -> Any:
    return clouds.app.keystead._parts.key_exports.export("acme")


@pytest.mark.parametrize(("kty", "size", "algorithm"), [("RSA", 2048, "RSA-OAEP-256"), ("oct-HSM", 256, "A256KW")])
def test_rows_open_as_it_is_told(clouds: TwoClouds, kty: str, size: int, algorithm: str) -> None:
    key = clouds.new_vault_key("acme", kty=kty, size=size)
    clouds.into_vault("acme", key)
    export = exported(clouds)
    assert len(export.items) == 3, "two versions, and which one is active"
    keys = set()
    for item in export.items:
        named = VaultKey.parse(item["kms-arn"]["S"])
        material = clouds.azure.vaults.vault(named.vault_url).keys[named.name].version(named.version).material
        plain = material.decrypt(algorithm, b64decode(item["enc"]["B"]))
        assert len(plain) == 80
        assert plain[:48] == digest(item, export.table_name)
        keys.add(plain[48:])
    assert len(keys) == 2
