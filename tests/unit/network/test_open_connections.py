"""Connections that are open now are told as if they ended, and go on."""

from __future__ import annotations

from tcpsight.network import NetworkMeasuring
from tests.support.headers import follow, headers

MS = 1_000_000
TALK = """
    0   > S  seq=1000
    20  < SA seq=5000
    21  > A
    30  > PA 100
    50  < A
    60  > S  seq=1000 port=41000
    70  < SA seq=5000 port=41000
    71  > A  port=41000
"""


def test_every_open_connection_has_both_its_rows_and_they_change_nothing():
    table = headers(TALK)
    followed = follow([table])
    measuring = NetworkMeasuring()
    opened = followed.boundaries[followed.boundaries.boundary == 0]
    measuring.feed(followed.segments, table, opened)
    for _ in range(2):
        (rows,) = measuring.snapshots()
        assert rows.connection_id.tolist() == [1, 1, 6, 6]
        assert rows.direction.tolist() == [0, 1, 0, 1]
        assert rows.rtt_max_ns.tolist()[0] == 20 * MS
