"""``keystead key setup|export``."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

from core.errors import InvalidRequest
from functions.cli import options
from functions.cli.output import counted, printable

if TYPE_CHECKING:
    from core.client.key_documents import SetupKit

AZURE = "azure_key_vault"


@click.command(
    epilog="""\b
Examples:
  keystead key setup
  keystead key setup --only key_policy > key-policy.json
  keystead key setup azure_key_vault --entra-tenant 11112222-3333-4444-5555-666677778888
"""
)
@click.argument("provider", default="")
@click.option(
    "--only",
    metavar="DOCUMENT",
    help="Print just one; of AWS: key_policy, or key_policy_for_role, trust_policy, role_policy.",
)
@click.option("--entra-tenant", default="", metavar="ID", help="Azure: id of the Entra tenant that the vault lies in.")
@options.tenant_option
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@options.service_options
def setup(
    provider: str,
    only: str | None,
    entra_tenant: str,
    tenant: str,
    as_json: bool,
    url: str | None,
    token_file: Path | None,
    ca_file: Path | None,
) -> None:
    """Show what to do in the tenant's own cloud: policies and commands, filled in (scope key:manage).

    PROVIDER is aws_kms or azure_key_vault; if it is not given, aws_kms, or the cloud that an option is for.
    """
    if entra_tenant and provider not in ("", AZURE):
        raise options.usage_error("--entra-tenant is for a key in Azure", f"keystead key setup {AZURE}")
    provider = provider or (AZURE if entra_tenant else "aws_kms")
    where = options.target(url, token_file, ca_file, tenant)
    with where.connect() as client:
        kit = client.key_setup(where.tenant_id(), provider, entra_tenant=entra_tenant)
    if only is not None and only not in kit.documents:
        known = ", ".join(printable(name) for name in kit.documents)
        raise InvalidRequest("the setup kit has no such document", hint=f"it has {known}")
    if only is not None:
        click.echo(json.dumps(kit.documents[only], indent=2))
    else:
        click.echo(json.dumps(asdict(kit)) if as_json else "\n".join(_kit(kit)))


@click.command(epilog="\b\nExample:\n  keystead key export -o acme-branch-keys.json\n")
@click.option("-o", "--output", "target", type=click.Path(path_type=Path), metavar="FILE", help="Else to stdout.")
@click.option("--force", is_flag=True, help="Replace the output if it exists.")
@options.tenant_option
@options.service_options
def export(
    target: Path | None, force: bool, tenant: str, url: str | None, token_file: Path | None, ca_file: Path | None
) -> None:
    """Write the tenant's branch keys, wrapped by its key, for reading its messages without the service.

    The rows are those of the AWS branch key store. Under a key in AWS KMS, the official AWS Encryption SDK and that key
    open them; under one in Azure Key Vault, that key does, as docs/exit.md tells. They hold no plain key. Scope
    key:manage.
    """
    from core.client.publish import PRIVATE, check_target, published

    where = options.target(url, token_file, ca_file, tenant)
    if target is not None:
        check_target(target, overwrite=force)
    with where.connect() as client:
        found = client.key_export(where.tenant_id())
    if found.kek.startswith("local:"):
        click.echo("warning: these rows lie under the platform's key; only this service can use them", err=True)
    text = json.dumps(asdict(found), indent=2)
    if target is None:
        click.echo(text)
        return
    with published(target, overwrite=force, mode=PRIVATE) as file:
        file.write(text.encode() + b"\n")
    rows, keys = counted(len(found.items), "row"), counted(len(found.branch_key_ids), "branch key")
    click.echo(printable(f"{found.tenant_id}: {rows} of {keys} in {target}"))


def _kit(kit: SetupKit) -> Iterator[str]:
    yield printable(f"tenant       {kit.tenant_id}")
    yield printable(f"identity     {kit.identity}")
    yield printable(f"{'proof tag  ' if kit.provider == AZURE else 'external id'}  {kit.external_id}")
    for number, step in enumerate(kit.steps, start=1):
        yield ""
        yield printable(f"{number}. {step.title}")
        yield from (f"   {line}" for line in _lines(step.text))
        for command in step.commands:
            # Not indented: pasted into a shell, the end of a here-document must stand at the start of its line.
            yield ""
            yield from _lines(command)
    written = "\n".join(command for step in kit.steps for command in step.commands)
    for name, document in kit.documents.items():
        if f"cat > {name}.json" not in written:
            yield ""
            yield printable(f"{name}:")
            yield json.dumps(document, indent=2)


def _lines(text: str) -> Iterator[str]:
    return (printable(line).rstrip() for line in text.split("\n"))
