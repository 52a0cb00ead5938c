"""Endpoints as people write them."""

from __future__ import annotations

import pytest

from tcpsight.connections import Server
from tcpsight.endpoints import parse_port, parse_server
from tcpsight.errors import UsageError

FOUR = bytes(10) + b"\xff\xff\x0a\x00\x00\x01"
SIX = bytes.fromhex("20010db8000000000000000000000001")


@pytest.mark.parametrize(
    ("text", "server"),
    [
        ("10.0.0.1:3306", Server(FOUR, 3306, 4)),
        ("10.0.0.1", Server(FOUR, 0, 4)),
        (":3306", Server(None, 3306, 0)),
        ("3306", Server(None, 3306, 0)),
        (" :65535 ", Server(None, 65535, 0)),
        ("[2001:db8::1]:80", Server(SIX, 80, 6)),
        ("[2001:db8::1]", Server(SIX, 0, 6)),
        ("2001:db8::1", Server(SIX, 0, 6)),
        ("[10.0.0.1]:80", Server(FOUR, 80, 4)),
    ],
)
def test_an_endpoint_or_half_of_one(text, server):
    assert parse_server(text) == server


@pytest.mark.parametrize(
    "text",
    ["", ":", ":0", ":65536", ":-1", ":٣", "localhost", "localhost:80", "10.0.0.256:1", "[::1", "[::1]80", "[]:80",
     "[::1]:x", "1:2:3", "10.0.0.1:80:90", "::1%eth0:80"],
)  # fmt: skip
def test_everything_else_is_refused_by_name(text):
    with pytest.raises(UsageError) as error:
        parse_server(text)
    assert repr(text) in str(error.value)


@pytest.mark.parametrize(("text", "port"), [("80", 80), ("http", 80), ("mysql", 3306), ("65535", 65535)])
def test_a_port_is_a_number_or_the_name_of_a_service(text: str, port: int):
    assert parse_port(text) == port


@pytest.mark.parametrize("text", ["", "0", "65536", "-1", "no such service", "８０"])
def test_what_is_no_port_is_refused(text: str):
    with pytest.raises(UsageError, match="is no port"):
        parse_port(text)
