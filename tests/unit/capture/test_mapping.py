"""Files that are mapped: the same frames as by reading, whatever happens to the file meanwhile."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tcpsight.capture import open_capture
from tcpsight.capture._mapping import ALIGNMENT_BYTES, Mapping
from tcpsight.errors import CaptureError
from tcpsight.pipeline import Options, Pipeline
from tcpsight.tables import Frames
from tests.support.capture import read_capture
from tests.support.pcap import Frame, pcap_bytes, pcapng_bytes
from tests.support.traffic import START_NS, Talk, answered, capture

LONG = 60_000
FRAMES = [Frame(START_NS + n, bytes([n % 251]) * LONG) for n in range(160)]
"""More than fits into a part of the file."""


def mapped_rows(path: Path, **options: Any) -> Any:
    return read_capture(path, mapped_bytes=1, **options)


def opened(path: Path) -> Any:
    return open_capture([path], mapped_bytes=1)


@pytest.mark.parametrize(
    "content",
    [
        pcap_bytes(FRAMES, nanoseconds=True),
        pcap_bytes(FRAMES, nanoseconds=True)[:-100],
        pcap_bytes([Frame(0, b"a"), Frame(1, bytes(200_000)), *FRAMES[:100]], endian=">"),
        pcapng_bytes(FRAMES),
        pcapng_bytes(FRAMES)[:-7],
        pcap_bytes([]),
        pcap_bytes([])[:20],
    ],
    ids=["pcap", "cut pcap", "swapped", "pcapng", "cut pcapng", "no frames", "half a header"],
)
def test_mapping_gives_what_reading_gives(content, tmp_path):
    path = tmp_path / "a"
    path.write_bytes(content)
    read, mapped = read_capture(path), mapped_rows(path)
    assert mapped.rows == read.rows
    assert str(mapped.error) == str(read.error)


def test_origin_tells_where_in_the_file_a_mapped_frame_lies(tmp_path):
    content = pcap_bytes(FRAMES, nanoseconds=True)
    (tmp_path / "a").write_bytes(content)
    with opened(tmp_path / "a") as frames:
        origins = set()
        for batch in frames:
            at = batch.origin + int(batch.position[0])
            assert content[at : at + LONG] == FRAMES[int(batch.frame_number[0]) - 1].data
            origins.add(batch.origin)
        assert len(origins) > 2
        assert frames.bytes_read == len(content)


def test_a_block_longer_than_a_part_is_mapped_whole(tmp_path):
    large = Frame(1, bytes(12 << 20))
    (tmp_path / "a").write_bytes(pcapng_bytes([Frame(0, b"a"), large, Frame(2, b"b")]))
    assert [len(row.data) for row in mapped_rows(tmp_path / "a").rows] == [1, 12 << 20, 1]


def test_what_is_added_while_a_file_is_read_is_read_too(tmp_path):
    path, content = tmp_path / "a", pcap_bytes(FRAMES, nanoseconds=True)
    path.write_bytes(content[:5_000_000])
    with opened(path) as frames:
        numbers = next(frames).frame_number.tolist()
        path.write_bytes(content)
        for batch in frames:
            numbers += batch.frame_number.tolist()
    assert numbers == list(range(1, len(FRAMES) + 1))


def test_streams_pipes_and_files_of_no_size_are_read(tmp_path):
    content = pcap_bytes(FRAMES[:3], nanoseconds=True)
    (tmp_path / "a").write_bytes(content)
    with (tmp_path / "a").open("rb") as stream:
        assert len(mapped_rows(stream).rows) == 3
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    writer = threading.Thread(target=fifo.write_bytes, args=(content,))
    writer.start()
    assert len(mapped_rows(fifo).rows) == 3
    writer.join()
    assert "is text" in str(mapped_rows(Path("/proc/self/status")).error)


def cut_after(batches: int, size: int, path: Path) -> tuple[list[int], CaptureError]:
    """Read so many batches, cut the file, look at every byte of the next ones, and give which frames were whole."""
    numbers: list[int] = []

    def look() -> None:
        for done, batch in enumerate(frames, 1):
            if done == batches:
                os.truncate(path, size)
            np.frombuffer(batch.data, np.uint8).sum()
            numbers.extend(batch.whole().frame_number.tolist())

    with opened(path) as frames, pytest.raises(CaptureError) as raised:
        look()
    return numbers, raised.value


@pytest.mark.parametrize("size", [0, 24, 5000, 500_000, 3_000_001, 4 << 20, 7_777_777])
@pytest.mark.parametrize("batches", [1, 2])
def test_a_file_that_is_cut_while_it_is_read_ends_before_the_first_frame_it_lacks(size, batches, tmp_path):
    path = tmp_path / "a"
    path.write_bytes(pcap_bytes(FRAMES, nanoseconds=True))
    numbers, error = cut_after(batches, size, path)
    record = LONG + 16
    whole = max(size - 24, 0) // record
    # What was looked at before the cut stays.
    assert numbers == list(range(1, len(numbers) + 1))
    assert len(numbers) == whole if batches == 1 else len(numbers) >= whole
    assert f"after frame {len(numbers)}" in error.reason or "ends inside frame" in error.reason


def test_a_part_tells_which_of_its_bytes_the_file_still_has(tmp_path):
    path = tmp_path / "a"
    path.write_bytes(b"x" * 3_000_000)
    with path.open("rb") as file:
        part = Mapping(file.fileno(), ALIGNMENT_BYTES)
    part.move(0, ALIGNMENT_BYTES)
    assert part.sound_bytes() == ALIGNMENT_BYTES
    os.truncate(path, 10_000)
    assert bytes(memoryview(part)[9_999:10_001]) == b"x\0"
    assert bytes(memoryview(part)[1_000_000:1_000_002]) == b"\0\0"
    assert part.sound_bytes() == 10_000
    # It is longer again, but not what it was: the place where a page was missing is not forgotten.
    os.truncate(path, 3_000_000)
    assert part.sound_bytes() <= 1_000_000
    part.move(ALIGNMENT_BYTES, 100)
    assert (part.offset, part.length, part.sound_bytes()) == (ALIGNMENT_BYTES, 100, 100)
    for wrong in ((1, 1), (0, ALIGNMENT_BYTES + 1), (-ALIGNMENT_BYTES, 1), (0, -1)):
        with pytest.raises(ValueError, match="does not fit"):
            part.move(*wrong)


def test_no_more_files_are_mapped_than_can_be_guarded(tmp_path):
    path = tmp_path / "a"
    path.write_bytes(pcap_bytes(FRAMES[:2]))
    with path.open("rb") as file:
        held: list[Mapping] = []
        with pytest.raises(OSError, match="memory"):
            held.extend(Mapping(file.fileno(), ALIGNMENT_BYTES) for _ in range(1000))
        assert len(mapped_rows(path).rows) == 2
        held.clear()
        Mapping(file.fileno(), ALIGNMENT_BYTES)


class Cutting:
    """Lets all frames through, and cuts their file once: between reading and decoding."""

    def __init__(self, path: Path, size: int, batch: int) -> None:
        self._path, self._size, self._left = path, size, batch

    def apply(self, frames: Frames) -> Frames:
        self._left -= 1
        if not self._left:
            os.truncate(self._path, self._size)
        return frames


@pytest.mark.parametrize("share", [0.0, 0.3, 0.55, 0.9])
def test_no_row_is_made_of_what_a_cut_file_does_not_have(share, tmp_path):
    """Connections of segments in front of the cut only: as if the file had always ended there."""
    path, other = tmp_path / "a", tmp_path / "b"
    content = pcap_bytes(capture([Talk(answered(*[1] * 2000), client_port=40_000 + n) for n in range(8)]))
    path.write_bytes(content)
    size = int(len(content) * share)
    other.write_bytes(content[: max(size, 24)])
    with opened(path) as frames:
        cut = Pipeline(frames, Options(with_network=True), Cutting(path, size, 1))
        given = [row.tolist() for batch in cut for row in batch.connections.rows]
    with open_capture([other]) as frames:
        short = Pipeline(frames, Options(with_network=True))
        expected = [row.tolist() for batch in short for row in batch.connections.rows]
    assert str(given) == str(expected)
    assert (cut.frames, cut.segments) == (short.frames, short.segments)
    assert cut.broken is not None
    assert f"after frame {short.frames}" in cut.broken.reason
    assert frames.files[0].frames == short.frames


def test_files_are_cut_at_any_time_and_nothing_is_made_up(tmp_path):
    """Whatever the moment, segments are the first ones of the whole file, and the process lives."""
    path = tmp_path / "a"
    content = pcap_bytes(capture([Talk(answered(*[1] * 2000), client_port=40_000 + n) for n in range(8)]))
    path.write_bytes(content)

    def read(cutter: threading.Thread | None) -> list[Any]:
        rows: list[Any] = []
        with open_capture([path], mapped_bytes=1, batch_frames=500) as frames:
            pipeline = Pipeline(frames, Options(with_segments=True))
            for batch in pipeline:
                rows += batch.segments.rows[["frame_number", "time_ns", "payload_bytes"]].tolist()
                if cutter is not None and not cutter.is_alive() and cutter.ident is None:
                    cutter.start()
        return rows

    expected = read(None)
    for turn in range(20):
        path.write_bytes(content)
        size = len(content) * turn // 20
        cutter = threading.Thread(target=os.truncate, args=(path, size))
        rows = read(cutter)
        cutter.join()
        assert rows == expected[: len(rows)]


FAULT = """
    import faulthandler, mmap, os, sys
    from tcpsight.capture._mapping import ALIGNMENT_BYTES, Mapping

    path = sys.argv[1]
    if "before" in sys.argv:
        faulthandler.enable()
    with open(path, "r+b") as file:
        ours = Mapping(file.fileno(), ALIGNMENT_BYTES)
        ours.move(0, 100_000)
        if "after" in sys.argv:
            faulthandler.enable()
            ours.move(0, 100_000)
        theirs = mmap.mmap(file.fileno(), 100_000)
    os.truncate(path, 0)
    print(bytes(memoryview(ours)[:2]), ours.sound_bytes(), flush=True)
    if "sent" in sys.argv:
        os.kill(os.getpid(), 7)
    theirs[50_000]
"""


@pytest.mark.parametrize("how", [[], ["before"], ["after"], ["sent"], ["sent", "before"], ["sent", "after"]])
def test_what_is_not_mapped_here_is_a_bus_error_as_ever(how, tmp_path):
    path = tmp_path / "a"
    path.write_bytes(b"x" * 100_000)
    script = textwrap.dedent(FAULT)
    done = subprocess.run([sys.executable, "-c", script, path, *how], capture_output=True, text=True, check=False)
    assert done.stdout == "b'\\x00\\x00' 0\n"
    assert done.returncode == -signal.SIGBUS
    assert done.stderr.count("Bus error") == len({"before", "after"} & {*how})
