"""The two operations of STS that cross-account use of keys needs: GetCallerIdentity and AssumeRole."""

from __future__ import annotations

import re
from typing import Any

from functions.emulators.authorization import may
from functions.emulators.aws_errors import AwsError, denied, invalid
from functions.emulators.identities import Identities, account_of, session_arn
from functions.emulators.key_ring import Request
from functions.emulators.kms_keys import instant
from functions.emulators.policies import Ask, Policy, parse

MIN_DURATION = 900
MAX_CHAINED = 3600
MAX_DURATION = 43200
MAX_SESSION_POLICY = 2048
_SESSION_NAME = re.compile(r"[\w+=,.@-]{2,64}", re.ASCII)
_EXTERNAL_ID = re.compile(r"[\w+=,.@:/-]{2,1224}", re.ASCII)
_KNOWN = frozenset({"RoleArn", "RoleSessionName", "DurationSeconds", "ExternalId", "Policy"})


class Sts:
    """Operations on the identities."""

    def __init__(self, identities: Identities) -> None:
        self._identities = identities

    def get_caller_identity(self, request: Request) -> dict[str, Any]:
        """GetCallerIdentity: needs no permission."""
        caller = request.caller
        return {"UserId": caller.user_id, "Account": caller.account, "Arn": caller.arn}

    def assume_role(self, request: Request) -> dict[str, Any]:
        """AssumeRole. A role that does not exist and one that does not trust the caller answer alike."""
        arn, name, caller = request.text("RoleArn"), request.text("RoleSessionName"), request.caller
        request.resource_arn = arn
        unsupported = {*request.params} - _KNOWN
        if unsupported:
            raise invalid(f"the emulator does not take {', '.join(sorted(unsupported))}")
        if not _SESSION_NAME.fullmatch(name):
            raise invalid(f"Value '{name}' at 'roleSessionName' failed to satisfy constraint")
        external_id = request.params.get("ExternalId")
        if external_id is not None and not _EXTERNAL_ID.fullmatch(str(external_id)):
            raise invalid("Value at 'externalId' failed to satisfy constraint")
        duration = _duration(request)
        policy = _session_policy(request.params.get("Policy"))
        role = self._identities.roles.get(arn)
        values = caller.values(request.now, request.region) | {"sts:rolesessionname": (name,)}
        if external_id is not None:
            values["sts:externalid"] = (str(external_id),)
        ask = Ask("sts:AssumeRole", arn, caller.principals, caller.account, values)
        if role is None or not may(caller, ask, role.trust, account_of(arn)):
            raise denied(caller.arn, ask.action, arn)
        if duration > role.max_session:
            raise invalid("The requested DurationSeconds exceeds the MaxSessionDuration set for this role.")
        session = self._identities.open_session(role, name, policy, request.now, duration)
        found: dict[str, Any] = {
            "Credentials": {
                "AccessKeyId": session.access_key_id,
                "SecretAccessKey": session.secret,
                "SessionToken": session.token,
                "Expiration": instant(session.expires),
            },
            "AssumedRoleUser": {
                "AssumedRoleId": f"{role.role_id}:{name}",
                "Arn": session_arn(arn, name),
            },
        }
        if policy is not None:
            found["PackedPolicySize"] = max(1, len(str(request.params["Policy"])) * 100 // MAX_SESSION_POLICY)
        return found


def _duration(request: Request) -> int:
    try:
        duration = int(request.params.get("DurationSeconds", 3600))
    except (TypeError, ValueError):
        raise invalid("Value at 'durationSeconds' is no number") from None
    if not MIN_DURATION <= duration <= MAX_DURATION:
        raise invalid(f"Value '{duration}' at 'durationSeconds' failed to satisfy constraint: at least {MIN_DURATION}")
    if request.caller.is_role and duration > MAX_CHAINED:
        raise invalid("The requested DurationSeconds exceeds the 1 hour session limit for role chaining")
    return duration


def _session_policy(text: Any) -> Policy | None:
    if text is None:
        return None
    if len(str(text)) > MAX_SESSION_POLICY:
        raise AwsError("PackedPolicyTooLarge", "the packed policy is larger than allowed")
    return parse(str(text), "identity")
