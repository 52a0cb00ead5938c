"""Community IDs: a known name, whoever of the two is the client; an obvious twin for all others."""

from __future__ import annotations

import base64
import hashlib
import ipaddress

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tcpsight.connections import ConnectionTracking
from tcpsight.tables import Headers
from tests.support.headers import track

Endpoint = tuple[bytes, int]
"""Address as on the wire, port."""

# From the baseline of the Community ID specification: a TCP connection over IPv4, one over IPv6.
BASELINE = [
    ("128.232.110.120", 34855, "66.35.250.204", 80, b"1:LQU9qZlK+B5F3KDmev6m5PMibrg="),
    ("2001:470:e5bf:dead:4957:2174:e82c:4887", 63943, "2607:f8b0:400c:c03::1a", 25, b"1:/qFaeAR+gFe1KYjMzVDsMv+wgU4="),
]


def name_of(sender: Endpoint, receiver: Endpoint) -> bytes:
    """Track one segment between two endpoints; give the name of its connection."""
    headers = Headers.allocate(1)
    for side, (address, port) in (("source", sender), ("destination", receiver)):
        packed = address if len(address) == 16 else bytes(10) + b"\xff\xff" + address
        headers.rows[f"{side}_address"][0] = np.frombuffer(packed, np.uint8)
        headers.rows[f"{side}_port"][0] = port
    headers.frame_number[0] = 1
    headers.ip_version[0] = 4 if len(sender[0]) == 4 else 6
    tracking = ConnectionTracking()
    tracking.feed(headers)
    return bytes(tracking.finish().connections.community_id[0])


def twin(a: Endpoint, b: Endpoint) -> bytes:
    """Do as the specification says, in the words of the standard library."""
    small, large = sorted((a, b))
    ports = small[1].to_bytes(2, "big") + large[1].to_bytes(2, "big")
    digest = hashlib.sha1(b"\0\0" + small[0] + large[0] + b"\x06\0" + ports, usedforsecurity=False).digest()
    return b"1:" + base64.b64encode(digest)


@pytest.mark.parametrize(("a", "p", "b", "q", "name"), BASELINE)
def test_names_equal_the_published_ones_whoever_is_client(a: str, p: int, b: str, q: int, name: bytes):
    one, other = (ipaddress.ip_address(a).packed, p), (ipaddress.ip_address(b).packed, q)
    assert name_of(one, other) == name_of(other, one) == name


@given(
    st.sampled_from([4, 16]).flatmap(lambda n: st.lists(st.binary(min_size=n, max_size=n), min_size=2, max_size=2)),
    st.integers(0, 65535),
    st.integers(0, 65535),
)
def test_names_are_those_of_the_specification_for_any_endpoints(addresses: list[bytes], p: int, q: int):
    a, b = (addresses[0], p), (addresses[1], q)
    assert name_of(a, b) == twin(a, b)


def test_with_equal_addresses_the_port_decides_as_a_number():
    one, other = (bytes([10, 0, 0, 1]), 9), (bytes([10, 0, 0, 1]), 10)
    assert name_of(one, other) == name_of(other, one) == twin(one, other)


def test_every_row_has_its_name():
    followed = track("0 > S seq=1 \n 0 > S seq=1 v6 \n 0 > S seq=1 port=3")
    names = followed.named("community_id")
    assert len(set(names)) == 3
    assert all(name.startswith(b"1:") and len(name) == 30 for name in names)
