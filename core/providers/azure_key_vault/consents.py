"""What to tell a tenant whose Entra tenant gives this service no token.

The AADSTS number chooses the words, and nothing but them: an examination changes nobody's state. What the failure means
for that is decided in `core.providers.azure_key_vault.meanings`. Source: "Microsoft Entra authentication and
authorization error codes".
"""

from __future__ import annotations

from collections.abc import Mapping

from core.providers.azure_key_vault.checklist import OPERATOR, RETRY, Checklist
from core.providers.azure_key_vault.failures import Failure
from core.providers.azure_key_vault.meanings import Kind

_LET_IN = (
    "let this service's application in as an administrator of that Entra tenant, by the first step of the setup kit "
    "(its consent link, if it has one, or az ad sp create)"
)
_MISSING = (
    "this service's application is not in this Entra tenant",
    f"Check that it is the one that the vault belongs to, and {_LET_IN}.",
)
_DISABLED = (
    "this service's application is disabled",
    "Enable it in your Entra tenant, under Enterprise applications; if it is enabled there, the operator disabled it.",
)
_BLOCKED = (
    "a policy of this Entra tenant blocks this service's application",
    "Exempt the application from it: conditional access for workload identities, or access from other Entra tenants.",
)
_NO_TENANT = (
    "there is no such Entra tenant in this cloud",
    "Name the one that the vault belongs to: az account show --query tenantId.",
)
_TENANT_BLOCKED = (
    "this Entra tenant is blocked",
    "Ask Microsoft to have it unblocked: a tenant that was not used for long is blocked before it is deleted.",
)
_NO_VAULTS = (
    "this Entra tenant does not know Azure Key Vault, or has it disabled",
    "Name the Entra tenant that the vault's subscription belongs to: az account show --query tenantId.",
)
_WORDS: Mapping[str, tuple[str, str]] = {
    **{f"AADSTS{number}": _MISSING for number in (700016, 7000229)},
    "AADSTS7000112": _DISABLED,
    **{
        f"AADSTS{number}": _BLOCKED
        for number in (53003, 530003, 530031, 530032, 530033, 530034, 530035, 500021, 500022, 500213, 501051)
    },
    "AADSTS90002": _NO_TENANT,
    **{f"AADSTS{number}": _TENANT_BLOCKED for number in (5000224, 5000225)},
    **{f"AADSTS{number}": _NO_VAULTS for number in (500011, 500014, 650052)},
}


def refused_token(checks: Checklist, failure: Failure) -> bool:
    """Note why there is no token; False.

    Args:
        checks: Where to note it.
        failure: Of the call to Entra.
    """
    if failure.kind not in (Kind.DENIAL, Kind.OWN):
        return checks.failed("consent", f"Microsoft Entra ID did not answer: {failure.seen}", RETRY)
    if failure.kind is Kind.OWN:
        return checks.failed("identity", f"this service cannot show who it is: {failure.seen}", OPERATOR)
    observed, remedy = _WORDS.get(
        failure.code, ("this Entra tenant gives no token", f"If nothing there blocks it, {_LET_IN}.")
    )
    return checks.failed("consent", f"{observed}: {failure.seen}", remedy)
