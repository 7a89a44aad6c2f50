"""The rows of the API's table that are about a tenant's key."""

from __future__ import annotations

from core import errors
from core.service.access import Op
from functions.models import key_answers, key_requests, requests
from functions.route import TENANT, WRITE_ERRORS, Route

_KEY = f"{TENANT}/key"
_STORED = (errors.NotFound, errors.StoreCorrupt)
_CHANGE_ERRORS = (*_STORED, errors.Conflict, errors.KeyUnreachable, errors.VendorFault)
_SECOND_PERSON = (
    "Where the tenant wants two people for this, the first request is answered 409 `approval_needed` and kept as a "
    "proposal; the same request by another subject within 24 hours carries it out."
)
_MOVE_ERRORS = (*WRITE_ERRORS, errors.Conflict, errors.KeyCheckFailed)

KEY_ROUTES: tuple[Route, ...] = (
    Route(
        "GET",
        _KEY,
        "key_status",
        "Status of a tenant's key",
        key_answers.KeyStatus,
        Op.KEY_STATUS,
        "State, policy, warnings, the published bounds of revocation, what is known of a withdrawal under way, and the "
        "latest changes of state.",
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
        f"`checks` if the key did not pass; nothing is changed then. {_SECOND_PERSON}",
        request=key_requests.KeyBody,
        errors=(*_MOVE_ERRORS, errors.ApprovalNeeded),
    ),
    Route(
        "DELETE",
        _KEY,
        "revert_key",
        "Cancel a scheduled key, or go back to the platform's",
        key_answers.KeyStatus,
        Op.KEY_REVERT,
        f"Going back is refused with 409 unless the key was configured as `reversible`. {_SECOND_PERSON}",
        errors=(*_MOVE_ERRORS, errors.ApprovalNeeded),
    ),
    Route(
        "POST",
        f"{_KEY}/validate",
        "validate_key",
        "Examine a key without using it",
        key_answers.Report,
        Op.KEY_VALIDATE,
        "Answers 200 whatever was found; `ok` tells whether the key could be put to use.",
        request=key_requests.KeyBody,
        errors=(*_STORED, errors.Conflict, errors.KeyUnreachable, errors.VendorFault),
    ),
    Route(
        "POST",
        f"{_KEY}/check",
        "check_key",
        "Ask the KMS now, and do what is due for a key",
        key_answers.KeyStatus,
        Op.KEY_CHECK,
        "Asks the KMS whether the key still serves, and takes the state where the answer leads; activates a scheduled "
        "key whose date has come, and finishes a move that was interrupted. Answers 200 with the status, whatever the "
        "KMS said.",
        request=requests.Empty,
        errors=_MOVE_ERRORS,
    ),
    Route(
        "PATCH",
        f"{_KEY}/policy",
        "set_policy",
        "Tune how a key is used",
        key_answers.KeyStatus,
        Op.KEY_POLICY,
        "Fields that are left out or null stay as they are; an empty text takes a choice away. The operator's caps "
        f"apply, and an operator may only tighten. {_SECOND_PERSON}",
        request=key_requests.PolicyBody,
        errors=(*_CHANGE_ERRORS, errors.ApprovalNeeded),
    ),
    Route(
        "POST",
        f"{_KEY}/suspend",
        "suspend_key",
        "Turn the kill switch on",
        key_answers.KeyStatus,
        Op.KEY_SUSPEND,
        "Nothing of the tenant's data is served from then on, in every process within the bound `kill_switch`, until "
        "the key is resumed. Nothing is lost.",
        request=key_requests.SuspendBody,
        errors=_CHANGE_ERRORS,
    ),
    Route(
        "POST",
        f"{_KEY}/resume",
        "resume_key",
        "Turn the kill switch off",
        key_answers.KeyStatus,
        Op.KEY_RESUME,
        "The key goes back to the state it came from; one that was withdrawn stays withdrawn.",
        request=requests.Empty,
        errors=_CHANGE_ERRORS,
    ),
    Route(
        "GET",
        f"{_KEY}/receipts",
        "list_receipts",
        "List the receipts of withdrawals",
        key_answers.ReceiptList,
        Op.RECEIPT_LIST,
        errors=_STORED,
    ),
    Route(
        "GET",
        f"{_KEY}/receipts/{{receipt_id}}",
        "show_receipt",
        "One receipt with its signed statement",
        key_answers.Receipt,
        Op.RECEIPT_SHOW,
        "The statement is verified offline with the keys at `/.well-known/jwks.json`.",
        errors=_STORED,
    ),
    Route(
        "GET",
        f"{_KEY}/setup/{{provider}}",
        "key_setup",
        "What to do in the tenant's own cloud",
        key_answers.SetupKit,
        Op.KEY_SETUP,
        "Policies and commands, filled in.",
        query=key_requests.SetupQuery,
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
        query=key_requests.ConsentQuery,
        errors=(errors.StoreUnavailable,),
    ),
)
