"""Segments in IP fragments: one row when the last piece has come, and nothing uncounted if it never does."""

from __future__ import annotations

import itertools
import struct

import numpy as np
import pytest

from tcpsight.decode import Decoding
from tcpsight.decode._fragments import Fragments
from tcpsight.tables import REASONS, Frames
from tests.support import layers
from tests.support.layers import ethernet, typed
from tests.support.pcap import tcp_segment
from tests.unit.decode.frames import frames_of

SEGMENT = tcp_segment("10.0.0.1", "10.0.0.2", 1234, 80, seq=7, ack=8, payload=bytes(range(100)))
"""120 bytes."""


def piece(begin, end, *, number=77, version=4, segment=SEGMENT, is_last=None, ttl=61, protocol=6):
    """Give an IP packet with the bytes `begin` to `end` of a segment."""
    data = segment[begin:end]
    is_last = end >= len(segment) if is_last is None else is_last
    if version == 6:
        head = struct.pack(">IHBB16s16s", 6 << 28, 8 + len(data), 44, ttl, b"a" * 16, b"b" * 16)
        return head + struct.pack(">BBHI", protocol, 0, begin | (not is_last), number) + data
    bits = begin >> 3 | (0 if is_last else 0x2000)
    head = struct.pack(">BBHHHBBH4s4s", 0x45, 0, 20 + len(data), number, bits, ttl, protocol, 0, b"abcd", b"efgh")
    return head + data


def decoded(*packets, times_s=(), interfaces=(), captured=0):
    """Decode packets, one frame each; give the rows, how many frames joined others, and the count of each reason."""
    frames = frames_of(*(ethernet(typed(p)).data for p in packets))
    if len(times_s):
        frames.time_ns[:] = np.array(times_s, np.int64) * 10**9
    if len(interfaces):
        frames.interface_id[:] = interfaces
    if captured:
        frames.captured_bytes[:] = np.minimum(frames.captured_bytes, captured)
    return decoded_frames(frames)


def decoded_frames(frames: Frames):
    decoding = Decoding()
    headers = decoding.feed(frames).copy()
    decoding.finish()
    return headers, decoding.joined_fragments, counts(decoding)


def counts(decoding):
    return {name: int(n) for name, n in zip(REASONS, decoding.unseen.counts[:, 0], strict=True) if n}


def pieces(*edges, version=4, **rest):
    return [piece(begin, end, version=version, **rest) for begin, end in itertools.pairwise(edges)]


@pytest.mark.parametrize("version", [4, 6])
def test_fragments_of_a_segment_are_one_row_at_the_frame_that_completes_it(version):
    headers, joined, unseen = decoded(*pieces(0, 48, 96, 120, version=version))
    assert (len(headers), joined, unseen) == (1, 2, {})
    row = headers.rows[0]
    assert (row["frame_number"], row["time_ns"], row["frame_in_file"]) == (3, 3000, 3)
    assert (row["source_port"], row["destination_port"], row["sequence_number"]) == (1234, 80, 7)
    assert (row["payload_bytes"], row["captured_payload_bytes"]) == (100, 0)
    assert (row["ip_version"], row["ip_id"], row["ttl"]) == (version, 77 if version == 4 else 0, 61)
    whole, _, _ = decoded(layers.over_ip(6, SEGMENT, version).data)
    for name in ("checksum", "options_hash", "window", "flags", "acknowledgment_number"):
        assert row[name] == whole.rows[0][name]


@pytest.mark.parametrize("version", [4, 6])
@pytest.mark.parametrize("order", list(itertools.permutations(range(3))))
def test_order_of_fragments_does_not_matter(version, order):
    made = pieces(0, 24, 64, 120, version=version)
    headers, joined, unseen = decoded(*(made[i] for i in order))
    assert (headers.payload_bytes.tolist(), headers.frame_number.tolist(), joined, unseen) == ([100], [3], 2, {})


@pytest.mark.parametrize("version", [4, 6])
def test_exact_copies_of_fragments_change_nothing(version):
    first, second, third = pieces(0, 24, 64, 120, version=version)
    headers, joined, unseen = decoded(first, first, second, second, third)
    assert (headers.payload_bytes.tolist(), joined, unseen) == ([100], 4, {})


def test_tcp_header_may_be_spread_over_tiny_fragments():
    headers, joined, unseen = decoded(*pieces(*range(0, 121, 8)))
    assert (headers.payload_bytes.tolist(), joined, unseen) == ([100], 14, {})
    assert headers.sequence_number.tolist() == [7]
    options = tcp_segment("10.0.0.1", "10.0.0.2", 1, 2, options=bytes([2, 4, 5, 180, 3, 3, 7, 0]))
    headers, _, _ = decoded(*pieces(0, 8, 16, 24, 28, segment=options))
    assert (headers.mss_bytes.tolist(), headers.window_scale.tolist()) == ([1460], [7])


def test_segment_as_long_as_ip_can_tell_comes_together():
    long = tcp_segment("10.0.0.1", "10.0.0.2", 1, 2, payload=bytes(65_515 - 20))
    headers, joined, unseen = decoded(*pieces(*range(0, len(long), 1480), len(long), segment=long))
    assert (headers.payload_bytes.tolist(), joined, unseen) == ([65_495], 44, {})


def test_fragment_beyond_the_longest_packet_is_counted():
    over = piece(0, 120, is_last=True)[:6] + struct.pack(">H", 8190) + piece(0, 120)[8:]
    assert decoded(over)[2] == {"fragment": 1}


def test_fragments_that_are_not_whole_are_counted_with_their_bytes_and_the_first_frame():
    frames = frames_of(*(ethernet(typed(p)).data for p in pieces(0, 24, 64)))
    decoding = Decoding()
    assert len(decoding.feed(frames)) == 0
    assert not decoding.unseen.counts.any()
    decoding.finish()
    unseen = decoding.unseen.table()
    assert [REASONS[r] for r in unseen.reason] == ["fragment"]
    assert unseen.bytes.tolist() == [34 + 24 + 34 + 40]
    assert (unseen.count.tolist(), unseen.first_frame.tolist()) == ([2], [1])
    decoding.finish()
    assert decoding.unseen.counts[:, 0].sum() == 2


@pytest.mark.parametrize("missing", range(3))
def test_without_one_fragment_there_is_no_row(missing):
    made = pieces(0, 48, 96, 120)
    del made[missing]
    headers, joined, unseen = decoded(*made)
    assert (len(headers), joined, unseen) == (0, 0, {"fragment": 2})


def test_packets_are_told_apart_by_all_that_identifies_them():
    first, last = pieces(0, 48, 120)
    for other in (
        piece(48, 120, number=78),
        last[:12] + b"abcx" + last[16:],
        last[:16] + b"efgx" + last[20:],
        piece(48, 120, version=6),
    ):
        assert decoded(first, other)[2] == {"fragment": 2}
    assert decoded(first, last, interfaces=[1, 2])[2] == {"fragment": 2}
    assert decoded(first, layers.ip_in_ip(typed(last)).data)[2] == {"fragment": 2}
    headers, joined, unseen = decoded(*pieces(0, 48, 120, number=1), first, last, interfaces=[0, 0, 0, 0])
    assert (len(headers), joined, unseen) == (2, 2, {})


def test_identification_of_ipv6_has_32_bits():
    first, last = piece(0, 48, version=6, number=77), piece(48, 120, version=6, number=77 + 2**16)
    assert decoded(first, last)[2] == {"fragment": 2}


def test_fragments_inside_a_tunnel_come_together_and_carry_its_name():
    packets = [layers.vxlan(ethernet(typed(p))).data for p in pieces(0, 48, 120)]
    headers, joined, unseen = decoded(*packets)
    assert (headers.payload_bytes.tolist(), joined, unseen) == ([100], 1, {})
    whole, _, _ = decoded(layers.vxlan(ethernet(layers.over_ip(6, SEGMENT))).data)
    assert headers.encapsulation.tolist() == whole.encapsulation.tolist()
    assert headers.tunnel.tolist() == whole.tunnel.tolist()


def test_fragments_of_other_protocols_are_counted_at_once():
    for version in (4, 6):
        decoding = Decoding()
        packets = [piece(0, 48, version=version, protocol=17), piece(48, 120, version=version, protocol=17)]
        decoding.feed(frames_of(*(ethernet(typed(p)).data for p in packets)))
        assert counts(decoding) == {"fragment": 2}


@pytest.mark.parametrize(("seconds", "rows"), [(30, 1), (31, 0), (-30, 1), (-31, 0)])
def test_fragments_belong_together_for_thirty_seconds_of_capture_time(seconds, rows):
    headers, _, unseen = decoded(*pieces(0, 48, 120), times_s=[100, 100 + seconds])
    assert len(headers) == rows
    assert unseen == ({} if rows else {"fragment": 2})


def test_overlapping_fragments_of_ipv6_are_discarded_and_of_ipv4_the_first_byte_stands():
    for version, rows in ((4, 1), (6, 0)):
        made = [piece(0, 48, version=version), piece(40, 96, version=version), piece(96, 120, version=version)]
        headers, _, unseen = decoded(*made)
        assert len(headers) == rows
        assert unseen == ({} if rows else {"fragment": 3})
    # What comes later and lies over the header does not change it.
    other = bytearray(SEGMENT)
    other[8:16] = bytes(8)
    headers, _, _ = decoded(piece(0, 48), piece(8, 56, segment=bytes(other)), piece(48, 120))
    assert (headers.acknowledgment_number.tolist(), headers.payload_bytes.tolist()) == ([8], [100])


@pytest.mark.parametrize("version", [4, 6])
def test_packet_with_two_ends_or_data_behind_its_end_is_discarded(version):
    last = piece(48, 96, version=version, is_last=True)
    two_ends = [last, piece(48, 120, version=version), piece(0, 48, version=version)]
    behind = [last, piece(96, 120, version=version, is_last=False), piece(0, 48, version=version)]
    for made in (two_ends, behind, behind[1:] + behind[:1]):
        headers, joined, unseen = decoded(*made)
        assert (len(headers), joined, unseen) == (0, 0, {"fragment": 3})


@pytest.mark.parametrize("version", [4, 6])
def test_fragments_that_end_between_two_places_are_counted(version):
    # All but the last carry a multiple of eight bytes.
    made = [piece(0, 44, version=version), piece(40, 120, version=version)]
    assert decoded(*made)[2] == {"fragment": 2}
    assert decoded(piece(0, 0, version=version, is_last=False))[2] == {"fragment": 1}


def test_an_identification_that_is_used_again_begins_another_packet():
    other = tcp_segment("10.0.0.1", "10.0.0.2", 1234, 80, seq=1007, ack=8, payload=bytes(60))
    headers, joined, unseen = decoded(piece(0, 48), *pieces(0, 48, 80, segment=other))
    assert (headers.payload_bytes.tolist(), headers.sequence_number.tolist()) == ([60], [1007])
    assert (joined, unseen) == (1, {"fragment": 1})
    headers, joined, unseen = decoded(*pieces(0, 48, 120), *pieces(0, 48, 80, segment=other))
    assert (headers.payload_bytes.tolist(), joined, unseen) == ([100, 60], 2, {})


def test_late_copies_of_a_whole_packet_s_fragments_begin_nothing():
    first, last = pieces(0, 48, 120)
    headers, joined, unseen = decoded(first, first, last, last)
    assert (len(headers), joined, unseen) == (1, 2, {"fragment": 1})
    other = tcp_segment("10.0.0.1", "10.0.0.2", 1234, 80, seq=1007, ack=8, payload=bytes(60))
    headers, _, _ = decoded(first, first, last, last, *pieces(0, 48, 80, segment=other))
    assert headers.payload_bytes.tolist() == [100, 60]


def test_a_segment_captured_twice_in_fragments_is_two_rows():
    made = pieces(0, 48, 120)
    headers, joined, unseen = decoded(*made, *made)
    assert (headers.payload_bytes.tolist(), headers.frame_number.tolist(), joined) == ([100, 100], [2, 4], 2)
    assert not unseen


def test_snaplen_may_cut_fragments_behind_the_tcp_header():
    headers, joined, unseen = decoded(*pieces(0, 48, 96, 120), captured=34 + 20)
    assert (headers.payload_bytes.tolist(), joined, unseen) == ([100], 2, {})
    headers, joined, unseen = decoded(*pieces(0, 48, 96, 120), captured=34 + 19)
    assert (len(headers), joined, unseen) == (0, 0, {"truncated_frame": 3})


def test_whole_packet_whose_tcp_header_contradicts_itself_is_malformed():
    made = pieces(0, 16, 32, segment=SEGMENT[:12] + b"\xf0" + SEGMENT[13:32])
    headers, joined, unseen = decoded(*made)
    assert (len(headers), joined, unseen) == (0, 0, {"malformed_tcp": 2})


def test_the_oldest_of_more_than_256_packets_is_given_up():
    for others, rows in ((255, 1), (256, 0)):
        made = [piece(0, 48, number=1), *(piece(0, 48, number=2 + i) for i in range(others)), piece(48, 120, number=1)]
        headers, joined, unseen = decoded(*made)
        assert (len(headers), joined) == (rows, rows)
        assert unseen == {"fragment": others + 2 - 2 * rows}


def test_rows_of_fragments_have_no_payload_to_be_found():
    frames = frames_of(*(ethernet(typed(p)).data for p in pieces(0, 48, 120)))
    decoding = Decoding()
    headers = decoding.feed(frames)
    assert decoding.payload_positions(frames, headers).tolist() == [-1]


def test_fragments_of_aggregated_wifi_packets_are_counted():
    first, last = (typed(p) for p in pieces(0, 48, 120))
    frames = frames_of(layers.amsdu(first, first), layers.amsdu(last, last), link_type=105)
    headers, joined, unseen = decoded_frames(frames)
    assert (len(headers), joined, unseen) == (0, 0, {"fragment": 2})


def test_the_frames_of_a_segment_are_noted_where_that_is_wanted_and_of_none_that_never_became_whole():
    other = pieces(0, 48, 96, 120, number=78)
    lost = pieces(0, 48, 96, 120, number=79)[:2]
    one = pieces(0, 48, 96, 120)
    # The other one becomes whole first; one of the first's fragments was captured twice, and once more afterwards.
    packets = [one[0], other[0], lost[0], one[0], *other[1:], lost[1], *one[1:], one[1]]
    frames = frames_of(*(ethernet(typed(packet)).data for packet in packets))
    decoding = Decoding()
    decoding.note_fragments()
    whole = [decoding.feed(frames[at : at + 3]).frame_number.tolist() for at in range(0, len(packets), 3)]
    assert [*itertools.chain(*whole)] == [6, 9]
    assert decoding.frames_of_fragments().tolist() == [[1, 9], [2, 6], [4, 9], [5, 6], [6, 6], [8, 9], [9, 9], [10, 9]]
    assert Decoding().frames_of_fragments().shape == (0, 2)


def test_notes_that_are_no_pairs_of_numbers_are_refused():
    with pytest.raises(ValueError, match="shape"):
        Fragments().noted(np.empty((2, 3), np.int64))
