"""Headers of one capture are divided among several trackings, so that each connection stays with one of them.

Theory of operation
-------------------
Every connection lives in one of 256 shares, by a hash of its endpoints that everybody knows (`_shares.pxd`); limits
are those of shares. Whoever tracks some shares, and all of their headers, gives the same rows as whoever tracks all:
nothing goes from one connection to another but time, and of that each is told (`Among`).
"""

from __future__ import annotations

from typing import Any

import numpy as np

from tcpsight.connections._dividing import divide
from tcpsight.connections.tracking import Among
from tcpsight.tables import Headers

SHARES = 256

SMALLEST_ROOM = 4096


class Division:
    """One batch of headers, divided; made once, used for batch after batch.

    Parameters
    ----------
    parts : int
        How many, 256 at most; the shares are dealt out to them in turn.
    """

    def __init__(self, parts: int) -> None:
        self._part_of = (np.arange(SHARES) % parts).astype(np.uint8)
        self._count = parts
        self._blocks: list[tuple[Headers, np.ndarray[Any, np.dtype[np.int32]]]] = []
        self._times_ns = np.zeros(0, np.int64)

    def divide(self, headers: Headers) -> list[tuple[Headers, Among]]:
        """Copy headers apart.

        Parameters
        ----------
        headers : Headers, shape (n,)
            In capture order.

        Returns
        -------
        list of (Headers, Among)
            Of each part, its headers in their order, and of which headers they are some. Valid until the next call.
        """
        if len(self._times_ns) < max(len(headers), SMALLEST_ROOM):
            room = max(SMALLEST_ROOM, 1 << (len(headers) - 1).bit_length())
            self._times_ns = np.zeros(room, np.int64)
            self._blocks = [(Headers.allocate(room), np.zeros(room, np.int32)) for _ in range(self._count)]
        blocks = [(block.rows.view(np.uint8), rows) for block, rows in self._blocks]
        counts = divide(headers.packed(), self._part_of, blocks, self._times_ns)
        times_ns = self._times_ns[: len(headers)]
        return [
            (Headers(block.rows[:count], headers.until_ns), Among(times_ns, rows[:count]))
            for (block, rows), count in zip(self._blocks, counts, strict=True)
        ]
