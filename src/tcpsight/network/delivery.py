"""Whether what an exchange sent was delivered at one rate, behind a queue or after a burst: shaped.

A shaper delays what a policer would drop. As long as more is sent than its bucket has tokens for, a queue stands in
front of it and what leaves it leaves at one rate. A link that is slower than its sender does the same; only a burst
that passed faster before tells a shaper's bucket from it (Kanuparthy and Dovrolis, "ShaperProbe", IMC 2011).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from tcpsight.network.exchanges import Exchange, Numbers

LEAST_QUEUE_S = 0.005
LEAST_QUEUE_ROUND_TRIPS = 0.25
"""A queue stands where a round trip is so much longer than the shortest one: the larger of the two."""
LEAST_QUEUED_FRACTION = 0.7
LEAST_SPAN_S = 0.3
LEAST_SPAN_ROUND_TRIPS = 5
LEAST_DELIVERIES = 50
LEAST_IN_FLIGHT = 8
"""Segments: with fewer, delayed acknowledgments look like a queue."""
SLICES = 20
SLICE_DELIVERIES = 8
LEAST_SLICES = 2
"""One alone has a rate in common with nothing."""
NEAR = 0.1
LEAST_NEAR_FRACTION = 0.8
LEAST_SHARE = 0.4
"""Of all bytes, that came at the rate."""
LEAST_BURST = 20
"""Segments beyond the rate before it began, to count as a bucket; slow starts overshoot, too."""
BURST_SPEED = 1.5
BLOCK, BLOCK_NEAR = 16, 0.15
"""Deliveries: delayed acknowledgments, of two segments each, shift the rate of a block by an eighth at most."""
LEAST_BLOCKS = 4
LEAST_BUSY_SHARE = 0.12
"""Of all bytes, that came at the rate, if whatever came behind a queue did."""
LEAST_TIME_S = 1e-6
LEAST_SIDE = 0.25
"""Of the handshake's round trip, to the sender: nearer to it there is no queue to look at on that side."""
EVEN = 0.1
LEAST_EVEN_FRACTION = 0.5
"""Gaps between arrivals: without queues to look at, they must be as even as a link makes them."""


@dataclass(frozen=True)
class Deliveries:
    """When what arrived, and how long it had waited in a queue.

    Attributes
    ----------
    at_s : ndarray, shape (n,)
        Ascending, on the clock of the exchange.
    payload : ndarray, shape (n,)
        Bytes of each.
    queue_s : ndarray, shape (n,)
        How much longer than the shortest round trip its own was; NaN where not measured.
    base_s : float
        The shortest round trip; 0 if unknown.
    """

    at_s: Numbers
    payload: Numbers
    queue_s: Numbers
    base_s: float

    def between(self, begin: int, end: int) -> Deliveries:
        """Give those of indices [begin, end)."""
        where = slice(begin, end)
        return Deliveries(self.at_s[where], self.payload[where], self.queue_s[where], self.base_s)


@dataclass(frozen=True)
class Shape:
    """Delivery at one rate, in bit/s, on the clock of the exchange.

    `burst_bytes` is what had been delivered beyond the rate before (0: nothing); the queue is NaN where not seen.
    """

    rate: float
    start_s: float
    end_s: float
    burst_bytes: float
    queue_p50_s: float
    queue_max_s: float


def find_shape(x: Exchange) -> Shape | None:
    """Find delivery at one rate, by the queue on either side of the capture point, or else by the burst before it."""
    found = behind_queue(acknowledged(x))
    if found is None and is_far_from_sender(x):
        here = arrived(x)
        # Where round trips cannot tell, a burst must: behind the queue, without timestamps.
        found = behind_queue(here, is_here=True) if (x.echoed_s > 0).any() else after_burst(here)
    return found


def find_interrupted_shape(x: Exchange) -> Shape | None:
    """Find a shaper by its burst and its rate whenever a queue stood, however often that was interrupted."""
    found = while_queued(acknowledged(x))
    if found is None and is_far_from_sender(x):
        found = while_queued(arrived(x))
    return found if found is not None and found.burst_bytes > 0 else None


def is_far_from_sender(x: Exchange) -> bool:
    """Tell whether a queue on the sender's side shows by what its data echo."""
    return x.other_side_ns >= LEAST_SIDE * (x.this_side_ns + x.other_side_ns) > 0


def acknowledged(x: Exchange) -> Deliveries:
    """Deliveries as the other side's acknowledgments show them: for a queue behind the capture point."""
    which = np.flatnonzero(x.has("acked") & ~x.is_lost & ~x.has("hole"))
    at_s = (x.time_s + x.delivered_s)[which]
    order = np.argsort(at_s, kind="stable")
    which = which[order]
    # Which segment a duplicate ACK is of is not known: it counts, but its wait does not.
    clean = (x.is_timely & (x.delivered_s == x.waited_s))[which]
    waited = np.where(clean, x.waited_s[which], np.nan)
    base_s = float(np.nanmin(waited)) if clean.any() else 0.0
    if x.this_side_ns:
        base_s = min(base_s, x.this_side_ns / 1e9)
    return Deliveries(at_s[order], x.payload[which], waited - base_s, base_s)


def arrived(x: Exchange) -> Deliveries:
    """Deliveries as they came by here: for a queue before the capture point, seen by echoed timestamps."""
    which = np.flatnonzero(~x.has("hole") & ~x.has("spurious"))
    echoed = np.where(x.echoed_s[which] > 0, x.echoed_s[which], np.nan)
    base_s = float(np.nanmin(echoed)) if np.isfinite(echoed).any() else 0.0
    if x.other_side_ns:
        base_s = min(base_s, x.other_side_ns / 1e9) if base_s else x.other_side_ns / 1e9
    return Deliveries(x.time_s[which], x.payload[which], echoed - base_s, base_s)


def least_queue_s(d: Deliveries) -> float:
    """Give the wait from which on a queue stands."""
    return max(LEAST_QUEUE_S, LEAST_QUEUE_ROUND_TRIPS * d.base_s)


def behind_queue(d: Deliveries, *, is_here: bool = False) -> Shape | None:
    """Find a stretch at one rate while a queue stood; `is_here`: it was captured behind the queue."""
    found = steady_part(d)
    if found is None:
        return None
    begin, end, rate = found
    part = d.between(begin, end)
    queue = part.queue_s[np.isfinite(part.queue_s)]
    if not len(queue) or (queue >= least_queue_s(d)).sum() < LEAST_QUEUED_FRACTION * len(queue):
        return None
    if not is_enough(d, rate, float(np.median(queue))) or (is_here and not is_even(part, rate)):
        return None
    return shape_of(d, part, queue, rate, stands_at(d, begin, end, rate))


def stands_at(d: Deliveries, begin: int, end: int, rate: float) -> int:
    """Give the index from which on, in [begin, end), a queue stands and all comes at the rate; `begin` if never."""
    for block in busy_blocks(d):
        if begin <= block.begin < end and abs(block.rate - rate) <= NEAR * rate:
            return block.begin
    return begin


def shape_of(d: Deliveries, part: Deliveries, queue: Numbers, rate: float, begin: int) -> Shape:
    """Put together what was found in a part of the deliveries."""
    span_s = float(part.at_s[0]), float(part.at_s[-1])
    return Shape(rate, *span_s, burst_before(d, begin, rate), float(np.median(queue)), float(queue.max()))


def is_enough(d: Deliveries, rate: float, queue_s: float) -> bool:
    """Tell whether more was in flight than delayed acknowledgments hold back."""
    return bool(rate / 8 * (d.base_s + queue_s) >= LEAST_IN_FLIGHT * np.median(d.payload))


def busy_times(d: Deliveries) -> Numbers:
    """Give when a queue stood, shape (n, 2), in seconds: what waited in it left when all before it had left.

    So it was never empty from when a segment came to when it left, its wait later.
    """
    waited = np.flatnonzero(np.isfinite(d.queue_s) & (d.queue_s >= least_queue_s(d)))
    end_s = d.at_s[waited]
    begin_s = end_s - d.queue_s[waited]
    order = np.argsort(begin_s, kind="stable")
    begin_s, end_s = begin_s[order], np.maximum.accumulate(end_s[order])
    is_first = np.concatenate(([True], begin_s[1:] > end_s[:-1]))[: len(begin_s)]
    firsts = np.flatnonzero(is_first)
    lasts = np.concatenate((firsts[1:] - 1, [len(begin_s) - 1]))[: len(firsts)]
    return np.stack([begin_s[firsts], end_s[lasts]], axis=1)


class Block(NamedTuple):
    """Deliveries, one after the other, behind that at index `begin`."""

    begin: int
    payload: float
    took_s: float

    @property
    def rate(self) -> float:
        """At which they came, in bit/s."""
        return self.payload * 8 / self.took_s


def blocks_of(d: Deliveries, begin: int, end: int) -> list[Block]:
    """Cut deliveries of indices [begin, end) into blocks."""
    edges = np.arange(begin, end, BLOCK)
    sizes = np.diff(d.payload.cumsum()[edges]).tolist()
    times_s = np.maximum(np.diff(d.at_s[edges]), LEAST_TIME_S).tolist()
    return [Block(*block) for block in zip(edges.tolist(), sizes, times_s, strict=False)]


def busy_blocks(d: Deliveries) -> list[Block]:
    """Give the blocks all of which came while a queue stood."""
    times = busy_times(d)
    begins, ends = np.searchsorted(d.at_s, times[:, 0]), np.searchsorted(d.at_s, times[:, 1], side="right")
    return [block for span in zip(begins.tolist(), ends.tolist(), strict=True) for block in blocks_of(d, *span)]


def while_queued(d: Deliveries) -> Shape | None:
    """Find the rate of the times when a queue stood, if they are not in one go: where a sender recovers for long.

    As long as the bucket has tokens, a queue may stand before the line behind it, and that is faster.
    """
    busy = busy_blocks(d)
    if len(busy) < LEAST_BLOCKS:
        return None
    rate = usual_rate(busy)
    near = [block for block in blocks_of(d, 0, len(d.at_s)) if abs(block.rate - rate) <= BLOCK_NEAR * rate]
    near_busy = [block for block in busy if abs(block.rate - rate) <= BLOCK_NEAR * rate]
    is_one = sum(b.took_s for b in near_busy) >= LEAST_NEAR_FRACTION * sum(b.took_s for b in busy)
    is_much = sum(b.payload for b in near) >= LEAST_BUSY_SHARE * d.payload.sum()
    is_long = sum(b.took_s for b in near) >= max(LEAST_SPAN_S, LEAST_SPAN_ROUND_TRIPS * d.base_s)
    queue = d.queue_s[np.isfinite(d.queue_s) & (d.queue_s >= least_queue_s(d))]
    if not (is_one and is_much and is_long and is_enough(d, rate, float(np.median(queue)))):
        return None
    first, last = near_busy[0].begin, near_busy[-1].begin + BLOCK
    return shape_of(d, d.between(first, last + 1), queue, rate, first)


def usual_rate(blocks: list[Block]) -> float:
    """Give the rate that blocks have half of the time, or less, and half of the time, or more."""
    ordered = sorted(blocks, key=lambda block: block.rate)
    took_s = np.cumsum([block.took_s for block in ordered])
    return ordered[int(np.searchsorted(took_s, took_s[-1] / 2))].rate


def steady_part(d: Deliveries) -> tuple[int, int, float] | None:
    """Give the stretch with most bytes in which deliveries came at one rate: its indices [begin, end), and the rate.

    Time is cut into slices, and a stretch is made of whole ones: most of them, the first and the last too, must have
    about the rate that is usual in it.
    """
    slices = min(SLICES, len(d.at_s) // SLICE_DELIVERIES)
    if len(d.at_s) < LEAST_DELIVERIES or d.at_s[-1] - d.at_s[0] < LEAST_SPAN_S:
        return None
    edges_s = np.linspace(d.at_s[0], d.at_s[-1], slices + 1)
    edges = np.searchsorted(d.at_s, edges_s)
    edges[-1] = len(d.at_s)
    delivered = np.concatenate(([0], d.payload.cumsum()))[edges]
    width_s = float(edges_s[1] - edges_s[0])
    rates = np.diff(delivered) * 8 / width_s
    least = max(LEAST_SLICES, int(np.ceil(max(LEAST_SPAN_S, LEAST_SPAN_ROUND_TRIPS * d.base_s) / width_s)))
    stretches = ((first, last) for first in range(slices) for last in range(first + least, slices + 1))
    most = LEAST_SHARE * float(delivered[-1])
    found = None
    for first, last in stretches:
        size = float(delivered[last] - delivered[first])
        if size <= most or edges[last] - edges[first] < LEAST_DELIVERIES:
            continue
        rate = common_rate(rates[first:last])
        if rate is not None:
            most, found = size, (int(edges[first]), int(edges[last]), rate)
    return found


def common_rate(rates: Numbers) -> float | None:
    """Give the rate that most slices have, the first and the last among them, and that none exceeds much."""
    middle = float(np.median(rates))
    is_near = np.abs(rates - middle) <= NEAR * middle
    if middle <= 0 or not is_near[0] or not is_near[-1] or is_near.sum() < LEAST_NEAR_FRACTION * len(rates):
        return None
    if rates.max() > BURST_SPEED * middle:
        return None  # the bucket's burst, and what precedes it only looks like the rate
    return float(rates[is_near].mean())


def burst_before(d: Deliveries, end: int, rate: float) -> float:
    """Give the most bytes that were delivered beyond the rate in any time up to a delivery; 0 if hardly any.

    It is the burst of the token bucket that deliveries conform to: a link without one never exceeds its rate. A slow
    start, which comes before it, does not count against it.
    """
    beyond = d.payload[:end].cumsum() - rate / 8 * (d.at_s[:end] - d.at_s[0])
    before = np.minimum.accumulate(np.concatenate(([0.0], beyond)))[:-1]
    burst = float((beyond - before).max()) if end else 0.0
    return burst if burst >= LEAST_BURST * np.median(d.payload) else 0.0


def after_burst(d: Deliveries) -> Shape | None:
    """Find delivery at one rate after a burst that was faster, where no queue could be seen."""
    found = steady_part(d)
    if found is None:
        return None
    begin, end, rate = found
    burst = burst_before(d, begin, rate)
    if not burst or not is_even(d.between(begin, end), rate):
        return None
    if peak_rate(d.between(0, begin), burst) < BURST_SPEED * rate:
        return None
    return Shape(rate, float(d.at_s[begin]), float(d.at_s[end - 1]), burst, float("nan"), float("nan"))


def is_even(d: Deliveries, rate: float) -> bool:
    """Tell whether most came as long after the one before as its bytes take at the rate."""
    gaps = np.diff(d.at_s) * rate / (8 * d.payload[1:])
    return bool((np.abs(gaps - 1) <= EVEN).sum() >= LEAST_EVEN_FRACTION * len(gaps))


def peak_rate(d: Deliveries, size: float) -> float:
    """Give the highest rate at which about `size` bytes were delivered, in bit/s."""
    delivered = np.concatenate(([0], d.payload.cumsum()))
    ends = np.searchsorted(delivered, delivered[:-1] + size / 2)
    usable = ends < len(d.at_s)
    if not usable.any():
        return 0.0
    begins = np.flatnonzero(usable)
    span_s = d.at_s[ends[begins]] - d.at_s[begins]
    return float((size / 2 * 8 / np.maximum(span_s, 1e-6)).max())
