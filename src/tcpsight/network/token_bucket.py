"""Whether a token bucket that drops explains which segments of an exchange were lost.

The tests are those of Flach et al., "An Internet-Wide Analysis of Traffic Policing" (SIGCOMM 2016), §2.2 and the
parameters of the authors' published detector: a policer passes what its bucket has tokens for and drops the rest, so
with the right rate the bucket is empty whenever something is lost and not empty whenever something passes.
"""

from __future__ import annotations

from bisect import insort
from dataclasses import dataclass

import numpy as np

from tcpsight.network.exchanges import Exchange, Mask, Numbers
from tcpsight.tables import POLICING_VERDICTS

# All as in the authors' detector.
LEAST_SAMPLES = 15
LEAST_SLICES = 3
LATEST_FIRST_LOSS_BYTES = 2_000_000
LOSS_ZERO_ROUND_TRIPS = 2.0
PASS_ZERO_ROUND_TRIPS = 0.75
LOSS_OUTSIDE_FRACTION = 0.10
PASS_OUTSIDE_FRACTION = 0.03
BASE_PERCENTILE = 10
INFLATION = 1.3
LEAST_INFLATED_S = 0.020
INFLATED_FRACTION = 0.2


@dataclass(frozen=True)
class Judgment:
    """What the tests say.

    Attributes
    ----------
    verdict : str
        One of `POLICING_VERDICTS`.
    rate : float
        Rate at which the bucket fills, bit/s; NaN where nothing was found.
    burst_bytes : int
        Bytes sent before the first loss.
    slices, inflated : int
        Round trips with a loss; losses behind an inflated round trip. −1 where the tests did not come so far.
    """

    verdict: str
    rate: float = float("nan")
    burst_bytes: int = -1
    slices: int = -1
    inflated: int = -1

    @property
    def number(self) -> int:
        """The verdict as the table stores it."""
        return POLICING_VERDICTS.index(self.verdict)


def median_round_trip_s(x: Exchange) -> float:
    """Give the median round trip of the path, in seconds; NaN if unknown.

    Where the losses lie before the capture point, the way from there to the sender is what counts: it is measured by
    echoed timestamps, or else by the handshake alone.
    """
    if x.is_lost_before:
        echoed = x.echoed_s[x.echoed_s > 0]
        if len(echoed):
            return float(np.median(echoed)) + x.this_side_ns / 1e9
        whole = x.this_side_ns + x.other_side_ns
        return whole / 1e9 if x.other_side_ns else float("nan")
    waited = x.waited_s[x.is_timely]
    return float(np.median(waited)) + x.other_side_ns / 1e9 if len(waited) else float("nan")


def judge(x: Exchange, trim: int, round_trip_s: float) -> Judgment:
    """Judge an exchange, as if its first and last `trim` losses were not there to find the rate by."""
    lost_at = np.flatnonzero(x.is_lost)
    if len(lost_at) < 2 * trim + 2:
        return Judgment("insufficient_loss")
    first, last = int(lost_at[trim]), int(lost_at[-1 - trim])
    if int(x.rows["start"][first]) >= LATEST_FIRST_LOSS_BYTES:
        return Judgment("late_loss")
    if not round_trip_s > 0:
        return Judgment("unknown_rtt")
    rate = goodput_between(x, first, last)
    slices = slices_with_loss(x.time_s[lost_at[trim:]], round_trip_s)
    found = _test(x, first, rate, round_trip_s, slices)
    if found != "policed":
        return Judgment(found, slices=slices)
    inflated = inflated_losses(x, first)
    losses = len(lost_at) - trim
    if inflated > INFLATED_FRACTION * losses:
        return Judgment("inflated_rtt", slices=slices, inflated=inflated)
    return Judgment("policed", rate, int(x.payload[: lost_at[0]].sum()), slices, inflated)


def goodput_between(x: Exchange, first: int, last: int) -> float:
    """Give the goodput from entry `first` to entry `last`, in bit/s; 0 if no time lies between."""
    span_s = float(x.time_s[last] - x.time_s[first])
    return float(x.payload[first:last][~x.is_lost[first:last]].sum()) * 8 / span_s if span_s > 0 else 0.0


def slices_with_loss(lost_s: Numbers, round_trip_s: float) -> int:
    """Count round trips with a loss: each begins with a loss, and holds those within a round trip of it."""
    count, at = 0, 0
    while at < len(lost_s):
        count += 1
        at = max(at + 1, int(np.searchsorted(lost_s, lost_s[at] + round_trip_s, side="right")))
    return count


def _test(x: Exchange, first: int, rate: float, round_trip_s: float, slices: int) -> str:
    """Simulate the bucket from the first loss on, where it is empty, and compare."""
    bytes_per_s = rate / 8
    pass_zero = PASS_ZERO_ROUND_TRIPS * round_trip_s * bytes_per_s
    # The bucket cannot have held less than nothing at the beginning.
    if int(x.rows["start"][first]) - bytes_per_s * float(x.time_s[first]) < -pass_zero:
        return "negative_fill"
    is_lost = x.is_lost[first:]
    on_loss, on_pass = _tokens(x, first, bytes_per_s, is_lost)
    if slices < LEAST_SLICES or min(len(on_loss), len(on_pass)) < LEAST_SAMPLES:
        return "insufficient_loss"
    if np.mean(on_loss) >= np.mean(on_pass) or np.median(on_loss) >= np.median(on_pass):
        return "higher_fill_on_loss"
    # When exactly the bucket was empty is not known to the segment: the usual fill at a loss stands for empty.
    empty = np.median(on_loss)
    loss_zero = LOSS_ZERO_ROUND_TRIPS * round_trip_s * bytes_per_s
    if (np.abs(on_loss - empty) > loss_zero).sum() > LOSS_OUTSIDE_FRACTION * len(on_loss):
        return "loss_fill_out_of_range"
    if (on_pass - empty < -pass_zero).sum() > PASS_OUTSIDE_FRACTION * len(on_pass):
        return "pass_fill_out_of_range"
    return "policed"


def _tokens(x: Exchange, first: int, bytes_per_s: float, is_lost: Mask) -> tuple[Numbers, Numbers]:
    """Give the bucket's fill at each loss and at each pass, in bytes; what was not captured only uses tokens."""
    used = np.where(is_lost, 0, x.payload[first:]).cumsum()
    before = np.concatenate(([0], used[:-1]))
    tokens = bytes_per_s * (x.time_s[first:] - x.time_s[first]) - before
    return tokens[is_lost], tokens[~is_lost & ~x.is_missed[first:]]


def inflated_losses(x: Exchange, first: int) -> int:
    """Count losses behind a round trip that had grown: a queue, rather than a policer, may have dropped those.

    The round trip of a loss is the last but one of those before it, as in the authors' detector; round trips of what
    was sent while a loss was not yet repaired are left out, for its acknowledgment was held back.
    """
    if x.is_lost_before:
        samples, usable = x.echoed_s, x.echoed_s > 0
    else:
        samples, usable = x.waited_s, x.is_acked_once & x.is_undisturbed
    is_lost, kept, ordered, count = x.is_lost, [0.0, 0.0], list[float](), 0
    for i in range(len(samples)):
        if usable[i]:
            kept = [kept[1], float(samples[i])]
            insort(ordered, kept[1])
        if is_lost[i] and i >= first and len(ordered) > 1 and kept[0] >= LEAST_INFLATED_S:
            count += kept[0] >= _quantile(ordered, 50) and kept[0] > INFLATION * _quantile(ordered, BASE_PERCENTILE)
    return count


def _quantile(ordered: list[float], percent: int) -> float:
    """Give a percentile of ordered numbers, interpolated between the two nearest."""
    at = (len(ordered) - 1) * percent / 100
    below = int(at)
    above = min(below + 1, len(ordered) - 1)
    return ordered[below] + (at - below) * (ordered[above] - ordered[below])
