"""Files of frames: whole at any moment, rotated, compressed, capped."""

from __future__ import annotations

import errno
import gzip
import os
import re
import resource
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from tcpsight.capture import Capture
from tcpsight.errors import TcpsightError
from tcpsight.output import packet_files
from tcpsight.output.packet_files import Counts, Lengths, PacketFiles, Rotation, compression_of, format_of
from tcpsight.output.pcap import PcapEncoder
from tcpsight.output.pcapng import DescribedInterface, PcapngEncoder
from tcpsight.tables import Frames
from tests.conftest import require_program
from tests.support.capture import Row, read_capture

START_NS = 1_700_000_000 * 10**9 + 123
NOTHING = [Counts(0, None, 0)]


def frames_of(count: int, size: int = 60, first: int = 0) -> Frames:
    table = Frames.allocate(count)
    table.position[:] = np.arange(count) * size
    table.time_ns[:] = START_NS + (first + np.arange(count)) * 1001
    table.captured_bytes[:] = size
    table.wire_bytes[:] = size + 1000
    table.link_type[:] = 1
    table.data = b"".join((first + i).to_bytes(4, "big") * (size // 4) for i in range(count))
    return table


def kept_of(frames: Frames, most: int = 2**31) -> Lengths:
    kept: Lengths = np.minimum(frames.captured_bytes, np.uint32(most)).astype(np.uint32)
    return kept


def read_whole(*paths: Path) -> tuple[list[Row], Capture]:
    got = read_capture(*map(str, paths))
    assert got.error is None
    assert got.capture is not None
    return got.rows, got.capture


def fill(files: PacketFiles, batch: Callable[[], Frames]) -> None:
    for _ in range(1000):
        write(files, batch())
        files.look(NOTHING)


def encoder(name: str) -> PcapEncoder | PcapngEncoder:
    if format_of(name) == "pcap":
        return PcapEncoder(1, 256)
    return PcapngEncoder([DescribedInterface("eth0", 1, 256, "tcp")], "tcpsight test")


def files_at(path: Path, rotation: Rotation | None = None) -> PacketFiles:
    name = str(path)
    return PacketFiles(name, encoder(name), compression_of(name), rotation or Rotation())


def write(files: PacketFiles, frames: Frames, counts: list[Counts] | None = None) -> None:
    files.write(frames, kept_of(frames), counts or NOTHING)


@pytest.fixture(autouse=True)
def _no_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packet_files, "FLUSH_NS", 0)


@pytest.mark.parametrize("ending", ["pcap", "pcapng", "pcap.zst", "pcapng.gz", "pcap.lz4", "cap", "x.pcapng.zst"])
def test_what_was_written_is_read_again(tmp_path, ending):
    path = tmp_path / f"trace.{ending}"
    files = files_at(path)
    frames = frames_of(3000)
    for begin in range(0, 3000, 700):
        part = frames[begin : begin + 700]
        files.write(part, kept_of(part, 40 + begin // 70), NOTHING)
        files.look(NOTHING)
    files.finish(NOTHING)
    rows, capture = read_whole(path)
    assert [(r.time_ns, r.wire_bytes) for r in rows] == [(START_NS + i * 1001, 1060) for i in range(3000)]
    assert [r.data for r in rows] == [
        (i.to_bytes(4, "big") * 15)[: 40 + i // 700 * 10] for i in range(3000)
    ]  # fmt: skip
    assert capture.files[0].format == format_of(path.name)


@pytest.mark.parametrize("name", ["trace.pcap", "trace.pcapng"])
def test_other_programs_read_it(tmp_path, name):
    tshark = require_program("tshark")
    path = tmp_path / name
    files = files_at(path)
    write(files, frames_of(100))
    files.finish([Counts(107, 3, 4)])
    command = [
        tshark,
        "-r",
        str(path),
        "-T",
        "fields",
        "-e",
        "frame.time_epoch",
        "-e",
        "frame.len",
        "-e",
        "frame.cap_len",
    ]
    told = subprocess.run(command, capture_output=True, text=True, check=True)
    lines = [line.split("\t") for line in told.stdout.splitlines()]
    assert [line[1:] for line in lines] == [["1060", "60"]] * 100
    assert [line[0].replace(".", "")[:19] for line in lines] == [str(START_NS + i * 1001) for i in range(100)]


def test_drops_are_told_in_the_file_and_once(tmp_path):
    path = tmp_path / "trace.pcapng"
    files = files_at(path)
    for i in range(5):
        write(files, frames_of(10, first=10 * i))
        files.look([Counts(10 * i, 2 * i, 3 * i)])
    files.finish([Counts(60, 9, 14)])
    _, capture = read_whole(path)
    (interface,) = capture.interfaces
    assert (interface.name, interface.interface_drops, interface.kernel_drops) == ("eth0", 9, 14)
    unseen = {row["reason"]: row["count"] for row in capture.unseen.table()}
    assert sorted(unseen.values()) == [9, 14]


def test_the_drops_of_a_set_add_up(tmp_path):
    files = files_at(tmp_path / "trace.pcapng", Rotation(size_bytes=3000))
    for i in range(10):
        write(files, frames_of(20, first=20 * i), [Counts(20 * i, None, 7 * i)])
        files.look([Counts(20 * i, None, 7 * i)])
    files.finish([Counts(200, None, 70)])
    assert files.files > 3
    _, capture = read_whole(*sorted(tmp_path.iterdir()))
    assert sum(i.kernel_drops or 0 for i in capture.interfaces) == 70


def test_a_set_that_begins_again_in_the_same_second_leaves_the_files_of_the_one_before_alone(tmp_path, monkeypatch):
    monkeypatch.setattr("time.time_ns", lambda: START_NS)
    for first in (100, 200):
        files = files_at(tmp_path / "trace.pcap", Rotation(every_ns=60 * 10**9))
        write(files, frames_of(10, first=first))
        files.finish(NOTHING)
    rows, _ = read_whole(*tmp_path.iterdir())
    assert sorted(int.from_bytes(r.data[:4], "big") for r in rows) == [*range(100, 110), *range(200, 210)]


@pytest.mark.parametrize("name", ["trace.pcap", "trace.pcapng", "trace.pcap.zst", "trace.pcapng.gz"])
def test_a_set_holds_every_frame_once_and_no_file_is_larger_than_wanted(tmp_path, name):
    limit = 5000
    files = files_at(tmp_path / name, Rotation(size_bytes=limit))
    for i in range(100):
        write(files, frames_of(37, first=37 * i))
        files.look(NOTHING)
    files.finish(NOTHING)
    written = sorted(tmp_path.iterdir())
    assert len(written) == files.files > 2
    stem, endings = name.split(".", 1)
    assert all(re.fullmatch(rf"{stem}-\d{{8}}T\d{{6}}Z-\d{{6}}\.{endings}", path.name) for path in written)
    # What is compressed is measured when it was written: one piece more may be there.
    assert all(path.stat().st_size <= limit + (2000 if name.endswith(("zst", "gz")) else 0) for path in written)
    got = read_capture(*map(str, written))
    assert got.error is None
    assert [int.from_bytes(r.data[:4], "big") for r in got.rows] == list(range(3700))


def test_a_frame_larger_than_a_file_may_be_has_a_file_of_its_own(tmp_path):
    files = files_at(tmp_path / "trace.pcap", Rotation(size_bytes=30))
    write(files, frames_of(3))
    files.finish(NOTHING)
    assert files.files == 3
    assert len(read_capture(*map(str, tmp_path.iterdir())).rows) == 3


def test_files_begin_at_multiples_of_the_time(tmp_path, monkeypatch):
    clock = [1_700_000_000 * 10**9]
    monkeypatch.setattr("time.time_ns", lambda: clock[0])
    files = files_at(tmp_path / "trace.pcap", Rotation(every_ns=60 * 10**9))
    for _ in range(10):
        write(files, frames_of(1))
        clock[0] += 25 * 10**9
    files.finish(NOTHING)
    names = sorted(path.name for path in tmp_path.iterdir())
    assert [name[6:22] for name in names] == [
        "20231114T221320Z", "20231114T221410Z", "20231114T221500Z", "20231114T221615Z", "20231114T221705Z",
    ]  # fmt: skip


def test_the_oldest_files_go_before_all_are_too_large(tmp_path):
    old = tmp_path / "trace-20200101T000000Z-000001.pcap"
    old.write_bytes(bytes(4000))
    others = [tmp_path / name for name in ("trace.pcap", "trace-old.pcap", "other-20200101T000000Z-000001.pcap")]
    for other in others:
        other.write_bytes(bytes(9000))
    link = tmp_path / "trace-20190101T000000Z-000001.pcap"
    link.symlink_to(others[0])
    files = files_at(tmp_path / "trace.pcap", Rotation(size_bytes=5000, total_bytes=20_000))
    for i in range(100):
        write(files, frames_of(37, first=37 * i))
        files.look(NOTHING)
        mine = [path for path in tmp_path.iterdir() if path not in (*others, link)]
        assert sum(path.stat().st_size for path in mine) <= 20_000
        assert Path(files.name) in mine
    assert not old.exists()
    assert all(other.exists() for other in (*others, link))
    files.finish(NOTHING)
    kept = sorted(path for path in tmp_path.iterdir() if path not in (*others, link))
    rows = read_capture(*map(str, kept)).rows
    first = int.from_bytes(rows[0].data[:4], "big")
    assert first > 3000
    assert [int.from_bytes(r.data[:4], "big") for r in rows] == list(range(first, 3700))


def test_a_file_that_was_taken_away_is_begun_anew(tmp_path):
    path = tmp_path / "trace.pcap"
    files = files_at(path)
    write(files, frames_of(5))
    files.reopen(NOTHING)  # it is still there: nothing happens
    write(files, frames_of(5, first=5))
    path.rename(tmp_path / "moved.pcap")
    files.reopen(NOTHING)
    write(files, frames_of(3, first=10))
    files.finish(NOTHING)
    assert [len(read_capture(str(tmp_path / name)).rows) for name in ("moved.pcap", "trace.pcap")] == [10, 3]


def test_another_file_of_a_set_is_begun_when_asked_for(tmp_path):
    files = files_at(tmp_path / "trace.pcap", Rotation(size_bytes=10**6))
    for i in range(3):
        write(files, frames_of(5, first=5 * i))
        files.reopen(NOTHING)
        files.reopen(NOTHING)  # an empty file is not ended
    files.finish(NOTHING)
    assert [len(read_capture(str(path)).rows) for path in sorted(tmp_path.iterdir())] == [5, 5, 5, 0]


@pytest.mark.parametrize("name", ["trace.pcap", "trace.pcapng", "trace.pcap.zst", "trace.pcap.gz", "trace.pcapng.lz4"])
def test_a_file_is_whole_whenever_its_writer_is_killed(tmp_path, name):
    path = tmp_path / name
    child = os.fork()
    if child == 0:
        files = files_at(path)
        for i in range(50):
            write(files, frames_of(100, first=100 * i))
            files.look(NOTHING)
        os.kill(os.getpid(), signal.SIGKILL)
    os.waitpid(child, 0)
    got = read_capture(str(path))
    assert got.error is None
    assert len(got.rows) == 5000


@pytest.mark.parametrize("name", ["trace.pcap", "trace.pcapng.zst"])
def test_a_full_disk_leaves_a_file_that_can_be_read(tmp_path, name):
    path = tmp_path / name
    files = files_at(path)
    usual = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, usual[1]))
    random, made = np.random.default_rng(1), []

    def batch() -> Frames:
        made.append(frames_of(50))
        made[-1].data = random.bytes(50 * 60)
        return made[-1]

    try:
        with pytest.raises(TcpsightError, match=rf"^{re.escape(str(path))}: File too large$"):
            fill(files, batch)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, usual)
        signal.signal(signal.SIGXFSZ, handler)
    files.finish(NOTHING)
    got = read_capture(str(path))
    assert got.error is None
    if name == "trace.pcap":
        # As many whole records as there is room for.
        assert len(got.rows) == (20_000 - 24) // (16 + 60)
    assert 50 * len(made) - 50 <= len(got.rows) <= 50 * len(made)
    assert files.frames == len(got.rows)


def test_what_was_collected_when_the_disk_was_full_was_not_written(tmp_path, monkeypatch):
    files = files_at(tmp_path / "trace.pcap.zst")
    write(files, frames_of(40))
    monkeypatch.setattr(os, "write", lambda *_: (_ for _ in ()).throw(OSError(errno.ENOSPC, "No space left on device")))
    with pytest.raises(TcpsightError, match="No space left"):
        files.finish(NOTHING)
    assert files.frames == 0
    assert read_capture(str(tmp_path / "trace.pcap.zst")).rows == []


def test_the_files_that_were_written_last_stay_whatever_the_clock_said(tmp_path, monkeypatch):
    clock = [1_700_003_600 * 10**9]
    monkeypatch.setattr("time.time_ns", lambda: clock[0])
    files = files_at(tmp_path / "trace.pcap", Rotation(size_bytes=5000, total_bytes=20_000))
    for i in range(40):
        if i == 20:
            clock[0] -= 3600 * 10**9
        write(files, frames_of(37, first=37 * i))
        files.look(NOTHING)
        clock[0] += 10**9
    files.finish(NOTHING)
    assert sum(path.stat().st_size for path in tmp_path.iterdir()) <= 20_000
    left = [path for path in tmp_path.iterdir() if path.name < "trace-20231114T231000Z"]
    assert len(left) == len(list(tmp_path.iterdir()))


def test_a_device_without_room_is_told():
    with pytest.raises(TcpsightError, match=os.strerror(errno.ENOSPC)):
        PacketFiles("/dev/full", PcapEncoder(1, 256), "none", Rotation())


def test_a_folder_that_is_not_there_is_told(tmp_path):
    with pytest.raises(TcpsightError, match=r"nowhere/trace\.pcap: No such file or directory"):
        files_at(tmp_path / "nowhere" / "trace.pcap")


def test_a_member_of_gzip_can_be_read_without_those_after_it(tmp_path):
    path = tmp_path / "trace.pcap.gz"
    files = files_at(path)
    write(files, frames_of(10))
    files.look(NOTHING)
    assert len(gzip.decompress(path.read_bytes())) == 24 + 10 * 76
    files.finish(NOTHING)


@pytest.mark.parametrize(
    ("name", "kind", "compression"),
    [
        ("a.pcap", "pcap", "none"),
        ("a.PCAPNG.zst", "pcapng", "zst"),
        ("a.pcapng", "pcapng", "none"),
        ("a", "pcap", "none"),
        ("-", "pcap", "none"),
        ("x/a.gz", "pcap", "gz"),
        ("pcapng", "pcap", "none"),
        ("a.cap.LZ4", "pcap", "lz4"),
    ],
)
def test_names_tell_format_and_compression(name, kind, compression):
    assert (format_of(name), compression_of(name)) == (kind, compression)
