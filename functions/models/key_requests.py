"""Bodies and queries of the routes about a tenant's key."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Annotated, ClassVar, Literal, Self, get_args

from pydantic import ConfigDict, Field, ModelWrapValidatorHandler, field_validator, model_validator

from core.domain.arns import KeyArn
from core.domain.key_policy import MAX_LEASE, MAX_OUTAGE_GRACE, MAX_ROTATION_DAYS, PolicyChange
from core.domain.key_target import MAX_NICKNAME, KeyTarget, activation_time
from core.domain.vaults import VaultKey, entra_tenant
from core.errors import InvalidRequest
from core.service.revocation.kill_switch import MAX_REASON
from functions.models.base import Example, Model, validate

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


class PolicyBody(Model):
    """What to tune of a tenant's key; at least one field."""

    lease: Annotated[float | None, Field(ge=0, le=MAX_LEASE)] = Field(
        None, description="Seconds a cached branch key serves after its unwrap was asked for; 0 caches nothing"
    )
    outage_grace: Annotated[float | None, Field(ge=0, le=MAX_OUTAGE_GRACE)] = Field(
        None, description="Seconds it serves if renewal meets silence"
    )
    rotation_days: Annotated[int | None, Field(ge=1, le=MAX_ROTATION_DAYS)] = Field(
        None, description="Days after which a new branch key version is made"
    )
    fallback: Literal["", "platform"] | None = Field(
        None, description="`platform`: new data goes under the platform's key while the tenant's cannot be reached"
    )
    approval: Literal["", "second_person"] | None = Field(
        None, description="`second_person`: what weakens the tenant's control takes two people"
    )

    example: ClassVar[Example] = {"lease": 30, "outage_grace": 300}

    @model_validator(mode="after")
    def _changes_something(self) -> Self:
        if all(getattr(self, name) is None for name in PolicyBody.model_fields):
            raise ValueError("give at least one field")
        return self

    def change(self) -> PolicyChange:
        """What it asks for."""
        return PolicyChange(**self.model_dump())


class SuspendBody(Model):
    """Why a tenant's key is suspended; may be left out."""

    reason: Annotated[str, Field(max_length=MAX_REASON)] = Field(
        "", description="For people; stands in the audit chain, so it holds nothing secret"
    )

    example: ClassVar[Example] = {"reason": "incident 4711"}

    @field_validator("reason")
    @classmethod
    def _is_printable(cls, reason: str) -> str:
        if not reason.isprintable():
            raise ValueError("has characters that cannot be printed")
        return reason


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
