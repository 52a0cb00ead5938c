"""A closed system of clients and one server that follows the universal scalability law, simulated event by event.

With n requests in progress the server completes X(n) of them a second, each as likely as the others: processor sharing
whose total rate depends on the load, exponential demands. How many clients there are follows a schedule.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tcpsight.model.scalability_curve import throughput_at


@dataclass(frozen=True)
class Law:
    """The truth."""

    sigma: float = 0.05
    kappa: float = 0.0005
    throughput_of_one: float = 1000.0


STEPS = (1, 2, 3, 4, 6, 8, 12, 16, 24, 32)


def simulate(
    law: Law, seed: int, *, requests: int = 10_000, steps: tuple[int, ...] = STEPS, think_s: float = 0.0
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Give arrivals and completions in ns, and the client of each request, in order of arrival.

    Parameters
    ----------
    law : Law
        What the server follows.
    seed : int
        Of the generator.
    requests : int
        How many are completed.
    steps : tuple of int
        How many clients there are, one after the other; each step completes an equal share of the requests.
    think_s : float
        Mean time, exponential, that a client waits before it asks again.
    """
    random = np.random.default_rng(seed)
    most = max(steps)
    rates = np.concatenate([[0], throughput_at(np.arange(1, most + 1), law.sigma, law.kappa, law.throughput_of_one)])
    arrived = np.full(most, -1.0)  # of requests in progress, by client
    idle_until = np.zeros(most)
    is_thinking = np.ones(most, bool)
    now, done, rows = 0.0, 0, []
    while done < requests:
        clients = steps[min(done * len(steps) // requests, len(steps) - 1)]
        working = np.flatnonzero(arrived >= 0)
        n = len(working)
        waiting = np.flatnonzero(is_thinking[:clients])
        ask = min(((idle_until[c], c) for c in waiting), default=(np.inf, -1))
        finish = now + random.exponential(1 / rates[n]) if n else np.inf
        if ask[0] <= finish:
            now = max(now, ask[0])
            arrived[ask[1]], is_thinking[ask[1]] = now, False
            continue
        now = finish
        client = int(random.choice(working))
        rows.append((arrived[client], now, client))
        arrived[client], is_thinking[client], done = -1, True, done + 1
        idle_until[client] = now + (random.exponential(think_s) if think_s else 0)
    rows.sort()
    table = np.array(rows)
    return (
        np.rint(table[:, 0] * 1e9).astype(np.int64),
        np.rint(table[:, 1] * 1e9).astype(np.int64),
        table[:, 2].astype(int),
    )
