"""A role in a customer's account, over the wire: what AWS's rules let us do, and what we report when they do not.

Ministack checks signatures, trust policies, external ids, role policies and key policies. It never matches a condition
on the encryption context, so the policies here have none.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from uuid import uuid4

import pytest
from botocore.exceptions import ClientError

from core.domain.checks import Result
from core.domain.kek import KeyAccess
from core.errors import Denial, Silence
from core.providers.aws_kms import AwsKms
from tests.aws.accounts import CUSTOMER, PLATFORM, USER, Customer, Platform, document
from tests.aws.front import front_of
from tests.aws.ministack import MINISTACK, Ministack

pytestmark = MINISTACK

CONTEXT = {"tenant_id": "acme"}
KEY = bytes(range(32))


@pytest.fixture(scope="module")
def platform(ministack: Ministack) -> Iterator[Platform]:
    iam = ministack.client("iam", (PLATFORM, "test"))
    arn = iam.create_user(UserName=USER)["User"]["Arn"]
    key = iam.create_access_key(UserName=USER)["AccessKey"]
    policy = document({"Effect": "Allow", "Action": "sts:AssumeRole", "Resource": "*"})
    iam.put_user_policy(UserName=USER, PolicyName="assume", PolicyDocument=policy)
    with front_of(ministack.url) as endpoint:
        yield Platform(arn, (key["AccessKeyId"], key["SecretAccessKey"]), endpoint, ministack.url)


@pytest.fixture
def customer(ministack: Ministack, platform: Platform) -> Customer:
    unique = uuid4().hex
    made = Customer(ministack, platform.arn, f"keystead-{unique}", f"external-{unique}")
    made.set_up()
    return made


def uses(kms: AwsKms, access: KeyAccess) -> None:
    """Wrap and unwrap through the tenant's access."""
    provider = kms.connect(access)
    wrapped = provider.wrap(access.kek, KEY, CONTEXT)
    assert wrapped.ciphertext != KEY
    assert provider.unwrap(wrapped, CONTEXT).key == KEY


# The rules themselves


@pytest.mark.parametrize(("given", "allowed"), [("right", True), ("wrong", False), (None, False)])
def test_the_role_is_assumed_with_the_external_id_only(
    ministack: Ministack, platform: Platform, customer: Customer, given: str | None, allowed: bool
) -> None:
    sts = ministack.client("sts", platform.credentials)
    external_id = {"right": customer.external_id, "wrong": "wrong", None: None}[given]
    more = {} if external_id is None else {"ExternalId": external_id}
    if allowed:
        answer = sts.assume_role(RoleArn=customer.role_arn, RoleSessionName="test", **more)
        assert answer["AssumedRoleUser"]["Arn"].startswith(f"arn:aws:sts::{CUSTOMER}:assumed-role/{customer.role}/")
    else:
        with pytest.raises(ClientError) as raised:
            sts.assume_role(RoleArn=customer.role_arn, RoleSessionName="test", **more)
        assert raised.value.response["Error"]["Code"] == "AccessDenied"


# What the provider makes of them


def test_a_key_is_wrapped_and_unwrapped_through_the_role(platform: Platform, customer: Customer) -> None:
    uses(platform.kms(), customer.access())


def test_another_tenants_external_id_opens_nothing(platform: Platform, customer: Customer) -> None:
    """Whoever names a role that is not theirs presents an external id that is not the role's."""
    with pytest.raises(Denial) as raised:
        uses(platform.kms(), customer.access(external_id="of-another-tenant"))
    assert (raised.value.cause, raised.value.kms_code) == ("identity", "AccessDenied")


WITHDRAWALS: list[tuple[str, Callable[[Customer], None], Callable[[Customer], None], str, str]] = [
    (
        "key policy denies",
        Customer.deny_in_key_policy,
        Customer.restore_key_policy,
        "policy",
        "AccessDeniedException",
    ),
    ("role policy removed", Customer.remove_role_policy, Customer.allow, "policy", "AccessDeniedException"),
    ("role deleted", Customer.delete_role, Customer.restore_role, "identity", "AccessDenied"),
    ("trust policy changed", Customer.change_trust, Customer.restore_trust, "identity", "AccessDenied"),
    ("key disabled", Customer.disable, Customer.enable, "disabled", "DisabledException"),
    (
        "key deletion scheduled",
        Customer.schedule_deletion,
        Customer.cancel_deletion,
        "pending_deletion",
        "KMSInvalidStateException",
    ),
]
each_withdrawal = pytest.mark.parametrize(
    ("withdraw", "give_back", "cause", "code"),
    [line[1:] for line in WITHDRAWALS],
    ids=[line[0] for line in WITHDRAWALS],
)


@each_withdrawal
def test_a_withdrawal_is_a_denial_until_it_is_taken_back(
    platform: Platform,
    customer: Customer,
    withdraw: Callable[[Customer], None],
    give_back: Callable[[Customer], None],
    cause: str,
    code: str,
) -> None:
    kms, access = platform.kms(), customer.access()
    provider = kms.connect(access)
    wrapped = provider.wrap(access.kek, KEY, CONTEXT)
    withdraw(customer)
    for use in (lambda: provider.wrap(access.kek, KEY, CONTEXT), lambda: provider.unwrap(wrapped, CONTEXT)):
        with pytest.raises(Denial) as raised:
            use()
        assert (raised.value.cause, raised.value.kms_code) == (cause, code)
        assert raised.value.request_id
    give_back(customer)
    assert provider.unwrap(wrapped, CONTEXT).key == KEY


@each_withdrawal
def test_a_session_that_lives_on_does_not_outlive_what_it_may_do(
    platform: Platform,
    customer: Customer,
    withdraw: Callable[[Customer], None],
    give_back: Callable[[Customer], None],
    cause: str,
    code: str,
) -> None:
    """Only a changed trust policy leaves sessions alone that have begun, for as long as the lease says."""
    kms, access = platform.kms(), customer.access(lease=600)
    provider = kms.connect(access)
    wrapped = provider.wrap(access.kek, KEY, CONTEXT)
    withdraw(customer)
    if withdraw is Customer.change_trust:
        assert provider.unwrap(wrapped, CONTEXT).key == KEY
    else:
        with pytest.raises(Denial) as raised:
            provider.unwrap(wrapped, CONTEXT)
        assert raised.value.cause in {cause, "policy"}
    give_back(customer)


def test_a_refusal_without_a_request_id_is_not_taken_for_the_keys(platform: Platform, customer: Customer) -> None:
    """Ministack's own refusals, as they come: for all we know, something between us and AWS refused."""
    kms = platform.kms(platform.plain_endpoint)
    uses(kms, customer.access())
    customer.remove_role_policy()
    with pytest.raises(Silence):
        uses(kms, customer.access())


# What an examination makes of them


def checked(platform: Platform, access: KeyAccess) -> dict[str, tuple[Result, str]]:
    report = platform.kms().examine(access, CONTEXT)
    return {check.name: (check.result, check.remedy) for check in report.checks}


def test_an_examination_of_a_good_role(platform: Platform, customer: Customer) -> None:
    found = checked(platform, customer.access())
    passed = {name for name, (result, _) in found.items() if result is Result.PASS}
    assert {"identity", "account", "role", "external_id", "exists", "enabled", "round_trip", "describe"} <= passed
    # As the policies here say nothing of the encryption context, the key serves every tenant's.
    assert {name for name, (result, _) in found.items() if result is Result.FAIL} == {"tenant_bound"}


def test_an_examination_names_the_missing_external_id(platform: Platform, customer: Customer) -> None:
    customer.set_trust(None)
    result, remedy = checked(platform, customer.access())["external_id"]
    assert result is Result.FAIL
    assert "sts:ExternalId" in remedy


@pytest.mark.parametrize(
    ("withdraw", "name"),
    [
        (Customer.delete_role, "role"),
        (Customer.change_trust, "role"),
        (Customer.remove_role_policy, "round_trip"),
        (Customer.deny_in_key_policy, "round_trip"),
        (Customer.disable, "enabled"),
        (Customer.schedule_deletion, "deletion"),
    ],
    ids=lambda value: getattr(value, "__name__", value),
)
def test_an_examination_names_what_was_withdrawn(
    platform: Platform, customer: Customer, withdraw: Callable[[Customer], None], name: str
) -> None:
    withdraw(customer)
    result, remedy = checked(platform, customer.access())[name]
    assert result is Result.FAIL
    assert remedy
