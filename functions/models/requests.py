"""Bodies and queries of the API; those about a tenant's key are in `functions.models.key_requests`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, ClassVar, Self

from pydantic import Field, model_validator

from core.domain.context import MAX_PAIRS
from core.domain.tenants import MAX_DISPLAY_NAME
from core.service.keystead import MAX_BATCH
from functions.models.base import Base64, Context, Example, Model, QueryNumber
from functions.offerings import MAX_OFFERING

MAX_PAGE = 500
"""Entries of a page."""
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
