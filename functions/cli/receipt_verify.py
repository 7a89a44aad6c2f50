"""``keystead receipt verify``."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import click

from core.errors import InvalidRequest
from functions.cli.exits import Exit
from functions.cli.output import opened, printable

MAX_BYTES = 1024 * 1024
"""Of a receipt, and of a key set."""
_FACTS = (
    ("tenant_id", "tenant"),
    ("id", "receipt"),
    ("issuer", "issued by"),
    ("issued", "issued"),
    ("provider", "provider"),
    ("kek", "key"),
    ("kek_version", "key version"),
    ("cause", "cause"),
    ("first_denial", "first refusal"),
    ("kms_code", "  code"),
    ("kms_request_id", "  request id"),
    ("confirmed", "confirmed"),
    ("confirmation_code", "  code"),
    ("confirmation_request_id", "  request id"),
    ("guard", "own fault ruled out"),
    ("state_written", "revoked written"),
    ("state_stored_by", "revoked stored by"),
    ("not_served_after", "not served after"),
    ("longest_lease", "longest lease, s"),
    ("longest_outage_grace", "longest grace, s"),
    ("last_recorded_use", "last recorded use"),
)


@click.group()
def receipt() -> None:
    """Verify receipts of revocations."""


@receipt.command(
    epilog="""\b
Examples:
  curl -o jwks.json https://keystead.example.com/.well-known/jwks.json
  keystead receipt verify acme.receipt --jwks jwks.json
"""
)
@click.argument("file")
@click.option(
    "--jwks",
    "jwks_file",
    required=True,
    type=click.Path(path_type=Path),
    help="The service's public keys, as it publishes them at /.well-known/jwks.json. What is proved hangs on these:"
    " keep a copy from before the receipt, or one that reached you on another way.",
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@click.pass_context
def verify(ctx: click.Context, file: str, jwks_file: Path, as_json: bool) -> None:
    """Check the signature of the receipt FILE, or stdin if FILE is -, and show what it states.

    Needs no service, token or network. FILE holds the signed statement alone, or what GET .../key/receipts/{id}
    answers; then only what the statement itself says is shown.
    """
    from core.domain import receipts

    statement, keys = _read_statement(file), _read_keys(jwks_file)
    try:
        payload, problem, hint = receipts.verify(statement, keys), "", None
    except InvalidRequest as error:
        payload, problem, hint = {}, error.detail, error.hint
    if as_json:
        click.echo(json.dumps({"ok": not problem, "problem": problem, "receipt": payload or None}))
    elif problem:
        click.echo(f"INVALID: {problem}")
        if hint:
            click.echo(f"hint: {hint}", err=True)
    else:
        for line in _lines(payload):
            click.echo(printable(line))
    if problem:
        ctx.exit(Exit.INTEGRITY)


def _lines(payload: Mapping[str, Any]) -> Iterator[str]:
    yield "ok: signed by a key of the key set, and its times agree"
    yield ""
    counted, bounds = payload["data_keys"], payload["bounds"]
    facts = [(label, payload[name]) for name, label in _FACTS]
    facts.append(("data keys given out", f"at most {counted['at_most']}, none after {counted['none_after']}"))
    for label, value in facts:
        if value != "":
            yield f"{label + ':':<22}{value}"
    yield ""
    yield (
        f"{payload['not_served_after']} is {payload['state_stored_by']} and the longer of state age"
        f" {bounds['state_age']} s and store silence {bounds['store_silence']} s, longest operation"
        f" {bounds['longest_operation']} s, clock skew {bounds['skew']} s."
    )
    yield ""
    for sentence in payload["statements"]:
        yield f"- {sentence}"


def _read_statement(file: str) -> str:
    text = _read(file, "a receipt")
    if not text.startswith("{"):
        return text
    try:
        found = json.loads(text)["statement"]
    except (ValueError, KeyError, RecursionError):
        found = None
    if not isinstance(found, str):
        raise InvalidRequest(f"{file} is not a receipt", hint="its member statement is missing")
    return found


def _read_keys(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(_read(str(path), "a set of public keys"))
    except (ValueError, RecursionError):
        found = None
    keys = found.get("keys") if isinstance(found, dict) else None
    if not isinstance(found, dict) or not isinstance(keys, list) or not all(isinstance(key, dict) for key in keys):
        raise InvalidRequest(
            f"{path} is not a set of public keys", hint="a service publishes its own at /.well-known/jwks.json"
        )
    return found


def _read(file: str, what: str) -> str:
    with opened(file) as source:
        data = source.read(MAX_BYTES + 1)
    try:
        text = data.decode("utf-8").strip()
    except UnicodeDecodeError:
        text = ""
    if not text or len(data) > MAX_BYTES:
        raise InvalidRequest(f"{file} is not {what}")
    return text
