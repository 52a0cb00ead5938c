"""Find policing (a token bucket that drops) and shaping (one that delays), exchange by exchange.

Theory of operation
-------------------
An exchange is a request and its response: it ends when the client speaks again after all of the response was
acknowledged, or with the connection. What each direction sent in it is logged, one entry per segment on the wire
(what an interface cuts later is cut here): when, which bytes, how long until acknowledged, by SACK too.

1. *Lost* is what was sent again later, unless it had arrived: a D-SACK block shows it, or it was acknowledged before,
   or sooner than its copy can have called out. A copy that is sent again was lost too. Behind the place of loss, lost
   is what filled a hole later than 7/8 of a round trip after it showed; it is logged where the hole showed. What filled
   it sooner was overtaken. What never came but was acknowledged was not captured: it uses tokens, but is neither lost
   nor passed.
2. *Policed*: a token bucket explains which were lost (`bucket_fit`): it has fewer tokens at losses than at passes. And
   no queue does (`queueing`): a full one drops alike, but round trips grow before it does, and what arrives before
   comes at its rate, not faster. Its rate is then looked for by itself, with its bounds (`bucket_rate`). Beside that
   stands what the detector of the paper says (`token_bucket`), with and without the first and last two losses.
   Behind a policer, where losses of repairs are not seen, that everything arrives at a rate tells as much.
3. *Shaped* (`delivery`): while a queue stood, deliveries came at one rate; or after a burst, where no queue is seen.
   Without SACK, duplicate ACKs are deliveries.
4. The round trip of the path: for losses behind the capture point, that of the data, and the handshake's to the other
   side; for losses before it, from an acknowledgment to the first data that echoes its timestamp, one at a time.

The first twelve segments of an exchange are only noted, and are logged when one more comes, or one that is out of
order, larger than the wire takes, or has SACK blocks: shorter ones, which are most, could not be judged.

Memory: 0.6 KB per open connection; 40 B per logged segment, at most 65,535 segments per direction and 3 MiB for each of
256 shares of all connections (room for 16 segments is kept for the next exchange).
Beyond, an exchange is judged by its beginning, and `is_cut` says so.

What it cannot see
------------------
One bucket for several connections: each may fail the tests. A policer whose bucket outlasts the exchange. Before the
capture point, without timestamps: a queue. Whether a shaper without a burst is a shaper or a slow link. Queues shorter
than 5 ms or a quarter of the round trip. An exchange whose client speaks all the time (it is one exchange as long as
data is unacknowledged where it is captured, which behind the bottleneck is never long).
"""

from __future__ import annotations

from typing import Any

import numpy as np

from tcpsight.network import _policing
from tcpsight.network.bucket_fit import fit, initial_tokens
from tcpsight.network.bucket_rate import bucket_rate
from tcpsight.network.delivery import find_interrupted_shape, find_shape
from tcpsight.network.exchanges import ENTRY, Exchange, Numbers
from tcpsight.network.queueing import is_copied, is_from_queue, is_run_dry, kept_rate, queued_fraction
from tcpsight.network.token_bucket import (
    LEAST_SAMPLES,
    goodput_between,
    judge,
    median_round_trip_s,
    slices_with_loss,
)
from tcpsight.tables import Boundaries, Headers, Policed, Segments

Row = np.ndarray[tuple[int], np.dtype[np.void]]

RATES = "rate_bits_per_s", "rate_low_bits_per_s", "rate_high_bits_per_s"
LEAST_SLICES = 4
"""Round trips with losses for a bucket: one more than the paper asks for, as one slow start can fill three."""
TRIM = 2
"""Losses left out at each end for the second verdict, as in the authors' detector."""


class PolicingDetection:
    """Judge exchanges, batch by batch.

    Feed segments in capture order. How they are cut into batches never changes the rows that come out.
    """

    def __init__(self) -> None:
        self._logs = _policing.Logs()

    def feed(self, segments: Segments, headers: Headers, boundaries: Boundaries) -> Policed:
        """Take the next segments and the boundaries among them; give a row for each exchange that was judged.

        Parameters
        ----------
        segments : Segments, shape (n,)
            In capture order.
        headers : Headers, shape (n,)
            What they were made from, row by row.
        boundaries : Boundaries, shape (m,)
            By position; one that lies at row i happens before segment i.

        Returns
        -------
        Policed
            In the order in which the exchanges ended, the client's direction first.

        Raises
        ------
        ValueError
            If a slot is used that is not open, or opened while open: the fault of whoever made the tables.
        """
        slots = int(boundaries.slot.max()) + 1 if len(boundaries) else 0
        ended = self._logs.feed(segments.packed(), headers.packed(), boundaries.packed(), slots)
        rows = [judged(*self._logs.exchange(i)) for i in range(ended)]
        return Policed(np.concatenate(rows) if rows else None, segments.until_ns)

    def carried(self, slots: np.ndarray[Any, np.dtype[np.int64]]) -> bytes:
        """Give what is known of the connections in these slots."""
        return bytes(self._logs.carried(slots))

    def restore(self, carried: bytes, numbers: np.ndarray[Any, np.dtype[np.int64]]) -> None:
        """Take what `carried` gave of the connections with these numbers, in the next slots.

        Raises
        ------
        ValueError
            Something is wrong with it.
        """
        self._logs.restore(np.frombuffer(carried, np.uint8), numbers)


def judged(known: bytes, entries: bytes) -> Row:
    """Judge one exchange; give its row, shape (1,)."""
    row = np.frombuffer(known, Policed.dtype).copy()
    rows = np.frombuffer(entries, ENTRY)
    x = Exchange(rows, int(row["this_side_ns"][0]), int(row["other_side_ns"][0]))
    row["start_ns"], row["end_ns"] = rows["time_ns"][0], rows["time_ns"][-1]
    row["losses"] = x.is_lost.sum()
    row["segments"] = len(rows) - x.is_missed.sum()
    row["passes"] = row["segments"] - row["losses"]
    row["is_lost_before"] = x.is_lost_before and row["losses"][0] > 0
    _give_policing(row, x)
    _give_shaping(row, x)
    return row


def _give_policing(row: Row, x: Exchange) -> None:
    round_trip_s = median_round_trip_s(x)
    whole, trimmed = judge(x, 0, round_trip_s), judge(x, TRIM, round_trip_s)
    row["verdict"], row["trimmed_verdict"] = whole.number, trimmed.number
    row["paper_rate_bits_per_s"] = -1 if np.isnan(whole.rate) else round(whole.rate)
    row["inflated_losses"] = whole.inflated
    row["rtt_p50_ns"] = round(round_trip_s * 1e9) if round_trip_s > 0 else -1
    for name in ("loss_start_ns", "loss_end_ns", "burst_bytes", "bucket_bytes", "slices_with_loss", *RATES):
        row[name] = -1
    row["order_fraction"] = row["queued_fraction"] = np.nan
    lost_at = np.flatnonzero(x.is_lost)
    if not len(lost_at):
        return
    row["loss_start_ns"], row["loss_end_ns"] = x.rows["time_ns"][lost_at[0]], x.rows["time_ns"][lost_at[-1]]
    row["burst_bytes"] = x.payload[: lost_at[0]].sum()
    if round_trip_s > 0:
        row["slices_with_loss"] = slices_with_loss(x.time_s[lost_at], round_trip_s)
        _give_bucket(row, x, lost_at, round_trip_s)


def _give_bucket(row: Row, x: Exchange, lost_at: Numbers, rtt_s: float) -> None:
    """Fit a bucket where there is enough to fit it to."""
    goodput = goodput_between(x, int(lost_at[0]), int(lost_at[-1]))
    if min(row["losses"][0], row["passes"][0]) < LEAST_SAMPLES or goodput <= 0 or is_copied(x, rtt_s):
        return
    first = int(lost_at[0])
    if row["slices_with_loss"][0] >= LEAST_SLICES:
        found = fit(x, goodput, rtt_s)
        held = initial_tokens(x, first, found.rate)
        row["order_fraction"] = found.order
        row["queued_fraction"] = queued_fraction(x, held * 8 / found.rate, rtt_s)
        row["is_policed"] = found.is_convincing and not is_from_queue(x, found.rate, held, rtt_s)
    elif x.is_lost_before:
        kept = kept_rate(x, rtt_s)
        row["is_policed"] = kept > 0 and is_run_dry(x, kept, initial_tokens(x, first, kept))
    if row["is_policed"]:
        rate = bucket_rate(x, goodput, rtt_s)
        for name, value in zip(RATES, rate, strict=True):
            row[name] = round(value)
        row["bucket_bytes"] = round(initial_tokens(x, first, rate.best))


def _give_shaping(row: Row, x: Exchange) -> None:
    shape = find_shape(x)
    if (shape is None or not shape.burst_bytes) and not row["is_policed"]:
        shape = find_interrupted_shape(x) or shape
    row["is_shaped"] = shape is not None
    for name in ("shaped_rate_bits_per_s", "shaped_burst_bytes", "shaped_start_ns", "shaped_end_ns"):
        row[name] = -1
    row["queue_p50_ns"] = row["queue_max_ns"] = -1
    if shape is None:
        return
    begin = int(x.rows["time_ns"][0])
    row["shaped_rate_bits_per_s"] = round(shape.rate)
    row["shaped_burst_bytes"] = round(shape.burst_bytes) if shape.burst_bytes else -1
    row["shaped_start_ns"] = begin + round(shape.start_s * 1e9)
    row["shaped_end_ns"] = begin + round(shape.end_s * 1e9)
    if np.isfinite(shape.queue_p50_s):
        row["queue_p50_ns"], row["queue_max_ns"] = round(shape.queue_p50_s * 1e9), round(shape.queue_max_s * 1e9)
