"""Laws of the capture room: cutting, naming, damage."""

from __future__ import annotations

import gzip
import lzma
import struct

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tcpsight.errors import CaptureError
from tests.support.capture import Trickle, read_capture
from tests.support.pcap import Frame, Interface, pcap_bytes, pcapng_bytes, tcp_frame

SECOND = 10**9
FRAMES = [
    Frame(1_700_000_000 * SECOND + 1000 * n, tcp_frame("10.0.0.1", "10.0.0.2", 1000 + n, 80, n, 0, "S")[: 40 + n])
    for n in range(6)
]
SMALL = {
    "pcap": pcap_bytes(FRAMES),
    "pcap-big": pcap_bytes(FRAMES, endian=">", nanoseconds=True),
    "pcapng": pcapng_bytes(FRAMES),
    "pcapng-big": pcapng_bytes(FRAMES, endian=">", interfaces=[Interface(101, None, 3, "any")]),
    "pcapng-sections": pcapng_bytes(FRAMES[:3]) + pcapng_bytes(FRAMES[3:], endian=">"),
}


def snoop_bytes(frames: list[Frame]) -> bytes:
    content = b"snoop\0\0\0" + struct.pack(">II", 2, 4)
    for frame in frames:
        lengths = (len(frame.data), len(frame.data), 24 + len(frame.data), 0)
        times = (frame.time_ns // SECOND, frame.time_ns % SECOND // 1000)
        content += struct.pack(">IIIIII", *lengths, *times) + frame.data
    return content


def netmon_bytes(frames: list[Frame]) -> bytes:
    records = b"".join(struct.pack("<QII", n, len(f.data), len(f.data)) + f.data for n, f in enumerate(frames))
    head = b"GMBU" + struct.pack("<BBH8H", 0, 2, 1, 2023, 11, 2, 14, 22, 13, 20, 0)
    head += struct.pack("<2I", 128 + len(records), 4 * len(frames))
    return head.ljust(128, b"\0") + records + bytes(4 * len(frames))


def erf_bytes(frames: list[Frame]) -> bytes:
    return b"".join(
        struct.pack("<IIBB", 5, f.time_ns // SECOND, 2, 4)
        + struct.pack(">HHH2x", 18 + len(f.data), 0, len(f.data))
        + f.data
        for f in frames
    )


OTHERS = {"snoop": snoop_bytes(FRAMES), "netmon": netmon_bytes(FRAMES), "erf": erf_bytes(FRAMES)}
PACKED = {"gzip": gzip.compress(SMALL["pcap"]), "xz": lzma.compress(SMALL["pcapng"])}
EVERY = SMALL | OTHERS | PACKED


@given(
    st.sampled_from(sorted(EVERY)),
    st.lists(st.integers(1, 64), min_size=1, max_size=5),
    st.integers(1, 300),
    st.integers(1, 10),
)
def test_cutting_never_changes_the_rows(name, sizes, buffer_bytes, batch_frames):
    whole = read_capture(EVERY[name])
    cut = read_capture(Trickle(EVERY[name], sizes), buffer_bytes=buffer_bytes, batch_frames=batch_frames)
    assert cut.rows == whole.rows
    assert len(whole.rows) == len(FRAMES)
    assert whole.error is None
    assert cut.error is None


@pytest.mark.parametrize("name", sorted(SMALL))
def test_a_file_cut_anywhere_gives_every_whole_frame_before_the_cut(name):
    whole = read_capture(SMALL[name]).rows
    ends = [SMALL[name].index(row.data) + len(row.data) for row in whole]
    for size in range(len(SMALL[name])):
        cut = read_capture(SMALL[name][:size])
        # pcapng pads a frame and repeats its length behind it: up to 7 bytes more are needed for a whole block.
        complete = sum(end <= size for end in ends)
        certain = sum(end + 7 <= size for end in ends)
        assert certain <= len(cut.rows) <= complete
        assert cut.rows == whole[: len(cut.rows)]
        # Between two blocks a file may end.
        assert cut.error is None or isinstance(cut.error, CaptureError)
        if cut.error is None:
            assert size > 0


@pytest.mark.parametrize("name", ["snoop", "netmon"])
def test_a_capture_in_another_format_cut_anywhere_gives_every_whole_frame_before_the_cut(name):
    whole = read_capture(OTHERS[name]).rows
    ends = [OTHERS[name].index(row.data) + len(row.data) for row in whole]
    for size in range(len(OTHERS[name])):
        cut = read_capture(OTHERS[name][:size])
        assert cut.rows == whole[: sum(end <= size for end in ends)]
        assert cut.error is not None or size >= ends[-1] or size in (16, *ends)


@pytest.mark.parametrize("name", ["pcap", "pcap-big"])
def test_a_pcap_file_is_whole_only_where_a_record_ends(name):
    ends = [24]
    for frame in FRAMES:
        ends.append(ends[-1] + 16 + len(frame.data))
    whole = [size for size in range(len(SMALL[name]) + 1) if read_capture(SMALL[name][:size]).error is None]
    assert whole == ends


@pytest.mark.parametrize("name", sorted(PACKED))
def test_compressed_data_cut_anywhere_is_an_error_after_the_rows_before_it(name):
    whole = read_capture(PACKED[name]).rows
    for size in range(len(PACKED[name])):
        cut = read_capture(PACKED[name][:size])
        assert cut.error is not None
        assert cut.rows == whole[: len(cut.rows)]


@given(
    st.sampled_from(sorted(EVERY)),
    st.lists(st.tuples(st.integers(0, 10**6), st.integers(0, 255)), min_size=1, max_size=6),
    st.integers(0, 20),
)
@example("pcapng", [(4, 255), (5, 255), (6, 255)], 0)
def test_damaged_bytes_raise_nothing_but_capture_errors(name, changes, cut):
    content = bytearray(EVERY[name])
    for at, value in changes:
        content[at % len(content)] = value
    outcome = read_capture(bytes(content[: len(content) - cut]), batch_frames=3)
    for row in outcome.rows:
        assert -(2**62) < row.time_ns < 2**62


@given(st.binary(max_size=200), st.sampled_from([b"", *(content[:4] for content in EVERY.values())]))
def test_arbitrary_bytes_raise_nothing_but_capture_errors(content, magic):
    read_capture(magic + content)


@given(
    st.lists(st.lists(st.integers(0, 50), min_size=0, max_size=8), min_size=2, max_size=4),
    st.randoms(use_true_random=False),
    st.integers(1, 200),
    st.integers(1, 5),
)
def test_naming_and_cutting_never_change_a_merged_capture(tmp_path_factory, files, random, buffer_bytes, batch_frames):
    folder = tmp_path_factory.mktemp("merged")
    paths = []
    for n, times in enumerate(files):
        # Two interfaces each, used in turn, in a format of its own; every frame is unlike every other.
        frames = [Frame(t, bytes([n, i]) * 9, interface=i % 2) for i, t in enumerate(times)]
        both = [Interface(1, 9, name=f"{n}a"), Interface(101, 9, name=f"{n}b")]
        content = pcapng_bytes(frames, interfaces=both) if n % 2 else pcap_bytes(frames, nanoseconds=True, link_type=n)
        paths.append(folder / str(n))
        paths[-1].write_bytes(content)
    plain = read_capture(*paths)
    shuffled = paths[:]
    random.shuffle(shuffled)
    other = read_capture(*shuffled, buffer_bytes=buffer_bytes, batch_frames=batch_frames)
    named = [[row._replace(file=0) for row in outcome.rows] for outcome in (plain, other)]
    assert named[0] == named[1]
    assert [paths[r.file] for r in plain.rows] == [shuffled[r.file] for r in other.rows]
    assert plain.capture is not None
    assert other.capture is not None
    assert [i.name for i in plain.capture.interfaces] == [i.name for i in other.capture.interfaces]
    assert len(plain.rows) == sum(map(len, files))


@given(st.integers(-(10**9), 10**9))
def test_shifting_every_time_shifts_every_row_and_nothing_else(shift):
    moved = [frame._replace(time_ns=frame.time_ns + shift) for frame in FRAMES]
    expected = [row._replace(time_ns=row.time_ns + shift) for row in read_capture(pcapng_bytes(FRAMES)).rows]
    assert read_capture(pcapng_bytes(moved)).rows == expected
