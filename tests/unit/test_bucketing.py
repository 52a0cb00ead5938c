"""Buckets from a whole capture: the right edges, the connections in them, and what is refused."""

from __future__ import annotations

import numpy as np
import pytest

import tcpsight
from tcpsight.errors import UsageError
from tests.support.pcap import pcap_bytes
from tests.support.traffic import MS, START_NS, Talk, answered, capture

# A talk of one exchange lasts 2 ms of handshake, 10 ms of thinking, its response time, and 3 ms of closing.
TALKS = [
    Talk(answered(response_time), client_port=40_000 + i, start_ns=START_NS + i * 1000 * MS)
    for i, response_time in enumerate([1, 2, 30, 30, 200])
]
DURATIONS_MS = [16, 17, 45, 45, 215]


@pytest.fixture
def talks(tmp_path):
    path = tmp_path / "talks.pcap"
    path.write_bytes(pcap_bytes(capture(TALKS), nanoseconds=True))
    return tcpsight.open(path)


def bounds(rows):
    found = rows.to_numpy()
    return list(zip(*(found[name].tolist() for name in ("bucket", "low", "high", "connections")), strict=True))


def test_durations_are_what_they_were_made(talks):
    assert sorted((talks.connections.to_numpy()["duration_ns"] // MS).tolist()) == DURATIONS_MS


def test_buckets_are_logarithmic_where_nothing_is_said(talks):
    assert bounds(talks.buckets()) == [
        (0, 10 * MS, 20 * MS, 2),
        (1, 20 * MS, 50 * MS, 2),
        (2, 50 * MS, 100 * MS, 0),
        (3, 100 * MS, 200 * MS, 0),
        (4, 200 * MS, 500 * MS, 1),
    ]


def test_a_width_makes_linear_buckets(talks):
    assert bounds(talks.buckets(width=20 * MS, count=2)) == [
        (0, 0, 20 * MS, 2),
        (1, 20 * MS, 40 * MS, 0),
        (2, 40 * MS, -1, 3),
    ]


def test_linear_buckets_without_a_width_hold_all_values(talks):
    rows = bounds(talks.buckets(scale="linear", count=5))
    assert rows[1][1] == 50 * MS
    assert [row[3] for row in rows] == [4, 0, 0, 0, 1, 0]


def test_quantiles_share_the_connections(talks):
    # Both of 45 ms belong to the lower half, to which the first of them belongs.
    rows = bounds(talks.buckets(scale="quantile", count=2))
    assert rows == [(0, 16 * MS, 215 * MS, 4), (1, 215 * MS, 215 * MS + 1, 1)]


def test_attempts_have_a_bucket_each(talks):
    assert bounds(talks.buckets("attempts")) == [(0, 0, 1, 0), (1, 1, 2, 5), (2, 2, -1, 0)]


def test_a_condition_chooses_connections_before_they_are_counted(talks):
    rows = talks.buckets(width=20 * MS, count=1, where="duration > 17ms and throughput_bits_per_s > 10kbit/s")
    assert bounds(rows) == [(0, 0, 20 * MS, 0), (1, 20 * MS, -1, 2)]


def test_every_connection_is_in_the_bucket_that_counts_it(talks):
    for chosen in ({}, {"width": 7 * MS}, {"scale": "quantile", "count": 3}):
        counts = {row["bucket"]: row["connections"] for row in talks.buckets(**chosen).to_numpy()}
        found = talks.bucketed(**chosen).to_numpy()
        numbers, connections = np.unique(found["bucket"], return_counts=True)
        assert dict(zip(numbers.tolist(), connections.tolist(), strict=True)) == {b: n for b, n in counts.items() if n}
        assert (found["duration_ns"] // MS).tolist() == DURATIONS_MS


def test_a_capture_without_connections_has_no_buckets(tmp_path):
    path = tmp_path / "empty.pcap"
    path.write_bytes(pcap_bytes([]))
    assert len(tcpsight.open(path).buckets().to_numpy()) == 0
    assert len(tcpsight.open(path).bucketed().to_numpy()) == 0


@pytest.mark.parametrize(
    ("chosen", "message"),
    [
        ({"by": "color"}, "no buckets by 'color'"),
        ({"width": 0}, "a width of 0 makes no linear buckets"),
        (
            {"width": 5, "scale": "quantile"},
            "a width is for linear buckets, quantile ones have none: give a count, or linear buckets",
        ),
        ({"count": 3}, "3 is no number of logarithmic buckets"),
        ({"count": 0, "scale": "linear"}, "0 is no number of linear buckets"),
        ({"width": 2**60}, "reach beyond all numbers"),
        ({"where": "color = red"}, "no column 'color'"),
    ],
)
def test_what_makes_no_sense_is_refused_before_the_capture_is_read(talks, chosen, message):
    with pytest.raises(UsageError, match=message):
        talks.buckets(**chosen)
