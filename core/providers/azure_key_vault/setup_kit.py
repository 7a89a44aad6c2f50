"""What a tenant does in Azure to let this service use a key of its own: commands and documents, filled in.

First this service's application gets a service principal in the tenant's Entra tenant, then that principal is let to
one key, which carries the tag that proves control. Three ways: a vault with Azure RBAC, an older vault with access
policies, a Managed HSM. Roles are named by their ids, which are the same in every Entra tenant, while names change.
Sources: the Azure CLI's reference; "Azure built-in roles"; "Local RBAC built-in roles for Managed HSM"; "Admin consent
on the Microsoft identity platform".
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from shlex import quote
from typing import Any
from urllib.parse import urlencode

from core.domain.consent import make_state
from core.domain.vaults import CLOUDS, CloudName
from core.domain.vaults import entra_tenant as checked_entra_tenant
from core.providers.azure_key_vault.checklist import LAG, OPERATIONS, PROOF_TAG, ROLES
from core.providers.azure_key_vault.settings import AzureSettings

BITS = 3072
_LET_IN = "Let this service's application into your Entra tenant"
_CLI_CLOUDS: Mapping[CloudName, str] = {"china": "AzureChinaCloud", "usgovernment": "AzureUSGovernment"}


def setup_kit(settings: AzureSettings, tenant_id: str, external_id: str, entra_tenant: str = "") -> Mapping[str, Any]:
    """Documents and steps; see `core.ports.KeyConnector.setup_kit`.

    Args:
        settings: Of this deployment.
        tenant_id: What the consent link is bound to.
        external_id: What the key's tag must hold.
        entra_tenant: The tenant's Entra tenant; where it is "", the commands ask Azure for it, and the consent link
            is bound to none. There is no link where the settings have no redirect URL: Entra would have nowhere to
            send the administrator, and refuses such a link.

    Raises:
        InvalidRequest: The Entra tenant is not named by its id.
    """
    entra_tenant = checked_entra_tenant(entra_tenant) if entra_tenant else ""
    state = make_state(tenant_id, external_id, entra_tenant)
    application = {
        "client_id": settings.client_id,
        "cloud": settings.cloud,
        "roles": {role.name: role.id for role in ROLES.values()},
        "egress": list(settings.egress),
    }
    if entra_tenant and settings.redirect_url:
        application["consent_url"] = consent_url(settings, entra_tenant, state)
    return {
        "identity": f"application {settings.client_id}",
        "documents": {
            "application": application,
            "tags": {PROOF_TAG: external_id},
            "arm_template": arm_template(external_id),
        },
        "steps": [
            _names(settings, entra_tenant),
            *_let_in(settings, state),
            *_vault(settings, external_id),
            *_managed_hsm(settings, external_id),
            _use(tenant_id),
        ],
    }


def consent_url(settings: AzureSettings, entra_tenant: str, state: str) -> str:
    """Where an administrator lets the application into an Entra tenant.

    Args:
        settings: Of this deployment, with a redirect URL.
        entra_tenant: Put in as it is, so that it may be a shell's variable.
        state: Of `core.domain.consent`.
    """
    cloud = CLOUDS[settings.cloud]
    query = {
        "client_id": settings.client_id,
        "scope": f"https://{cloud.vault_domain}/.default",
        "redirect_uri": settings.redirect_url,
        "state": state,
    }
    return f"https://{cloud.authority}/{entra_tenant}/v2.0/adminconsent?{urlencode(query)}"


def arm_template(external_id: str) -> dict[str, Any]:
    """A template for Azure Resource Manager: a new key with its tag, and the role on that key only.

    For a new key: the resource manager leaves one that exists as it is, and reports success.
    """
    key = "resourceId('Microsoft.KeyVault/vaults/keys', parameters('vaultName'), parameters('keyName'))"
    role = ROLES["vault"].id
    definition = f"subscriptionResourceId('Microsoft.Authorization/roleDefinitions', '{role}')"
    return {
        "$schema": "https://schema.management.azure.com/schemas/2019-04-01/deploymentTemplate.json#",
        "contentVersion": "1.0.0.0",
        "parameters": {
            "vaultName": {"type": "string"},
            "keyName": {
                "type": "string",
                "metadata": {
                    "description": "Of a new key. One that exists already is left as it is, without the tag: tag it by "
                    "az keyvault key set-attributes, as in the steps"
                },
            },
            "principalId": {
                "type": "string",
                "metadata": {"description": "Object id of the application's service principal in this Entra tenant"},
            },
        },
        "resources": [
            {
                "type": "Microsoft.KeyVault/vaults/keys",
                "apiVersion": "2023-07-01",
                "name": "[format('{0}/{1}', parameters('vaultName'), parameters('keyName'))]",
                "tags": {PROOF_TAG: external_id},
                "properties": {"kty": "RSA", "keySize": BITS, "keyOps": [*OPERATIONS]},
            },
            {
                "type": "Microsoft.Authorization/roleAssignments",
                "apiVersion": "2022-04-01",
                "scope": f"[{key}]",
                "name": f"[guid({key}, parameters('principalId'), '{role}')]",
                "dependsOn": [f"[{key}]"],
                "properties": {
                    "roleDefinitionId": f"[{definition}]",
                    "principalId": "[parameters('principalId')]",
                    "principalType": "ServicePrincipal",
                },
            },
        ],
    }


def _step(title: str, text: str, *commands: str) -> dict[str, Any]:
    return {"title": title, "text": text, "commands": [*commands]}


def _names(settings: AzureSettings, entra_tenant: str) -> dict[str, Any]:
    cloud = [f"az cloud set --name {_CLI_CLOUDS[settings.cloud]}"] if settings.cloud in _CLI_CLOUDS else []
    found = entra_tenant or "$(az account show --query tenantId --output tsv)"
    return _step(
        "Name your vault and key",
        "Edit the first line before you run it: the name of your vault or Managed HSM, and of the key that is to be "
        "made in it. Sign in with the Azure CLI to the Entra tenant and subscription that the vault belongs to, and "
        "run the commands of all steps in the same bash shell: they use these variables. Then take one way: steps A "
        "for a vault with Azure RBAC (recommended), B for an older vault with access policies, C for a Managed HSM.",
        "VAULT=my-vault KEY=keystead-kek",
        *cloud,
        f"ENTRA_TENANT={found}",
    )


def _let_in(settings: AzureSettings, state: str) -> Iterator[dict[str, Any]]:
    client = quote(settings.client_id)
    told = f"The application has the client id {settings.client_id}."
    create = f"az ad sp show --id {client} >/dev/null 2>&1 || az ad sp create --id {client} >/dev/null"
    if settings.redirect_url:
        yield _step(
            _LET_IN,
            f"{told} Either open the link that the first command prints, as an administrator of that Entra tenant, and "
            "consent; or let the second command do it, which changes nothing if the application is there already. "
            "Neither gives access to any key.",
            f'echo "{consent_url(settings, "$ENTRA_TENANT", state)}"',
            create,
        )
    else:
        yield _step(
            _LET_IN,
            f"{told} As an administrator of that Entra tenant, run the command; it changes nothing if the application "
            "is there already, and gives access to no key. There is no link to consent by in a browser: Entra needs "
            "an address to come back to, and this service has none set.",
            create,
        )
    yield _step(
        "Find the application's object id",
        "It is another one in every Entra tenant; roles are assigned to it. After a consent in the browser it may take "
        "a minute to be found.",
        f"OBJECT_ID=$(az ad sp show --id {client} --query id --output tsv)",
    )


def _vault(settings: AzureSettings, external_id: str) -> Iterator[dict[str, Any]]:
    role = ROLES["vault"]
    url = f'VAULT_URL="https://$VAULT.{CLOUDS[settings.cloud].vault_domain}"'
    for letter, kind in (("A", "a vault with Azure RBAC"), ("B", "a vault with access policies")):
        yield _step(
            f"{letter}. Create a key in {kind}",
            "Purge protection keeps a deleted key recoverable; it cannot be switched off again. Write RSA-HSM in place "
            "of RSA for a key in hardware, in a vault of the Premium tier. "
            f"{_tagging('az keyvault key set-attributes --vault-name')}",
            url,
            'az keyvault update --name "$VAULT" --enable-purge-protection true >/dev/null',
            _create_key("--vault-name", f"RSA --size {BITS}", external_id),
        )
        if letter == "A":
            yield _step(
                "A. Let this service use the key",
                f"The role is {role.name}, on this key only: it reads the key's properties, wraps and unwraps. {LAG}",
                'VAULT_ID=$(az keyvault show --name "$VAULT" --query id --output tsv)',
                f'az role assignment create --role {role.id} {_assignee()} --scope "$VAULT_ID/keys/$KEY" >/dev/null',
            )
        else:
            yield _step(
                "B. Let this service use the vault's keys",
                "An access policy covers all keys of its vault, so keep nothing else there. Access policies are the "
                f"older way; Azure RBAC lets this service to one key only. {LAG}",
                'az keyvault set-policy --name "$VAULT" --object-id "$OBJECT_ID" '
                "--key-permissions get wrapKey unwrapKey >/dev/null",
            )
        yield from _firewall(settings, letter, "--name")


def _managed_hsm(settings: AzureSettings, external_id: str) -> Iterator[dict[str, Any]]:
    role = ROLES["hsm"]
    yield _step(
        "C. Create a key in a Managed HSM",
        "Purge protection keeps a deleted key recoverable; it cannot be switched off again. Write oct-HSM --size 256 "
        f"in place of RSA-HSM --size {BITS} for an AES key. "
        f"{_tagging('az keyvault key set-attributes --hsm-name')}",
        f'VAULT_URL="https://$VAULT.{CLOUDS[settings.cloud].hsm_domain}"',
        'az keyvault update-hsm --hsm-name "$VAULT" --enable-purge-protection true >/dev/null',
        _create_key("--hsm-name", f"RSA-HSM --size {BITS}", external_id),
    )
    yield _step(
        "C. Let this service use the key",
        f"The role is {role.name}, of the HSM's own roles, on this key only.",
        f'az keyvault role assignment create --hsm-name "$VAULT" --role {role.id} {_assignee()} '
        '--scope "/keys/$KEY" >/dev/null',
    )
    yield from _firewall(settings, "C", "--hsm-name")


def _firewall(settings: AzureSettings, letter: str, option: str) -> Iterator[dict[str, Any]]:
    if settings.egress:
        yield _step(
            f"{letter}. Let this service through the firewall",
            "Only where the firewall is on. This service is not one of Azure's trusted services, and does not come by "
            f"private link: where public access is disabled, enable it for selected networks. {LAG}",
            f'az keyvault network-rule add {option} "$VAULT" --ip-address {" ".join(map(quote, settings.egress))} '
            ">/dev/null",
        )


def _use(tenant_id: str) -> dict[str, Any]:
    key = f'--tenant {tenant_id} --vault-url "$VAULT_URL" --entra-tenant "$ENTRA_TENANT" --key-name "$KEY"'
    return _step(
        "Put the key to use",
        "The first command examines the key and changes nothing: it says of each step whether it was done. A key that "
        "is disabled later is seen at the service's next use of it, at most one lease (60 s by default) later.",
        f"keystead key validate {key}",
        f"keystead key configure {key}",
    )


def _create_key(option: str, kind: str, external_id: str) -> str:
    return (
        f'az keyvault key create {option} "$VAULT" --name "$KEY" --kty {kind} --ops {" ".join(OPERATIONS)} '
        f"--tags {quote(f'{PROOF_TAG}={external_id}')} >/dev/null"
    )


def _tagging(command: str) -> str:
    return (
        f"The tag {PROOF_TAG} proves that the key is yours to offer; set it on the newest version of a key that exists "
        f'already by {command} "$VAULT" --name "$KEY" --tags, which replaces the key\'s other tags.'
    )


def _assignee() -> str:
    return '--assignee-object-id "$OBJECT_ID" --assignee-principal-type ServicePrincipal'
