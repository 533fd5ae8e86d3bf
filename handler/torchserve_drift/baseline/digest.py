"""How a baseline's file begins, and the SHA-256 that covers every byte of it."""

from __future__ import annotations

import hashlib

from torchserve_drift.errors import BaselineError

PREFIX = b'{"__metadata__":{"torchserve_drift.baseline":"{\\"sha256\\":\\"'
"""The first bytes of every header. The 64 digits of the digest follow, so they are at the same offset in every file."""

DIGEST = slice(8 + len(PREFIX), 8 + len(PREFIX) + 64)
"""Where the digits of the digest are in a file."""

BLANK_DIGEST = "0" * 64
"""Stands in place of the digest while the digest is computed."""

LARGEST_HEADER = 100_000_000
"""Bytes; the limit of safetensors itself."""

NOT_A_BASELINE = "it must begin as a baseline does; it is some other file, or damaged"


def digest(data: bytes) -> str:
    """The SHA-256 of ``data``, in hexadecimal, with zeros in place of the digits of the digest."""
    view = memoryview(data)  # slices of a view are not copied, and a file may be large
    total = hashlib.sha256(view[: DIGEST.start])
    total.update(BLANK_DIGEST.encode())
    total.update(view[DIGEST.stop :])
    return total.hexdigest()


def with_digest(data: bytes) -> bytes:
    """The file ``data``, whose digest is blank, with its digest filled in."""
    header_bytes(data)
    return b"".join((data[: DIGEST.start], digest(data).encode(), data[DIGEST.stop :]))


def verified_digest(data: bytes) -> str:
    """The digest that is written in ``data``.

    Raises
    ------
    BaselineError
        When ``data`` is not a baseline's file, or the digest does not match its content.
    """
    header_bytes(data)
    written, actual = data[DIGEST], digest(data)
    if written != actual.encode():
        raise BaselineError(f"its sha256 must be {actual}, got {written.decode('ascii', 'backslashreplace')!r}")
    return actual


def header_bytes(data: bytes) -> bytes:
    """The JSON header of ``data``; its length and its first bytes are checked, nothing else.

    Raises
    ------
    BaselineError
        When the header does not end within ``data``, or begins in another way than a baseline's.
    """
    length = int.from_bytes(data[:8], "little")
    if len(data) < 8 or not length <= min(len(data) - 8, LARGEST_HEADER):
        raise BaselineError(f"its header must end within its {len(data)} bytes, got {length} bytes of header")
    if not data.startswith(PREFIX, 8) or len(data) < DIGEST.stop:
        raise BaselineError(NOT_A_BASELINE)
    return data[8 : 8 + length]
