"""Decrypts a great many damaged messages with every reader: none may be accepted, nothing but our own errors raised."""

from __future__ import annotations

import re
import tempfile
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from io import BytesIO
from multiprocessing import get_context
from pathlib import Path
from random import Random
from time import perf_counter

from benchmarks.mutants import MUTATIONS, Original
from core.bootstrap import Application, Config, assemble, local_leaves
from core.domain.context import message_context, serialise
from core.domain.encrypted_data_key import unwrap_data_key
from core.domain.foreign import decrypt_foreign
from core.domain.message_header import Header
from core.domain.streaming import decrypt_stream
from core.errors import KeysteadError

TENANT, NEIGHBOUR = "acme", "globex"
FRAME_LENGTHS = (16, 64 * 1024)
SIZES = (0, 1, 15, 16, 17, 40, 64, 100)
CONTEXTS: tuple[dict[str, str], ...] = ({}, {"app": "orders", "zone": "north"})
NUMBERS = re.compile(r"\d+")
SAMPLES = 20
"""Most offenders that are reported in full."""

Reader = Callable[[bytes, dict[str, str]], bytes]
SHARES = {"whole buffer": 6, "stream": 2, "foreign, service": 1, "foreign, stream": 1}
"""How the damaged messages are dealt out among the readers, of ten."""


@dataclass(frozen=True)
class Mutations:
    """What came of it.

    Attributes:
        seed: Gives the same messages again, keys and ids apart.
        count: Damaged messages, all different from any good one.
        seconds: Wall time.
        processes: That shared the work.
        by_mutation: Count by kind of damage.
        by_reader: Count by reader.
        by_refusal: Count by error class and what it said, numbers apart: how deep the damaged messages got.
        accepted: How many a reader opened; must be 0.
        crashed: How many raised anything that is not a `KeysteadError`; must be 0.
        samples: What the first offenders were.
    """

    seed: int
    count: int
    seconds: float
    processes: int
    by_mutation: dict[str, int]
    by_reader: dict[str, int]
    by_refusal: dict[str, int]
    accepted: int
    crashed: int
    samples: list[str]


def measure(count: int, *, seed: int, processes: int) -> Mutations:
    """Damage and decrypt.

    Args:
        count: Damaged messages in all.
        seed: Of the random choices.
        processes: That share the work.
    """
    begun = perf_counter()
    shares = [(seed * 1000 + n, count // processes + (n < count % processes)) for n in range(processes)]
    with ProcessPoolExecutor(processes, mp_context=get_context("spawn")) as pool:
        tallies = list(pool.map(_work, *zip(*shares, strict=True)))
    total = {name: Counter[str]() for name in ("mutation", "reader", "refusal", "verdict")}
    for tally, _ in tallies:
        for name, counter in total.items():
            counter.update(tally[name])
    return Mutations(
        seed=seed,
        count=total["verdict"].total(),
        seconds=perf_counter() - begun,
        processes=processes,
        by_mutation=dict(total["mutation"]),
        by_reader=dict(total["reader"]),
        by_refusal=dict(total["refusal"].most_common()),
        accepted=total["verdict"]["accepted"],
        crashed=total["verdict"]["crashed"],
        samples=[sample for _, samples in tallies for sample in samples][:SAMPLES],
    )


def _work(seed: int, count: int) -> tuple[dict[str, Counter[str]], list[str]]:
    with tempfile.TemporaryDirectory() as directory:
        config = Config(data_dir=Path(directory), store="memory")
        leaves = local_leaves(config)
        apps = [
            assemble(Config(data_dir=config.data_dir, store="memory", frame_length=length), leaves)
            for length in FRAME_LENGTHS
        ]
        for tenant in (TENANT, NEIGHBOUR):
            apps[0].tenants.create(tenant)
        own, foreign = (_originals(apps, tenant) for tenant in (TENANT, NEIGHBOUR))
        return _damage(Random(seed), count, own, foreign, _readers(apps[0]))


def _originals(apps: list[Application], tenant: str) -> list[Original]:
    return [
        Original.of(app.encryption.encrypt(tenant, bytes(size), context), context)
        for app in apps
        for context in CONTEXTS
        for size in SIZES
    ]


def _readers(app: Application) -> dict[str, Reader]:
    def open_key(header: Header) -> bytes:
        view, edk = app.gate.enter(TENANT, "read"), header.edks[0]
        branch_key = app.branch_keys.version(view, edk.branch_key_id, edk.version_id)
        return unwrap_data_key(branch_key.key, edk, serialise(message_context(TENANT, header.context)))

    def streamed(message: bytes, _: dict[str, str]) -> bytes:
        out = BytesIO()
        decrypt_stream(BytesIO(message), out, open_key)
        return out.getvalue()

    return {
        "whole buffer": lambda message, context: app.encryption.decrypt(TENANT, message, context),
        "stream": streamed,
        "foreign, service": lambda message, context: app.encryption.decrypt(TENANT, message, context, foreign=True),
        "foreign, stream": lambda message, _: decrypt_foreign(message, open_key),
    }


def _damage(
    random: Random, count: int, own: list[Original], foreign: list[Original], readers: dict[str, Reader]
) -> tuple[dict[str, Counter[str]], list[str]]:
    tally = {name: Counter[str]() for name in ("mutation", "reader", "refusal", "verdict")}
    # Other bytes may come from a neighbour's messages too; those are no good here as they are, so they count.
    donors, good, samples = own + foreign, {original.message for original in own}, list[str]()
    dealt = [name for name, share in SHARES.items() for _ in range(share)]
    kinds = list(MUTATIONS.items())
    while tally["verdict"].total() < count:
        kind, mutate = random.choice(kinds)
        original, reader = random.choice(own), random.choice(dealt)
        message = mutate(random, original, random.choice(donors))
        if message in good:
            continue
        tally["mutation"][kind] += 1
        tally["reader"][reader] += 1
        try:
            readers[reader](message, original.context)
        except KeysteadError as error:
            tally["refusal"][f"{type(error).__name__}: {NUMBERS.sub('N', error.detail)}"] += 1
            tally["verdict"]["refused"] += 1
            continue
        except Exception as error:  # noqa: BLE001 - that is the question
            verdict, what = "crashed", repr(error)
        else:
            verdict, what = "accepted", "opened"
        tally["verdict"][verdict] += 1
        if len(samples) < SAMPLES:
            samples.append(f"{kind}, {reader}: {what}: {message.hex()}")
    return tally, samples
