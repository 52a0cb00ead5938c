"""Classic pcap: what its header and its records mean."""

from __future__ import annotations

import struct

import pytest

from tests.support.capture import read_capture
from tests.support.pcap import Frame, pcap_bytes, pcap_header, pcap_record

INSTANT = 1_700_000_000_123_456_789


@pytest.mark.parametrize("endian", "<>")
@pytest.mark.parametrize(("nanoseconds", "time_ns"), [(False, INSTANT // 1000 * 1000), (True, INSTANT)])
def test_both_byte_orders_and_both_resolutions_are_read(endian, nanoseconds, time_ns):
    outcome = read_capture(pcap_bytes([(INSTANT, b"abc")], endian=endian, nanoseconds=nanoseconds))
    assert [(r.time_ns, r.data) for r in outcome.rows] == [(time_ns, b"abc")]
    assert outcome.capture is not None
    assert outcome.capture.files[0].format == "pcap"
    assert outcome.capture.files[0].first_ns == time_ns
    assert outcome.capture.interfaces[0].ticks_per_second == (10**9 if nanoseconds else 10**6)


def test_frames_are_numbered_from_one():
    outcome = read_capture(pcap_bytes([(n, b"x") for n in range(5)]), batch_frames=2)
    assert [r.frame_number for r in outcome.rows] == [1, 2, 3, 4, 5]
    assert [r.frame_in_file for r in outcome.rows] == [1, 2, 3, 4, 5]


def test_wire_length_may_exceed_or_fall_short_of_the_captured_length():
    outcome = read_capture(pcap_bytes([Frame(0, b"abcd", 1500), Frame(0, b"abcd", 2)]))
    assert [(r.wire_bytes, r.data) for r in outcome.rows] == [(1500, b"abcd"), (2, b"abcd")]


def test_check_sequence_bits_are_not_part_of_the_link_type():
    outcome = read_capture(pcap_bytes([(0, b"x")], link_type=0x5400_0071))
    assert outcome.rows[0].link_type == 0x71


def test_fractions_of_a_second_and_more_are_added():
    record = struct.pack("<IIII", 10, 2_500_000, 1, 1) + b"x"
    assert read_capture(pcap_header() + record).rows[0].time_ns == 12_500_000_000


def test_records_of_the_patched_libpcap_carry_eight_more_bytes():
    header = struct.pack("<IHHiIII", 0xA1B2CD34, 2, 4, 0, 0, 65535, 1)
    record = struct.pack("<IIIIIHBB", 1, 2, 3, 3, 7, 0x800, 0, 0) + b"abc"
    outcome = read_capture(header + record + record)
    assert [(r.time_ns, r.data) for r in outcome.rows] == [(1_000_002_000, b"abc")] * 2


@pytest.mark.parametrize(("minor", "lengths"), [(2, (9, 3)), (3, (9, 3)), (3, (3, 9)), (4, (3, 9))])
def test_old_versions_may_write_the_length_on_the_wire_first(minor, lengths):
    header = struct.pack("<IHHiIII", 0xA1B2C3D4, 2, minor, 0, 0, 65535, 1)
    outcome = read_capture(header + struct.pack("<IIII", 0, 0, *lengths) + b"abc")
    assert [(r.wire_bytes, r.data) for r in outcome.rows] == [(9, b"abc")]


def test_a_header_alone_is_a_capture_without_frames():
    outcome = read_capture(pcap_header(link_type=113))
    assert outcome.rows == []
    assert outcome.error is None
    assert outcome.capture is not None
    assert outcome.capture.interfaces[0].link_type == 113


def test_a_frame_larger_than_the_buffer_is_read():
    large = bytes(range(256)) * 1000
    outcome = read_capture(pcap_bytes([(0, b"a"), (1, large), (2, b"b")]), buffer_bytes=512)
    assert [r.data for r in outcome.rows] == [b"a", large, b"b"]


def test_an_absurd_length_ends_the_file_after_the_frames_before_it():
    record = pcap_record(Frame(5, b"abc"))
    content = pcap_header() + record + struct.pack("<IIII", 0, 0, 262_145, 60) + bytes(300_000)
    outcome = read_capture(content)
    assert [r.data for r in outcome.rows] == [b"abc"]
    assert outcome.error is not None
    assert outcome.error.offset == 24 + len(record)
    assert "frame 2 claims an absurd length" in outcome.error.reason


def test_a_large_snaplen_allows_frames_up_to_16_mebibytes():
    def captured(size: int) -> bytes:
        return pcap_header(snaplen=0xFFFFFFFF) + struct.pack("<IIII", 0, 0, size, size) + bytes(size)

    assert len(read_capture(captured(2**24)).rows) == 1
    assert "absurd" in str(read_capture(captured(2**24 + 1)).error)


def test_a_cut_frame_is_named_with_its_place():
    outcome = read_capture(pcap_bytes([(0, b"abc"), (1, b"defg")])[:-1])
    assert len(outcome.rows) == 1
    assert outcome.error is not None
    assert outcome.error.offset == 24 + 16 + 3
    assert outcome.error.reason == "the file ends inside frame 2 (19 of 20 bytes); the capture was cut short"


def test_a_cut_header_is_an_error():
    assert "ends inside the pcap file header (23 of 24 bytes)" in str(read_capture(pcap_header()[:23]).error)
