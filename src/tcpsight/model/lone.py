"""Gaps of a service that is only ever asked one thing at a time: one client, on one connection.

Theory of operation
-------------------
Where others could have waited too, one request that takes long is slow, which is why a stall has two. But where
there is never more than one, its wait is all there is to see: the service stalled if it lasted a second and a thousand
median response times (`LONE_NS`, `LONE_RATIO`).

Who waits so long is often given up on, and asked again on another connection; or somebody else comes, and waits, too.
Then several wait in such a gap, and that makes it no less one of a service that is asked one thing at a time. So what
counts is how many were there in other gaps, but for those in which they are answered one after the other. Several that
wait have a chance to be slow by accident, which few requests before them can't make small; so they count like one.

What it cannot see: whether the server stopped, or what was asked takes so long.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from tcpsight.model.waiting import Gaps, Integers

LONE_NS = 1_000_000_000
LONE_RATIO = 1000
"""Where there is never more than one, it stalled if it waited so long, and so many median response times."""


def lone_gaps(
    gaps: Gaps, joined_ns: Integers, answered_ns: Integers, median_ns: int
) -> np.ndarray[Any, np.dtype[np.bool_]]:
    """Tell which gaps are long where there is only ever one at a time; of other services none is.

    Parameters
    ----------
    gaps : Gaps
        Before completions; the last one may be before the end of the capture.
    joined_ns : ndarray of int64, shape (members,)
        When requests came, sorted, as `gaps_of` took them.
    answered_ns : ndarray of int64, shape (completions,)
        When those that completed had come, in order of completion.
    median_ns : int
        The median response time.
    """
    is_long = gaps.length_ns >= max(LONE_NS, LONE_RATIO * median_ns)
    if not is_long.any():
        return is_long
    closed = slice(0, len(answered_ns))
    ends = gaps.end_ns[closed]
    # Who comes in the tick of the clock in which another is answered came after it.
    present = gaps.present[closed] - np.searchsorted(joined_ns, ends, "right")
    present += np.searchsorted(joined_ns, ends, "left")
    held_until_ns = np.maximum.accumulate(np.where(is_long[closed], ends, -(2**63)))
    is_shared = (present > 1) & ~is_long[closed] & (answered_ns >= held_until_ns)
    return np.zeros_like(is_long) if is_shared.any() else is_long
