"""``keystead audit verify``."""

from __future__ import annotations

import base64
import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from core.errors import InvalidRequest, NotFound
from functions.cli import options
from functions.cli.exits import Exit
from functions.cli.output import counted, printable

if TYPE_CHECKING:
    from core.bootstrap import AuditReader
    from core.service.audit import AuditVerdict

SYSTEM = "_system"
MAX_CHECKPOINTS = 16 * 1024 * 1024
"""Bytes of a file of checkpoints."""
MAX_KEY_SET = 256 * 1024
"""Bytes of a file of public keys."""


@click.group()
def audit() -> None:
    """Check the audit chains of the local data directory."""


@audit.command(
    epilog="""\b
Examples:
  keystead audit verify
  keystead audit verify --tenant acme --checkpoint acme.checkpoints
  keystead audit verify --jwks jwks.json
"""
)
@click.option(
    "-t", "--tenant", default="", help="Only this tenant's chain; _system is the operator's. All if not given."
)
@click.option(
    "--checkpoint",
    "checkpoint_files",
    multiple=True,
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Signed checkpoints kept elsewhere: lines, or what GET .../audit/checkpoints answers. Repeat for more.",
)
@click.option(
    "--jwks",
    "jwks_files",
    multiple=True,
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Public keys that signed, besides those of the data directory: what GET /.well-known/jwks.json answers. Repeat"
    " for more [the file of KEYSTEAD_RETIRED_SIGNING_KEYS].",
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object per chain.")
@options.data_option
@click.pass_context
def verify(
    ctx: click.Context,
    tenant: str,
    checkpoint_files: Sequence[Path],
    jwks_files: Sequence[Path],
    as_json: bool,
    data: Path | None,
) -> None:
    """Check that no entry of an audit chain was changed, cut out, moved or cut off.

    Works on the data directory itself, while the service runs or not, and writes nothing. A chain cut off at its end
    shows only against a checkpoint: those kept in the store are always used, those kept elsewhere hold even if the
    store was rewritten. A chain that must have entries and has none does not hold.

    A service that signs in a KMS has no signing keys in its data directory: give them with --jwks.
    """
    from core.bootstrap import open_audit

    checkpoints = by_chain([line for path in checkpoint_files for line in read_checkpoints(path)])
    with closing(open_audit(audited(data), public_keys(jwks_files))) as store:
        verdicts = verify_chains(store, tenant, checkpoints)
    for verdict in verdicts:
        click.echo(json.dumps(asdict(verdict)) if as_json else printable(_line(verdict)))
    if not all(verdict.ok for verdict in verdicts):
        ctx.exit(Exit.INTEGRITY)


def audited(data: Path | None) -> Path:
    """The data directory to look at.

    Raises:
        InvalidRequest: There is none.
        SettingsError, OSError: As `functions.cli.options.existing_data`.
    """
    from core.bootstrap import KEKS, SIGNING

    return options.existing_data(data, KEKS, SIGNING)


def public_keys(jwks_files: Sequence[Path]) -> list[Mapping[str, Any]]:
    """The public keys of some files, or of the settings if no file is named.

    Raises:
        InvalidRequest: A file is not a JWK set.
        SettingsError: The settings cannot be read, or the file that they name.
        OSError: A file cannot be read.
    """
    from functions.settings import Settings
    from functions.signing_settings import retired_signing_keys

    if not jwks_files:
        return list(retired_signing_keys(Settings.from_env()))
    return [key for path in jwks_files for key in read_key_set(path)]


def read_key_set(path: Path) -> list[Mapping[str, Any]]:
    """Read the keys of a file that holds a JWK set (RFC 7517, 5).

    Raises:
        InvalidRequest: It holds something else.
        OSError: It cannot be read.
    """
    with path.open("rb") as file:
        data = file.read(MAX_KEY_SET + 1)
    try:
        keys = json.loads(data)["keys"]
        if len(data) > MAX_KEY_SET or not isinstance(keys, list) or not keys:
            raise ValueError
        if not all(isinstance(key, dict) for key in keys):
            raise ValueError
    except (ValueError, KeyError, TypeError, RecursionError):
        hint = "a service publishes its own at /.well-known/jwks.json"
        raise InvalidRequest(f"{path} is not a set of public keys", hint=hint) from None
    return list(keys)


def verify_chains(
    store: AuditReader, tenant: str = "", checkpoints: Mapping[str, Sequence[str]] | None = None
) -> list[AuditVerdict]:
    """Check one chain, or every tenant's and the operator's.

    Args:
        store: The store to check.
        tenant: The one chain; "" for all.
        checkpoints: Statements kept elsewhere, by chain. A chain named only here is checked too: it is missing.

    Raises:
        NotFound: The one chain is empty, and nothing says that it should not be.
        KeysteadError: The store cannot be read.
    """
    given = checkpoints or {}
    tenants = store.tenants()
    chains = [tenant] if tenant else list(dict.fromkeys([SYSTEM, *tenants, *given]))
    verdicts = [_not_empty(store.verify(chain, given.get(chain, ())), tenants) for chain in chains]
    if tenant and verdicts[0].ok and not verdicts[0].entries:
        raise NotFound(f"there is no audit chain of {tenant}")
    return verdicts


def _not_empty(verdict: AuditVerdict, tenants: Sequence[str]) -> AuditVerdict:
    """Find fault with a chain that is whole only because nothing is left of it.

    A tenant's begins with its creation, the operator's with the store's.
    """
    if not verdict.ok or verdict.entries:
        return verdict
    if verdict.chain == SYSTEM:
        problem = "the chain is empty beside tenants" if tenants else "the store is empty: there is nothing to verify"
    elif verdict.chain in tenants:
        problem = "the chain is empty, and the tenant is there"
    else:
        return verdict
    return replace(verdict, ok=False, problem=problem)


def read_checkpoints(path: Path) -> list[str]:
    """Read statements from a file: one per line, or the JSON that the API answers.

    Raises:
        InvalidRequest: It holds something else.
        OSError: It cannot be read.
    """
    with path.open("rb") as file:
        data = file.read(MAX_CHECKPOINTS + 1)
    try:
        text = data.decode("ascii")
        if len(data) > MAX_CHECKPOINTS:
            raise ValueError
        lines = json.loads(text)["checkpoints"] if text.lstrip().startswith("{") else text.split()
        if not all(isinstance(line, str) for line in lines):
            raise ValueError
    except (ValueError, KeyError, TypeError, RecursionError):
        raise InvalidRequest(f"{path} is not a file of checkpoints") from None
    return list(lines)


def by_chain(statements: Sequence[str]) -> dict[str, list[str]]:
    """Sort statements by the chain they name; verifying them proves it.

    Raises:
        InvalidRequest: One is no checkpoint.
    """
    out: defaultdict[str, list[str]] = defaultdict(list)
    for statement in statements:
        try:
            payload = statement.split(".")[1]
            chain = json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))["chain"]
            chain.encode()
            out[chain].append(statement)
        except (ValueError, KeyError, TypeError, IndexError, AttributeError, RecursionError):
            raise InvalidRequest("a line among the checkpoints is no checkpoint") from None
    return dict(out)


def _line(verdict: AuditVerdict) -> str:
    counts = f"{counted(verdict.entries, 'entry', 'entries')}, {counted(verdict.checkpoints, 'checkpoint')}"
    if verdict.ok:
        return f"{verdict.chain}: ok, {counts}"
    where = f" at entry {verdict.first_fault}" if verdict.first_fault is not None else ""
    return f"{verdict.chain}: INVALID{where}: {verdict.problem} ({counts} held)"
