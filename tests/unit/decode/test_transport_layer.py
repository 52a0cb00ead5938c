"""The TCP header and its options."""

from __future__ import annotations

import struct

import pytest

from tcpsight.tables import (
    OPTION_CUT,
    OPTION_MSS,
    OPTION_SACK,
    OPTION_SACK_PERMITTED,
    OPTION_TIMESTAMPS,
    OPTION_WINDOW_SCALE,
)
from tests.support.pcap import ip_packet, tcp_frame, tcp_segment
from tests.unit.decode.frames import decode_one, unseen_reason

ENDS = ("10.0.0.1", "10.0.0.2", 1234, 80)
OPTION_COLUMNS = ("options", "mss_bytes", "window_scale", "timestamp_value", "timestamp_echo", "sack_count")
SYN_OPTIONS = bytes.fromhex("020405b4 0402 080a 11223344 55667788 01 030307")


def options_of(options):
    """Decode a segment with these options, one full word after the other."""
    header = decode_one(tcp_frame(*ENDS, options=options))
    return {name: int(header[name]) for name in OPTION_COLUMNS if header[name]}


def sack(*edges):
    return struct.pack(f">BB{len(edges)}I", 5, 2 + 4 * len(edges), *edges)


def test_fields_come_out():
    frame = tcp_frame(*ENDS, seq=0xFEDCBA98, ack=0x89ABCDEF, flags="PA", payload=b"abc", window=54321)
    header = decode_one(frame)
    assert (header["source_port"], header["destination_port"]) == (1234, 80)
    assert (header["sequence_number"], header["acknowledgment_number"]) == (0xFEDCBA98, 0x89ABCDEF)
    assert (header["flags"], header["window"]) == (0x18, 54321)
    assert header["checksum"] == int.from_bytes(frame[50:52], "big")
    assert (header["payload_bytes"], header["captured_payload_bytes"]) == (3, 3)


@pytest.mark.parametrize("bit", [1 << n for n in range(9)])
def test_every_flag_has_its_bit(bit):
    assert decode_one(tcp_frame(*ENDS, flags=bit))["flags"] == bit


def test_reserved_bits_are_no_flags():
    assert decode_one(tcp_frame(*ENDS, flags=0xE10))["flags"] == 0x10


@pytest.mark.parametrize("words", [0, 1, 4])
def test_data_offset_below_five_is_malformed(words):
    frame = bytearray(tcp_frame(*ENDS, payload=b"x" * 60))
    frame[46] = words << 4
    assert unseen_reason(bytes(frame)) == "malformed_tcp"


def test_data_offset_beyond_the_packet_is_malformed():
    frame = bytearray(tcp_frame(*ENDS, payload=b"x" * 7))
    frame[46] = 6 << 4
    assert decode_one(bytes(frame))["payload_bytes"] == 3
    frame[46] = 7 << 4
    assert unseen_reason(bytes(frame)) == "malformed_tcp"


def test_packet_too_short_for_a_tcp_header_is_malformed():
    packet = ip_packet("10.0.0.1", "10.0.0.2", tcp_segment(*ENDS)[:19])
    # Not truncated: the IP header itself leaves no room, however much was captured.
    assert unseen_reason(packet + bytes(20), link_type=101) == "malformed_tcp"
    assert unseen_reason(packet[:25], link_type=101) == "malformed_tcp"


def test_options_of_a_syn_come_out():
    assert options_of(SYN_OPTIONS) == {
        "options": OPTION_MSS | OPTION_SACK_PERMITTED | OPTION_TIMESTAMPS | OPTION_WINDOW_SCALE,
        "mss_bytes": 1460,
        "window_scale": 7,
        "timestamp_value": 0x11223344,
        "timestamp_echo": 0x55667788,
    }


def test_aligned_timestamps_come_out():
    stamps = {"timestamp_value": 0x11223344, "timestamp_echo": 0x55667788}
    alone = bytes.fromhex("0101080a 11223344 55667788")
    assert options_of(alone) == {"options": OPTION_TIMESTAMPS, **stamps}
    assert options_of(alone + sack(5, 6)) == {"options": OPTION_TIMESTAMPS | OPTION_SACK, "sack_count": 1, **stamps}


@pytest.mark.parametrize("blocks", [1, 2, 3, 4])
def test_sack_blocks_come_out(blocks):
    edges = [0xFFFFFF00 + n for n in range(2 * blocks)]
    header = decode_one(tcp_frame(*ENDS, options=sack(*edges)))
    assert header["options"] == OPTION_SACK
    assert header["sack_count"] == blocks
    assert header["sack"].tolist() == edges + [0] * (8 - 2 * blocks)


def test_last_option_of_a_kind_counts_alone():
    header = decode_one(tcp_frame(*ENDS, options=sack(1, 2, 3, 4) + sack(7, 8)))
    assert header["sack_count"] == 1
    assert header["sack"].tolist() == [7, 8, 0, 0, 0, 0, 0, 0]
    assert options_of(bytes.fromhex("02040100 02040200"))["mss_bytes"] == 0x200


@pytest.mark.parametrize(("said", "meant"), [(0, 0), (14, 14), (15, 14), (255, 14)])
def test_window_scale_is_at_most_fourteen(said, meant):
    header = decode_one(tcp_frame(*ENDS, options=bytes([3, 3, said, 1])))
    assert (header["options"], header["window_scale"]) == (OPTION_WINDOW_SCALE, meant)


@pytest.mark.parametrize(
    "broken",
    [
        "02 00 0000",  # a length that would never end
        "02 01 0000",  # a length shorter than the option's own head
        "09 29 0000",  # a length beyond the header
        "00 00 0000",  # the end, as announced
    ],
)
def test_options_end_where_they_contradict_themselves_and_the_segment_is_kept(broken):
    frame = tcp_frame(*ENDS, options=bytes.fromhex("020405b4" + broken + "03030700"), payload=b"abc")
    header = decode_one(frame)
    assert (header["options"], header["mss_bytes"], header["payload_bytes"]) == (OPTION_MSS, 1460, 3)


def test_option_without_room_for_its_length_is_no_option():
    assert options_of(bytes.fromhex("02040218 01 01 01 08")) == {"options": OPTION_MSS, "mss_bytes": 0x218}


@pytest.mark.parametrize(("kind", "length"), [(2, 3), (2, 6), (3, 4), (4, 3), (5, 2), (5, 9), (5, 14), (8, 9), (8, 12)])
def test_known_options_of_another_length_say_nothing_and_the_next_is_read(kind, length):
    odd = bytes([kind, length]) + bytes(length - 2)
    assert options_of(odd + b"\3\3\5") == {"options": OPTION_WINDOW_SCALE, "window_scale": 5}


def test_unknown_options_are_stepped_over():
    assert options_of(bytes.fromhex("1e080001 02030405 03030501"))["window_scale"] == 5


def test_options_cut_by_snaplen_are_read_as_far_as_they_are_there():
    frame = tcp_frame(*ENDS, options=SYN_OPTIONS, payload=b"abc")
    seen = {
        captured: int(decode_one(frame[:captured], wire_bytes=len(frame))["options"])
        for captured in (54, 57, 58, 60, 69, 70, 73, 74)
    }
    assert seen == {
        54: OPTION_CUT,
        57: OPTION_CUT,
        58: OPTION_CUT | OPTION_MSS,
        60: OPTION_CUT | OPTION_MSS | OPTION_SACK_PERMITTED,
        69: OPTION_CUT | OPTION_MSS | OPTION_SACK_PERMITTED,
        70: OPTION_CUT | OPTION_MSS | OPTION_SACK_PERMITTED | OPTION_TIMESTAMPS,
        73: OPTION_CUT | OPTION_MSS | OPTION_SACK_PERMITTED | OPTION_TIMESTAMPS,
        74: OPTION_MSS | OPTION_SACK_PERMITTED | OPTION_TIMESTAMPS | OPTION_WINDOW_SCALE,
    }
    cut = decode_one(frame[:60], wire_bytes=len(frame))
    assert (cut["payload_bytes"], cut["captured_payload_bytes"]) == (3, 0)


def test_padding_behind_a_short_packet_is_not_read_as_options():
    # The data offset leaves the packet, so the header is a lie; nothing behind the packet may mend it.
    frame = bytearray(tcp_frame(*ENDS)) + bytes.fromhex("020405b4 0000")
    frame[46] = 6 << 4
    assert unseen_reason(bytes(frame)) == "malformed_tcp"


def test_options_hash_tells_options_apart():
    hashes = {
        int(decode_one(tcp_frame(*ENDS, options=options))["options_hash"])
        for options in (b"", b"\1" * 4, b"\1" * 8, bytes(4), bytes(8), SYN_OPTIONS, SYN_OPTIONS[::-1])
    }
    assert len(hashes) == 7
    once, again = (decode_one(tcp_frame(*ENDS, seq=seq, options=SYN_OPTIONS)) for seq in (1, 2))
    assert once["options_hash"] == again["options_hash"]
