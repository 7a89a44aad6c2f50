"""Whether a caller may: key policy or trust policy, grants, identity policies and session policy put together."""

from __future__ import annotations

from functions.emulators.identities import Caller
from functions.emulators.policies import Ask, Policy, decide_all


def may(caller: Caller, ask: Ask, resource_policy: Policy | None, owner: str, *, granted: bool = False) -> bool:
    """Decide as AWS does.

    Args:
        caller: With identity and session policies.
        ask: What is asked.
        resource_policy: The key's or the role's own, or None for what has none.
        owner: Account of the resource.
        granted: Whether a grant allows it.

    Returns:
        True if no policy denies it and: the session policy, if there is one, allows it; within one account the resource
        policy names the caller, or passes on to the account and the identity may; across accounts both sides allow.
    """
    identity = decide_all(caller.policies, ask)
    if identity.denied:
        return False
    if caller.session_policy is not None:
        session = caller.session_policy.decide(ask)
        if session.denied or not session.direct:
            return False
    if resource_policy is None:
        return identity.direct
    resource = resource_policy.decide(ask)
    if resource.denied:
        return False
    if caller.account == owner:
        return resource.direct or granted or (resource.delegated and identity.direct)
    return (resource.direct or resource.delegated or granted) and identity.direct
