"""Whether losses come from a full queue rather than from a policer: what both drop looks alike but for the wait."""

from __future__ import annotations

import numpy as np

from tcpsight.network.exchanges import Exchange, Numbers

BASE_PERCENTILE = 10
LEAST_WAIT_S, MOST_WAIT_S = 0.002, 0.008
"""A round trip held a queue if it was so much longer than the shortest ones: half of what a queue of the bucket's size
would take to drain, within these bounds."""
MOST_QUEUED_FRACTION = 0.4
FRESH_ROUND_TRIPS = 2
"""How old the last round trip before a loss may be: a queue comes and goes within a few."""
LEAST_KEPT_ROUND_TRIPS, LEAST_KEPT_S = 8, 0.3
LEAST_REPAIRS = 15
KEPT = 0.1
"""From the first loss on, for so long, with so many repairs, arrivals lie as near to a rate as this share of them."""
LEAST_LAST_SEGMENTS, MOST_LAST_SEGMENTS = 4, 32
LEAST_SPEED, CLEAR_SPEED = 1.25, 1.75
"""What runs a bucket dry comes so much faster than the rate; behind a link, all comes at its own. The rate that is kept
while losses are repaired may be two thirds of the link's: where no round trip tells of a queue, speed alone tells only
beyond that."""
FEW_SEGMENTS, BURST_SPEED = 8, 4.0
"""Below it, so many segments must have come so many times as fast as the rate somewhere: no link lets them."""
LEAST_BURST_SEGMENTS = 5
"""Behind a link nothing arrives faster than it delivers; behind a policer its bucket does.

A smaller one would not even pass the first flight of a connection (10 segments, RFC 6928)."""
EVEN = 0.1
LEAST_EVEN_FRACTION = 0.5
"""What a busy link delivers comes as evenly as this, and most of it."""
LEAST_REPAIR_ROUND_TRIPS = 0.5
LEAST_REPAIR_S = 0.003
"""Nothing is sent again sooner; the latter where no handshake tells how far away the receiver is."""


def is_burst(x: Exchange, size: float) -> bool:
    """Tell whether so many bytes are more than a policer's bucket could do without."""
    return size >= LEAST_BURST_SEGMENTS * float(np.median(x.payload))


def is_from_queue(x: Exchange, rate: float, bucket_bytes: float, round_trip_s: float) -> bool:
    """Tell whether a full queue explains the losses: nothing came in bursts, or round trips had grown before them.

    Behind the place of loss it is taken for a queue, too, if nothing had come faster than a link as slow as the rate
    delivers; and where round trips cannot tell (there without timestamps, or without SACK) if segments arrived evenly
    at the rate, as from a link that is always busy.
    """
    if not is_burst(x, bucket_bytes):
        return True
    queued = queued_fraction(x, bucket_bytes * 8 / rate, round_trip_s)
    if queued > MOST_QUEUED_FRACTION:
        return True
    if x.has_sack and not np.isnan(queued):
        return x.is_lost_before and speed_before_loss(x, bucket_bytes) < LEAST_SPEED * rate
    return not is_run_dry(x, rate, bucket_bytes) or (bool(np.isnan(queued)) and is_paced_by_link(x, rate))


def is_run_dry(x: Exchange, rate: float, bucket_bytes: float) -> bool:
    """Tell whether the last segments before the first loss arrived faster than a rate, so that they emptied a bucket.

    What loses because it is full delivers at its own rate then, as it has all the time while it filled up; what loses
    because more is sent than a rate has just delivered more.
    """
    if not is_burst(x, bucket_bytes):
        return False
    speed = speed_before_loss(x, bucket_bytes)
    return speed >= CLEAR_SPEED * rate or (speed >= LEAST_SPEED * rate and is_bursty(x, rate))


def kept_rate(x: Exchange, round_trip_s: float) -> float:
    """Give the rate at which all arrived from the first loss on, repairs too, without a queue; NaN if there is none.

    Behind a policer, what is lost again is not seen; but that nothing exceeds its rate is. A sender that did not mean
    to send so slowly has much to repair meanwhile.
    """
    first = int(np.argmax(x.is_lost))
    which = np.flatnonzero(~x.has("hole")[first:]) + first
    since_s = x.time_s[which] - x.time_s[first]
    span_s = max(LEAST_KEPT_S, LEAST_KEPT_ROUND_TRIPS * round_trip_s)
    if not len(which) or since_s[-1] < span_s:
        return float("nan")
    which = which[since_s <= span_s]
    since_s, arrived = since_s[: len(which)], x.payload[which].cumsum()
    if not len(which) or since_s[-1] <= 0:
        return float("nan")
    usual = float(arrived[-1] / since_s[-1])
    most = KEPT * arrived[-1] + float(x.payload.max())
    is_kept = np.abs(arrived - usual * since_s).max() <= most and x.has("again")[which].sum() >= LEAST_REPAIRS
    samples, at, handshake_s = round_trips(x)
    waits = samples[(at >= which[0]) & (at <= which[-1])]
    least_s = min([*waits, *([handshake_s] if handshake_s > 0 else [])], default=0.0) + MOST_WAIT_S
    is_free = not len(waits) or (waits > least_s).sum() <= MOST_QUEUED_FRACTION * len(waits)
    return usual * 8 if is_kept and is_free else float("nan")


def is_copied(x: Exchange, round_trip_s: float) -> bool:
    """Tell whether most that seems lost was sent again too soon for that: frames that were captured twice."""
    lost = np.flatnonzero(x.is_lost & ~x.has("again") & (x.rows["link"] < len(x.rows)))
    if not len(lost):
        return False
    least_s = LEAST_REPAIR_ROUND_TRIPS * round_trip_s
    if not x.this_side_ns:
        least_s = max(least_s, LEAST_REPAIR_S)
    return bool(np.median(x.time_s[x.rows["link"][lost]] - x.time_s[lost]) < least_s)


def round_trips(x: Exchange) -> tuple[Numbers, Numbers, float]:
    """Give round trips that a queue before the loss would lengthen, in seconds, where they are, and the handshake's."""
    if x.is_lost_before:
        at = np.flatnonzero(x.echoed_s > 0)
        return x.echoed_s[at], at, x.other_side_ns / 1e9
    at = np.flatnonzero(x.is_timely)
    return x.waited_s[at], at, x.this_side_ns / 1e9


def queued_fraction(x: Exchange, drain_s: float, round_trip_s: float) -> float:
    """Give the share of losses whose last round trips before them all held a queue; NaN if none has a fresh one.

    `drain_s`: how long a queue of the bucket's size would take to drain. One round trip alone does not
    tell: an acknowledgment waits, too, where the segment that would have called it out was lost.
    """
    samples, at, handshake_s = round_trips(x)
    if not len(samples):
        return float("nan")
    base_s = float(np.quantile(samples, BASE_PERCENTILE / 100))
    if handshake_s > 0:
        base_s = min(base_s, handshake_s)
    is_queued = samples > base_s + min(MOST_WAIT_S, max(LEAST_WAIT_S, drain_s / 2))
    for _ in range(0 if x.is_lost_before else 2):
        is_queued[1:] &= is_queued[:-1]
    lost = np.flatnonzero(x.is_lost)
    before = np.searchsorted(at, lost) - 1
    is_fresh = (before >= 0) & (x.time_s[lost] - x.time_s[at[before]] <= FRESH_ROUND_TRIPS * round_trip_s)
    return float(is_queued[before[is_fresh]].mean()) if is_fresh.any() else float("nan")


def speed_before_loss(x: Exchange, bucket_bytes: float) -> float:
    """Give the rate at which the last segments before the first loss arrived, in bit/s; infinite if too few did."""
    payload, at_s = _arrivals(x, int(np.argmax(x.is_lost)))
    half = bucket_bytes / 2 / float(np.median(x.payload))
    count = int(min(MOST_LAST_SEGMENTS, max(LEAST_LAST_SEGMENTS, half)))
    if len(at_s) <= count:
        return float("inf")
    return float(payload[-count:].sum()) * 8 / max(1e-6, float(at_s[-1] - at_s[-1 - count]))


def is_bursty(x: Exchange, rate: float) -> bool:
    """Tell whether a few segments arrived much faster than the rate, anywhere in the exchange."""
    payload, at_s = _arrivals(x, len(x.rows))
    arrived = payload.cumsum()
    took_s = np.maximum(1e-6, at_s[FEW_SEGMENTS:] - at_s[:-FEW_SEGMENTS])
    speeds = (arrived[FEW_SEGMENTS:] - arrived[:-FEW_SEGMENTS]) * 8 / took_s
    return bool((speeds >= BURST_SPEED * rate).any())


def _arrivals(x: Exchange, count: int) -> tuple[Numbers, Numbers]:
    """Give the payload of those of the first segments that arrived, and when each is known to have; by that time."""
    if x.is_lost_before:
        which = np.flatnonzero(~x.has("hole")[:count])
        return x.payload[which], x.time_s[which]
    which = np.flatnonzero((x.has("acked") & ~x.has("hole"))[:count])
    at_s = (x.time_s + x.delivered_s)[which]
    order = np.argsort(at_s, kind="stable")
    return x.payload[which][order], at_s[order]


def is_paced_by_link(x: Exchange, rate: float) -> bool:
    """Tell whether segments arrived evenly at the rate, from the first loss on."""
    first = int(np.argmax(x.is_lost))
    arrived = np.flatnonzero(~x.has("hole")[first:]) + first
    gaps = np.diff(x.time_s[arrived]) * rate / (8 * np.maximum(1, x.payload[arrived[1:]]))
    return bool((np.abs(gaps - 1) <= EVEN).sum() >= LEAST_EVEN_FRACTION * len(gaps))
