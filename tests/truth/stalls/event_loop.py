"""A server with one thread and an event loop, simulated: a slow request comes while others are in flight.

The loop takes up all that has come, and does one after the other. Answers are sent as soon as each is done, in the
order of coming but for neighbours that changed places (`immediate`: Node.js), or all at the end of the turn, the last
one first (`together`: Redis). While the slow one runs nobody is answered, and what came before it waits, too.
"""

from __future__ import annotations

import heapq
from dataclasses import dataclass

import numpy as np

from tests.truth.stalls.server import Happened, Lived

USUAL_BYTES = ((59, 5), (44, 37), (71, 5))
SLOW_BYTES = (48, 1200)


@dataclass(frozen=True)
class Loop:
    """A server and who asks it.

    Attributes
    ----------
    answers : str
        `immediate` or `together`.
    service_s : float
        Mean service time.
    clients : int
        Connections, each of which asks again some time after it was answered.
    think_s : float
        That time, mean.
    is_odd : bool
        Whether the slow request is of a size of its own.
    slow_s : tuple of float
        How long slow requests take.
    """

    answers: str
    service_s: float
    clients: int
    think_s: float
    is_odd: bool
    slow_s: tuple[float, ...]
    requests: int = 10_000


@dataclass
class LoopLived(Lived):
    """What happened, with sizes of requests and answers, shape (requests, 2)."""

    sizes: np.ndarray[tuple[int, int], np.dtype[np.int64]] | None = None


def simulate_loop(loop: Loop, seed: int) -> LoopLived:
    """Let clients ask until there have been as many requests as wanted."""
    random = np.random.default_rng(seed)
    coming = [(float(random.exponential(loop.think_s + loop.service_s)), client) for client in range(loop.clients)]
    heapq.heapify(coming)
    counts = [0] * loop.clients
    slow_at = sorted(int(each) for each in random.uniform(0.1, 0.9, len(loop.slow_s)) * loop.requests)
    lengths = list(loop.slow_s)
    rows: list[tuple[float, float, int, int, int, int]] = []
    happened: list[Happened] = []
    now, begun = 0.0, 0
    while begun < loop.requests:
        now = max(now, coming[0][0])
        turn = []
        while coming and coming[0][0] <= now:
            turn.append(heapq.heappop(coming))
        if loop.answers == "immediate":
            # Of those that come nearly together, some change places.
            turn.sort(key=lambda each: each[0] + random.exponential(2e-6))
        done = []
        for arrival, client in turn:
            sizes = USUAL_BYTES[int(random.integers(len(USUAL_BYTES)))]
            service = float(random.exponential(loop.service_s))
            if slow_at and begun >= slow_at[0]:
                slow_at.pop(0)
                service = lengths.pop(0)
                happened.append(Happened("loop", now, now + service, (client, counts[client])))
                sizes = SLOW_BYTES if loop.is_odd else sizes
            now += service
            begun += 1
            done.append((arrival, now, client, counts[client], *sizes))
            counts[client] += 1
        if loop.answers == "together":
            # Some microseconds for each that is written.
            done = [(*each[:1], now + 5e-6 * (i + 1), *each[2:]) for i, each in enumerate(reversed(done))]
            now += 5e-6 * len(done)
        for each in done:
            heapq.heappush(coming, (each[1] + 20e-6 + float(random.exponential(loop.think_s)), each[2]))
        rows += done
    rows.sort()
    table = np.array([each[:2] for each in rows])
    numbers = np.array([each[2:] for each in rows], np.int64)
    return LoopLived(table[:, 0], table[:, 1], numbers[:, 0], numbers[:, 1], happened, sizes=numbers[:, 2:])
