"""The rows of the API's table that are about a tenant's key."""

from __future__ import annotations

from core import errors
from core.service.access import Op
from functions.models import key_answers, requests
from functions.route import TENANT, WRITE_ERRORS, Route

_KEY = f"{TENANT}/key"
_STORED = (errors.NotFound, errors.StoreCorrupt)
_MOVE_ERRORS = (*WRITE_ERRORS, errors.Conflict, errors.KeyCheckFailed)

KEY_ROUTES: tuple[Route, ...] = (
    Route(
        "GET",
        _KEY,
        "key_status",
        "Status of a tenant's key",
        key_answers.KeyStatus,
        Op.KEY_STATUS,
        "State, warnings and the published bounds of revocation.",
        errors=_STORED,
    ),
    Route(
        "PUT",
        _KEY,
        "configure_key",
        "Bring or replace a key",
        key_answers.KeyConfigured,
        Op.KEY_CONFIGURE,
        "Examines the key, then rewraps every branch key version under it and makes a new ACTIVE one, or schedules "
        "that for the activation date. Interrupted, the same request goes on where it stopped. Answers 422 with "
        "`checks` if the key did not pass; nothing is changed then.",
        request=requests.KeyBody,
        errors=_MOVE_ERRORS,
    ),
    Route(
        "DELETE",
        _KEY,
        "revert_key",
        "Cancel a scheduled key, or go back to the platform's",
        key_answers.KeyStatus,
        Op.KEY_REVERT,
        "Going back is refused with 409 unless the key was configured as `reversible`.",
        errors=_MOVE_ERRORS,
    ),
    Route(
        "POST",
        f"{_KEY}/validate",
        "validate_key",
        "Examine a key without using it",
        key_answers.Report,
        Op.KEY_VALIDATE,
        "Answers 200 whatever was found; `ok` tells whether the key could be put to use.",
        request=requests.KeyBody,
        errors=(*_STORED, errors.Conflict, errors.KeyUnreachable, errors.VendorFault),
    ),
    Route(
        "POST",
        f"{_KEY}/check",
        "check_key",
        "Do what is due for a key",
        key_answers.KeyStatus,
        Op.KEY_CHECK,
        "Activates a scheduled key whose date has come, and finishes a move that was interrupted.",
        request=requests.Empty,
        errors=_MOVE_ERRORS,
    ),
    Route(
        "GET",
        f"{_KEY}/setup/{{provider}}",
        "key_setup",
        "What to do in the tenant's own cloud",
        key_answers.SetupKit,
        Op.KEY_SETUP,
        "Policies and commands, filled in.",
        query=requests.SetupQuery,
        errors=(*_STORED, errors.Conflict, errors.KeyUnreachable, errors.VendorFault),
    ),
    Route(
        "GET",
        f"{_KEY}/export",
        "key_export",
        "Branch key rows for reading messages without this service",
        key_answers.KeyExport,
        Op.KEY_EXPORT,
        "The branch keys are wrapped as they are stored: the tenant's own KMS key opens them.",
        errors=_STORED,
    ),
    Route(
        "POST",
        f"{_KEY}/rotate",
        "rotate",
        "Rotate the branch key",
        key_answers.Rotation,
        Op.KEY_ROTATE,
        "Makes a new ACTIVE version. Older versions go on decrypting.",
        request=requests.Empty,
        errors=(*WRITE_ERRORS, errors.Conflict),
    ),
    Route(
        "GET",
        "/v1/azure/consent",
        "azure_consent",
        "Where Entra sends a tenant's administrator after the consent",
        key_answers.Consent,
        None,
        "Reads what Entra appended to the address, checks that this service made the link for the tenant, and tells "
        "what comes next. Changes nothing. A link that is not this service's is answered 400, whatever is wrong.",
        query=requests.ConsentQuery,
        errors=(errors.StoreUnavailable,),
    ),
)
