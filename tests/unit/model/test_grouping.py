"""Rows by endpoint equal those of a dictionary of lists, whoever contrived the addresses."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from tcpsight.model import grouping
from tcpsight.model.grouping import by_endpoint
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
        for endpoint, rows in by_endpoint(table, "server_address", table.server_port)
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


def test_endpoints_contrived_to_have_the_same_product_are_told_apart():
    # Halves of the address whose products are swapped: with factors a and b, (x, y) and (y·b/a, x·a/b) are one number.
    a, b = (int(factor) for factor in grouping._FACTORS[:2])
    x, y = 7, 11
    other = (y * b * pow(a, -1, 2**64)) % 2**64, (x * a * pow(b, -1, 2**64)) % 2**64
    pair = [b"".join(half.to_bytes(8, "little") for half in halves) for halves in ((x, y), other)]
    endpoints = [(pair[i], 80, 6) for i in (0, 1, 1, 0, 1)]
    assert split(endpoints) == expected(endpoints) == [(endpoints[0], [0, 3]), (endpoints[1], [1, 2, 4])]
