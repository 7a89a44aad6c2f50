"""`aws_kms`: the provider's contract over the wire, by key policy and by role, and withdrawals that only AWS knows."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import pytest

from core.domain.kek import Kek, KeyAccess, WrappedKey
from core.errors import Denial, KeysteadError, WrapMismatch
from core.ports import KeyProvider
from core.providers.aws_kms.setup_kit import key_policy, role_policy, trust_policy
from functions.emulators.kms import CUSTOMER_ACCOUNT, LOCAL_PRINCIPAL, Fault
from tests.conformance.key_provider import CONTEXT, KEY, KeyProviderContract, Withdrawal
from tests.providers.aws_kms.stage import (
    EXTERNAL_ID,
    ROLE,
    TENANT,
    Dispatcher,
    Stage,
    missing,
    staged,
    unbound,
    without,
)

OURS = key_policy("aws", CUSTOMER_ACCOUNT, LOCAL_PRINCIPAL, TENANT)


class AwsContract(KeyProviderContract):
    """Both ways of access have these."""

    stage: Stage
    kek: Kek

    def withdrawals(self) -> Sequence[Withdrawal]:
        emulator, arn = self.stage.emulator, self.kek.locator

        def undelete() -> None:
            emulator.cancel_key_deletion(arn)
            emulator.enable_key(arn)

        return [
            Withdrawal("disabled", lambda: emulator.disable_key(arn), lambda: emulator.enable_key(arn)),
            Withdrawal("pending_deletion", lambda: emulator.schedule_key_deletion(arn), undelete),
            Withdrawal(
                "disabled",
                lambda: emulator.set_key_state(arn, "PendingImport"),
                lambda: emulator.set_key_state(arn, "Enabled"),
            ),
        ]

    def silence(self) -> None:
        self.stage.emulator.add_fault(Fault(reset=True))

    def refusals(self, cause: str) -> None:
        """Both directions are refused, for this cause."""
        kek = self.kek
        for use in (lambda: self.provider.wrap(kek, KEY, CONTEXT), lambda: self.unwrap()):
            with pytest.raises(Denial) as raised:
                use()
            assert type(raised.value) is Denial
            assert (raised.value.cause, bool(raised.value.kms_code)) == (cause, True)
            assert raised.value.request_id

    def unwrap(self) -> None:
        assert self.provider.unwrap(self.wrapped, CONTEXT).key == KEY

    wrapped: WrappedKey

    def test_two_wrapped_keys_cannot_be_mixed(self) -> None:
        """KMS ciphertexts of one key begin alike, so a cut in there gives back the whole of the other one."""
        one, other = (self.provider.wrap(self.kek, KEY, CONTEXT).ciphertext for _ in range(2))
        mixed = {one[:cut] + other[cut:] for cut in range(len(one))} - {one, other}
        assert len(mixed) >= 12 + 32
        for ciphertext in sorted(mixed)[::5]:
            self.refuses(WrapMismatch, WrappedKey(self.kek, ciphertext), CONTEXT)

    def test_deleted(self) -> None:
        self.wrapped = self.provider.wrap(self.kek, KEY, CONTEXT)
        self.stage.emulator.delete_key(self.kek.locator)
        self.refusals("not_found")
        with pytest.raises(Denial) as raised:
            self.provider.describe(self.kek)
        assert raised.value.cause == "not_found"

    def test_pending_deletion_told_by_the_other_code(self) -> None:
        self.wrapped = self.provider.wrap(self.kek, KEY, CONTEXT)
        self.stage.emulator.ring.pending_deletion_code = "DisabledException"
        self.stage.emulator.schedule_key_deletion(self.kek.locator)
        self.refusals("pending_deletion")

    def test_server_time(self) -> None:
        wrapped = self.provider.wrap(self.kek, KEY, CONTEXT)
        self.stage.emulator.skew = 7200.0
        told = self.provider.unwrap(wrapped, CONTEXT).server_time
        assert told is not None
        assert abs(told - 7200 - self.stage.clock.wall()) < 60


class TestByKeyPolicy(AwsContract):
    @pytest.fixture(autouse=True)
    def _set_up(self) -> Iterator[None]:
        with staged() as self.stage:
            free = unbound(OURS)  # the suite wraps under contexts of any tenant, and of none
            self.kek, self.other_kek = (Kek(self.stage.key(policy=free)) for _ in range(2))
            self.missing_kek = missing(self.kek.locator)
            self.provider: KeyProvider = Dispatcher(self.stage.kms, self.stage.access(self.kek.locator))
            yield

    @pytest.mark.parametrize(
        "policy",
        [
            without(OURS, "KeysteadCrypto"),
            without(OURS, "KeysteadCrypto", "KeysteadDescribe"),
            key_policy("aws", CUSTOMER_ACCOUNT, LOCAL_PRINCIPAL, "another"),
            key_policy("aws", CUSTOMER_ACCOUNT, LOCAL_PRINCIPAL.replace("keystead", "other"), TENANT),
            {
                **OURS,
                "Statement": [
                    *OURS["Statement"],
                    {"Effect": "Deny", "Principal": {"AWS": LOCAL_PRINCIPAL}, "Action": "kms:*", "Resource": "*"},
                ],
            },
        ],
        ids=["no crypto", "nothing", "another tenant", "another role", "denied"],
    )
    def test_policy_edited(self, policy: dict[str, object]) -> None:
        emulator, arn = self.stage.emulator, self.kek.locator
        self.wrapped = self.provider.wrap(self.kek, KEY, CONTEXT)
        emulator.put_key_policy(arn, policy)
        self.refusals("policy")
        emulator.put_key_policy(arn, OURS)
        self.unwrap()

    def test_no_role_is_assumed(self) -> None:
        self.provider.wrap(self.kek, KEY, CONTEXT)
        assert self.stage.made() == ["Encrypt"]


class ByRole(AwsContract):
    lease: float

    @pytest.fixture(autouse=True)
    def _set_up(self) -> Iterator[None]:
        with staged() as self.stage:
            self.kek, self.other_kek = (Kek(self.stage.role_key()) for _ in range(2))
            self.missing_kek = missing(self.kek.locator)
            self.keks = [kek.locator for kek in (self.kek, self.other_kek, self.missing_kek)]
            self.stage.role(self.keks, policy=unbound(role_policy(TENANT)))
            self.access: KeyAccess = self.stage.role_access(self.kek.locator, lease=self.lease)
            self.provider: KeyProvider = Dispatcher(self.stage.kms, self.access)
            yield

    def distrust(self) -> None:
        self.stage.emulator.update_trust_policy(ROLE, trust_policy(LOCAL_PRINCIPAL, "another"))

    def trust(self) -> None:
        self.stage.emulator.update_trust_policy(ROLE, trust_policy(LOCAL_PRINCIPAL, EXTERNAL_ID))

    def test_role_policy_edited(self) -> None:
        self.wrapped = self.provider.wrap(self.kek, KEY, CONTEXT)
        policy = role_policy("another")
        statements = [{**statement, "Resource": self.keks} for statement in policy["Statement"]]
        self.stage.emulator.put_role_policy(ROLE, "keystead", {**policy, "Statement": statements})
        self.refusals("policy")

    def test_role_deleted(self) -> None:
        self.wrapped = self.provider.wrap(self.kek, KEY, CONTEXT)
        self.stage.emulator.delete_role(ROLE)
        with pytest.raises(Denial):
            self.unwrap()
        self.refusals("identity")
        self.stage.role(self.keks)
        self.unwrap()

    def test_role_deleted_and_its_sessions_unknown(self) -> None:
        """KMS may also say of a deleted role's session that it never heard of it: STS is asked."""
        self.stage.emulator.identities.deleted_role_code = "UnrecognizedClientException"
        self.wrapped = self.provider.wrap(self.kek, KEY, CONTEXT)
        self.stage.emulator.delete_role(ROLE)
        self.refusals("identity")


class TestByRoleWithoutLease(ByRole):
    lease = 0

    def test_trust_changed(self) -> None:
        self.wrapped = self.provider.wrap(self.kek, KEY, CONTEXT)
        self.distrust()
        self.refusals("identity")
        self.trust()
        self.unwrap()


class TestByRoleWithLease(ByRole):
    lease = 60

    def test_trust_changed_takes_effect_when_the_lease_ends(self) -> None:
        self.wrapped = self.provider.wrap(self.kek, KEY, CONTEXT)
        self.distrust()
        self.unwrap()
        self.stage.clock.ahead += 60
        self.refusals("identity")
        self.trust()
        self.unwrap()


@pytest.mark.parametrize(
    ("state", "custom", "error", "cause"),
    [
        ("Creating", {}, "Silence", ""),
        ("Updating", {}, "Silence", ""),
        ("Unavailable", {"custom_key_store_id": "cks-1", "origin": "AWS_CLOUDHSM"}, "Silence", ""),
        ("PendingImport", {"origin": "EXTERNAL"}, "Denial", "disabled"),
    ],
)
def test_what_a_state_means(stage: Stage, state: str, custom: dict[str, str], error: str, cause: str) -> None:
    arn = stage.key(**custom)
    provider = stage.kms.connect(stage.access(arn))
    wrapped = provider.wrap(Kek(arn), KEY, CONTEXT)
    stage.emulator.set_key_state(arn, state)
    uses: list[Callable[[], object]] = [
        lambda: provider.wrap(Kek(arn), KEY, CONTEXT),
        lambda: provider.unwrap(wrapped, CONTEXT),
    ]
    for use in uses:
        with pytest.raises(KeysteadError) as raised:
            use()
        assert (type(raised.value).__name__, getattr(raised.value, "cause", "")) == (error, cause)
        assert state in raised.value.detail
    stage.emulator.set_key_state(arn, "Enabled")
    assert provider.unwrap(wrapped, CONTEXT).key == KEY
