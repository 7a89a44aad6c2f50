"""What a tenant takes away from the service: the setup kit for its own cloud, and the export for leaving."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from core.client.values import Fields


@dataclass(frozen=True, slots=True)
class SetupStep:
    """One thing to do in the tenant's own cloud; ``commands`` are for a shell."""

    title: str
    text: str
    commands: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class SetupKit:
    """What a tenant does in its own cloud to let the service use a key.

    Attributes:
        tenant_id: The tenant that it is bound to.
        provider: The cloud.
        external_id: AWS: what the service presents when it assumes the tenant's role. Azure: what the key carries in
            its tag ``keystead-proof``.
        identity: Whom the tenant lets in: AWS: an ARN. Azure: the application.
        documents: JSON documents by name.
        steps: In order.
    """

    tenant_id: str
    provider: str
    external_id: str
    identity: str
    documents: Mapping[str, Any]
    steps: tuple[SetupStep, ...]


@dataclass(frozen=True, slots=True)
class KeyExport:
    """A tenant's branch key rows, wrapped as they are stored.

    Attributes:
        tenant_id: The tenant.
        table_name: The logical key store name; part of every wrap.
        kek: Locator of the KEK in force.
        branch_key_ids: Whose rows these are, the primary first.
        items: Items of the AWS branch key store in DynamoDB's JSON.
    """

    tenant_id: str
    table_name: str
    kek: str
    branch_key_ids: tuple[str, ...]
    items: tuple[Mapping[str, Any], ...]


def setup_kit(fields: Fields) -> SetupKit:
    """Read a setup kit.

    Raises:
        UnexpectedAnswer: A member is missing.
    """
    return SetupKit(
        **{name: fields.get(name, str) for name in ("tenant_id", "provider", "external_id", "identity")},
        documents=fields.get("documents", dict),
        steps=fields.items("steps", _step),
    )


def _step(fields: Fields) -> SetupStep:
    return SetupStep(fields.get("title", str), fields.get("text", str), fields.texts("commands"))


def key_export(fields: Fields) -> KeyExport:
    """Read an export.

    Raises:
        UnexpectedAnswer: A member is missing.
    """
    return KeyExport(
        **{name: fields.get(name, str) for name in ("tenant_id", "table_name", "kek")},
        branch_key_ids=fields.texts("branch_key_ids"),
        items=fields.objects("items"),
    )
