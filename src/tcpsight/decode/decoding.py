"""Frames become the TCP headers in them.

Theory of operation
-------------------
Each frame stands alone but for fragments of IP packets: of these the room keeps the places and the TCP header until
the packet is whole, in a table of fixed size (`_fragments.pyx`), and nothing else from one frame to the next but what
it counts. How frames are cut into batches cannot matter. The link type tells the first header, each header tells the
next, and a bounded loop steps from one to the next: tags, labels, IP, tunnels and what is in them, until TCP comes,
whose header becomes the row. A step that can't go on gives the reason, and the frame is counted under it with its
bytes on the wire. Frames of Ethernet, and those captured on `any`, with TCP right behind IP, which most are, take a
way of their own.

What it cannot see: segments of which a fragment is missing, fragments of tunnels' outer packets, the payload of
segments in fragments (its length is known), segments in tunnels and under link types it does not know, what is
encrypted, all but the first of several packets in one frame, and behind a TCP header that the capture cut before its
twentieth byte. The IP header's length is believed even where the frame is shorter, since tools that cut payload away
leave frames like that; so a damaged length field passes for payload that was not captured.
Checksums are not verified: offload leaves them unfinished on the sending machine.
"""

from collections import deque
from collections.abc import Sequence
from typing import Any

import numpy as np

from tcpsight.decode._choice import Ways
from tcpsight.decode._fragments import Fragments
from tcpsight.decode._kernel import decode
from tcpsight.decode._kernel import payload_positions as locate
from tcpsight.tables import Frames, Headers, UnseenCounter

Pair = tuple[tuple[bytes, int], tuple[bytes, int]]
"""Two endpoints, each an address of 16 bytes and a port; which comes first does not matter."""

_WAY = np.dtype([("addresses", "V32"), ("ports", np.uint16, (2,))])


class Decoding:
    """Find the TCP segment in each frame, batch by batch.

    Parameters
    ----------
    pairs : sequence of Pair
        Between which endpoints segments become rows, a few; empty: all do.
    blocks : int
        After so many calls of `feed` the rows of the first are written over.

    Attributes
    ----------
    unseen : UnseenCounter
        The frames that gave no row, by the reason why, with their bytes on the wire. Fragments whose packet may still
        become whole are not among them before `finish`.
    """

    __slots__ = ("_blocks", "_fragments", "_ways", "unseen")

    def __init__(self, pairs: Sequence[Pair] = (), *, blocks: int = 1) -> None:
        ways = [*pairs, *((there, here) for here, there in pairs)]
        rows = np.array([(here[0] + there[0], (here[1], there[1])) for here, there in ways], _WAY)
        self._ways = Ways(rows.view(np.uint8))
        self.unseen = UnseenCounter()
        self._blocks = deque([Headers()] * blocks)
        self._fragments = Fragments()

    @property
    def joined_fragments(self) -> int:
        """How many frames, each with a fragment, became part of a segment whose row has another frame's number."""
        return self._fragments.joined

    def note_fragments(self) -> None:
        """From now on, note which frames segments in fragments came in: `frames_of_fragments` tells."""
        self._fragments.take_notes()

    def frames_of_fragments(self) -> np.ndarray[Any, np.dtype[np.int64]]:
        """Give a frame with a fragment, and the frame whose number its segment has, shape (n, 2), as they came.

        Fragments of packets that never became whole are not among them; second captures of those of one that did are.
        """
        pairs = np.empty((self._fragments.noted(np.empty((0, 2), np.int64)), 2), np.int64)
        self._fragments.noted(pairs)
        made_whole = pairs[pairs[:, 1] & 1 == 1]
        packets, frames = made_whole[:, 1] >> 1, made_whole[:, 0]  # packets become whole in any order
        order = np.argsort(packets)
        packets, frames = packets[order], frames[order]
        if not len(packets):
            return pairs[:0]
        at = np.searchsorted(packets, pairs[:, 1] >> 1).clip(None, len(packets) - 1)
        is_part = packets[at] == pairs[:, 1] >> 1
        return np.stack((pairs[is_part, 0], frames[at[is_part]]), axis=1)

    def feed(self, frames: Frames) -> Headers:
        """Take the next frames; give the segments in them, in the same order.

        Parameters
        ----------
        frames : Frames
            Shape (n,), with `data` that supports the buffer protocol and holds every frame's captured bytes.

        Returns
        -------
        Headers
            Shape (m,), m ≤ n; valid until the next call, or as long as there are blocks. `until_ns` is that of
            the frames.

        Raises
        ------
        ValueError
            A frame's captured bytes do not lie in `data`: whoever made the table is wrong, not the traffic.
        """
        self._blocks.rotate()
        if len(self._blocks[0]) < len(frames):
            self._blocks[0] = Headers.allocate(len(frames))
        rows = np.ascontiguousarray(frames.rows)
        block = self._blocks[0].rows.view(np.uint8)
        n = decode(rows.view(np.uint8), frames.data, block, self.unseen.counts, self._fragments, self._ways)
        return Headers(self._blocks[0].rows[:n], frames.until_ns)

    def payload_positions(self, frames: Frames, headers: Headers) -> np.ndarray[Any, np.dtype[np.int64]]:
        """Tell where in `frames.data` the payload of each segment begins; −1 where none was captured.

        Parameters
        ----------
        frames : Frames
            Shape (n,): those that were fed last.
        headers : Headers
            Shape (m,): rows that they gave, all or some, in their order.

        Returns
        -------
        ndarray of int64, shape (m,)

        Raises
        ------
        ValueError
            A row is of none of these frames.
        """
        positions = np.empty(len(headers), np.int64)
        rows = np.ascontiguousarray(frames.rows)
        locate(rows.view(np.uint8), frames.data, headers.packed(), positions)
        return positions

    def finish(self) -> Headers:
        """Count the fragments whose packets never became whole; there are no rows to give."""
        self._fragments.give_up(self.unseen.counts)
        return Headers()
