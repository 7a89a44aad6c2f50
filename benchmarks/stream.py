"""Streams a large value through the message format in a child process, and reports how much memory that took.

Plaintext is a block repeated, so that nothing but the message lies on disk and what comes back is checked as it comes.
Run as ``python -m benchmarks.stream DIR MIB`` it is the child.
"""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from time import perf_counter

from core.domain.context import serialise
from core.domain.encrypted_data_key import unwrap_data_key, wrap_data_key
from core.domain.message import DEFAULT_FRAME_LENGTH, DataKey
from core.domain.message_header import Header
from core.domain.streaming import decrypt_stream, encrypt_stream

ROOT = Path(__file__).resolve().parent.parent
MIB = 1 << 20
BRANCH_KEY_ID = VERSION_ID = "00000000-0000-4000-8000-000000000000"


@dataclass(frozen=True)
class Stream:
    """What one run gave.

    Attributes:
        mebibytes: Size of the plaintext.
        encrypt_seconds: From a repeated block into a file.
        decrypt_seconds: From that file into the null device, every frame compared.
        resident_before: Peak resident memory before, with everything imported and one small message streamed; bytes.
        growth: How much the peak rose; bytes.
    """

    mebibytes: int
    encrypt_seconds: float
    decrypt_seconds: float
    resident_before: int
    growth: int


def measure(directory: Path, mebibytes: int) -> Stream:
    """Run the child.

    Args:
        directory: Takes the message, which is as long as the plaintext; removed afterwards.
        mebibytes: Size of the plaintext.
    """
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.stream", str(directory), str(mebibytes)],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        check=True,
    )
    return Stream(**json.loads(done.stdout))


class _Repeated:
    """A source of one block, again and again."""

    def __init__(self, block: bytes, times: int) -> None:
        self._block, self._left = block, times

    def read(self, size: int, /) -> bytes:
        if not self._left:
            return b""
        if size != len(self._block):
            raise RuntimeError("the writer is expected to read a frame at a time")
        self._left -= 1
        return self._block


class _Compared:
    """A sink that insists on the block it expects, and hands it to the null device."""

    def __init__(self, block: bytes, out: Callable[[bytes], object]) -> None:
        self._block, self._out = block, out

    def write(self, data: bytes, /) -> None:
        if data != self._block:
            raise RuntimeError("a frame does not decrypt to what was encrypted")
        self._out(data)


def _run(path: Path, mebibytes: int) -> tuple[float, float]:
    block, data_key, branch_key = (os.urandom(size) for size in (DEFAULT_FRAME_LENGTH, 32, 32))
    context = serialise({"tenant_id": "acme"})
    edk = wrap_data_key(branch_key, BRANCH_KEY_ID, VERSION_ID, data_key, context)
    total = mebibytes * MIB

    def open_key(header: Header) -> bytes:
        return unwrap_data_key(branch_key, header.edks[0], context)

    begun = perf_counter()
    with path.open("wb") as sink:
        key = DataKey.wrapped(data_key, edk, context)
        if encrypt_stream(key, _Repeated(block, total // len(block)), sink) != total:
            raise RuntimeError("not everything was encrypted")
    encrypted = perf_counter()
    with path.open("rb") as source, Path(os.devnull).open("wb") as null:
        if decrypt_stream(source, _Compared(block, null.write), open_key) != total:
            raise RuntimeError("not everything was decrypted")
    decrypted = perf_counter()
    path.unlink()
    return encrypted - begun, decrypted - encrypted


def peak_resident() -> int:
    """The most memory this program has held, in bytes."""
    status = Path("/proc/self/status")
    if status.exists():
        # Not ru_maxrss: on Linux it starts at what the parent held when it forked, which would hide any growth.
        (line,) = [line for line in status.read_text(encoding="ascii").splitlines() if line.startswith("VmHWM:")]
        return int(line.split()[1]) * 1024
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def main(directory: str, mebibytes: str) -> None:
    """The child: stream, and print a `Stream` as JSON."""
    path = Path(directory) / "stream.message"
    _run(path, 1)
    before = peak_resident()
    encrypting, decrypting = _run(path, int(mebibytes))
    growth = peak_resident() - before
    print(json.dumps(asdict(Stream(int(mebibytes), encrypting, decrypting, before, growth))))


if __name__ == "__main__":
    main(*sys.argv[1:])
