"""Community ID v1: the published baseline values."""

from __future__ import annotations

import ipaddress

import numpy as np
import pytest

from tcpsight.connections.community import name_connections
from tcpsight.tables import Connections
from tests.support.headers import track

# From the baseline of the Community ID specification: a TCP connection over IPv4, one over IPv6.
BASELINE = [
    ("128.232.110.120", 34855, "66.35.250.204", 80, b"1:LQU9qZlK+B5F3KDmev6m5PMibrg="),
    ("2001:470:e5bf:dead:4957:2174:e82c:4887", 63943, "2607:f8b0:400c:c03::1a", 25, b"1:/qFaeAR+gFe1KYjMzVDsMv+wgU4="),
]


def row(table: Connections, i: int, client: str, client_port: int, server: str, server_port: int) -> None:
    """Fill one row's endpoints."""
    for who, text, port in (("client", client, client_port), ("server", server, server_port)):
        address = ipaddress.ip_address(text)
        packed = address.packed if address.version == 6 else bytes(10) + b"\xff\xff" + address.packed
        table.rows[f"{who}_address"][i] = np.frombuffer(packed, np.uint8)
        table.rows[f"{who}_port"][i] = port
        table.ip_version[i] = address.version


@pytest.mark.parametrize(("a", "p", "b", "q", "name"), BASELINE)
def test_names_equal_the_published_ones_whoever_is_client(a: str, p: int, b: str, q: int, name: bytes):
    table = Connections.allocate(2)
    row(table, 0, a, p, b, q)
    row(table, 1, b, q, a, p)
    name_connections(table)
    assert table.community_id.tolist() == [name, name]


def test_with_equal_addresses_the_port_decides_as_a_number():
    table = Connections.allocate(2)
    row(table, 0, "10.0.0.1", 9, "10.0.0.1", 10)
    row(table, 1, "10.0.0.1", 10, "10.0.0.1", 9)
    name_connections(table)
    assert table.community_id[0] == table.community_id[1]


def test_every_row_has_its_name():
    followed = track("0 > S seq=1 \n 0 > S seq=1 v6 \n 0 > S seq=1 port=3")
    names = followed.named("community_id")
    assert len(set(names)) == 3
    assert all(name.startswith(b"1:") and len(name) == 30 for name in names)
