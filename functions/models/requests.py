"""Bodies and queries of the API."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Annotated, ClassVar, Literal, Self, get_args

from pydantic import ConfigDict, Field, ModelWrapValidatorHandler, model_validator

from core.domain.arns import KeyArn
from core.domain.context import MAX_PAIRS
from core.domain.key_target import MAX_NICKNAME, KeyTarget, activation_time
from core.domain.tenants import MAX_DISPLAY_NAME
from core.domain.vaults import VaultKey, entra_tenant
from core.errors import InvalidRequest
from core.service.keystead import MAX_BATCH
from functions.models.base import Base64, Context, Example, Model, QueryNumber, validate
from functions.offerings import MAX_OFFERING

MAX_PAGE = 500
"""Entries of a page."""
MAX_ARN = 2048
"""Characters of an ARN."""
MAX_DATE = 40
"""Characters of an activation date."""
MAX_VAULT_URL = 256
"""Characters of a vault's address."""
MAX_KEY_NAME = 512
"""Characters of a key's name, or of its identifier."""
MAX_ENTRA_TENANT = 253
"""Characters of what may be given for an Entra tenant: only its id is taken, but a name deserves a better answer."""
ProviderField = Literal["aws_kms", "azure_key_vault"]
PROVIDERS: tuple[str, ...] = get_args(ProviderField)
"""The clouds a tenant can bring a key from."""
WholeContext = Annotated[
    dict[str, str],
    Field(max_length=MAX_PAIRS + 2, description="The caller's pairs, or all pairs as the service returned them"),
]


class Empty(Model):
    """A body without fields; it may be left out."""


class TenantBody(Model):
    """What is known of a tenant at its creation."""

    display_name: Annotated[str, Field(max_length=MAX_DISPLAY_NAME)] = Field("", description="For people")

    example: ClassVar[Example] = {"display_name": "Acme Ltd"}


class TenantUpdate(Model):
    """What to change of a tenant; at least one field."""

    display_name: Annotated[str | None, Field(max_length=MAX_DISPLAY_NAME)] = Field(None, description="For people")
    offering: Annotated[str | None, Field(min_length=1, max_length=MAX_OFFERING)] = Field(
        None, description="What the tenant has bought; the operator's table says which clouds that covers"
    )
    accept_unbound_policy: bool | None = Field(
        None, description="Whether a key policy that is not bound to the tenant may pass"
    )

    example: ClassVar[Example] = {"offering": "default"}

    @model_validator(mode="after")
    def _changes_something(self) -> Self:
        if all(value is None for value in (self.display_name, self.offering, self.accept_unbound_policy)):
            raise ValueError("give at least one field")
        return self


class KeyBody(Model):
    """A key in the tenant's own cloud: the provider says in which, and with that which fields name the key."""

    provider: ProviderField = Field(description="The cloud")
    nickname: Annotated[str, Field(max_length=MAX_NICKNAME)] = Field("", description="For people")
    activation_date: Annotated[str, Field(max_length=MAX_DATE)] = Field(
        "", description="ISO 8601 date or instant (UTC without an offset); empty or today: at once"
    )
    reversible: bool = Field(
        False, description="Whether going back to the platform's key stays possible; fixed with the first key"
    )

    variants: ClassVar[dict[str, type[KeyBody]]] = {}
    """The bodies, by the name of their cloud."""

    @model_validator(mode="wrap")
    @classmethod
    def _of_its_cloud(cls, document: object, read: ModelWrapValidatorHandler[KeyBody]) -> KeyBody:
        if not isinstance(document, dict):
            return read(document)
        if cls is not KeyBody:
            cls._refuse_fields_of_another_cloud(document)
            return read(document)
        provider = document.get("provider")
        if not isinstance(provider, str) or provider not in KeyBody.variants:
            said = "required" if "provider" not in document else f"must be one of {', '.join(PROVIDERS)}"
            raise InvalidRequest(f"the request body is not valid: provider: {said}")
        return validate(KeyBody.variants[provider], document)

    @classmethod
    def _refuse_fields_of_another_cloud(cls, document: Mapping[str, object]) -> None:
        for name, other in KeyBody.variants.items():
            foreign = sorted((other.model_fields.keys() - cls.model_fields.keys()) & document.keys())
            if foreign:
                raise ValueError(f"{' and '.join(foreign)} can be given for {name} only")

    def _completed(self, key: KeyTarget) -> KeyTarget:
        activation = activation_time(self.activation_date) if self.activation_date else ""
        return replace(key, nickname=self.nickname, activation=activation, reversible=self.reversible).check()


class AwsKeyBody(KeyBody):
    """A key in AWS KMS."""

    provider: Literal["aws_kms"] = Field(description="The cloud")
    key_arn: Annotated[str, Field(max_length=MAX_ARN)] = Field(description="ARN of the KMS key; never an alias")
    role_arn: Annotated[str, Field(max_length=MAX_ARN)] = Field(
        "", description="Role to assume to reach it; empty where the key's own policy names this service"
    )

    example: ClassVar[Example] = {
        "provider": "aws_kms",
        "key_arn": "arn:aws:kms:eu-central-1:111122223333:key/1234abcd-12ab-34cd-56ef-1234567890ab",
        "role_arn": "arn:aws:iam::111122223333:role/keystead",
        "nickname": "production",
        "activation_date": "2027-01-31",
    }

    def target(self) -> KeyTarget:
        """What it asks for.

        Raises:
            InvalidRequest: An ARN or the date is not well formed.
        """
        return self._completed(KeyTarget(str(KeyArn.parse(self.key_arn)), self.role_arn))


class AzureKeyBody(KeyBody):
    """A key in Azure Key Vault or a Managed HSM."""

    provider: Literal["azure_key_vault"] = Field(description="The cloud")
    vault_url: Annotated[str, Field(max_length=MAX_VAULT_URL)] = Field(
        "", description="Address of the vault; may be left out where `key_name` is a whole identifier"
    )
    entra_tenant: Annotated[str, Field(max_length=MAX_ENTRA_TENANT)] = Field(
        description="Id of the Entra tenant that the vault belongs to, a GUID"
    )
    key_name: Annotated[str, Field(min_length=1, max_length=MAX_KEY_NAME)] = Field(
        description="Name or identifier of the key. A version in it is dropped: the newest version serves"
    )

    example: ClassVar[Example] = {
        "provider": "azure_key_vault",
        "vault_url": "https://acme-kv.vault.azure.net",
        "entra_tenant": "11112222-3333-4444-5555-666677778888",
        "key_name": "kek",
        "nickname": "production",
        "activation_date": "2027-01-31",
    }

    def target(self) -> KeyTarget:
        """What it asks for: the key itself, without a version.

        Raises:
            InvalidRequest: The vault, the key, the Entra tenant or the date is not well formed.
        """
        key = VaultKey.of(self.vault_url, self.key_name).key
        return self._completed(KeyTarget(str(key), entra_tenant=entra_tenant(self.entra_tenant)))


KeyBody.variants.update(aws_kms=AwsKeyBody, azure_key_vault=AzureKeyBody)


class EncryptBody(Model):
    """One plaintext."""

    plaintext: Base64 = Field(description="The data to encrypt; may be empty")
    context: Context = Field(default_factory=dict)

    example: ClassVar[Example] = {"plaintext": "aGVsbG8=", "context": {"purpose": "invoice"}}


class EncryptBatch(Model):
    """Several plaintexts."""

    items: Annotated[Sequence[EncryptBody], Field(min_length=1, max_length=MAX_BATCH)]

    example: ClassVar[Example] = {"items": [EncryptBody.example]}


class DecryptBody(Model):
    """One message and exactly the context pairs it was encrypted under."""

    message: Base64 = Field(description="A message as encrypt returned it")
    context: Context = Field(default_factory=dict)
    foreign: bool = Field(False, description="Accept messages written by other AWS Encryption SDK clients")

    example: ClassVar[Example] = {"message": "AgR4...", "context": {"purpose": "invoice"}}


class DecryptBatch(Model):
    """Several messages."""

    items: Annotated[Sequence[DecryptBody], Field(min_length=1, max_length=MAX_BATCH)]

    example: ClassVar[Example] = {"items": [DecryptBody.example]}


class DataKeyBody(Model):
    """The context to bind a new data key to."""

    context: Context = Field(default_factory=dict)

    example: ClassVar[Example] = {"context": {"file": "report.pdf"}}


class OpenDataKeyBody(Model):
    """An encrypted data key and its context: the caller's pairs, or the whole as it was returned."""

    encrypted_data_key: Base64
    context: WholeContext = Field(default_factory=dict)

    example: ClassVar[Example] = {"encrypted_data_key": "ABFhd3M...", "context": {"file": "report.pdf"}}


class TenantPage(Model):
    """Query of the list of tenants."""

    after: Annotated[str, Field(max_length=63)] = Field("", description="Last tenant id of the page before")
    limit: Annotated[QueryNumber, Field(ge=1, le=MAX_PAGE)] = Field(100, description="Tenants of a page")


class AuditPage(Model):
    """Query of the audit entries."""

    after: Annotated[QueryNumber, Field(ge=0)] = Field(0, description="Last sequence of the page before")
    limit: Annotated[QueryNumber, Field(ge=1, le=MAX_PAGE)] = Field(100, description="Entries of a page")


class SetupQuery(Model):
    """Query of a setup kit."""

    entra_tenant: Annotated[str, Field(max_length=MAX_ENTRA_TENANT)] = Field(
        "", description="Azure: id of the tenant's Entra tenant, if it is known already"
    )


class ConsentQuery(Model):
    """What Entra appends to the address of the landing page. It may grow, so what is not named here is ignored."""

    model_config = ConfigDict(extra="ignore")

    state: str = Field("", description="From the consent link of the setup kit")
    tenant: str = Field("", description="Id of the Entra tenant whose administrator was asked")
    admin_consent: str = Field("", description="`True` if the administrator consented")
    error: str = Field("", description="Why not, if there was no consent")
