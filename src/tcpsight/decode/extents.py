"""Tells where the headers of frames end, for whoever keeps nothing else.

Theory of operation
-------------------
Each frame is gone through as when it is decoded. Of a frame with TCP the headers end with the options of the innermost
TCP header that is read; of UDP and ICMP with their eight bytes; of other packets eight bytes behind IP. Of what holds
no packet, or one that cannot be read, 128 bytes are taken for headers; of fragments as many as IP and TCP may have.

What it cannot see: which of those bytes belong to the payload of something that it does not know.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from tcpsight.decode._extents import extents
from tcpsight.tables import Frames


class Extents(NamedTuple):
    """What is known of each frame, row for row.

    Attributes
    ----------
    header_bytes : ndarray of int32, shape (n,)
        How many of its captured bytes are headers.
    flags : ndarray of int32, shape (n,)
        Flags of its TCP header; −1 where there is none.
    connections : ndarray of uint64, shape (n,)
        A number made of the two endpoints of its segment, the same in both directions and on every machine; 0 where
        there is none.
    """

    header_bytes: np.ndarray[Any, np.dtype[np.int32]]
    flags: np.ndarray[Any, np.dtype[np.int32]]
    connections: np.ndarray[Any, np.dtype[np.uint64]]


def extents_of(frames: Frames) -> Extents:
    """Tell where the headers of frames end.

    Parameters
    ----------
    frames : Frames
        Shape (n,), with `data`.

    Raises
    ------
    ValueError
        A frame's captured bytes do not lie in `data`.
    """
    n = len(frames)
    found = Extents(np.empty(n, np.int32), np.empty(n, np.int32), np.empty(n, np.uint64))
    extents(frames.packed(), frames.data, *found)
    return found
