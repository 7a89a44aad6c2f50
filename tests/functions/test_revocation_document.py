"""docs/revocation.md says what the code does: its tables are made from it, and its sentences carry its numbers."""

import re
from pathlib import Path

import pytest

from core.bootstrap import Config
from core.domain.causes import ACTIONS
from core.domain.key_policy import KeyPolicy
from core.domain.states import TABLE, Signal, State
from core.domain.withdrawals import ACCESS_CAUSES, PLAIN_CAUSES
from core.errors import KeyUnreachable, StoreUnavailable
from core.providers.aws_kms import sessions as aws
from core.providers.azure_key_vault import sessions as azure
from core.service.approvals import PROPOSAL_SECONDS
from core.service.revocation.checks import DESCRIBE_EVERY
from core.service.revocation.denials import Pace
from core.service.revocation.guard import MANY, MANY_WITHIN
from core.service.revocation.turns import INTERVALS
from core.service.state_gate import REFUSAL_AGE
from functions.cli.main import cli
from functions.cli.reference import commands
from functions.local.scheduler import plans
from functions.problems import RETRY_AFTER, STATUS
from functions.revocation_reference import blocks, transitions
from functions.settings import SETTINGS

TEXT = (Path(__file__).parents[2] / "docs" / "revocation.md").read_text(encoding="utf-8")
PLAIN = " ".join(TEXT.split())
CONFIG, POLICY, PACE = Config(), KeyPolicy(), Pace()
EVERY = {plan.name: plan.interval for plan in plans(CONFIG.check_interval)}


@pytest.mark.parametrize("name", blocks())
def test_the_document_holds_what_is_made_from_the_code(name: str) -> None:
    block = blocks()[name]
    first, last = block.splitlines()[0], block.splitlines()[-1]
    found = TEXT[TEXT.index(first) : TEXT.index(last) + len(last)]
    assert found == block, "python -m functions.revocation_reference makes the new one"


def test_every_state_signal_and_transition_is_in_the_tables() -> None:
    made = blocks()["states"]
    assert all(f"\n| `{name}` |" in made for name in (*State, *Signal))
    listed: set[tuple[str, str, str]] = set()
    for line in transitions().splitlines()[2:]:
        signal, sources, targets = (re.findall(r"`(\w+)`", cell) for cell in line.strip("| ").split(" | "))
        listed |= {(signal[0], source, target) for source in sources for target in targets}
    assert listed == {(row.signal.value, source.value, row.target.value) for row in TABLE for source in row.sources}


PROMISES = (
    f"Within {POLICY.lease:g} seconds of your cloud's first refusal",
    f"every other process reads within {CONFIG.state_age:g} s",
    f"stops at the end of its lease, or after {CONFIG.store_silence:g} s",
    f"{PACE.confirm_plain:g} s after the first if the key itself is off",
    f"{CONFIG.confirm_after:g} s after it if a policy or an identity is to blame",
    "served again within 30 s, without anybody asking",
    # A check just before may have left the key alone for a pace, because a request had just used it.
    f"within {(2 * PACE.used + EVERY['check']) / 60:g} minutes if the key was used",
    f"if the key was used in the last {PACE.lately / 60:g} minutes",
    f"within {(PACE.idle + 2 * EVERY['check']) / 60:g} minutes if it was not",
    f"a session is used again for one lease (and {aws.REUSE_SECONDS / 60:g} minutes) at most",
    f"uses none for longer than a lease, nor than {azure.REUSE_SECONDS / 60:g} minutes",
    f"| {POLICY.outage_grace:g} s (`outage_grace`) | never | recover the vault",
    f"| {CONFIG.state_age:g} s | `suspended` at once; no receipt",
    f"after a process's last unwrap ({max(POLICY.lease, POLICY.outage_grace):g} s)",
    f"`Retry-After: {KeyUnreachable('x').retry_after}`, from everybody",
    f"if {MANY} tenants are refused within {MANY_WITHIN:g} s the operator is alarmed",
    f"within {CONFIG.state_age:g} s in every process ({CONFIG.store_silence:g} s in one that cannot reach the store)",
    f"| `lease` | {POLICY.lease:g} s |",
    f"| `outage_grace` | {POLICY.outage_grace:g} s |",
    f"| `rotation_days` | {POLICY.rotation_days} |",
    f"and within {CONFIG.state_age:g} s in all others",
    f"by another subject within {PROPOSAL_SECONDS / 3600:g} hours carries it out",
)


@pytest.mark.parametrize("promise", PROMISES)
def test_the_sentences_carry_the_numbers_of_the_code(promise: str) -> None:
    assert promise in PLAIN


def test_what_is_said_to_come_back_in_time_does() -> None:
    # The longest pause between two probes, the wait for the watch that sees it, and for others to read the state.
    assert INTERVALS[-1] + EVERY["watch"] + REFUSAL_AGE < 30
    assert DESCRIBE_EVERY == 3600, "a key that no longer wraps is looked for every hour"
    assert StoreUnavailable("x").retry_after == RETRY_AFTER[503] == 5
    assert not POLICY.fallback
    assert not POLICY.approval


def acts() -> list[list[str]]:
    """The rows of the tables of acts in AWS and in Azure, by cell."""
    tables = re.findall(r"^\| you \| cause told \|.*\n\|[-|]+\n((?:\|.*\n)+)", TEXT, re.MULTILINE)
    assert len(tables) == 2
    return [row.strip("| ").split(" | ") for table in tables for row in table.splitlines()]


@pytest.mark.parametrize("row", acts(), ids=lambda row: row[0])
def test_each_act_is_confirmed_as_its_cause_is(row: list[str]) -> None:
    _, cause, _, served, confirmed, _ = row
    expected = {
        **dict.fromkeys(PLAIN_CAUSES, f"{PACE.confirm_plain:g} s"),
        **dict.fromkeys(ACCESS_CAUSES, f"{CONFIG.confirm_after:g} s"),
        "network": "never",
        "none": "never",
    }
    name = cause.strip("`")
    assert name == "none" or name in ACTIONS
    assert confirmed.startswith(expected[name])
    if name != "none":
        assert served == f"{POLICY.lease:g} s"


def test_every_cause_of_a_withdrawal_has_an_act() -> None:
    # The providers of today tell a key that is gone as not found.
    assert {row[1].strip("`") for row in acts()} >= (PLAIN_CAUSES | ACCESS_CAUSES | {"network"}) - {"deleted"}


def test_every_code_setting_and_command_that_is_named_exists() -> None:
    codes = {(status, cls.code) for cls, status in STATUS.items()}
    named = re.findall(r"\b([45]\d\d) `(\w+)`", PLAIN) + re.findall(r"\| ([45]\d\d) \| `(\w+)`", PLAIN)
    assert named
    assert {(int(status), code) for status, code in named} <= codes
    assert set(re.findall(r"KEYSTEAD_\w+", TEXT)) <= {setting.variable for setting in SETTINGS}
    known = {path for path, _ in commands(cli)}
    said = re.findall(r"`(keystead [a-z]+(?: [a-z]+)?)", TEXT)
    assert said
    for words in said:
        assert words in known or words.rsplit(" ", 1)[0] in known, words


def test_every_source_is_linked_and_every_link_is_a_source() -> None:
    links = set(re.findall(r"^\[(\d)\]: https://", TEXT, re.MULTILINE))
    assert links == set(re.findall(r"\[(\d)\](?!:)", TEXT)) == {str(number) for number in range(1, len(links) + 1)}
