"""Capture filters: what they let through, what they say when they cannot, and when nothing passed."""

from __future__ import annotations

import ctypes
import struct

import numpy as np
import pytest

from tcpsight.capture.filter import FrameFilter
from tcpsight.errors import UsageError
from tcpsight.tables import LINK_TYPE_TEXT_LENGTHS, Frames
from tests.support.text import read_lines


def ip(protocol: int = 6, destination_port: int = 80, last: int = 2) -> bytes:
    header = struct.pack(">BBHHHBBH4s4s", 0x45, 0, 40, 1, 0, 64, protocol, 0, b"\x0a\0\0\1", bytes([10, 0, 0, last]))
    return header + struct.pack(">HHIIHHHH", 4000, destination_port, 1, 1, 0x5010, 5, 0, 0)


ETHERNET = bytes(12) + b"\x08\x00"
TAGGED = bytes(12) + b"\x81\x00\x00\x05\x08\x00"
COOKED = bytes(14) + b"\x08\x00"


def frames_of(captured: list[bytes], link_type: int = 1) -> Frames:
    frames = Frames.allocate(len(captured))
    frames.data = b"".join(captured)
    frames.frame_number[:] = np.arange(101, 101 + len(captured))
    frames.captured_bytes[:] = frames.wire_bytes[:] = [len(c) for c in captured]
    frames.position[:] = np.cumsum([0, *(len(c) for c in captured)])[:-1]
    frames.link_type[:] = link_type
    return frames


def test_matching_frames_keep_their_numbers_and_their_bytes():
    frames = frames_of([ETHERNET + ip(destination_port=port) for port in (80, 443, 80)])
    frames.until_ns = 77
    chosen = FrameFilter("tcp dst port 80")
    passed = chosen.apply(frames)
    assert passed.frame_number.tolist() == [101, 103]
    assert passed.position.tolist() == [0, 108]
    assert passed.data is frames.data
    assert passed.until_ns == 77
    assert (chosen.examined, chosen.matched) == (3, 2)


def test_the_frames_that_come_in_are_not_changed():
    frames = frames_of([ETHERNET + ip(destination_port=port) for port in (443, 80)])
    before = frames.rows.copy()
    FrameFilter("port 80").apply(frames)
    assert np.array_equal(frames.rows, before)


def test_a_batch_without_frames_passes():
    frames = Frames(until_ns=5)
    assert FrameFilter("tcp").apply(frames).until_ns == 5


def test_every_link_type_has_its_own_program():
    pieces = [(1, ETHERNET + ip()), (101, ip()), (113, COOKED + ip()), (228, ip()), (276, b"\x08\0" + bytes(18) + ip())]
    pieces += [(12, ip()), (LINK_TYPE_TEXT_LENGTHS, ip())]
    frames = frames_of([data for _, data in pieces])
    frames.link_type[:] = [link_type for link_type, _ in pieces]
    assert len(FrameFilter("tcp dst port 80 and dst host 10.0.0.2").apply(frames)) == len(pieces)
    assert len(FrameFilter("tcp dst port 81").apply(frames)) == 0


@pytest.mark.parametrize("order", ["little", "big"])
def test_loopback_frames_match_in_both_byte_orders(order):
    ip6 = b"\x60" + bytes(5) + b"\x06\x40" + bytes(32)
    pieces = [(2).to_bytes(4, order) + ip(), *(family.to_bytes(4, order) + ip6 for family in (24, 28, 30))]
    frames = frames_of(pieces, 0)
    for expression, numbers in (("ip", [101]), ("ip6", [102, 103, 104]), ("not ip", [102, 103, 104])):
        passed = FrameFilter(expression).apply(frames)
        assert passed.frame_number.tolist() == numbers
        assert set(passed.link_type.tolist()) == {0}


def test_frames_from_text_can_be_filtered():
    reading = read_lines(
        "2009-04-12 16:46:02.9 IP 10.0.0.1.1 > 10.0.0.2.3306: tcp 5",
        "2009-04-12 16:46:02.9 IP6 ::1.1 > ::2.3306: tcp 5",
        "2009-04-12 16:46:02.9 IP 10.0.0.1.1 > 10.0.0.2.80: Flags [S], seq 5, win 7, length 0",
    )
    frames = reading.frames
    assert FrameFilter("dst port 3306").apply(frames).frame_number.tolist() == [1, 2]
    assert FrameFilter("tcp[tcpflags] & tcp-syn != 0").apply(frames).frame_number.tolist() == [3]


def test_the_length_is_that_on_the_wire():
    frames = frames_of([ETHERNET + ip()])
    frames.wire_bytes[:] = 1500
    assert len(FrameFilter("greater 1500").apply(frames)) == 1
    assert len(FrameFilter("greater 1501").apply(frames)) == 0


def test_bytes_that_were_not_captured_do_not_match():
    frames = frames_of([(ETHERNET + ip())[:30]])
    assert len(FrameFilter("dst port 80").apply(frames)) == 0


@pytest.mark.parametrize(
    ("expression", "message"),
    [
        ("tcp and", "syntax error"),
        ("port 99999", "99999"),
        ("hello world", "syntax error"),
        ("tcp\0", "NUL"),
        ("\udcff", "UTF-8"),
    ],
)
def test_a_mistake_is_told_in_the_words_of_libpcap(expression, message):
    with pytest.raises(UsageError, match=message):
        FrameFilter(expression)


def test_a_link_type_that_the_expression_does_not_fit_is_told():
    chosen = FrameFilter("vlan 5")
    with pytest.raises(UsageError, match="link type 101"):
        chosen.apply(frames_of([ip()], 101))


def test_an_expression_that_one_of_several_link_types_cannot_match_is_no_error():
    frames = frames_of([ETHERNET + ip(), b"\x60" + bytes(60)])
    frames.link_type[:] = 1, 229
    chosen = FrameFilter("ip proto 6")
    assert chosen.apply(frames).frame_number.tolist() == [101]
    assert "link type 229" in chosen.why_nothing_matched()


def test_an_expression_that_contradicts_itself_is_told():
    with pytest.raises(UsageError, match="rejects all"):
        FrameFilter("ip and ip6")


def test_an_unknown_link_type_is_told():
    with pytest.raises(UsageError, match="link type 9999"):
        FrameFilter("tcp").apply(frames_of([ip()], 9999))


def test_a_missing_libpcap_is_told_with_the_package_to_install(monkeypatch):
    def nothing(name):
        raise OSError(name)

    monkeypatch.setattr(ctypes, "CDLL", nothing)
    monkeypatch.setattr(ctypes.util, "find_library", lambda _: None)
    with pytest.raises(UsageError, match=r"libpcap0\.8"):
        FrameFilter("tcp")


@pytest.mark.parametrize(
    ("captured", "link_type", "expression", "hint"),
    [
        ([], 1, "tcp", "no frames"),
        ([TAGGED + ip()], 1, "tcp port 80", r"'vlan and \(tcp port 80\)'"),
        ([TAGGED[:12] + b"\x88\xa8\0\1" + TAGGED[12:] + ip()], 1, "tcp", r"'vlan and vlan and \(tcp\)'"),
        ([TAGGED[:12] + b"\x81\0\0\1" + TAGGED[12:] + ip()] * 2, 1, "vlan and udp", r"'vlan and \(vlan and udp\)'"),
        ([TAGGED[:12] + b"\x81\0\0\1" + TAGGED[12:] + ip()], 1, "vlan and vlan and udp", "address or port"),
        ([bytes(12) + b"\x88\x47" + b"\0\0\1\xff" + ip()], 1, "tcp", r"'mpls and \(tcp\)'"),
        ([bytes(12) + b"\x88\x64" + bytes(8) + ip()], 1, "tcp", r"'pppoes and \(tcp\)'"),
        ([ip()], 101, "ip6 and tcp", "all IP in them is IPv4"),
        ([ETHERNET[:12] + b"\x86\xdd\x60" + bytes(60)], 1, "ip and tcp", "all IP in them is IPv6"),
        ([bytes(12) + b"\x08\x06" + bytes(28)], 1, "tcp", "no IP"),
        ([ETHERNET + ip()], 1, "port 3306", "address or port"),
        ([b""], 1, "port 3306", "no IP"),
    ],
)
def test_why_nothing_matched_names_the_likely_cause(captured, link_type, expression, hint):
    chosen = FrameFilter(expression)
    assert len(chosen.apply(frames_of(captured, link_type))) == 0
    with pytest.raises(AssertionError, match=hint):
        raise AssertionError(chosen.why_nothing_matched())


def test_two_tags_in_the_hint_are_what_libpcap_wants():
    double = [TAGGED[:12] + b"\x88\xa8\0\1" + TAGGED[12:] + ip()]
    assert len(FrameFilter("vlan and vlan and (tcp)").apply(frames_of(double, 1))) == 1


@pytest.mark.parametrize(("count", "words"), [(1, "the only frame does not match"), (2, "none of 2 frames matches")])
def test_one_frame_is_told_as_one(count, words):
    chosen = FrameFilter("port 3306")
    chosen.apply(frames_of([ETHERNET + ip()] * count, 1))
    assert chosen.why_nothing_matched().startswith(words)
