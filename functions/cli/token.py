"""``keystead token``."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

import click

from functions.cli import options

PRESETS: Mapping[str, tuple[str, ...]] = {
    "app": ("data:encrypt", "data:decrypt", "data:keys"),
    "admin": ("key:read", "key:manage", "key:suspend", "audit:read"),
    "operator": ("platform:operate",),
}
"""Short names for scopes that go together."""
_LIFETIME = re.compile(r"(\d{1,6})([smh]?)\Z")
_UNITS = {"": 1, "s": 1, "m": 60, "h": 3600}


def _seconds(_ctx: click.Context, _parameter: click.Parameter, value: str) -> int:
    found = _LIFETIME.match(value)
    if found is None:
        raise click.BadParameter("must be a number of seconds, or a number followed by s, m or h")
    return int(found[1]) * _UNITS[found[2]]


@click.command(
    epilog="""\b
Scopes that go together:
"""
    + "\n".join(f"  {name:<9} {' '.join(scopes)}" for name, scopes in PRESETS.items())
    + """

\b
Examples:
  export KEYSTEAD_TOKEN=$(keystead token --tenant acme)
  keystead token --tenant acme --scope app --scope key:read --lifetime 15m
  keystead token --scope operator
"""
)
@click.option("-t", "--tenant", default="", help="Tenant the token acts on [KEYSTEAD_TENANT].")
@click.option("-s", "--scope", "scopes", multiple=True, help="Scope or preset; repeat for more. app if not given.")
@click.option("--subject", default="local", show_default=True, help="Who the token is for; stands in the audit chain.")
@click.option("--lifetime", callback=_seconds, metavar="TIME", default="1h", show_default=True, help="At most 24h.")
@options.data_option
def token(tenant: str, scopes: Sequence[str], subject: str, lifetime: int, data: Path | None) -> None:
    """Make a token for the service on this machine, and print it and nothing else.

    It is signed with the key in the data directory, which only the local service trusts. It acts on one tenant, or,
    with the scope operator alone, on the platform.
    """
    from functions.local.issuer import KEY_FILE

    wanted = expand(scopes or ("app",))
    acts_on = _acts_on(tenant, wanted)
    # The issuer makes what is missing; here that would be a key that no service trusts.
    directory = options.existing_data(data, "keks", "signing", KEY_FILE)
    click.echo(mint(directory, subject, acts_on, wanted, lifetime))


def _acts_on(tenant: str, scopes: Sequence[str]) -> str | None:
    """The tenant a token with these scopes acts on, None for the platform.

    Raises:
        click.UsageError: No token can have these scopes, or these with that tenant.
    """
    from functions.settings import Settings

    platform = set(PRESETS["operator"]) & set(scopes)
    if platform and set(scopes) != platform:
        raise click.UsageError("the scope operator is the platform's, the others are a tenant's: make two tokens")
    if platform:
        if tenant:
            raise click.UsageError("a token with the scope operator acts on no tenant: leave --tenant out")
        return None
    tenant = tenant or Settings.from_env().tenant
    if not tenant:
        raise click.UsageError("these scopes are a tenant's: give --tenant (or --scope operator)")
    return tenant


def mint(data: Path, subject: str, tenant_id: str | None, scopes: Sequence[str], lifetime: int) -> str:
    """Make a token with the key of a data directory.

    Args:
        data: The data directory.
        subject: Who it is for.
        tenant_id: The tenant it acts on; None for the platform's own.
        scopes: Permissions.
        lifetime: Seconds.

    Raises:
        KeysteadError: The directory, the tenant id or the lifetime cannot be used.
    """
    from core.domain.tenants import check_tenant_id
    from functions.local.issuer import LocalIssuer

    if tenant_id is not None:
        check_tenant_id(tenant_id)
    return LocalIssuer.open(data).mint(subject, tenant_id=tenant_id, scopes=scopes, lifetime=lifetime)


def expand(scopes: Sequence[str]) -> tuple[str, ...]:
    """Put scopes in the place of presets.

    Raises:
        click.BadParameter: There is no such scope.
    """
    from core.service.access import Permission

    out: dict[str, None] = {}
    for scope in scopes:
        if scope not in PRESETS and scope not in set(Permission):
            known = ", ".join([*PRESETS, *sorted(Permission)])
            raise click.BadParameter(f"no scope {scope!r}; there are {known}", param_hint="--scope")
        out.update(dict.fromkeys(PRESETS.get(scope, (scope,))))
    return tuple(out)
