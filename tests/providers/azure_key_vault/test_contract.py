"""`azure_key_vault`: the provider's contract over the wire, for every type of key, in vaults and in Managed HSMs."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from core.domain.kek import KEY_BYTES, Kek, WrappedKey
from core.errors import Denial, WrapMismatch
from core.ports import KeyProvider
from tests.conformance.key_provider import CONTEXT, KEY, KeyProviderContract, Withdrawal
from tests.providers.azure_key_vault.stage import Dispatcher, Stage, missing

DAY = 86_400


class AzureContract(KeyProviderContract):
    """All types of keys have these."""

    kty: str
    size: int
    hsm = False
    stage: Stage
    kek: Kek

    @pytest.fixture(autouse=True)
    def _set_up(self, stage: Stage) -> None:
        self.stage = stage
        self.vault = stage.new_vault(hsm=True) if self.hsm else stage.vault
        self.kek, self.other_kek = (
            stage.key(name, self.vault, kty=self.kty, size=self.size) for name in ("kek", "other")
        )
        self.missing_kek = missing(self.kek)
        self.provider: KeyProvider = Dispatcher(stage.kms, stage.access(self.kek, lease=60))

    def withdrawals(self) -> Sequence[Withdrawal]:
        emulator, kid = self.stage.emulator, self.kek.locator
        both = ("wrapKey", "unwrapKey")
        return [
            Withdrawal("disabled", lambda: emulator.set_enabled(kid, False), lambda: emulator.set_enabled(kid, True)),
            Withdrawal(
                "policy",
                lambda: emulator.set_attributes(kid, key_ops=("wrapKey",)),
                lambda: emulator.set_attributes(kid, key_ops=both),
            ),
        ]

    def silence(self) -> None:
        self.stage.fault(reset=True)

    def test_the_wrapped_key_has_its_size(self) -> None:
        size = 88 if self.kty == "oct-HSM" else self.size // 8
        assert len(self.provider.wrap(self.kek, KEY, CONTEXT).ciphertext) == size


class TestRsa2048(AzureContract):
    kty, size = "RSA", 2048


class TestRsa3072(AzureContract):
    kty, size = "RSA", 3072


class TestRsa4096(AzureContract):
    kty, size = "RSA", 4096


class HsmContract(AzureContract):
    """Those of keys in a Managed HSM, whose answers have no date."""

    hsm = True

    def test_no_time_is_told(self) -> None:
        wrapped = self.provider.wrap(self.kek, KEY, CONTEXT)
        assert self.provider.unwrap(wrapped, CONTEXT).server_time is None

    def test_our_own_clock_says_whether_it_is_valid(self) -> None:
        stage, now = self.stage, int(self.stage.clock.wall())
        for nbf, exp, cause in ((-DAY, DAY, ""), (DAY, None, "not_yet_valid"), (None, -DAY, "expired")):
            dates = {"nbf": nbf and now + nbf, "exp": exp and now + exp}
            kek = stage.key(f"dated-{cause.replace('_', '-')}", self.vault, kty=self.kty, size=self.size, **dates)
            described = self.provider.describe(kek)
            assert (described.enabled, described.cause) == (not cause, cause)
            stage.emulator.clear_calls()
            if not cause:
                assert self.provider.unwrap(self.provider.wrap(kek, KEY, CONTEXT), CONTEXT).key == KEY
                continue
            with pytest.raises(Denial) as raised:
                self.provider.wrap(kek, KEY, CONTEXT)
            assert raised.value.cause == cause
            assert stage.made("wrapkey") == []


class TestRsaHsm(HsmContract):
    kty, size = "RSA-HSM", 3072


class TestOctHsm(HsmContract):
    kty, size = "oct-HSM", 256

    def test_two_wraps_differ(self) -> None:
        """AES key wrap (RFC 3394) has no randomness of its own: what differs is the keys, which are random."""
        keys = [bytes([number]) * KEY_BYTES for number in range(20)]
        assert len({self.provider.wrap(self.kek, key, CONTEXT).ciphertext for key in keys}) == 20

    def test_two_wrapped_keys_cannot_be_mixed(self) -> None:
        one, other = (self.provider.wrap(self.kek, key, CONTEXT).ciphertext for key in (KEY, bytes(KEY_BYTES)))
        for cut in (12, len(one) // 2, len(one) - 16):
            self.refuses(WrapMismatch, WrappedKey(self.kek, one[:cut] + other[cut:]), CONTEXT)
