"""A service under steady load, simulated event by event: workers, a queue before them, requests that come by chance.

Arrivals are a Poisson process. A request waits until one of the workers is free and takes it for a time that is
lognormal, multiplied by a factor that wavers slowly and is the same for all, so that a slow second is slow for
everybody; some requests take many times as long. Each request uses the first connection that is free.
"""

from __future__ import annotations

import heapq
from dataclasses import dataclass
from typing import Any

import numpy as np

from tests.support.closed_system import START_NS, Integers, Lived
from tests.support.pcap import pcap_header

Floats = np.ndarray[Any, np.dtype[np.float64]]

PAYLOAD_BYTES = 10


@dataclass(frozen=True)
class Workload:
    """What is simulated.

    Attributes
    ----------
    workers : int
        How many requests are served at a time.
    utilization : float
        Share of the workers that is busy in the mean.
    service_s : float
        Median time that a worker takes, without the wavering.
    spread : float
        Standard deviation of the logarithm of that time.
    wavering : float
        Standard deviation of the logarithm of the common factor.
    memory_s : float
        The time in which the factor's autocorrelation falls to 1/e.
    slow_share, slow_factor : float
        How many requests take how many times as long.
    """

    workers: int = 4
    utilization: float = 0.3
    service_s: float = 0.002
    spread: float = 0.5
    wavering: float = 0.0
    memory_s: float = 0.2
    slow_share: float = 0.0
    slow_factor: float = 10.0

    @property
    def mean_s(self) -> float:
        """The mean time that a worker takes."""
        slow = 1 + self.slow_share * (self.slow_factor - 1)
        return self.service_s * slow * float(np.exp((self.spread**2 + self.wavering**2) / 2))


def live(workload: Workload, seed: int, *, requests: int, slow_down: float = 1.0) -> tuple[Lived, Lived]:
    """Let a service live for twice so many requests; give both halves, the second slowed down.

    Parameters
    ----------
    workload : Workload
        What it does.
    seed : int
        Of the generator.
    requests : int
        How many arrive in each half.
    slow_down : float
        How many times as long workers take in the second half.
    """
    random = np.random.default_rng(seed)
    count = 2 * requests
    arrival = np.cumsum(random.exponential(workload.mean_s / (workload.workers * workload.utilization), count))
    own = workload.spread * random.standard_normal(count)
    takes = workload.service_s * np.exp(own + _wavering(workload, arrival, random))
    takes[random.random(count) < workload.slow_share] *= workload.slow_factor
    takes[requests:] *= slow_down
    free = [0.0] * workload.workers
    completion = np.empty(count)
    for i, (at, duration) in enumerate(zip(arrival.tolist(), takes.tolist(), strict=True)):
        done = max(heapq.heappop(free), at) + duration
        completion[i] = done
        heapq.heappush(free, done)
    times = START_NS + np.rint(np.stack([arrival, completion]) * 1e9).astype(np.int64)
    return _half(times[:, :requests]), _half(times[:, requests:])


def _wavering(workload: Workload, at: Floats, random: np.random.Generator) -> Floats:
    """Give the logarithm of the common factor at each instant: an Ornstein-Uhlenbeck process."""
    if not workload.wavering:
        return np.zeros(len(at))
    steps = np.exp(-np.diff(at, prepend=at[0]) / workload.memory_s)
    noise = workload.wavering * np.sqrt(1 - steps**2) * random.standard_normal(len(at))
    value, factors = workload.wavering * random.standard_normal(), np.empty(len(at))
    for i, (step, each) in enumerate(zip(steps.tolist(), noise.tolist(), strict=True)):
        value = value * step + each
        factors[i] = value
    return factors


def _half(times: Integers) -> Lived:
    """Give each request the first connection that is free."""
    free: list[int] = []
    busy: list[tuple[int, int]] = []
    connection = np.empty(times.shape[1], np.int64)
    opened = 0
    for i, (arrival, completion) in enumerate(times.T.tolist()):
        while busy and busy[0][0] < arrival:
            heapq.heappush(free, heapq.heappop(busy)[1])
        if free:
            own = heapq.heappop(free)
        else:
            own, opened = opened, opened + 1
        connection[i] = own
        heapq.heappush(busy, (completion, own))
    return Lived(times[0], times[1], connection)


_RECORD = np.dtype([
    ("seconds", "<u4"), ("nanoseconds", "<u4"), ("captured", "<u4"), ("wire", "<u4"), ("link", "V14"), ("ip", "V12"),
    ("source", ">u4"), ("destination", ">u4"), ("source_port", ">u2"), ("destination_port", ">u2"), ("sequence", ">u4"),
    ("acknowledgment", ">u4"), ("tcp", "V8"), ("payload", f"V{PAYLOAD_BYTES}"),
])  # fmt: skip
_FRAME_BYTES = _RECORD.itemsize - 16
_CLIENTS, _SERVER = 0x0A000100, 0x0A000009


def capture(lived: Lived, *, port: int = 3306) -> bytes:
    """Write what happened as a capture of nanoseconds: connections that began before it, ten bytes each way."""
    count = len(lived.arrival_ns)
    times = np.concatenate([lived.arrival_ns, lived.completion_ns])
    is_answer = np.repeat([False, True], count)
    client = np.concatenate([lived.client, lived.client])
    # At the same instant a client's answer comes before its next request.
    order = np.lexsort((~is_answer, times))
    times, is_answer, client = times[order], is_answer[order], client[order]
    own, other = _sent(client, is_answer), _sent(client, ~is_answer)
    rows = np.zeros(2 * count, _RECORD)
    rows["seconds"], rows["nanoseconds"] = times // 10**9, times % 10**9
    rows["captured"] = rows["wire"] = _FRAME_BYTES
    rows["link"] = bytes.fromhex("020000000002020000000001") + b"\x08\x00"
    size = (_FRAME_BYTES - 14).to_bytes(2, "big")
    rows["ip"] = b"\x45\x00" + size + b"\x00\x00\x40\x00\x40\x06\x00\x00"
    address, client_port = _CLIENTS + client % 250, 20_000 + client
    rows["source"], rows["destination"] = (
        np.where(is_answer, [_SERVER], address),
        np.where(is_answer, address, [_SERVER]),
    )
    rows["source_port"] = np.where(is_answer, port, client_port)
    rows["destination_port"] = np.where(is_answer, client_port, port)
    rows["sequence"], rows["acknowledgment"] = own, other
    rows["tcp"] = b"\x50\x18\xff\xff" + bytes(4)
    return pcap_header(nanoseconds=True) + rows.tobytes()


def _sent(client: Integers, of: Any) -> Integers:
    """Give the sequence number of the next byte of the side that sent the frames `of`, at every frame."""
    order = np.argsort(client, kind="stable")
    sent = np.cumsum(of[order]) - of[order]
    firsts = np.flatnonzero(np.diff(client[order], prepend=-1))
    begin = np.repeat(sent[firsts], np.diff(firsts, append=len(order)))
    found = np.empty(len(client), np.int64)
    found[order] = 1000 + (sent - begin) * PAYLOAD_BYTES
    return found
