"""Frames become the TCP headers in them.

Each frame stands alone: the room keeps nothing from one frame to the next but what it counts, so that how frames are
cut into batches cannot matter.

What it cannot see: segments in fragments (all are counted, none is reassembled), in tunnels and under link types it
does not know, behind a TCP header that the capture cut before its twentieth byte, and payload lengths that the
sender's kernel left at zero *and* that the capture then rewrote.
"""

import numpy as np

from tcpsight.decode._kernel import decode
from tcpsight.tables import Frames, Headers, UnseenCounter


class Decoding:
    """Find the TCP segment in each frame, batch by batch.

    Attributes
    ----------
    unseen : UnseenCounter
        The frames that gave no row, by the reason why, with their bytes on the wire.
    """

    __slots__ = ("_block", "unseen")

    def __init__(self) -> None:
        self.unseen = UnseenCounter()
        self._block = Headers()

    def feed(self, frames: Frames) -> Headers:
        """Take the next frames; give the segments in them, in the same order.

        Parameters
        ----------
        frames : Frames
            Shape (n,), with `data` that supports the buffer protocol and holds every frame's captured bytes.

        Returns
        -------
        Headers
            Shape (m,), m ≤ n; valid until the next call. `until_ns` is that of the frames.

        Raises
        ------
        ValueError
            A frame's captured bytes do not lie in `data`: whoever made the table is wrong, not the traffic.
        """
        if len(self._block) < len(frames):
            self._block = Headers.allocate(len(frames))
        rows = np.ascontiguousarray(frames.rows)
        n = decode(rows.view(np.uint8), frames.data, self._block.rows.view(np.uint8), self.unseen.counts)
        return Headers(self._block.rows[:n], frames.until_ns)

    def finish(self) -> Headers:
        """Give the rows that were held back: none, ever."""
        return Headers()
