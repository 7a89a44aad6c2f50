"""Who we are, and whom tenants' policies should name: one and the same, or the operator is told."""

from __future__ import annotations

from dataclasses import replace

import pytest

from core.errors import OwnFault
from core.providers.aws_kms.identity import Identity
from functions.emulators.kms import LOCAL_PRINCIPAL
from tests.providers.aws_kms.arrangements import by_policy
from tests.providers.aws_kms.stage import CONTEXT, EXTERNAL_ID, TENANT, Stage

ACCOUNT = "999999999999"
SESSION = f"arn:aws:sts::{ACCOUNT}:assumed-role/keystead/i-1"
ROLE = f"arn:aws:iam::{ACCOUNT}:role/keystead"


@pytest.mark.parametrize(
    ("arn", "named", "fits"),
    [
        (SESSION, ROLE, True),
        (SESSION, f"arn:aws:iam::{ACCOUNT}:role/with/a/path/keystead", True),
        (SESSION, f"arn:aws:iam::{ACCOUNT}:role/other", False),
        (SESSION, f"arn:aws:iam::{ACCOUNT}:role/keystead2", False),
        (SESSION, f"arn:aws:iam::{ACCOUNT}:role/keystead/other", False),
        (SESSION, "arn:aws:iam::888888888888:role/keystead", False),
        (SESSION, f"arn:aws:iam::{ACCOUNT}:user/keystead", False),
        (SESSION, f"arn:aws:iam::{ACCOUNT}:root", False),
        (SESSION, "keystead", False),
        (f"arn:aws:iam::{ACCOUNT}:user/u", f"arn:aws:iam::{ACCOUNT}:user/u", True),
        (f"arn:aws:iam::{ACCOUNT}:user/u", f"arn:aws:iam::{ACCOUNT}:user/v", False),
        (f"arn:aws:iam::{ACCOUNT}:root", f"arn:aws:iam::{ACCOUNT}:root", False),
        (f"arn:aws:sts::{ACCOUNT}:federated-user/f", f"arn:aws:sts::{ACCOUNT}:federated-user/f", False),
    ],
)
def test_whom_policies_may_name(arn: str, named: str, fits: bool) -> None:
    refusal = Identity(arn, ACCOUNT).refusal(named)
    assert (refusal == "") is fits
    assert fits or arn in refusal


@pytest.mark.parametrize("principal", [LOCAL_PRINCIPAL.replace("keystead", "elsewhere"), f"{LOCAL_PRINCIPAL}-2"])
def test_another_principal_than_our_own_is_the_operators_to_mend(stage: Stage, principal: str) -> None:
    stage.kms = stage.connector(replace(stage.settings, principal=principal))
    found = {check.name: check for check in stage.kms.examine(by_policy()(stage), CONTEXT).checks}
    assert found["identity"].result.value == "fail"
    assert principal in found["identity"].observed
    assert "operator's to mend" in found["identity"].remedy
    assert {check.result.value for name, check in found.items() if name != "identity"} == {"skip"}


def test_a_role_with_a_path_is_named_by_the_settings(stage: Stage) -> None:
    named = LOCAL_PRINCIPAL.replace("role/", "role/service/")
    stage.kms = stage.connector(replace(stage.settings, principal=named))
    found = {check.name: check.result.value for check in stage.kms.examine(by_policy()(stage), CONTEXT).checks}
    assert found["identity"] == "pass"
    assert stage.kms.setup_kit(TENANT, EXTERNAL_ID)["identity"] == named


@pytest.mark.parametrize("arn", [f"arn:aws:iam::{ACCOUNT}:root", f"arn:aws:sts::{ACCOUNT}:federated-user/f"])
def test_who_is_neither_a_role_nor_a_user_is_named_to_nobody(stage: Stage, arn: str) -> None:
    stage.emulator.add_principal("someone", "secret", arn)
    settings = replace(stage.settings, access_key_id="someone", secret_access_key="secret")
    for principal in ("", arn):
        stage.kms = stage.connector(replace(settings, principal=principal))
        with pytest.raises(OwnFault, match="neither a role nor a user"):
            stage.kms.setup_kit(TENANT, EXTERNAL_ID)
        found = stage.kms.examine(by_policy()(stage), CONTEXT).checks[0]
        assert (found.name, found.result.value) == ("identity", "fail")
        assert arn in found.observed
