"""A closed system of clients and one server that follows the universal scalability law, simulated event by event.

With n requests in progress the server completes X(n) of them a second, each as likely as the others: processor sharing
whose total rate depends on the load, exponential demands. How many clients there are follows a schedule.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np

from tests.support.pcap import Frame, tcp_frame

Integers = np.ndarray[Any, np.dtype[np.int64]]

START_NS = 1_700_000_000 * 10**9
STEPS = (1, 2, 3, 4, 6, 8, 12, 16, 24, 32)


@dataclass(frozen=True)
class Law:
    """The truth."""

    sigma: float = 0.05
    kappa: float = 0.0005
    throughput_of_one: float = 1000.0

    def throughput(self, n: Any) -> Any:
        """Give X(n)."""
        return self.throughput_of_one * n / (1 + self.sigma * (n - 1) + self.kappa * n * (n - 1))

    @property
    def values(self) -> tuple[float, float, float]:
        return self.sigma, self.kappa, self.throughput_of_one


@dataclass(frozen=True)
class Lived:
    """What happened, in order of arrival: shape (requests,) each."""

    arrival_ns: Integers
    completion_ns: Integers
    client: Integers


@dataclass(frozen=True)
class Drift:
    """How the server's speed changes for reasons of its own: lognormal, another every so many seconds."""

    spread: float = 0.0
    every_s: float = np.inf


def simulate(
    law: Law,
    seed: int,
    *,
    requests: int = 10_000,
    steps: tuple[int, ...] = STEPS,
    think_s: float = 0.0,
    drift: Drift | None = None,
) -> Lived:
    """Let clients ask until so many requests have completed.

    Parameters
    ----------
    law : Law
        What the server follows.
    seed : int
        Of the generator.
    requests : int
        How many complete.
    steps : tuple of int
        How many clients there are, one after the other; each step completes an equal share of the requests.
    think_s : float
        Mean time, exponential, that a client waits before it asks again.
    drift : Drift, optional
        Of the server's speed.
    """
    random = np.random.default_rng(seed)
    rates = law.throughput(np.arange(max(steps) + 1))
    in_progress: list[tuple[float, int]] = []  # arrival and client
    asks = dict.fromkeys(range(max(steps)), 0.0)  # when each client that waits asks next
    now, speed = 0.0, 1.0
    changes = 0.0 if drift is not None else np.inf
    rows: list[tuple[float, float, int]] = []
    while len(rows) < requests:
        clients = steps[len(rows) * len(steps) // requests]
        next_ask = min(((at, client) for client, at in asks.items() if client < clients), default=(np.inf, -1))
        n = len(in_progress)
        finish = now + random.exponential(1 / (rates[n] * speed)) if n else np.inf
        if drift is not None and min(next_ask[0], finish) > changes:
            # What is left of an exponential time is as long as all of it.
            now, changes = max(now, changes), changes + drift.every_s
            speed = np.exp(random.normal(-(drift.spread**2) / 2, drift.spread))
            continue
        if next_ask[0] <= finish:
            now = max(now, next_ask[0])
            in_progress.append((now, next_ask[1]))
            del asks[next_ask[1]]
            continue
        now = finish
        arrived, client = in_progress.pop(int(random.integers(n)))
        rows.append((arrived, now, client))
        asks[client] = now + (random.exponential(think_s) if think_s else 0.0)
    table = np.array(sorted(rows))
    times = START_NS + np.rint(table[:, :2] * 1e9).astype(np.int64)
    return Lived(times[:, 0], times[:, 1], table[:, 2].astype(np.int64))


def frames(lived: Lived, *, port: int = 3306, server: str = "10.0.0.9") -> list[Frame]:
    """Write what happened as a capture: one connection a client, without handshakes."""
    sent = {client: [1000, 9000] for client in range(int(lived.client.max()) + 1)}
    found = []
    events = [(int(at), 0, int(client)) for at, client in zip(lived.arrival_ns, lived.client, strict=True)]
    events += [(int(at), 1, int(client)) for at, client in zip(lived.completion_ns, lived.client, strict=True)]
    # At the same instant a client's answer comes before its next request.
    for at, side, client in sorted(events, key=lambda event: (event[0], -event[1])):
        ends = (f"10.0.1.{client % 250}", server) if side == 0 else (server, f"10.0.1.{client % 250}")
        ports = (40_000 + client, port) if side == 0 else (port, 40_000 + client)
        own = sent[client]
        found.append(Frame(at, tcp_frame(*ends, *ports, own[side], own[1 - side], "PA", bytes(10))))
        own[side] += 10
    return found


def merged(several: Iterable[list[Frame]]) -> list[Frame]:
    """Write several captures as one."""
    return sorted((frame for each in several for frame in each), key=lambda frame: frame.time_ns)
