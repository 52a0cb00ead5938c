"""Laws of the judgment of exchanges: cutting, no clock, interleaving."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest

from tcpsight.tables import Headers
from tests.truth.policing.judging import judge
from tests.truth.policing.path import Policer
from tests.truth.policing.senders import ByLosses
from tests.truth.policing.transfer import Settings, Transfer, headers_of

HOUR_NS = 3_600_000_000_000


@cache
def download() -> bytes:
    settings = Settings((600_000, 500_000), 0.05, [Policer(3e6, 20_000)], ByLosses())
    return headers_of(Transfer(settings).run().at_server).rows.tobytes()


def headers() -> Headers:
    return Headers(np.frombuffer(download(), Headers.dtype).copy())


@pytest.mark.parametrize("batch", [1, 7, 64, 1000])
def test_rows_do_not_depend_on_how_segments_are_cut_into_batches(batch: int) -> None:
    whole = judge(headers(), batch=100_000)
    assert len(whole) == 2
    assert whole.is_policed[0]
    cut = judge(headers(), batch=batch)
    for column in type(whole).columns:
        if column.name == "made_by":
            continue  # which counts from the beginning of a batch
        np.testing.assert_array_equal(cut.rows[column.name], whole.rows[column.name])


def test_a_shift_of_all_times_shifts_instants_and_nothing_else() -> None:
    shifted = headers()
    shifted.time_ns[:] += HOUR_NS
    here, there = judge(headers()), judge(shifted)
    for column in type(here).columns:
        is_instant = column.unit == "epoch ns"
        moved = here.rows[column.name] + (HOUR_NS if is_instant else 0)
        known = here.rows[column.name] != -1
        np.testing.assert_array_equal(there.rows[column.name][known], moved[known])


def test_connections_that_alternate_are_judged_as_if_they_were_alone() -> None:
    one, other = headers(), headers()
    is_client = other.source_port == one.source_port[0]
    other.source_port[is_client] += 1
    other.destination_port[~is_client] += 1
    both = Headers.concatenate([one, other])
    order = np.argsort(np.concatenate([np.arange(len(one)) * 2, np.arange(len(other)) * 2 + 1]), kind="stable")
    mixed = Headers(both.rows[order])
    mixed.frame_number[:] = np.arange(1, len(mixed) + 1)
    alone, found = judge(headers()), judge(mixed)
    names = [c.name for c in type(found).columns if c.name not in ("connection_id", "client_port", "made_by")]
    for port in {int(p) for p in found.client_port}:
        mine = found.rows[found.client_port == port]
        for name in names:
            np.testing.assert_array_equal(mine[name], alone.rows[name])
