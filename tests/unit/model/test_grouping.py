"""Rows by endpoint equal those of a dictionary of lists, whoever contrived the addresses."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tcpsight.model._grouping import group
from tcpsight.model.grouping import by_endpoint, endpoint_groups
from tcpsight.tables import Requests

ENDPOINT = st.tuples(st.binary(min_size=16, max_size=16), st.sampled_from([0, 80, 65535]), st.sampled_from([4, 6]))


def table_of(endpoints):
    table = Requests.allocate(len(endpoints))
    for row, (address, port, version) in zip(table.rows, endpoints, strict=True):
        row["server_address"] = np.frombuffer(address, np.uint8)
        row["server_port"], row["ip_version"] = port, version
    table.request_index[:] = np.arange(len(endpoints))
    return table


def split(endpoints):
    table = table_of(endpoints)
    return [
        (endpoint, rows.request_index.tolist())
        for endpoint, rows in by_endpoint(table, "server_address", "server_port")
    ]


def expected(endpoints):
    rows: dict[tuple[bytes, int, int], list[int]] = {}
    for i, endpoint in enumerate(endpoints):
        rows.setdefault(endpoint, []).append(i)
    return list(rows.items())


@given(few=st.lists(ENDPOINT, min_size=1, max_size=5), picks=st.lists(st.integers(0, 4), max_size=60))
def test_each_endpoint_has_its_rows_in_their_order_in_order_of_appearance(few, picks):
    endpoints = [few[i % len(few)] for i in picks]
    assert split(endpoints) == expected(endpoints)


@given(many=st.lists(st.integers(0, 2000), max_size=5000))
def test_however_many_endpoints_there_are(many):
    endpoints = [(bytes(12) + i.to_bytes(4, "big"), i % 3, 4 + 2 * (i % 2)) for i in many]
    assert split(endpoints) == expected(endpoints)


def test_ports_need_not_matter():
    table = table_of([(bytes(16), 80, 4), (bytes(16), 81, 4), (bytes(16), 80, 6)])
    groups = endpoint_groups(table, "server_address", None)
    assert groups.endpoints == [(bytes(16), 0, 4), (bytes(16), 0, 6)]
    assert (groups.order.tolist(), groups.starts.tolist(), groups.counts.tolist()) == ([0, 1, 2], [0, 2], [2, 1])


# Few are told apart by comparing all with each other, and of many it is given up.
@pytest.mark.parametrize("count", [2, 3000])
def test_endpoints_contrived_to_have_the_same_hash_are_told_apart(count):
    # Whatever the first half of an address is, there is a second one that makes the sum of products the same.
    a, b = 0x9E3779B97F4A7C15, 0xC2B2AE3D27D4EB4F
    halves = [(x, (x * a ^ 4711) * pow(b, -1, 2**64) % 2**64) for x in range(count)]
    addresses = [b"".join(half.to_bytes(8, "little") for half in each) for each in halves]
    endpoints = [(address, 80, 6) for address in [*addresses, *addresses[::-1]]]
    assert split(endpoints) == expected(endpoints)


def test_rows_that_are_not_whole_are_refused():
    few, room = np.zeros(50, np.uint8), np.zeros(9, np.int64)
    for size, places in [(24, (0, 16, 18)), (25, (10, 16, 18)), (25, (0, 24, 18)), (25, (0, 16, 25)), (0, (0, 0, 0))]:
        with pytest.raises(ValueError, match="row"):
            group(few, size, np.array(places), room, room.copy(), room.copy())
    with pytest.raises(ValueError, match="room"):
        group(few, 25, np.array((0, 16, 18)), room[:1], room, room)
