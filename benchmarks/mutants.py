"""Damaged messages, made from good ones: every kind of change that an attacker or a broken disk might make."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from random import Random

from core.domain import frames
from core.domain.message_header import SECTION_START, parse_header


@dataclass(frozen=True)
class Original:
    """A good message and where its parts lie.

    Attributes:
        message: The message.
        context: The caller's pairs it opens with.
        starts: Where each frame begins, and the end of the message.
        lengths: Where each length, count and number field lies: (offset, bytes).
    """

    message: bytes
    context: dict[str, str]
    starts: tuple[int, ...]
    lengths: tuple[tuple[int, int], ...]

    @classmethod
    def of(cls, message: bytes, context: dict[str, str]) -> Original:
        """Find the parts of a message of ours."""
        header = parse_header(message)
        step = header.frame_length + frames.REGULAR_OVERHEAD
        starts = [header.size]
        while message[starts[-1] : starts[-1] + 4] != frames.ENDFRAME:
            starts.append(starts[-1] + step)
        edk = header.edks[0]
        context_end = SECTION_START + 2 + len(header.context_bytes)
        info = context_end + 2 + 2 + len(edk.provider_id)
        ciphertext = info + 2 + len(edk.provider_info)
        content = ciphertext + 2 + len(edk.ciphertext)
        fields = [(SECTION_START, 2), (SECTION_START + 2, 2), (context_end, 2), (context_end + 2, 2), (info, 2)]
        fields += [(ciphertext, 2), (content, 1), (content + 1, 4)]
        fields += [(start, 4) for start in starts] + [(starts[-1] + 4, 4), (starts[-1] + 20, 4)]
        return cls(message, context, (*starts, len(message)), tuple(fields))


Mutation = Callable[[Random, Original, Original], bytes]
"""Damages the first message, perhaps with bytes of the second. May give back what it was given."""


def flip_bit(random: Random, original: Original, _: Original) -> bytes:
    """One bit."""
    out = bytearray(original.message)
    out[random.randrange(len(out))] ^= 1 << random.randrange(8)
    return bytes(out)


def change_bytes(random: Random, original: Original, _: Original) -> bytes:
    """One to four bytes, anywhere."""
    out = bytearray(original.message)
    for _number in range(random.randint(1, 4)):
        out[random.randrange(len(out))] = random.randrange(256)
    return bytes(out)


def truncate(random: Random, original: Original, _: Original) -> bytes:
    """The end cut off; half the time between two frames."""
    message = original.message
    return message[: random.choice(original.starts[:-1]) if random.random() < 0.5 else random.randrange(len(message))]


def insert(random: Random, original: Original, _: Original) -> bytes:
    """One to sixteen bytes put in, at the end too."""
    message, at = original.message, random.randint(0, len(original.message))
    return message[:at] + random.randbytes(random.randint(1, 16)) + message[at:]


def remove(random: Random, original: Original, _: Original) -> bytes:
    """One to sixteen bytes taken out."""
    message, at = original.message, random.randrange(len(original.message))
    return message[:at] + message[at + random.randint(1, 16) :]


def swap_frames(random: Random, original: Original, _: Original) -> bytes:
    """Two frames in each other's place, or one repeated, or one left out."""
    message, starts = original.message, original.starts
    parts = [message[a:b] for a, b in pairwise(starts)]
    one, other = random.randrange(len(parts)), random.randrange(len(parts))
    match random.randrange(3):
        case 0:
            parts[one], parts[other] = parts[other], parts[one]
        case 1:
            parts.insert(one, parts[other])
        case _:
            del parts[one]
    return message[: starts[0]] + b"".join(parts)


def splice(random: Random, original: Original, other: Original) -> bytes:
    """The beginning of one message and the end of another; half the time cut between frames."""
    if random.random() < 0.5:
        return original.message[: random.choice(original.starts)] + other.message[random.choice(other.starts) :]
    return original.message[: random.randrange(len(original.message))] + other.message[random.randrange(1000) :]


def edit_length(random: Random, original: Original, _: Original) -> bytes:
    """A length, count or number field set to a neighbour, an extreme, or anything."""
    offset, size = random.choice(original.lengths)
    out, top = bytearray(original.message), (1 << 8 * size) - 1
    value = int.from_bytes(out[offset : offset + size])
    new = random.choice((value + 1, value - 1, value * 2, value ^ 0x100, 0, 1, top, top >> 1, random.randint(0, top)))
    out[offset : offset + size] = (new & top).to_bytes(size)
    return bytes(out)


MUTATIONS: dict[str, Mutation] = {
    "bit flipped": flip_bit,
    "bytes changed": change_bytes,
    "cut short": truncate,
    "bytes inserted": insert,
    "bytes removed": remove,
    "frames moved": swap_frames,
    "two spliced": splice,
    "length edited": edit_length,
}
