"""The key of a mapping: read from a file, made anew into one, or made for once and forgotten. It is never shown."""

from __future__ import annotations

import os
import secrets
import stat

from tcpsight.anonymity.prefixes import KEY_BYTES
from tcpsight.errors import UsageError


def read_key(path: str) -> tuple[bytes, bool]:
    """Read a key, raw or as hex digits; tell, too, whether others than its owner may read it.

    Raises
    ------
    UsageError
        It cannot be read, or is no key.
    """
    try:
        with open(path, "rb") as file:
            data = file.read(4 * KEY_BYTES)
            mode = os.fstat(file.fileno()).st_mode
    except (OSError, ValueError) as error:
        raise UsageError(f"--key {path}: {getattr(error, 'strerror', None) or error}") from None
    key = data
    if len(data) == KEY_BYTES and all(byte in b"0123456789abcdefABCDEF\r\n" for byte in data):
        raise UsageError(f"--key {path}: half a key: {KEY_BYTES} hex digits are {KEY_BYTES // 2} bytes")
    if len(data) != KEY_BYTES:
        try:
            key = bytes.fromhex(data.decode("ascii").strip())
        except ValueError:
            key = b""
    if len(key) != KEY_BYTES:
        # Not what is in it: it might be a key, if none for us.
        raise UsageError(f"--key {path}: no key: it needs {KEY_BYTES} bytes, raw or as {2 * KEY_BYTES} hex digits")
    return key, stat.S_ISREG(mode) and bool(mode & 0o077)


def new_key(path: str | None) -> bytes:
    """Make a key; write it, as hex digits, into a new file that only its owner may read.

    Parameters
    ----------
    path : str or None
        The file; None for a key that is forgotten.

    Raises
    ------
    UsageError
        There is such a file, or it cannot be written.
    """
    key = secrets.token_bytes(KEY_BYTES)
    if path is None:
        return key
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        with os.fdopen(descriptor, "w", encoding="ascii") as file:
            file.write(f"{key.hex()}\n")
    except (OSError, ValueError) as error:
        raise UsageError(f"--new-key {path}: {getattr(error, 'strerror', None) or error}") from None
    return key
