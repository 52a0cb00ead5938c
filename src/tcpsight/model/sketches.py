"""Response times as counts that add up: per service and minute, in buckets that are the same everywhere.

Theory of operation
-------------------
Buckets are those of `tcpsight.model.distribution`: one for each value below 128 ns, above that every power of two is
divided into 64. A bucket is a matter of the value alone, so counts of parts add up to the counts of the whole, and a
percentile of any group of minutes and services is read from added counts: the middle of the bucket in which it lies,
within 1/128 of it. Counts that are held are brought together when there are `HELD_ROWS` of them; if most differ even
so, they are given as they are, and come again later: who reads adds up.

What it cannot see: differences within a bucket, and the order of requests within a minute.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from tcpsight.model._kernel import BUCKET_COUNT, bucket_middles
from tcpsight.tables import Requests, Sketches

MINUTE_NS = 60_000_000_000
HELD_ROWS = 1 << 18

_KEY = np.dtype([("address", "u1", 16), ("port", "<u2"), ("version", "u1"), ("minute", "<i8"), ("bucket", "<i4")])

_Int64s = np.ndarray[Any, np.dtype[np.int64]]


def bucket_bounds() -> _Int64s:
    """Give the least value of every bucket, and behind them what is beyond the last, shape (buckets + 1,)."""
    number = np.arange(128, BUCKET_COUNT + 1)
    shift = (number - 128) // 64 + 1
    above = (64 + (number - 128) % 64).astype(np.uint64) << shift.astype(np.uint64)
    bounds = np.concatenate([np.arange(128, dtype=np.uint64), above])
    limited: _Int64s = np.minimum(bounds, np.uint64(2**63 - 1)).astype(np.int64)
    return limited


class Sketching:
    """Count requests by service, minute and bucket of response time.

    Feed requests in any order; how they are cut changes which rows come when, and no sum.
    """

    def __init__(self) -> None:
        self._bounds = bucket_bounds()
        self._keys: list[np.ndarray[Any, Any]] = []
        self._counts: list[_Int64s] = []
        self._held = 0

    def feed(self, requests: Requests) -> Sketches:
        """Take answered requests; give the counts that can't be held.

        Parameters
        ----------
        requests : Requests
            In any order.
        """
        keys = np.zeros(len(requests), _KEY)
        keys["address"], keys["port"] = requests.server_address, requests.server_port
        keys["version"] = requests.ip_version
        keys["minute"] = np.floor_divide(requests.arrival_ns, MINUTE_NS)
        keys["bucket"] = np.searchsorted(self._bounds, requests.response_time_ns, "right") - 1
        self._hold(keys, np.ones(len(keys), np.int64))
        if self._held <= HELD_ROWS:
            return Sketches()
        self._bring_together()
        return self.finish() if self._held > HELD_ROWS // 2 else Sketches()

    def finish(self) -> Sketches:
        """Give all counts that are held, in order of service, minute and bucket."""
        self._bring_together()
        if not self._held:
            return Sketches()
        (keys,), (counts,) = self._keys, self._counts
        self._keys, self._counts, self._held = [], [], 0
        middles = np.zeros(BUCKET_COUNT, np.int64)
        bucket_middles(middles)
        rows = Sketches.allocate(len(keys))
        rows.server_address[:], rows.server_port[:], rows.ip_version[:] = keys["address"], keys["port"], keys["version"]
        rows.start_ns[:] = keys["minute"] * MINUTE_NS
        rows.low_ns[:], rows.high_ns[:] = self._bounds[keys["bucket"]], self._bounds[keys["bucket"] + 1]
        rows.middle_ns[:] = middles[keys["bucket"]]
        rows.requests[:] = counts
        address = [rows.server_address[:, i] for i in range(15, -1, -1)]
        return rows[np.lexsort([rows.low_ns, rows.start_ns, rows.server_port, *address, rows.ip_version])]

    def _hold(self, keys: np.ndarray[Any, Any], counts: _Int64s) -> None:
        if len(keys):
            self._keys.append(keys)
            self._counts.append(counts)
            self._held += len(keys)

    def _bring_together(self) -> None:
        """Add up the counts of equal keys."""
        if len(self._keys) == 0:
            return
        keys, counts = np.concatenate(self._keys), np.concatenate(self._counts)
        found, which = np.unique(keys.view(f"V{_KEY.itemsize}"), return_inverse=True)
        sums = np.zeros(len(found), np.int64)
        np.add.at(sums, which, counts)
        self._keys, self._counts, self._held = [found.view(_KEY)], [sums], len(found)
