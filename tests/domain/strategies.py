"""Hypothesis strategies and settings shared by the tests of core.domain."""

from __future__ import annotations

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

usual = settings(max_examples=150, deadline=None)
thorough = settings(max_examples=400, deadline=None, suppress_health_check=[HealthCheck.too_slow])

structural = st.text(alphabet="\x00\x01\x02ab", max_size=5)
"""Text made of what the length fields are made of: whatever is ambiguous shows soonest here."""
texts = st.one_of(structural, st.text(max_size=12))
contexts = st.dictionaries(texts, texts, max_size=5)
callers_contexts = st.dictionaries(
    texts.filter(lambda key: bool(key) and key != "tenant_id" and not key.startswith(("keystead-", "aws-crypto-"))),
    texts,
    max_size=5,
)
structural_contexts = st.dictionaries(structural, structural, max_size=3)


@st.composite
def mutated(draw: st.DrawFn, original: bytes) -> bytes:
    """The bytes after one to three cuts, insertions, flips, doublings or moves; perhaps the same bytes again."""
    data = bytearray(original)
    for _ in range(draw(st.integers(1, 3))):
        start = draw(st.integers(0, len(data)))
        end = draw(st.integers(start, min(len(data), start + 40)))
        match draw(st.sampled_from(("cut", "insert", "flip", "double", "move", "end"))):
            case "cut":
                del data[start:end]
            case "insert":
                data[start:start] = draw(st.binary(min_size=1, max_size=20))
            case "flip" if start < len(data):
                data[start] ^= draw(st.integers(1, 255))
            case "double":
                data[end:end] = data[start:end]
            case "move":
                piece = data[start:end]
                del data[start:end]
                at = draw(st.integers(0, len(data)))
                data[at:at] = piece
            case "end":
                del data[start:]
            case _:
                data += b"\x00"
    return bytes(data)
