"""From the frame's first byte to the IP header."""

from __future__ import annotations

import struct

import pytest

from tcpsight.tables import LINK_TYPE_TEXT_LENGTHS, OPTION_UNSEQUENCED
from tests.support.pcap import ethernet, ip_packet, tcp_segment
from tests.unit.decode.frames import decode_one, unseen_reason

V4 = ip_packet("10.0.0.1", "10.0.0.2", tcp_segment("10.0.0.1", "10.0.0.2", 1234, 80, payload=b"hello"))
V6 = ip_packet("2001:db8::1", "2001:db8::2", tcp_segment("2001:db8::1", "2001:db8::2", 1234, 80, payload=b"hello"))
PACKETS = pytest.mark.parametrize(("packet", "protocol"), [(V4, 0x0800), (V6, 0x86DD)], ids=["IPv4", "IPv6"])


def assert_found(data, link_type):
    header = decode_one(data, link_type=link_type)
    assert (header["source_port"], header["destination_port"], header["payload_bytes"]) == (1234, 80, 5)


def mac_header(*words):
    return bytes(12) + struct.pack(f">{len(words)}H", *words)


@PACKETS
def test_ethernet_carries_ip(packet, protocol):
    assert_found(mac_header(protocol) + packet, 1)


@pytest.mark.parametrize("tag", [0x8100, 0x88A8, 0x9100, 0x9200])
def test_every_kind_of_vlan_tag_is_stepped_over(tag):
    assert_found(mac_header(tag, 7, 0x0800) + V4, 1)
    assert_found(mac_header(tag, 7, 0x8100, 9, 0x86DD) + V6, 1)


def test_sixteen_headers_are_followed_and_seventeen_are_too_deep():
    assert_found(mac_header(*[0x8100, 1] * 15, 0x0800) + V4, 1)
    assert unseen_reason(mac_header(*[0x8100, 1] * 16, 0x0800) + V4) == "too_deep"


@pytest.mark.parametrize("last", [0x0800, 0x8100, 100, 0x8847])
def test_sixteen_headers_and_one_that_would_be_read_are_too_deep(last):
    assert unseen_reason(mac_header(*[0x8100, 1] * 16, last) + V4) == "too_deep"


@pytest.mark.parametrize("last", [0, 1501, 0x0806, 0x88CC, 0xFFFF])
def test_what_stands_behind_sixteen_headers_and_is_none_is_not_ip(last):
    assert unseen_reason(mac_header(*[0x8100, 1] * 16, last) + V4) == "not_ip"


@PACKETS
def test_linux_cooked_v1_carries_ip_and_tags(packet, protocol):
    head = struct.pack(">HHH8s", 4, 1, 6, b"abcdef")
    assert_found(head + struct.pack(">H", protocol) + packet, 113)
    assert_found(head + struct.pack(">HHH", 0x8100, 5, protocol) + packet, 113)


@PACKETS
def test_linux_cooked_v2_carries_ip_and_tags(packet, protocol):
    tail = struct.pack(">HIHBB8s", 0, 3, 1, 4, 6, b"abcdef")
    assert_found(struct.pack(">H", protocol) + tail + packet, 276)
    assert_found(struct.pack(">H", 0x8100) + tail + struct.pack(">HH", 5, protocol) + packet, 276)


def test_messages_of_netlink_are_counted_whatever_their_protocol_says():
    assert unseen_reason(struct.pack(">HHH8sH", 4, 824, 6, bytes(8), 0x0800) + V4, link_type=113) == "netlink"
    assert unseen_reason(struct.pack(">HHIH10s", 0x0800, 0, 3, 824, bytes(10)) + V4, link_type=276) == "netlink"
    assert unseen_reason(bytes(40), link_type=253) == "netlink"


@pytest.mark.parametrize("link_type", [12, 14, 101])
def test_raw_ip_tells_its_version_itself(link_type):
    assert_found(V4, link_type)
    assert_found(V6, link_type)
    assert unseen_reason(b"\x50" + V4[1:], link_type=link_type) == "malformed_ip"
    assert unseen_reason(b"", link_type=link_type) == "truncated_frame"


def test_link_types_of_one_ip_version_take_no_other():
    assert_found(V4, 228)
    assert_found(V6, 229)
    assert unseen_reason(V6, link_type=228) == "malformed_ip"
    assert unseen_reason(V4 + bytes(20), link_type=229) == "malformed_ip"


@pytest.mark.parametrize("link_type", [0, 108])
@pytest.mark.parametrize("order", ["<", ">"])
def test_loopback_takes_families_of_all_systems_in_either_byte_order(link_type, order):
    assert_found(struct.pack(order + "I", 2) + V4, link_type)
    for family in (10, 24, 28, 30):
        assert_found(struct.pack(order + "I", family) + V6, link_type)
    assert unseen_reason(struct.pack(order + "I", 16) + V4, link_type=link_type) == "not_ip"
    assert unseen_reason(struct.pack(order + "I", 0x20002) + V4, link_type=link_type) == "not_ip"


def test_lengths_made_from_text_are_raw_ip_without_sequence_numbers():
    header = decode_one(V4, link_type=LINK_TYPE_TEXT_LENGTHS)
    assert header["payload_bytes"] == 5
    assert header["options"] & OPTION_UNSEQUENCED
    assert not decode_one(V4, link_type=101)["options"] & OPTION_UNSEQUENCED


@pytest.mark.parametrize("protocol", [0x0806, 0x88CC, 0, 60, 0x05FF, 0x8863])
def test_what_is_not_ip_is_counted(protocol):
    assert unseen_reason(mac_header(protocol) + V4) == "not_ip"


def test_unknown_link_types_are_counted_once_per_frame():
    assert unseen_reason(ethernet(V4), link_type=147) == "unknown_link_type"
    assert unseen_reason(b"", link_type=65535) == "unknown_link_type"


@pytest.mark.parametrize("link_type", [187, 189, 190, 220, 227, 251, 271])
def test_buses_and_radios_without_tcp_are_counted_apart(link_type):
    assert unseen_reason(ethernet(V4), link_type=link_type) == "no_network"


def test_a_private_link_type_is_taken_for_pktap_only_where_it_looks_like_it():
    assert unseen_reason(ethernet(V4), link_type=149) == "unknown_link_type"
    assert unseen_reason(struct.pack("<III", 40, 1, 1) + bytes(28) + ethernet(V4), link_type=149) == "unknown_link_type"


@pytest.mark.parametrize(("link_type", "length"), [(1, 14), (113, 16), (276, 20), (0, 4), (108, 4)])
def test_frame_cut_in_its_link_header_is_truncated(link_type, length):
    assert unseen_reason(bytes(length - 1), link_type=link_type) == "truncated_frame"
    assert unseen_reason(bytes(length), link_type=link_type) == "not_ip"


def test_frame_cut_in_a_tag_is_truncated():
    assert unseen_reason(mac_header(0x8100, 1)) == "truncated_frame"
