"""The capture kernels give what their slow twins give, on sound and on damaged files."""

from __future__ import annotations

from hashlib import sha256

from hypothesis import assume, given
from hypothesis import strategies as st

from tcpsight.capture.pcap_variants import HEADER_BYTES, dialect_of
from tcpsight.errors import CaptureError
from tcpsight.tables import REASONS
from tests.reference.capture import Broken, FrameRead, PcapngTwin, merge, read_pcap
from tests.support.capture import Outcome, read_capture
from tests.support.pcap import (
    Frame,
    Interface,
    enhanced_packet,
    interface_description,
    interface_statistics,
    obsolete_packet,
    pcap_bytes,
    pcapng_block,
    pcapng_option,
    section_header,
    simple_packet,
)

ENDIANS = st.sampled_from("<>")
DATA = st.binary(max_size=40)
TICKS = st.one_of(st.integers(0, 2**64 - 1), st.integers(10**15, 2 * 10**18))


@st.composite
def pcap_files(draw):
    frames = draw(st.lists(st.tuples(st.integers(0, 2**32 * 10**9 - 1), DATA, st.integers(0, 2**32 - 1)), max_size=12))
    content = pcap_bytes(
        [Frame(*f) for f in frames],
        endian=draw(ENDIANS),
        nanoseconds=draw(st.booleans()),
        link_type=draw(st.integers(0, 2**32 - 1)),
        snaplen=draw(st.sampled_from([0, 96, 65535, 2**32 - 1])),
    )
    return damaged(draw, content, safe=4)


@st.composite
def pcapng_files(draw):
    blocks = b"".join(draw(sections()) for _ in range(draw(st.integers(1, 3))))
    return damaged(draw, blocks, safe=12)


@st.composite
def sections(draw):
    endian = draw(ENDIANS)
    blocks = [section_header(endian=endian)]
    count = 0
    for _ in range(draw(st.integers(0, 12))):
        kind = draw(st.sampled_from(["interface", "enhanced", "simple", "obsolete", "statistics", "other"]))
        if kind == "interface" or (count == 0 and draw(st.integers(0, 9))):
            ticks = draw(st.one_of(st.none(), st.integers(0, 255), st.sampled_from([6, 9, 0x80 | 32])))
            offset = draw(st.one_of(st.none(), st.integers(-(2**63), 2**63 - 1), st.integers(-10, 10)))
            described = Interface(draw(st.integers(0, 65535)), ticks, offset, "en0", draw(st.sampled_from([0, 9, 96])))
            blocks.append(interface_description(described, endian=endian))
            count += 1
            continue
        frame = Frame(0, draw(DATA), draw(st.integers(-1, 100)), draw(st.integers(0, max(count - 1, 0))))
        if kind == "enhanced":
            lost = pcapng_option(
                4, draw(st.sampled_from([bytes(8), b"\x07" + bytes(7), bytes(7) + b"\x07", b"\xff" * 8]))
            )
            options = draw(
                st.sampled_from([b"", pcapng_option(2, b"flags") + lost, pcapng_option(0, b"") + lost, b"\4\0\x20\0"])
            )
            blocks.append(enhanced_packet(frame, draw(TICKS), endian=endian, options=options))
        elif kind == "simple":
            blocks.append(simple_packet(frame.data, endian=endian, wire_bytes=frame.wire_bytes))
        elif kind == "obsolete":
            drops = draw(st.sampled_from([0, 3, 0xFFFF]))
            blocks.append(obsolete_packet(frame, draw(TICKS), endian=endian, drops=drops))
        elif kind == "statistics":
            blocks.append(interface_statistics(frame.interface, endian=endian, received=4))
        else:
            blocks.append(pcapng_block(draw(st.integers(7, 2000)), draw(DATA), endian=endian))
    return b"".join(blocks)


def damaged(draw, content: bytes, *, safe: int) -> bytes:
    """Sometimes overwrite a byte or cut the end off, never the magic number."""
    if len(content) > safe and draw(st.integers(0, 3)) == 0:
        at = draw(st.integers(safe, len(content) - 1))
        content = content[:at] + draw(st.binary(min_size=1, max_size=4)) + content[at + 1 :]
    if len(content) > safe and draw(st.integers(0, 3)) == 0:
        content = content[: draw(st.integers(safe, len(content)))]
    return content


def frames_of(outcome: Outcome) -> list[FrameRead]:
    assert [r.frame_number for r in outcome.rows] == list(range(1, len(outcome.rows) + 1))
    return [FrameRead(r.time_ns, r.wire_bytes, r.interface_id, r.link_type, r.data) for r in outcome.rows]


@given(pcap_files(), st.integers(1, 100), st.integers(1, 8))
def test_pcap_walk_equals_its_twin(content, buffer_bytes, batch_frames):
    # Damage can make a file fit a dialect of the nineties better than the usual shape, which is all the twin knows.
    assume(len(content) < HEADER_BYTES or dialect_of(content).record_header_bytes == 16)
    expected: list[FrameRead] = []
    is_broken = False
    try:
        read_pcap(content, expected)
    except Broken:
        is_broken = True
    outcome = read_capture(content, buffer_bytes=buffer_bytes, batch_frames=batch_frames)
    assert frames_of(outcome) == expected
    assert isinstance(outcome.error, CaptureError) == is_broken


@given(pcapng_files(), st.integers(1, 100), st.integers(1, 8))
def test_pcapng_walk_equals_its_twin(content, buffer_bytes, batch_frames):
    twin = PcapngTwin(content, [])
    is_broken = False
    try:
        twin.read()
    except Broken:
        is_broken = True
    outcome = read_capture(content, buffer_bytes=buffer_bytes, batch_frames=batch_frames)
    assert frames_of(outcome) == twin.frames
    assert isinstance(outcome.error, CaptureError) == is_broken
    if outcome.capture is not None:
        found = outcome.capture.interfaces
        assert [(i.link_type, i.snaplen, i.ticks_per_second) for i in found] == [i[:3] for i in twin.interfaces]
        counts = outcome.capture.unseen.counts
        for reason, numbers in (("unrepresentable_time", twin.clamped), ("untimed_frame", twin.untimed)):
            expected = [len(numbers), 0, numbers[0] if numbers else 0]
            assert counts[REASONS.index(reason)].tolist() == expected
        assert {n: i.kernel_drops for n, i in enumerate(found) if i.kernel_drops} == {
            n: lost for n, lost in twin.drops.items() if lost
        }


@given(
    st.lists(st.lists(st.integers(0, 30), min_size=1, max_size=12), min_size=2, max_size=5),
    st.integers(1, 100),
    st.integers(1, 6),
)
def test_merge_equals_its_twin(times, buffer_bytes, batch_frames):
    ranked = [[0, *file] for file in times]
    names = [bytes([n]) for n in range(len(ranked))]
    contents = [
        pcap_bytes([(t, name * (i + 1)) for i, t in enumerate(file)], nanoseconds=True)
        for name, file in zip(names, ranked, strict=True)
    ]
    outcome = read_capture(*contents, buffer_bytes=buffer_bytes, batch_frames=batch_frames)
    # Files that begin at the same time are ranked by the hash of their first frames.
    firsts = sorted(range(len(ranked)), key=lambda file: sha256(names[file]).digest())
    expected = merge([ranked[file] for file in firsts])
    assert [(row.file, row.frame_in_file - 1) for row in outcome.rows] == [(firsts[f], i) for f, i in expected]
    assert all(row.data == names[row.file] * row.frame_in_file for row in outcome.rows)
    assert [row.frame_number for row in outcome.rows] == list(range(1, len(outcome.rows) + 1))
