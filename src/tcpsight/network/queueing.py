"""Whether losses come from a full queue rather than from a policer: what both drop looks alike but for the wait."""

from __future__ import annotations

import numpy as np

from tcpsight.network.exchanges import Exchange, Numbers

BASE_PERCENTILE = 10
LEAST_WAIT_S, MOST_WAIT_S = 0.002, 0.015
"""A round trip held a queue if it was so much longer than the shortest ones: half of what a queue of the bucket's size
would take to drain, within these bounds."""
MOST_QUEUED_FRACTION = 0.4
LEAST_BURST_SEGMENTS = 5
"""Behind a link nothing arrives faster than it delivers; behind a policer its bucket does."""
EVEN = 0.1
LEAST_EVEN_FRACTION = 0.5
"""What a busy link delivers comes as evenly as this, and most of it."""
LEAST_REPAIR_ROUND_TRIPS = 0.5
LEAST_REPAIR_S = 0.003
"""Nothing is sent again sooner; the latter where no handshake tells how far away the receiver is."""


def is_visible(x: Exchange) -> bool:
    """Tell whether there are round trips that a queue at the place of loss would lengthen."""
    return not x.is_lost_before or bool((x.echoed_s > 0).any())


def is_from_queue(x: Exchange, rate: float, bucket_bytes: float) -> bool:
    """Tell whether a full queue explains the losses: round trips had grown before them, or nothing came in bursts.

    Where round trips cannot tell (behind the place of loss, without timestamps) it is taken for a queue, too, if
    segments arrived evenly at the rate, as from a link that is always busy.
    """
    if x.is_lost_before and bucket_bytes < LEAST_BURST_SEGMENTS * float(np.median(x.payload)):
        return True
    if not is_visible(x):
        return is_paced_by_link(x, rate)
    return queued_fraction(x, bucket_bytes * 8 / rate) > MOST_QUEUED_FRACTION


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
    at = np.flatnonzero(x.is_acked_once & x.is_undisturbed)
    return x.waited_s[at], at, x.this_side_ns / 1e9


def queued_fraction(x: Exchange, drain_s: float) -> float:
    """Give the share of losses whose last round trips before them all held a queue; 0 where none was measured.

    `drain_s`: how long a queue of the bucket's size would take to drain. One round trip alone does not
    tell: an acknowledgment waits, too, where the segment that would have called it out was lost.
    """
    samples, at, handshake_s = round_trips(x)
    if not len(samples):
        return 0.0
    base_s = float(np.quantile(samples, BASE_PERCENTILE / 100))
    if handshake_s > 0:
        base_s = min(base_s, handshake_s)
    is_queued = samples > base_s + min(MOST_WAIT_S, max(LEAST_WAIT_S, drain_s / 2))
    for _ in range(0 if x.is_lost_before else 2):
        is_queued[1:] &= is_queued[:-1]
    before = np.searchsorted(at, np.flatnonzero(x.is_lost)) - 1
    return float(is_queued[before[before >= 0]].mean()) if (before >= 0).any() else 0.0


def is_paced_by_link(x: Exchange, rate: float) -> bool:
    """Tell whether segments arrived evenly at the rate, from the first loss on."""
    first = int(np.argmax(x.is_lost))
    arrived = np.flatnonzero(~x.has("hole")[first:]) + first
    gaps = np.diff(x.time_s[arrived]) * rate / (8 * np.maximum(1, x.payload[arrived[1:]]))
    return bool((np.abs(gaps - 1) <= EVEN).sum() >= LEAST_EVEN_FRACTION * len(gaps))
