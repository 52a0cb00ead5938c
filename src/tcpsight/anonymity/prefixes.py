"""Addresses mapped so that prefixes stay prefixes: Crypto-PAn (Xu, Fan, Ammar, Moon, ICNP 2002), for IPv4 and IPv6.

Theory of operation
-------------------
Bit i of an address is flipped or not by the first bit of AES of the i bits before it, filled up with a secret pad. So
two addresses that share their first n bits share exactly n bits when they are mapped, and without the key nobody can
undo it. The key is 32 bytes: the first 16 are AES's, the others are encrypted to make the pad, as in the authors'
program. All blocks of a batch of addresses are encrypted by one call. Other secrets (`Secrets`) come from the same key
by HMAC.

What it cannot hide: who knows some addresses and finds them again (by ports, times, traffic) knows what they are mapped
to, and so the first bits of their neighbours (Brekne et al., PET 2005; Burkhart et al., CCR 2010).
"""

from __future__ import annotations

import hashlib
import hmac
from typing import Any

import numpy as np

from tcpsight.errors import UsageError, installing
from tcpsight.tables import IPV4_PREFIX

KEY_BYTES = 32
MOST_REMEMBERED = 1 << 20
"""Addresses whose mapping is remembered."""

LOW_PORTS = 32_768
"""Ports below it are mapped among themselves, and so are the others."""

_MAPPED = np.frombuffer(IPV4_PREFIX, np.uint8)
_SLICE = 4096
"""So many addresses are mapped at a time: eight megabytes of blocks for IPv6."""

Bytes = np.ndarray[Any, np.dtype[np.uint8]]


class Secrets:
    """What a key makes: maps of addresses and ports, and offsets of clocks.

    Parameters
    ----------
    key : bytes
        `KEY_BYTES` of them.

    Raises
    ------
    UsageError
        The key has another length, or the library for AES is not installed.
    """

    def __init__(self, key: bytes) -> None:
        if len(key) != KEY_BYTES:
            raise UsageError(
                f"the key has {len(key)} bytes; it needs {KEY_BYTES}, raw or as {2 * KEY_BYTES} hex digits"
            )
        self._encrypt = _aes(key[:16])
        self._pad = np.frombuffer(self._encrypt(key[16:]), np.uint8)
        self._clocks = _aes(_derived(key, b"clocks")[:16])
        self._ports = _aes(_derived(key, b"ports")[:16])
        self._checksums = _aes(_derived(key, b"checksums")[:16])
        self._known: dict[bytes, bytes] = {}

    def addresses(self, addresses: Bytes) -> Bytes:
        """Map addresses.

        Parameters
        ----------
        addresses : ndarray of uint8, shape (n, 16)
            IPv4 in the last four; what stands before it stays.

        Returns
        -------
        ndarray of uint8, shape (n, 16)
        """
        if not len(addresses):
            return addresses.copy()
        distinct, places = _distinct(addresses)
        if len(self._known) > MOST_REMEMBERED:
            self._known.clear()
        new = [each for each in distinct if each not in self._known]
        for begin in range(0, len(new), _SLICE):
            part = new[begin : begin + _SLICE]
            raw = np.frombuffer(b"".join(part), np.uint8).reshape(-1, 16)
            is_v4 = (raw[:, :12] == _MAPPED).all(axis=1)
            mapped = raw.copy()
            mapped[is_v4, 12:] = self.map_bits(raw[is_v4, 12:])
            mapped[~is_v4] = self.map_bits(raw[~is_v4])
            self._known.update(zip(part, (row.tobytes() for row in mapped), strict=True))
        table = np.frombuffer(b"".join(self._known[each] for each in distinct), np.uint8).reshape(-1, 16)
        chosen: Bytes = table[places]
        return chosen

    def map_bits(self, addresses: Bytes) -> Bytes:
        """Map addresses of 4 or 16 bytes, shape (n, width), bit by bit; the same shape."""
        n, width = addresses.shape
        bits = np.unpackbits(addresses, axis=1)
        pad_bits = np.unpackbits(self._pad[:width])
        # Block i: the first i bits of the address, then the pad's.
        is_kept = np.tril(np.ones((8 * width, 8 * width), np.uint8), -1)
        prefixes = np.packbits(bits[:, None, :] * is_kept + pad_bits * (1 - is_kept), axis=2)
        blocks = np.empty((n, 8 * width, 16), np.uint8)
        blocks[:, :, :width] = prefixes
        blocks[:, :, width:] = self._pad[width:]
        sealed = np.frombuffer(self._encrypt(blocks.tobytes()), np.uint8).reshape(n, 8 * width, 16)
        return np.packbits(bits ^ (sealed[:, :, 0] >> 7), axis=1)

    def clock_offsets(self, addresses: Bytes) -> np.ndarray[Any, np.dtype[np.uint32]]:
        """Give what is added to the timestamps of each address's clock, shape (n,)."""
        sealed = np.frombuffer(self._clocks(addresses.tobytes()), np.uint32)
        return sealed.reshape(-1, 4)[:, 0]

    def ports(self) -> np.ndarray[Any, np.dtype[np.uint16]]:
        """Give where each port is mapped, shape (65536,): those below 32768 and the others among themselves, 0 to 0."""
        numbers = np.zeros((65_536, 16), np.uint8)
        numbers[:, :2] = np.arange(65_536, dtype=">u2").view(np.uint8).reshape(-1, 2)
        sealed = np.frombuffer(self._ports(numbers.tobytes()), np.uint64).reshape(-1, 2)[:, 0]
        table = np.zeros(65_536, np.uint16)
        table[1:LOW_PORTS] = 1 + np.argsort(sealed[1:LOW_PORTS])
        table[LOW_PORTS:] = LOW_PORTS + np.argsort(sealed[LOW_PORTS:])
        return table

    def damage(self, checksums: np.ndarray[Any, Any]) -> np.ndarray[Any, np.dtype[np.uint16]]:
        """Give by what right checksums are made wrong, the same for the same old one and never nothing, shape (n,)."""
        blocks = np.zeros((len(checksums), 8), np.uint16)
        blocks[:, 0] = checksums
        sealed = np.frombuffer(self._checksums(blocks.tobytes()), np.uint16).reshape(-1, 8)[:, 0]
        # By all ones a checksum of zero would stay right.
        return np.where((sealed == 0) | (sealed == 0xFFFF), 0x5A5A, sealed).astype(np.uint16)


def _distinct(addresses: Bytes) -> tuple[list[bytes], np.ndarray[Any, Any]]:
    rows = np.ascontiguousarray(addresses).view("V16")[:, 0]
    found, places = np.unique(rows, return_inverse=True)
    return [each.tobytes() for each in found], places


def _derived(key: bytes, purpose: bytes) -> bytes:
    return hmac.new(key, b"tcpsight anonymize " + purpose, hashlib.sha256).digest()


def _aes(key: bytes) -> Any:
    """Give what encrypts whole blocks by AES-128, each by itself."""
    try:
        from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
    except ImportError:
        raise UsageError(f"anonymize needs cryptography: {installing('anonymize')}") from None
    return Cipher(algorithms.AES(key), modes.ECB()).encryptor().update
