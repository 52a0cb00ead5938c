"""Tunnels: what is one, what only looks like it, where it ends, and which segments it keeps apart."""

from __future__ import annotations

import struct

import pytest

from tcpsight.tables import ENCAPSULATIONS
from tests.support import layers
from tests.support.encapsulations import V4, V6, on_ethernet
from tests.support.layers import Typed, ethernet, over_ip, over_udp
from tests.unit.decode.frames import decode_one, unseen_reason

# What could stand on the port of a tunnel and be none: text, a name query, zeros, ones, a counter.
ORDINARY = (
    b"GET / HTTP/1.0\r\n\r\n" * 4,
    bytes.fromhex("1234010000010000000000000377777700") * 4,
    bytes(64),
    b"\xff" * 64,
)
PORTS = (1701, 2152, 3544, 4789, 4790, 6081, 6635, 8472, 37008, 51820)


def reason_of(inner, **options):
    return unseen_reason(on_ethernet(inner).data, **options)


def decoded(inner, **options):
    return decode_one(on_ethernet(inner).data, **options)


@pytest.mark.parametrize("port", PORTS)
@pytest.mark.parametrize("payload", ORDINARY, ids=["text", "query", "zeros", "ones"])
def test_ordinary_udp_on_the_port_of_a_tunnel_is_udp(port, payload):
    assert reason_of(over_udp(port, payload)) == "not_tcp"
    assert reason_of(over_udp(53, payload, source=port)) == "not_tcp"
    assert reason_of(over_udp(port, b"")) == "not_tcp"


def test_a_tunnel_on_another_port_is_udp():
    assert reason_of(layers.vxlan(V4, port=9999)) == "not_tcp"


def test_the_source_port_may_tell_a_tunnel():
    frame = ethernet(V4).data
    header = decoded(over_udp(53000, struct.pack(">II", 0x08000000, 42 << 8) + frame, source=4789))
    assert ENCAPSULATIONS[header["encapsulation"]] == "vxlan"


@pytest.mark.parametrize("flags", [0x00000000, 0x0C000000, 0x09000000, 0x08000001])
def test_vxlan_with_other_flags_is_none(flags):
    assert reason_of(layers.vxlan(V4, flags)) == "not_tcp"


def test_control_messages_of_tunnels_are_udp():
    assert reason_of(over_udp(1701, bytes.fromhex("c802000c000100020000000000000000"))) == "not_tcp"
    assert reason_of(over_udp(2152, bytes.fromhex("3201000400000000000000000e000000"))) == "not_tcp"
    assert reason_of(over_ip(115, bytes(20))) == "not_tcp"


def test_what_a_tunnel_carries_may_be_something_else():
    arp = Typed(0x0806, bytes(28))
    assert reason_of(layers.vxlan(arp)) == "not_ip"
    assert reason_of(layers.gre(arp)) == "not_ip"
    assert reason_of(layers.ip_in_ip(over_ip(1, bytes(8)))) == "not_tcp"


def test_encrypted_and_compressed_packets_are_counted_as_such():
    assert reason_of(over_ip(50, bytes(40))) == "encrypted_packet"
    assert reason_of(over_ip(50, bytes(40), 6)) == "encrypted_packet"
    assert reason_of(over_udp(4500, b"\0\0\1\7" + bytes(40))) == "encrypted_packet"
    # No ESP: an index that is reserved, an end that is no multiple of four bytes, no room for a trailer.
    assert reason_of(over_udp(4500, b"\0\0\0\7" + bytes(40))) == "not_tcp"
    assert reason_of(over_udp(4500, b"\0\0\1\7" + bytes(41))) == "not_tcp"
    assert reason_of(over_udp(4500, b"\0\0\1\7" + bytes(4))) == "not_tcp"
    assert reason_of(over_udp(4500, bytes(44))) == "not_tcp"
    assert reason_of(over_udp(4500, b"\xff")) == "not_tcp"
    assert reason_of(over_udp(51820, b"\4\0\0\0" + bytes(60))) == "encrypted_packet"
    assert reason_of(over_ip(108, bytes(40))) == "compressed"
    assert reason_of(layers.gre(Typed(0x880B, b"\0\xfd" + bytes(20)))) == "compressed"
    assert reason_of(layers.gre(Typed(0x880B, b"\0\x53" + bytes(20)))) == "encrypted_packet"


def test_headers_that_contradict_themselves_are_malformed():
    assert reason_of(layers.gre(V4, 0x4000)) == "malformed_link"
    assert reason_of(layers.gre(V4, 0x0002)) == "malformed_link"
    assert reason_of(layers.gre(Typed(0x22EB, bytes(12) + V4.data), 0x1000)) == "malformed_link"
    assert reason_of(over_ip(97, b"\x20\0" + ethernet(V4).data)) == "malformed_link"


def test_extensions_without_length_are_malformed():
    body = b"\0\1\0\x85" + b"\0\0\0\0" + V4.data
    assert reason_of(over_udp(2152, struct.pack(">BBHI", 0x34, 255, len(body), 7) + body)) == "malformed_link"


def test_an_inner_header_beyond_the_outer_packet_is_malformed():
    whole = layers.ip_in_ip(V4)
    cut = bytearray(whole.data)
    struct.pack_into(">H", cut, 2, 20 + 19)
    # What lies behind the outer packet is padding, though it looks like a header.
    assert reason_of(Typed(0x0800, bytes(cut))) == "malformed_link"
    struct.pack_into(">H", cut, 2, 20 + 20 + 19)
    assert reason_of(Typed(0x0800, bytes(cut))) == "malformed_link"


def test_a_mirror_that_cuts_frames_does_not_shorten_the_payload():
    # The outer length is that of what was sent to the collector, the inner one that of the segment.
    frame = ethernet(V4).data[:-3]
    header = decoded(layers.gre(Typed(0x88BE, struct.pack(">II", 0x10070401, 3) + frame), 0x1000))
    assert (header["payload_bytes"], header["captured_payload_bytes"]) == (5, 2)


def test_inner_length_zero_means_what_the_outer_packet_holds():
    inner = bytearray(V4.data)
    struct.pack_into(">H", inner, 2, 0)
    frame = on_ethernet(layers.ip_in_ip(Typed(0x0800, bytes(inner)))).data
    # Behind the outer packet lies padding of Ethernet.
    assert decode_one(frame + bytes(9))["payload_bytes"] == 5


def test_the_innermost_addresses_and_numbers_are_told():
    header = decoded(layers.vxlan(V6))
    assert header["ip_version"] == 6
    assert bytes(header["source_address"])[:4] == bytes.fromhex("20010db8")


@pytest.mark.parametrize("size", [0, 4, 8, 12])
def test_the_cookie_of_l2tpv3_may_have_any_length(size):
    assert decoded(layers.l2tp3(V4, bytes(size), is_udp=True))["payload_bytes"] == 5
    assert decoded(layers.l2tp3(V4, bytes(size)))["payload_bytes"] == 5


def test_both_directions_of_a_tunnel_give_the_same_number():
    there, back = layers.gtp(V4), layers.gtp(V4)
    other_end = bytearray(back.data)
    other_end[28 + 7] = 99
    assert decoded(there)["tunnel"] == decoded(Typed(0x0800, bytes(other_end)))["tunnel"]


def test_tunnels_of_other_kinds_and_depths_have_other_numbers():
    made = [V4, layers.ip_in_ip(V4), layers.ip_in_ip(layers.ip_in_ip(V4)), layers.gre(V4), layers.vxlan(V4)]
    made += [layers.gre(layers.ip_in_ip(V4)), layers.ip_in_ip(layers.gre(V4)), layers.vxlan(layers.gre(V4))]
    assert len({int(decoded(each)["tunnel"]) for each in made}) == len(made)


def test_tags_labels_and_sessions_are_no_tunnels():
    for inner in (layers.tagged(0x8100, V4), layers.labelled(V4, 3), layers.pppoe(V4), layers.pseudowire(V4)):
        assert decoded(inner)["tunnel"] == 0


def test_a_number_has_room_for_every_kind_of_tunnel():
    assert len(ENCAPSULATIONS) <= 16


def test_fragments_of_tunnels_are_counted():
    outer = bytearray(layers.ip_in_ip(V4).data)
    struct.pack_into(">H", outer, 6, 0x2000)
    assert reason_of(Typed(0x0800, bytes(outer))) == "fragment"
