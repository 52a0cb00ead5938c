"""Segments that are made here: tshark and our own decoder find in them what was asked for, with right checksums."""

from __future__ import annotations

import ipaddress
import socket
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tcpsight.local.resets import RawSender, checksum, probe, reset
from tcpsight.tables import IPV4_PREFIX

ADDRESSES = {4: ("192.0.2.7", "198.51.100.9"), 6: ("2001:db8::7", "2001:db8:1::9")}


def endpoints(version: int) -> tuple[tuple[bytes, int], tuple[bytes, int]]:
    packed = [ipaddress.ip_address(text).packed for text in ADDRESSES[version]]
    whole = [(IPV4_PREFIX if version == 4 else b"") + each for each in packed]
    return (whole[0], 40_000), (whole[1], 443)


def tcp_sum(packet: bytes, version: int) -> int:
    """Sum a whole segment as its receiver does; 0 is right."""
    addresses, header = (packet[12:20], packet[20:]) if version == 4 else (packet[8:40], packet[40:])
    return checksum(addresses + len(header).to_bytes(4, "big") + b"\0\0\0\6" + header)


@pytest.mark.parametrize("version", [4, 6])
@given(st.integers(0, 2**32 - 1), st.integers(0, 2**32 - 1), st.integers(1, 0xFFFF))
def test_checksums_of_what_is_sent_are_right(version, expected, sent, window):
    for made in (reset(*endpoints(version), expected, window), probe(*endpoints(version), (expected, sent), window)):
        packet = made.packet()
        assert tcp_sum(packet, version) == 0
        if version == 4:
            assert checksum(packet[:20]) == 0


class Kept(RawSender):
    def __init__(self) -> None:
        self.sent: list[bytes] = []

    def _way(self, destination: Any) -> Any:
        return socket.socket, ("", 0)

    def _send(self, raw: Any, packet: Any, to: Any) -> None:  # type: ignore[override]
        self.sent.append(bytes(packet))


@pytest.mark.parametrize("version", [4, 6])
@given(st.lists(st.integers(0, 2**32 - 1), max_size=5), st.integers(0, 0xFFFF))
def test_many_rsts_are_each_the_one_that_is_made_alone(version, numbers, window):
    sender = Kept()
    sender.send_resets(*endpoints(version), numbers, window)
    assert sender.sent == [reset(*endpoints(version), number, window).packet() for number in numbers]
