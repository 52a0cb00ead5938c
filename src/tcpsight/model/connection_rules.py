"""The rules of findings about connections: what must be so, by which numbers, and how sure that makes.

A rule looks at one direction of all connections of a batch: `own` is what that direction's sender
sent, `peer` the other direction. Times are those of the capture point.
"""

from __future__ import annotations

import numpy as np

from tcpsight.model.finding_shapes import (
    LEAST_MTU_PAYLOAD,
    MS,
    SECOND,
    Array,
    Bools,
    ConnectionRule,
    Hits,
    Pair,
    heard,
    hits_of,
)
from tcpsight.model.opening_rules import OPENING_RULES

# --- data that do not get through --------------------------------------------------------------------------------

STALL_RETRANSMISSIONS = 3
"""Linux takes three (tcp_retries1) for the first sign that a path is dead."""

STALL_NS = SECOND
"""Three backed-off time-outs take 1.4 s at least: 0.2 + 0.4 + 0.8."""


def _is_stalled(pair: Pair) -> Bools:
    own = pair.own
    is_long = (own.stall_retransmissions >= STALL_RETRANSMISSIONS) & (own.stall_end_ns - own.stall_start_ns >= STALL_NS)
    is_stalled: Bools = is_long & (own.stall_payload_bytes > 0) & heard(pair)
    return is_stalled


def look_for_mtu_blackhole(pair: Pair) -> Hits:
    """Look for large segments that vanish, while smaller ones pass."""
    own = pair.own
    is_larger = own.stall_payload_bytes > np.maximum(own.payload_acked_max_bytes, LEAST_MTU_PAYLOAD)
    is_long = (own.stall_retransmissions >= 2) & (own.stall_end_ns - own.stall_start_ns >= 400 * MS)
    is_hit = is_larger & is_long & heard(pair)
    return hits_of(
        pair,
        is_hit,
        (own.stall_start_ns, own.stall_end_ns),
        score=own.stall_retransmissions,
        severity="critical",
        # That smaller ones pass is certain once some did.
        confidence=np.where(
            (own.payload_acked_max_bytes > 0) | (own.stall_peer_segments > 0) | own.stall_is_over, 0.9, 0.6
        ),
        retransmissions=own.stall_retransmissions,
        payload_bytes=own.stall_payload_bytes,
        largest_acknowledged_bytes=own.payload_acked_max_bytes,
        peer_segments=own.stall_peer_segments,
        is_over=own.stall_is_over.astype(bool),
    )


def look_for_blackhole(pair: Pair) -> Hits:
    """Look for data that are sent again and again, while the other side is silent."""
    own = pair.own
    is_hit = _is_stalled(pair) & (own.stall_peer_segments == 0)
    return hits_of(
        pair,
        is_hit,
        (own.stall_start_ns, own.stall_end_ns),
        score=own.stall_retransmissions,
        severity=np.where(own.stall_is_over != 0, "warning", "critical"),
        confidence=np.where(own.stall_retransmissions > STALL_RETRANSMISSIONS, 0.95, 0.85),
        retransmissions=own.stall_retransmissions,
        payload_bytes=own.stall_payload_bytes,
        peer_segments=own.stall_peer_segments,
        is_over=own.stall_is_over.astype(bool),
    )


# --- queues ------------------------------------------------------------------------------------------------------

BLOAT_SAMPLES = 20
"""Fewer round trips are an accident."""

BLOAT_NS = 100 * MS
"""A queue that a person notices; jitter of radio links is below."""

BLOAT_LASTS_NS = 250 * MS
"""The end of slow start fills any queue for a moment."""

BLOAT_CORRELATION = 0.5
"""What rises with bytes in flight does so by them."""

BLOAT_ECHOES = 5
"""High round trips by timestamps: one is measured for each that passes, so that few are many."""

BLOAT_LOSS_FRACTION = 0.02
"""A queue that overflows all the time is short, or policed."""


def look_for_bufferbloat(pair: Pair) -> Hits:
    """Look for round trips that rise with bytes in flight, while next to nothing is lost."""
    own = pair.own
    rise_ns = own.rtt_p95_ns - own.rtt_min_ns
    lost = own.fast_retransmissions + own.timeout_retransmissions
    is_hit = (
        (own.rising_samples >= BLOAT_SAMPLES)
        & (rise_ns >= np.maximum(BLOAT_NS, own.rtt_min_ns))
        & (own.rising_correlation >= BLOAT_CORRELATION)
        & (lost <= BLOAT_LOSS_FRACTION * own.segments)
        & (own.high_samples > 0)
        & (own.high_last_ns - own.high_first_ns >= BLOAT_LASTS_NS)
    )
    # At the receiver round trips are short; but what it stamped comes back by way of the queue.
    echo_rise_ns = pair.peer.echo_rtt_max_ns - pair.peer.echo_rtt_min_ns
    is_echoed = (
        ~is_hit
        & (pair.peer.echo_high_samples >= BLOAT_ECHOES)
        & (pair.peer.echo_high_last_ns - pair.peer.echo_high_first_ns >= BLOAT_LASTS_NS)
        & (echo_rise_ns >= np.maximum(BLOAT_NS, pair.peer.echo_rtt_min_ns))
        & (own.out_of_order <= BLOAT_LOSS_FRACTION * own.segments)
        & (lost <= BLOAT_LOSS_FRACTION * own.segments)
    )
    return hits_of(
        pair,
        is_hit | is_echoed,
        (
            np.where(is_hit, own.high_first_ns, pair.peer.echo_high_first_ns),
            np.where(is_hit, own.high_last_ns, pair.peer.echo_high_last_ns),
        ),
        score=np.maximum(rise_ns, echo_rise_ns),
        confidence=np.where(is_hit, np.clip(0.5 + own.rising_correlation / 2, 0, 0.99), 0.8),
        echo_rtt_min_ns=np.where(is_hit, -1, pair.peer.echo_rtt_min_ns),
        echo_rtt_max_ns=np.where(is_hit, -1, pair.peer.echo_rtt_max_ns),
        echo_rtt_samples=np.where(is_hit, -1, pair.peer.echo_rtt_samples),
        rtt_min_ns=np.where(is_hit, own.rtt_min_ns, -1),
        rtt_p95_ns=np.where(is_hit, own.rtt_p95_ns, -1),
        rtt_samples=np.where(is_hit, own.rising_samples, -1),
        correlation=np.where(is_hit, own.rising_correlation, np.nan),
        in_flight_max_bytes=np.where(is_hit, own.in_flight_max_bytes, -1),
        losses=lost,
    )


# --- windows -----------------------------------------------------------------------------------------------------

CLOSED_NS = 200 * MS
"""As long as the shortest time-out: a stall that a person may notice."""

LIMITED_FRACTION = 0.5
"""Of the time in which data were outstanding."""

PACED_FRACTION = 0.6
"""Of the largest window, per round trip: the connection opens, begins slowly and closes within its duration, too."""

LIMITED_NS = 300 * MS
"""Shorter transfers end in slow start."""


def look_for_zero_window(pair: Pair) -> Hits:
    """Look for receivers that closed their window while the sender, whose data it is about, had more."""
    own, peer = pair.own, pair.peer
    is_waiting = (own.zero_window_probes > 0) | (own.window_full > 0)
    is_hit = (peer.zero_window_longest_ns >= CLOSED_NS) & is_waiting
    start = peer.zero_window_longest_start_ns
    return hits_of(
        pair,
        is_hit,
        (start, start + peer.zero_window_longest_ns),
        score=peer.zero_window_longest_ns,
        severity=np.where(peer.zero_window_longest_ns >= 5 * SECOND, "critical", "warning"),
        confidence=0.95,
        longest_ns=peer.zero_window_longest_ns,
        zero_window_ns=peer.zero_window_ns,
        zero_windows=peer.zero_windows,
        probes=own.zero_window_probes,
        window_max_bytes=peer.window_max_bytes,
    )


def _bytes_per_round_trip(pair: Pair) -> Array:
    """Give what came, on average, in the whole way and back, wherever on it the capture was taken."""
    trip_ns = pair.own.rtt_min_ns + pair.peer.rtt_min_ns
    per_trip: Array = pair.own.bytes * (trip_ns / np.maximum(pair.connections.duration_ns, 1))
    return per_trip


def _is_paced_by_window(pair: Pair) -> Bools:
    """Tell where a window's worth of data came each round trip: from further on, in flight is not what it is."""
    own, peer = pair.own, pair.peer
    window = peer.window_max_bytes
    is_known = (own.rtt_samples > 0) & (peer.rtt_samples > 0)
    per_trip = _bytes_per_round_trip(pair)
    is_paced: Bools = (
        is_known
        & (window > 0)
        & (own.bytes >= 10 * window)
        & (per_trip >= PACED_FRACTION * window)
        & (peer.zero_windows == 0)
        & (own.out_of_order == 0)
    )
    return is_paced


def look_for_window_limit(pair: Pair) -> Hits:
    """Look for senders that the receiver's window, not the path, held back."""
    own, peer = pair.own, pair.peer
    open_ns = own.non_idle_ns - np.maximum(peer.zero_window_ns, 0)
    is_seen = (
        (own.non_idle_ns >= 0)
        & (own.window_limited_ns >= LIMITED_FRACTION * open_ns)
        & (own.window_limited_ns >= LIMITED_NS)
        & (own.window_limited_ns >= own.rtt_min_ns * 5)
        & (own.bytes >= 3 * np.maximum(peer.window_max_bytes, 1))
        & (peer.zero_window_ns < LIMITED_FRACTION * own.non_idle_ns)
        & (own.rtt_samples > 0)
    )
    return hits_of(
        pair,
        is_seen | _is_paced_by_window(pair),
        score=own.window_limited_ns,
        severity="info",
        confidence=np.clip(own.window_limited_ns / np.maximum(open_ns, 1), 0.5, 0.95),
        window_limited_ns=np.where(is_seen, own.window_limited_ns, -1),
        non_idle_ns=np.where(is_seen, own.non_idle_ns, -1),
        bytes_per_round_trip=np.where(is_seen, -1, _bytes_per_round_trip(pair).astype(np.int64)),
        window_max_bytes=peer.window_max_bytes,
        rtt_min_ns=own.rtt_min_ns,
        goodput_bits_per_s=own.non_idle_goodput_bits_per_s,
    )


# --- senders that wait -------------------------------------------------------------------------------------------

NAGLE_TIMES = 3
"""Once or twice is an accident."""

RESTARTS = 2
"""After an outage of the path it looks the same, seen from the receiver."""


def look_for_nagle(pair: Pair) -> Hits:
    """Look for small segments that wait for acknowledgments which the other side delays."""
    own = pair.own
    return hits_of(
        pair,
        own.nagle_count >= NAGLE_TIMES,
        (own.nagle_first_ns, own.nagle_last_ns),
        score=own.nagle_count,
        confidence=np.clip(0.7 + 0.03 * own.nagle_count, 0, 0.95),
        times=own.nagle_count,
    )


def look_for_restart(pair: Pair) -> Hits:
    """Look for senders that probe the path anew after a pause."""
    own = pair.own
    return hits_of(
        pair,
        own.restart_count >= RESTARTS,
        (own.restart_first_ns, own.restart_last_ns),
        score=own.restart_count,
        severity="info",
        confidence=0.85,
        times=own.restart_count,
        in_flight_max_bytes=own.in_flight_max_bytes,
        rtt_min_ns=own.rtt_min_ns,
    )


CONNECTION_RULES = (
    ConnectionRule(
        "path_mtu_blackhole",
        "a segment larger than any acknowledged one, and than 1,000 B, was sent again twice or more in 400 ms or more",
        look_for_mtu_blackhole,
        is_exclusive=True,
    ),
    ConnectionRule(
        "blackhole",
        "the same data were sent again 3 times or more in 1 s or more, and the other side sent nothing",
        look_for_blackhole,
        is_exclusive=True,
    ),
    ConnectionRule(
        "bufferbloat",
        "of 20 or more clean round trips the 95th percentile is above the shortest by 100 ms and by itself, they go "
        "with bytes in flight (r >= 0.5), or 5 or more of the receiver's by timestamps are so high; that for 250 ms; "
        "and at most 2 % of segments were lost",
        look_for_bufferbloat,
    ),
    ConnectionRule(
        "zero_window_stall",
        "the receiver's window was closed for 200 ms or more while the sender had data",
        look_for_zero_window,
    ),
    ConnectionRule(
        "window_limited",
        "for half of the time with data outstanding, 300 ms and 5 round trips, the window had no room for a segment; "
        "or, where that is not seen, 60 % of the largest window came in each whole round trip",
        look_for_window_limit,
    ),
    ConnectionRule(
        "nagle_delayed_ack",
        "3 times or more a small segment followed at once upon an acknowledgment that was delayed by 25 to 500 ms",
        look_for_nagle,
    ),
    ConnectionRule(
        "slow_start_after_idle",
        "twice or more, after a pause of 200 ms and a round trip with everything acknowledged, the first flight was at "
        "most half of the largest, and another followed a round trip later though the other side had sent no data",
        look_for_restart,
    ),
    *OPENING_RULES,
)
