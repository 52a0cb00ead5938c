"""IPv4 and IPv6: where TCP begins, and how long the packet is."""

from __future__ import annotations

import ipaddress
import struct

import pytest

from tests.support.pcap import ethernet, ip_packet, tcp_frame, tcp_segment
from tests.unit.decode.frames import decode_one, unseen_reason

CLIENT, SERVER = "10.0.0.1", "192.168.200.254"
CLIENT6, SERVER6 = "2001:db8::1", "fe80::2"


def ipv4(payload, *, options=b"", total=None, fragment=0x4000, protocol=6, first=None):
    """Write an Ethernet frame with an IPv4 packet whose header says what it is told to say."""
    first = 0x45 + len(options) // 4 if first is None else first
    total = 20 + len(options) + len(payload) if total is None else total
    head = struct.pack(">BBHHHBBH4s4s", first, 0, total, 77, fragment, 61, protocol, 0, b"abcd", b"efgh")
    return bytes(12) + b"\x08\x00" + head + options + payload


def ipv6(payload, *, next_header=6, length=None):
    """Write an Ethernet frame with an IPv6 packet whose header says what it is told to say."""
    length = len(payload) if length is None else length
    head = struct.pack(">IHBB16s16s", 6 << 28, length, next_header, 55, b"a" * 16, b"b" * 16)
    return bytes(12) + b"\x86\xdd" + head + payload


def extension(next_header, size=8):
    return bytes([next_header, size // 8 - 1]) + bytes(size - 2)


def authentication(next_header, icv_bytes=12):
    return bytes([next_header, (12 + icv_bytes) // 4 - 2]) + bytes(10 + icv_bytes)


def fragment(next_header, offset=0, more=0):
    return struct.pack(">BBHI", next_header, 0, offset << 3 | more, 99)


TCP = tcp_segment(CLIENT, SERVER, 1234, 80, payload=b"x" * 30)


def test_ipv4_fields_come_out():
    header = decode_one(tcp_frame(CLIENT, SERVER, 1234, 80, payload=b"x" * 30, ttl=9, ip_id=4321))
    assert header["ip_version"] == 4
    assert bytes(header["source_address"]) == ipaddress.ip_address("::ffff:" + CLIENT).packed
    assert bytes(header["destination_address"]) == ipaddress.ip_address("::ffff:" + SERVER).packed
    assert (header["ttl"], header["ip_id"], header["payload_bytes"]) == (9, 4321, 30)


def test_ipv6_fields_come_out():
    header = decode_one(tcp_frame(CLIENT6, SERVER6, 1234, 80, payload=b"x" * 30, ttl=9))
    assert header["ip_version"] == 6
    assert bytes(header["source_address"]) == ipaddress.ip_address(CLIENT6).packed
    assert bytes(header["destination_address"]) == ipaddress.ip_address(SERVER6).packed
    assert (header["ttl"], header["ip_id"], header["payload_bytes"]) == (9, 0, 30)


@pytest.mark.parametrize("words", range(1, 11))
def test_ipv4_options_are_stepped_over(words):
    header = decode_one(ipv4(TCP, options=b"\x94\x04\x00\x00" * words))
    assert (header["source_port"], header["payload_bytes"]) == (1234, 30)


def test_padding_is_not_payload():
    bare = tcp_segment(CLIENT, SERVER, 1234, 80)
    header = decode_one(ipv4(bare) + bytes(6))
    assert (header["payload_bytes"], header["captured_payload_bytes"]) == (0, 0)
    header = decode_one(ipv6(bare) + bytes(6))
    assert (header["payload_bytes"], header["captured_payload_bytes"]) == (0, 0)


def test_snaplen_does_not_shorten_the_payload():
    for frame, headers in ((ipv4(TCP), 54), (ipv6(TCP), 74)):
        header = decode_one(frame[: headers + 4], wire_bytes=len(frame))
        assert (header["payload_bytes"], header["captured_payload_bytes"]) == (30, 4)
        header = decode_one(frame[:headers], wire_bytes=len(frame))
        assert (header["payload_bytes"], header["captured_payload_bytes"]) == (30, 0)


def test_ip_length_wins_over_a_shorter_length_on_the_wire():
    # Tools that cut payload away write what is left as the length on the wire.
    header = decode_one(ipv4(TCP)[:60], wire_bytes=60)
    assert (header["payload_bytes"], header["captured_payload_bytes"]) == (30, 6)


def test_length_zero_means_the_length_on_the_wire():
    # Segmentation offload leaves the length to the card; jumbograms have none in this field.
    header = decode_one(ipv4(TCP, total=0), wire_bytes=54 + 100_000)
    assert (header["payload_bytes"], header["captured_payload_bytes"]) == (100_000, 30)
    header = decode_one(ipv6(TCP, length=0), wire_bytes=74 + 100_000)
    assert (header["payload_bytes"], header["captured_payload_bytes"]) == (100_000, 30)
    jumbo = struct.pack(">BBBBI", 6, 0, 0xC2, 4, 100_058)
    header = decode_one(ipv6(jumbo + TCP, next_header=0, length=0), wire_bytes=82 + 100_000)
    assert header["payload_bytes"] == 100_000


def test_length_zero_in_a_frame_shorter_than_its_headers_is_malformed():
    assert unseen_reason(ipv4(TCP, total=0), wire_bytes=33) == "malformed_ip"
    assert unseen_reason(ipv6(TCP, length=0), wire_bytes=53) == "malformed_ip"


def test_length_zero_cannot_make_a_payload_that_does_not_fit_its_column():
    assert decode_one(ipv4(TCP, total=0), wire_bytes=14 + 2**31 - 1)["payload_bytes"] == 2**31 - 1 - 40
    assert unseen_reason(ipv4(TCP, total=0), wire_bytes=14 + 2**31) == "malformed_ip"
    assert unseen_reason(ipv6(TCP, length=0), wire_bytes=2**32 - 1) == "malformed_ip"


@pytest.mark.parametrize("first", [0x35, 0x55, 0x65, 0x44, 0x40])
def test_ipv4_with_another_version_or_too_short_a_header_is_malformed(first):
    assert unseen_reason(ipv4(TCP, first=first)) == "malformed_ip"


def test_ip_length_shorter_than_the_ip_header_is_malformed():
    assert unseen_reason(ipv4(TCP, total=19)) == "malformed_ip"
    assert unseen_reason(ipv4(TCP, options=bytes(8), total=27)) == "malformed_ip"


@pytest.mark.parametrize("protocol", [1, 2, 17, 89, 132])
def test_other_protocols_are_counted(protocol):
    assert unseen_reason(ipv4(TCP, protocol=protocol)) == "not_tcp"
    assert unseen_reason(ipv6(TCP, next_header=protocol)) == "not_tcp"


def test_every_fragment_is_counted_the_first_one_too():
    assert unseen_reason(ipv4(TCP, fragment=0x2000)) == "fragment"
    assert unseen_reason(ipv4(TCP, fragment=0x0001)) == "fragment"
    assert unseen_reason(ipv4(TCP, fragment=0x1FFF)) == "fragment"
    assert unseen_reason(ipv6(fragment(6, 0, more=1) + TCP, next_header=44)) == "fragment"
    assert unseen_reason(ipv6(fragment(6, 1, more=0) + TCP, next_header=44)) == "fragment"


def test_whole_packets_with_fragmentation_fields_are_no_fragments():
    assert decode_one(ipv4(TCP, fragment=0x8000))["payload_bytes"] == 30
    assert decode_one(ipv6(fragment(6) + TCP, next_header=44))["payload_bytes"] == 30


@pytest.mark.parametrize("kind", [0, 43, 60, 135, 139, 140])
@pytest.mark.parametrize("size", [8, 16, 264])
def test_extension_headers_are_stepped_over(kind, size):
    assert decode_one(ipv6(extension(6, size) + TCP, next_header=kind))["payload_bytes"] == 30


@pytest.mark.parametrize("icv_bytes", [0, 4, 12, 32])
def test_authentication_headers_are_stepped_over(icv_bytes):
    assert decode_one(ipv6(authentication(6, icv_bytes) + TCP, next_header=51))["payload_bytes"] == 30
    assert decode_one(ipv4(authentication(6, icv_bytes) + TCP, protocol=51))["payload_bytes"] == 30


def test_extension_headers_follow_each_other():
    chain = extension(60) + extension(43, 24) + extension(44) + fragment(51) + authentication(60) + extension(6)
    header = decode_one(ipv6(chain + TCP, next_header=0))
    assert (header["source_port"], header["payload_bytes"]) == (1234, 30)


def test_ipv4_has_no_extension_headers():
    for kind in (0, 43, 44, 60, 135):
        assert unseen_reason(ipv4(extension(6) + TCP, protocol=kind)) == "not_tcp"


def test_eight_extension_headers_are_followed_and_nine_are_malformed():
    assert decode_one(ipv6(extension(60) * 7 + extension(6) + TCP, next_header=60))["payload_bytes"] == 30
    assert unseen_reason(ipv6(extension(60) * 8 + extension(6) + TCP, next_header=60)) == "malformed_ip"


def test_what_follows_extension_headers_may_be_something_else():
    assert unseen_reason(ipv6(extension(17) + TCP, next_header=0)) == "not_tcp"
    assert unseen_reason(ipv6(extension(59), next_header=0)) == "not_tcp"


def test_extension_header_beyond_the_packet_is_malformed():
    assert unseen_reason(ipv6(extension(6, 16) + TCP, next_header=0, length=15)) == "malformed_ip"
    assert unseen_reason(ipv6(extension(6) + TCP, next_header=0, length=7)) == "malformed_ip"


@pytest.mark.parametrize("frame", [ipv4(TCP), ipv6(TCP), ipv6(extension(6) + TCP, next_header=0)])
def test_headers_cut_by_snaplen_are_truncated(frame):
    tcp_header_ends = len(frame) - 30
    for captured in range(14, tcp_header_ends):
        assert unseen_reason(frame[:captured], wire_bytes=len(frame)) == "truncated_frame"
    decode_one(frame[:tcp_header_ends], wire_bytes=len(frame))


def test_ethernet_helper_and_hand_made_headers_agree():
    made = ethernet(ip_packet(CLIENT, SERVER, TCP))
    assert decode_one(made)["payload_bytes"] == decode_one(ipv4(TCP))["payload_bytes"]
