"""What keys in other states than Enabled, of other kinds, or under other names answer."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from botocore.exceptions import ParamValidationError

from functions.emulators.aws_errors import AwsError
from functions.emulators.kms import CUSTOMER_ACCOUNT, DEFAULT_REGION, LOCAL_ACCESS_KEY_ID, KmsEmulator
from functions.emulators.kms_keys import DAY
from tests.emulators.worlds import CONTEXT, World, open_to, policy, refused, statement

Act = Callable[[KmsEmulator, str], None]


def cancelled(emulator: KmsEmulator, arn: str) -> None:
    emulator.schedule_key_deletion(arn)
    emulator.cancel_key_deletion(arn)


SETTLED: dict[str, tuple[Act, str, str]] = {
    "disabled": (lambda e, k: e.disable_key(k), "DisabledException", "Disabled"),
    "deletion": (lambda e, k: e.schedule_key_deletion(k, days=7), "KMSInvalidStateException", "PendingDeletion"),
    "cancelled": (cancelled, "DisabledException", "Disabled"),
    "expired": (lambda e, k: e.expire_material(k), "KMSInvalidStateException", "PendingImport"),
    "import": (lambda e, k: e.set_key_state(k, "PendingImport"), "KMSInvalidStateException", "PendingImport"),
    "creating": (lambda e, k: e.set_key_state(k, "Creating"), "KMSInvalidStateException", "Creating"),
    "updating": (lambda e, k: e.set_key_state(k, "Updating"), "KMSInvalidStateException", "Updating"),
    "unavailable": (lambda e, k: e.set_key_state(k, "Unavailable"), "KMSInvalidStateException", "Unavailable"),
}


def uses(client: Any, arn: str, ciphertext: bytes) -> dict[str, Callable[[], Any]]:
    """Every operation that needs an enabled key."""
    context = {"KeyId": arn, "EncryptionContext": CONTEXT}
    return {
        "Encrypt": lambda: client.encrypt(**context, Plaintext=b"x"),
        "Decrypt": lambda: client.decrypt(**context, CiphertextBlob=ciphertext),
        "Decrypt without a key": lambda: client.decrypt(CiphertextBlob=ciphertext, EncryptionContext=CONTEXT),
        "GenerateDataKey": lambda: client.generate_data_key(**context, KeySpec="AES_256"),
        "GenerateDataKeyWithoutPlaintext": lambda: client.generate_data_key_without_plaintext(
            **context, NumberOfBytes=32
        ),
        "ReEncrypt": lambda: client.re_encrypt(
            CiphertextBlob=ciphertext, SourceEncryptionContext=CONTEXT, DestinationKeyId=arn
        ),
        "dry run": lambda: client.encrypt(**context, Plaintext=b"x", DryRun=True),
        "CreateGrant": lambda: client.create_grant(
            KeyId=arn, GranteePrincipal="arn:aws:iam::999999999999:role/a", Operations=["Decrypt"]
        ),
    }


@pytest.mark.parametrize("case", SETTLED)
def test_a_key_that_is_not_enabled_is_used_by_no_operation_and_still_described(world: World, case: str) -> None:
    act, code, state = SETTLED[case]
    arn = world.key(open_to())
    ciphertext = world.kms.encrypt(KeyId=arn, Plaintext=b"x", EncryptionContext=CONTEXT)["CiphertextBlob"]
    act(world.emulator, arn)
    for use in uses(world.kms, arn, ciphertext).values():
        refused(code, use)
    metadata = world.kms.describe_key(KeyId=arn)["KeyMetadata"]
    assert (metadata["KeyState"], metadata["Enabled"]) == (state, False)


@pytest.mark.parametrize("case", ["disabled", "import", "creating", "updating", "unavailable"])
def test_a_key_that_is_enabled_again_decrypts_what_it_encrypted(world: World, case: str) -> None:
    arn = world.key()
    ciphertext = world.kms.encrypt(KeyId=arn, Plaintext=b"x", EncryptionContext=CONTEXT)["CiphertextBlob"]
    SETTLED[case][0](world.emulator, arn)
    world.emulator.set_key_state(arn, "Enabled")
    assert world.kms.decrypt(CiphertextBlob=ciphertext, EncryptionContext=CONTEXT)["Plaintext"] == b"x"


def test_pending_deletion_can_answer_as_a_disabled_key(world: World) -> None:
    arn = world.key()
    world.emulator.schedule_key_deletion(arn)
    world.emulator.ring.pending_deletion_code = "DisabledException"
    refused("DisabledException", lambda: world.kms.encrypt(KeyId=arn, Plaintext=b"x", EncryptionContext=CONTEXT))


def test_a_scheduled_key_shows_its_date_and_is_gone_after_it(world: World) -> None:
    arn = world.key()
    world.emulator.schedule_key_deletion(arn, days=7)
    deletion = world.kms.describe_key(KeyId=arn)["KeyMetadata"]["DeletionDate"]
    assert deletion.timestamp() == world.time + 7 * DAY
    world.time += 7 * DAY - 1
    assert world.kms.describe_key(KeyId=arn)["KeyMetadata"]["KeyState"] == "PendingDeletion"
    world.time += 1
    refused("NotFoundException", lambda: world.kms.describe_key(KeyId=arn))


def test_a_deleted_key_is_not_found_and_its_ciphertext_is_nobodys(world: World) -> None:
    arn = world.key()
    ciphertext = world.kms.encrypt(KeyId=arn, Plaintext=b"x", EncryptionContext=CONTEXT)["CiphertextBlob"]
    world.emulator.delete_key(arn)
    for use in list(uses(world.kms, arn, ciphertext).items()):
        code = "InvalidCiphertextException" if use[0] in ("Decrypt without a key", "ReEncrypt") else "NotFoundException"
        refused(code, use[1])


def test_imported_material_expires_by_the_clock(world: World) -> None:
    arn = world.key(origin="EXTERNAL")
    world.emulator.set_valid_to(arn, world.time + 10)
    metadata = world.kms.describe_key(KeyId=arn)["KeyMetadata"]
    assert (metadata["ValidTo"].timestamp(), metadata["ExpirationModel"]) == (world.time + 10, "KEY_MATERIAL_EXPIRES")
    world.kms.encrypt(KeyId=arn, Plaintext=b"x", EncryptionContext=CONTEXT)
    world.time += 10
    refused("KMSInvalidStateException", lambda: world.kms.encrypt(KeyId=arn, Plaintext=b"x", EncryptionContext=CONTEXT))
    assert "ValidTo" not in world.kms.describe_key(KeyId=arn)["KeyMetadata"]


@pytest.mark.parametrize(
    ("spec", "usage"),
    [("RSA_3072", "ENCRYPT_DECRYPT"), ("ECC_NIST_P256", "SIGN_VERIFY"), ("HMAC_256", "GENERATE_VERIFY_MAC")],
)
def test_a_key_of_another_type_does_no_symmetric_cryptography(world: World, spec: str, usage: str) -> None:
    arn = world.key(spec=spec, usage=usage)
    refused("InvalidKeyUsageException", lambda: world.kms.encrypt(KeyId=arn, Plaintext=b"x", EncryptionContext=CONTEXT))
    refused(
        "InvalidKeyUsageException",
        lambda: world.kms.generate_data_key(KeyId=arn, KeySpec="AES_256", EncryptionContext=CONTEXT),
    )
    refused("UnsupportedOperationException", lambda: world.kms.get_key_rotation_status(KeyId=arn))
    metadata = world.kms.describe_key(KeyId=arn)["KeyMetadata"]
    assert (metadata["KeySpec"], metadata["KeyUsage"]) == (spec, usage)


NAMES: dict[str, tuple[Callable[[str], str], str]] = {
    "another account's bare id": (lambda arn: arn.rpartition("/")[2], "NotFoundException"),
    "no such key": (lambda arn: f"{arn[:-4]}0000", "NotFoundException"),
    "another Region": (lambda arn: arn.replace("eu-central-1", "eu-west-1"), "NotFoundException"),
    "alias": (lambda arn: "alias/byok", "NotFoundException"),
    "alias ARN": (lambda arn: f"arn:aws:kms:{DEFAULT_REGION}:{CUSTOMER_ACCOUNT}:alias/byok", "NotFoundException"),
    "another service": (lambda arn: "arn:aws:s3:::bucket", "InvalidArnException"),
    "no account": (lambda arn: arn.replace(CUSTOMER_ACCOUNT, ""), "InvalidArnException"),
}


@pytest.mark.parametrize("case", NAMES)
def test_what_is_no_name_of_a_key_is_refused(world: World, case: str) -> None:
    name, code = NAMES[case]
    arn = world.key()
    refused(code, lambda: world.kms.describe_key(KeyId=name(arn)))
    refused(code, lambda: world.kms.encrypt(KeyId=name(arn), Plaintext=b"x", EncryptionContext=CONTEXT))


def test_a_bare_id_names_a_key_of_the_callers_own_account(world: World) -> None:
    arn = world.key(policy(statement(f"arn:aws:iam::{CUSTOMER_ACCOUNT}:root", "kms:*")))
    assert world.customer.describe_key(KeyId=arn.rpartition("/")[2])["KeyMetadata"]["Arn"] == arn


def test_a_key_lives_in_its_region_only(world: World) -> None:
    arn = world.key(region="eu-west-1")
    there = world.emulator.client("kms", LOCAL_ACCESS_KEY_ID, "eu-west-1")
    blob = there.encrypt(KeyId=arn, Plaintext=b"x", EncryptionContext=CONTEXT)["CiphertextBlob"]
    refused("NotFoundException", lambda: world.kms.describe_key(KeyId=arn))
    refused("InvalidCiphertextException", lambda: world.kms.decrypt(CiphertextBlob=blob, EncryptionContext=CONTEXT))


def test_metadata_names_stores_regions_and_managers(world: World) -> None:
    custom = world.key(origin="EXTERNAL_KEY_STORE", custom_key_store_id="cks-1")
    everywhere = world.key(multi_region=True)
    theirs = world.key(manager="AWS")
    found = [world.kms.describe_key(KeyId=arn)["KeyMetadata"] for arn in (custom, everywhere, theirs)]
    assert (found[0]["CustomKeyStoreId"], found[0]["Origin"]) == ("cks-1", "EXTERNAL_KEY_STORE")
    assert found[1]["MultiRegionConfiguration"]["MultiRegionKeyType"] == "PRIMARY"
    assert found[1]["KeyId"].startswith("mrk-")
    assert (found[2]["KeyManager"], found[2]["MultiRegion"]) == ("AWS", False)
    refused("UnsupportedOperationException", lambda: world.kms.get_key_rotation_status(KeyId=custom))


def test_the_customer_manages_its_keys_through_the_api(world: World) -> None:
    kms = world.customer
    arn = kms.create_key()["KeyMetadata"]["Arn"]
    assert kms.list_keys()["Keys"] == [{"KeyId": arn.rpartition("/")[2], "KeyArn": arn}]
    blob = kms.encrypt(KeyId=arn, Plaintext=b"x")["CiphertextBlob"]
    kms.disable_key(KeyId=arn)
    refused("DisabledException", lambda: kms.decrypt(CiphertextBlob=blob))
    kms.enable_key(KeyId=arn)
    kms.put_key_policy(KeyId=arn, Policy='{"Statement":{"Effect":"Allow","Principal":"*","Action":"*","Resource":"*"}}')
    assert '"Effect": "Allow"' in kms.get_key_policy(KeyId=arn)["Policy"]
    refused("MalformedPolicyDocumentException", lambda: kms.put_key_policy(KeyId=arn, Policy="{}"))
    assert kms.schedule_key_deletion(KeyId=arn, PendingWindowInDays=7)["KeyState"] == "PendingDeletion"
    for change in (kms.enable_key, kms.disable_key, kms.schedule_key_deletion, kms.enable_key_rotation):
        refused("KMSInvalidStateException", lambda change=change: change(KeyId=arn))  # type: ignore[misc]
    kms.cancel_key_deletion(KeyId=arn)
    refused("KMSInvalidStateException", lambda: kms.cancel_key_deletion(KeyId=arn))
    refused("DisabledException", lambda: kms.decrypt(CiphertextBlob=blob))


def test_rotation_is_shown_and_set(world: World) -> None:
    arn = world.key(None, rotation=True)
    found = world.kms.get_key_rotation_status(KeyId=arn)
    assert (found["KeyRotationEnabled"], found["RotationPeriodInDays"]) == (True, 365)
    world.time += 400 * DAY
    assert found["NextRotationDate"].timestamp() == world.time - 35 * DAY
    assert world.kms.get_key_rotation_status(KeyId=arn)["NextRotationDate"].timestamp() == world.time + 330 * DAY
    world.emulator.set_rotation(arn, on=False)
    assert world.kms.get_key_rotation_status(KeyId=arn)["KeyRotationEnabled"] is False


def test_the_hands_refuse_what_is_not_there(world: World) -> None:
    with pytest.raises(AwsError, match="NotFoundException"):
        world.emulator.disable_key("arn:aws:kms:eu-central-1:111122223333:key/none")
    with pytest.raises(AwsError, match="NoSuchEntity"):
        world.emulator.delete_role("arn:aws:iam::111122223333:role/none")
    with pytest.raises(ValueError, match="a state is one of"):
        world.emulator.set_key_state(world.key(), "Broken")
    arn = world.key(key_id="11111111-1111-1111-1111-111111111111")
    assert arn.endswith("key/11111111-1111-1111-1111-111111111111")
    with pytest.raises(AwsError, match="AlreadyExistsException"):
        world.key(key_id="11111111-1111-1111-1111-111111111111")


def test_parameters_are_checked_as_a_real_client_checks_them(world: World) -> None:
    with pytest.raises(ParamValidationError):
        world.kms.encrypt(Plaintext=b"x")
    with pytest.raises(AttributeError):
        world.kms.no_such_operation()
    refused("UnknownOperationException", lambda: world.kms.list_aliases())
