"""Labels, serial lines, Wi-Fi: what cannot be read, and what is easily mistaken."""

from __future__ import annotations

import struct

import pytest

from tcpsight.decode import Decoding
from tcpsight.tables import REASONS
from tests.support import layers
from tests.support.encapsulations import OTHER, V4, on_ethernet
from tests.support.layers import Typed, radiotap, wifi
from tests.unit.decode.frames import decode_one, frames_of, unseen_reason


def reason_of(inner):
    return unseen_reason(on_ethernet(inner).data)


def test_sixteen_labels_are_followed_and_seventeen_are_too_deep():
    assert decode_one(on_ethernet(layers.labelled(V4, 16)).data)["payload_bytes"] == 5
    assert reason_of(layers.labelled(V4, 17)) == "too_deep"


def test_a_pseudowire_needs_no_control_word():
    assert decode_one(on_ethernet(layers.pseudowire(V4, b"")).data)["payload_bytes"] == 5


@pytest.mark.parametrize("first", [0x40, 0x60, 0x45, 0x66])
def test_a_pseudowire_to_an_address_that_looks_like_ip_is_ethernet(first):
    frame = bytearray(layers.ethernet(V4).data)
    frame[0], frame[2], frame[4] = first, 0xFF, 0xFF
    assert decode_one(on_ethernet(layers.labelled(Typed(0x6558, bytes(frame)))).data)["payload_bytes"] == 5


def test_what_labels_lead_to_may_be_something_else():
    assert reason_of(layers.labelled(Typed(0x6558, b"\x10\0\0\x21" + bytes(40)))) == "not_ip"


def test_discovery_and_control_of_ppp_are_not_ip():
    assert reason_of(Typed(0x8864, struct.pack(">BBHH", 0x11, 0x65, 5, 0) + bytes(40))) == "not_ip"
    assert unseen_reason(b"\xff\3\xc0\x21" + bytes(20), link_type=9) == "not_ip"


def test_pppoe_of_another_version_is_malformed():
    assert reason_of(Typed(0x8864, struct.pack(">BBHH", 0x21, 0, 5, 0) + bytes(40))) == "malformed_link"


def test_ppp_that_is_cut_within_its_address_is_cut_and_no_other_protocol():
    assert unseen_reason(b"\xff", link_type=9, wire_bytes=60) == "truncated_frame"
    assert unseen_reason(b"\xff\x03", link_type=9, wire_bytes=60) == "truncated_frame"
    assert unseen_reason(b"\xff\xff" + bytes(58), link_type=9) == "not_ip"


def test_pieces_of_ppp_multilink_are_fragments():
    for flags in (0x80, 0x40, 0x00):
        assert unseen_reason(b"\xff\3" + layers.multilink(V4, flags).data, link_type=9) == "fragment"


@pytest.mark.parametrize("number", [0x2D, 0x2F, 0xFB, 0xFD])
def test_compressed_ppp_is_counted_as_such(number):
    assert unseen_reason(struct.pack(">HH", 0xFF03, number) + V4.data, link_type=9) == "compressed"


@pytest.mark.parametrize("control", [0x0C, 0x2C, 0x04, 0x08])
def test_macsec_is_encrypted_unless_it_says_otherwise(control):
    assert reason_of(layers.macsec(V4, control)) == "encrypted_link"
    assert decode_one(on_ethernet(layers.macsec(V4, 0x20)).data)["payload_bytes"] == 5


def test_docsis_privacy_is_encrypted():
    frame = layers.ethernet(V4).data
    head = struct.pack(">BBH", 1, 5, 5 + len(frame))
    assert unseen_reason(head + b"\x44\0\x80\0\0\0\0" + frame, link_type=143) == "encrypted_link"
    assert decode_one(head + b"\x44\0\0\0\0\0\0" + frame, link_type=143)["payload_bytes"] == 5
    assert unseen_reason(b"\xc0\0\0\0\0\0" + frame, link_type=143) == "not_ip"


# --- Wi-Fi


def test_encrypted_wifi_is_counted_as_such():
    body = bytes(range(100, 180))
    assert unseen_reason(wifi(V4, 0x4208)[:24] + body, link_type=105) == "encrypted_wifi"
    assert unseen_reason(radiotap(wifi(V4, 0x4288)[:24] + b"\0\0" + body), link_type=127) == "encrypted_wifi"


def test_wifi_that_the_adapter_decrypted_is_read_though_marked():
    assert decode_one(wifi(V4, 0x4208), link_type=105)["payload_bytes"] == 5
    plain = wifi(V4, 0x4208)
    assert decode_one(plain[:24] + bytes(8) + plain[24:], link_type=105)["payload_bytes"] == 5


@pytest.mark.parametrize("control", [0x0080, 0x00D4, 0x00B4, 0x0048, 0x00C8, 0x0108 | 0x40])
def test_frames_without_data_are_counted_apart(control):
    assert unseen_reason(wifi(V4, control), link_type=105) == "wifi_without_data"


def test_pieces_of_wifi_packets_are_fragments():
    first = bytearray(wifi(V4))
    first[1] |= 4
    assert unseen_reason(bytes(first), link_type=105) == "fragment"
    later = bytearray(wifi(V4))
    later[22] |= 1
    assert unseen_reason(bytes(later), link_type=105) == "fragment"


def test_frames_that_the_radio_found_damaged_are_counted():
    assert unseen_reason(radiotap(wifi(V4), 0x40), link_type=127) == "damaged_frame"


def test_of_several_packets_in_one_frame_the_first_is_read_and_the_rest_counted():
    decoding = Decoding()
    headers = decoding.feed(frames_of(layers.amsdu(V4, OTHER), link_type=105))
    assert headers.source_port.tolist() == [1234]
    unseen = decoding.unseen.table()
    assert [REASONS[reason] for reason in unseen.reason] == ["aggregate"]
    assert unseen.count.tolist() == [1]


def test_a_radiotap_header_that_ends_before_its_fields_is_malformed():
    assert unseen_reason(struct.pack("<BBHI", 0, 0, 8, 2) + wifi(V4), link_type=127) == "malformed_link"
    assert unseen_reason(struct.pack("<BBHI", 0, 0, 8, 2**31) + wifi(V4), link_type=127) == "malformed_link"
    assert unseen_reason(struct.pack("<BBHI", 1, 0, 8, 0) + wifi(V4), link_type=127) == "malformed_link"
    assert unseen_reason(struct.pack("<BBHI", 0, 0, 7, 0) + wifi(V4), link_type=127) == "malformed_link"


# --- records


@pytest.mark.parametrize("link_type", [163, 178, 192, 258])
def test_records_with_another_beginning_are_malformed(link_type):
    data = {192: b"\1\0\x08\0", 258: struct.pack("<III", 4, 1, 1)}.get(link_type, b"XYZ")
    assert unseen_reason(data + bytes(60), link_type=link_type) == "malformed_link"


def test_a_record_may_name_a_link_type_that_nobody_knows():
    assert unseen_reason(struct.pack("<BBHI", 0, 0, 8, 147) + V4.data, link_type=192) == "unknown_link_type"


def test_records_within_records_are_too_deep():
    assert unseen_reason(struct.pack("<BBHI", 0, 0, 8, 192) * 20, link_type=192) == "too_deep"


def test_exported_messages_of_applications_are_not_ip():
    data = struct.pack(">HH", 12, 4) + b"http" + bytes(4) + b"GET / HTTP/1.0"
    assert unseen_reason(data, link_type=252) == "not_ip"


def test_attributes_without_end_are_too_deep():
    assert unseen_reason(b"\2\0\0\0" + struct.pack("<HH", 4, 1) * 40, link_type=239) == "too_deep"
    assert unseen_reason(struct.pack(">HH", 9, 0) * 40, link_type=252) == "too_deep"
    assert unseen_reason(b"\2\0\0\0" + struct.pack("<HH", 3, 1) * 4, link_type=239) == "malformed_link"
