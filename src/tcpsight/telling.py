"""Of the instants of many frames those that tell all about silences and steps of the clock.

Theory of operation
-------------------
`model.silences` and `model.clock_steps` look at every frame, and what they make of one depends on all before it. Who
reads a part of a capture cannot ask them, but can leave out what makes no difference to them whatever came before: of a
run of frames that come in order of time, none a second after the one before it and all within half a minute, all but
the first three and the last two. The first may confirm what came before, or be behind it; once one of them was believed
the others are no further ahead than the clock moves by itself, and of them the two latest are remembered.
"""

from __future__ import annotations

from typing import Any

import numpy as np

Instants = np.ndarray[Any, np.dtype[np.int64]]

STEP_NS = 1_000_000_000
"""Not longer than `LEAST_NS` of `model.clock_steps`."""

RUN_NS = 30_000_000_000
"""Half of `LEAST_NS` of `model.silences`."""

FIRST, LAST = 3, 2


def telling(instants_ns: Instants) -> Instants:
    """Leave out instants that tell nothing.

    Parameters
    ----------
    instants_ns : ndarray of int64, shape (n,)
        When frames were captured, in the order of capture.

    Returns
    -------
    ndarray of int64, shape (m,)
        Some of them, in their order.
    """
    if len(instants_ns) <= FIRST + LAST:
        return instants_ns.copy()
    # As unsigned numbers steps back are long ones.
    cuts = np.diff(instants_ns).view(np.uint64) >= STEP_NS
    cuts |= np.diff(instants_ns // RUN_NS) != 0
    begins = np.concatenate([[0], np.flatnonzero(cuts) + 1])
    ends = np.concatenate([begins[1:], [len(instants_ns)]])
    kept = np.zeros(len(instants_ns), np.bool_)
    for offset in range(FIRST):
        kept[np.minimum(begins + offset, ends - 1)] = True
    for offset in range(1, LAST + 1):
        kept[np.maximum(ends - offset, begins)] = True
    return instants_ns[kept]
