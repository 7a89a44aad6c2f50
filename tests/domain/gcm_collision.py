"""Builds one ciphertext, or one piece of authenticated data, whose GCM tag holds under two keys.

GHASH is linear, so one free block suffices: this is the attack that key commitment is there to stop (Dodis, Grubbs,
Ristenpart, Woodage: "Fast message franking", 2018).
"""

from __future__ import annotations

from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.ciphers.modes import ECB

ONE = 1 << 127
Keys = tuple[bytes, bytes]


def multiply(x: int, y: int) -> int:
    """Product in GCM's field, where the first bit of a block is the coefficient of 1."""
    product = 0
    for bit in range(127, -1, -1):
        if x >> bit & 1:
            product ^= y
        y = y >> 1 ^ (0xE1 << 120 if y & 1 else 0)
    return product


def power(x: int, exponent: int) -> int:
    """x to an exponent."""
    result = ONE
    while exponent:
        if exponent & 1:
            result = multiply(result, x)
        x, exponent = multiply(x, x), exponent >> 1
    return result


def _hash_key(key: bytes) -> int:
    return int.from_bytes(Cipher(AES(key), ECB()).encryptor().update(bytes(16)))


def _difference(tags: tuple[bytes, bytes], keys: Keys, exponent: int) -> bytes:
    # A change d of one block changes each tag by d * H^exponent; both tags are to end up the same.
    first, second = (power(_hash_key(key), exponent) for key in keys)
    apart = int.from_bytes(tags[0]) ^ int.from_bytes(tags[1])
    return multiply(apart, power(first ^ second, (1 << 128) - 2)).to_bytes(16)


def collide_authenticated(keys: Keys, iv: bytes, data: bytes, free: int) -> bytes:
    """Change the 16 bytes at an offset, a multiple of 16, so that one tag authenticates the data under both keys."""
    tags = [AESGCM(key).encrypt(iv, b"", data) for key in keys]
    exponent = (len(data) + 15) // 16 - free // 16 + 1
    change = _difference((tags[0], tags[1]), keys, exponent)
    return _changed(data, free, change)


def collide_ciphertext(keys: Keys, iv: bytes, ciphertext: bytes, aad: bytes) -> tuple[bytes, bytes]:
    """Change the first block of a ciphertext so that one tag authenticates it under both keys; gives both."""
    exponent = (len(ciphertext) + 15) // 16 + 1
    change = _difference((_tag(keys[0], iv, ciphertext, aad), _tag(keys[1], iv, ciphertext, aad)), keys, exponent)
    changed = _changed(ciphertext, 0, change)
    return changed, _tag(keys[0], iv, changed, aad)


def _tag(key: bytes, iv: bytes, ciphertext: bytes, aad: bytes) -> bytes:
    gcm = AESGCM(key)
    stream = gcm.encrypt(iv, bytes(len(ciphertext)), None)
    return gcm.encrypt(iv, bytes(a ^ b for a, b in zip(ciphertext, stream, strict=False)), aad)[-16:]


def _changed(data: bytes, at: int, change: bytes) -> bytes:
    block = bytes(a ^ b for a, b in zip(data[at : at + 16], change, strict=True))
    return data[:at] + block + data[at + 16 :]
