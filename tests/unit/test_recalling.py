"""The last minutes of a watch: what is kept, for how long, in how much memory, and what is saved of it."""

from __future__ import annotations

import io
import subprocess
import threading
from pathlib import Path

import pytest

import tcpsight
from tcpsight.capture import open_capture
from tcpsight.errors import UsageError
from tcpsight.recalling import ASKED, MOST_FILES, MOST_TIMES_MEMORY, FindingFiles, Recall
from tcpsight.tables import FINDINGS, Findings
from tests.support.pcap import Frame, pcap_bytes
from tests.support.traffic import MS, START_NS, Talk, answered

S = 1_000_000_000


def frames_of(seconds: int) -> list[Frame]:
    talks = [Talk(answered(1, 2), client_port=40_000 + i, start_ns=START_NS + i * S) for i in range(seconds)]
    return [frame for talk in talks for frame in talk.frames()]


def recall_of(frames: list[Frame], *, keep_ns: int = 3600 * S, most_bytes: int = 1 << 24) -> Recall:
    recall = Recall(open_capture([io.BytesIO(pcap_bytes(frames, nanoseconds=True))], batch_frames=7),
                    keep_ns=keep_ns, most_bytes=most_bytes)  # fmt: skip
    assert sum(len(batch) for batch in recall) == len(frames)
    return recall


def saved(recall: Recall, path: Path, since_ns: int = 0, until_ns: int = 2**62) -> list[int]:
    chunks = [chunk.compressed for chunk in recall.kept(since_ns, until_ns)]
    path.write_bytes(b"".join([recall.beginning(), *chunks]))
    with open_capture([path]) as capture:
        return [time for batch in capture for time in batch.time_ns.tolist()]


def test_all_that_is_kept_can_be_saved_with_its_times(tmp_path):
    frames = frames_of(5)
    times = saved(recall_of(frames), tmp_path / "all.pcapng.zst")
    assert times == [frame.time_ns for frame in frames]
    assert len(tcpsight.open(tmp_path / "all.pcapng.zst").requests.to_numpy()) == 10


def test_other_programs_read_what_is_saved(tmp_path, require_program):
    frames = frames_of(5)
    saved(recall_of(frames), tmp_path / "all.pcapng.zst")
    command = [require_program("tshark"), "-r", str(tmp_path / "all.pcapng.zst"), "-T", "fields", "-e", "frame.number"]
    lines = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()
    assert len(lines) == len(frames)


def test_headers_are_kept_and_no_payload(tmp_path):
    saved(recall_of(Talk(answered(1)).frames()), tmp_path / "headers.pcapng.zst")
    with open_capture([tmp_path / "headers.pcapng.zst"]) as capture:
        (batch,) = [batch.copy() for batch in capture]
    assert batch.captured_bytes.max() == 54
    assert batch.wire_bytes.max() > 54


def test_what_is_older_than_it_is_kept_is_gone(tmp_path):
    times = saved(recall_of(frames_of(20), keep_ns=5 * S), tmp_path / "late.pcapng.zst")
    assert START_NS + 13 * S <= min(times) <= START_NS + 15 * S


def test_memory_has_its_bound(tmp_path):
    recall = recall_of(frames_of(60), most_bytes=2000)
    times = saved(recall, tmp_path / "few.pcapng.zst")
    assert recall.held_bytes <= 2000
    assert max(times) >= START_NS + 59 * S
    assert min(times) > START_NS + 20 * S


def test_a_part_is_saved_to_a_second(tmp_path):
    times = saved(recall_of(frames_of(20)), tmp_path / "part.pcapng.zst", START_NS + 5 * S, START_NS + 8 * S)
    assert START_NS + 3 * S <= min(times) <= START_NS + 5 * S
    assert START_NS + 8 * S <= max(times) <= START_NS + 10 * S


def findings(severity: int) -> Findings:
    table = Findings.allocate(1)
    table.kind[:], table.severity[:] = FINDINGS.index("stall"), severity
    table.start_ns[:] = START_NS + 12 * S
    return table


def test_a_warning_is_saved_from_before_it_began_and_what_is_worth_knowing_is_not(tmp_path):
    files = FindingFiles(recall_of(frames_of(30)), tmp_path / "found")
    files.save(findings(0), 2**62)
    assert files.finish() == []
    files.save(findings(1), 2**62)
    (line,) = files.finish()
    (path,) = (tmp_path / "found").iterdir()
    assert line == f"stall is saved with its packets in {path}"
    with open_capture([path]) as capture:
        first = int(next(iter(capture)).time_ns[0])
    assert START_NS <= first <= START_NS + 2 * S


def test_what_is_found_together_or_while_a_file_is_written_is_saved_together(tmp_path, monkeypatch):
    files = FindingFiles(recall_of(frames_of(30)), tmp_path)
    may_go_on = threading.Event()
    write = FindingFiles._write
    monkeypatch.setattr(FindingFiles, "_write", lambda *parts: may_go_on.wait(60) and write(*parts))
    files.save(findings(1), START_NS + 15 * S)
    assert files.look() == []
    for second in (20, 25):
        files.save_as(f"at{second}", START_NS + second * S, START_NS + second * S)
        assert files.look() == []
    may_go_on.set()
    stall, others = files.finish()
    assert "stall is saved" in stall
    assert "at20 and 1 more is saved" in others
    with open_capture([others.rpartition(" ")[2]]) as capture:
        times = [time for batch in capture for time in batch.time_ns.tolist()]
    assert START_NS + 19 * S <= times[0] <= START_NS + 20 * S
    assert START_NS + 25 * S <= times[-1] <= START_NS + 27 * S


def test_there_is_an_end_to_what_is_saved(tmp_path):
    files = FindingFiles(recall_of(frames_of(1)), tmp_path)
    for _ in range(MOST_FILES):
        files.save_as("asked", 0, 2**62)
        files.finish()
    files.save_as("asked", 0, 2**62)
    assert "all the room" in files.finish()[0]
    assert len(list(tmp_path.iterdir())) == MOST_FILES


def test_all_files_together_have_a_bound(tmp_path):
    recall = recall_of(frames_of(20), most_bytes=2000)
    files, lines = FindingFiles(recall, tmp_path), []
    for _ in range(2 * MOST_TIMES_MEMORY):
        files.save_as("asked", 0, 2**62)
        lines += files.finish()
    assert "all the room" in lines[-1]
    assert sum(path.stat().st_size for path in tmp_path.iterdir()) <= MOST_TIMES_MEMORY * 2000


def test_watches_that_share_a_folder_leave_the_files_of_each_other_alone(tmp_path):
    lines = []
    for _ in range(2):
        files = FindingFiles(recall_of(frames_of(1)), tmp_path)
        files.save_as("stall", 0, 2**62)
        lines += files.finish()
    assert len(list(tmp_path.iterdir())) == len(set(lines)) == 2


def test_what_was_kept_when_it_was_found_is_saved_however_slow_the_disk(tmp_path, monkeypatch):
    frames = frames_of(40)
    recall = Recall(open_capture([io.BytesIO(pcap_bytes(frames, nanoseconds=True))], batch_frames=7),
                    keep_ns=10 * S, most_bytes=1 << 24)  # fmt: skip
    files = FindingFiles(recall, tmp_path)
    may_go_on = threading.Event()
    write = FindingFiles._write
    monkeypatch.setattr(FindingFiles, "_write", lambda *parts: may_go_on.wait(60) and write(*parts))
    due = [3, 15]
    for batch in recall:
        second = (int(batch.time_ns[-1]) - START_NS) // S
        if due and second >= due[0]:
            files.save_as(f"at{due[0]}", START_NS + (due.pop(0) - 3) * S, 2**62)
            files.look()
    may_go_on.set()
    paths = {line.split()[0]: line.rpartition(" ")[2] for line in files.finish()}
    with open_capture([paths["at15"]]) as capture:
        first = int(next(iter(capture)).time_ns[0])
    assert START_NS + 11 * S <= first <= START_NS + 12 * S


def test_a_beginning_that_is_gone_is_told(tmp_path):
    files = FindingFiles(recall_of(frames_of(30), keep_ns=10 * S), tmp_path)
    files.save_as("stall", START_NS + 5 * S, 2**62)
    (line,) = files.finish()
    assert "on: what came before is not kept any more" in line


def test_files_that_could_not_be_written_take_no_room(tmp_path):
    files = FindingFiles(recall_of(frames_of(1)), tmp_path / "found")
    (tmp_path / "found").rmdir()
    for _ in range(MOST_FILES + 1):
        files.save_as("stall", 0, 2**62)
        (line,) = files.finish()
        assert "all the room" not in line
    (tmp_path / "found").mkdir()
    files.save_as("stall", 0, 2**62)
    assert "is saved" in files.finish()[0]


def test_what_somebody_asked_for_is_found_by_that_name(tmp_path):
    files = FindingFiles(recall_of(frames_of(1)), tmp_path)
    files.save_as("stall", 0, 2**62)
    files.save_as(ASKED, 0, 2**62)
    files.finish()
    (path,) = tmp_path.iterdir()
    assert path.name.endswith("-asked.pcapng.zst")


def test_nothing_kept_is_said(tmp_path):
    files = FindingFiles(recall_of(frames_of(1)), tmp_path)
    files.save_as("asked", START_NS + 1000 * S, 2**62)
    assert "nothing of it is kept" in files.finish()[0]


def test_a_disk_that_takes_nothing_is_told(tmp_path):
    files = FindingFiles(recall_of(frames_of(1)), tmp_path / "found")
    (tmp_path / "found").rmdir()
    files.save_as("asked", 0, 2**62)
    (line,) = files.finish()
    assert "asked is not saved" in line


def test_a_folder_that_cannot_be_made_is_told(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match="--record"):
        FindingFiles(recall_of(frames_of(1)), tmp_path / "file" / "below")


def test_frames_that_go_back_in_time_are_kept(tmp_path):
    frames = frames_of(3)
    mixed = frames[5:] + [Frame(frame.time_ns - 3 * MS, frame.data) for frame in frames[:5]]
    assert sorted(saved(recall_of(mixed), tmp_path / "mixed.pcapng.zst")) == sorted(frame.time_ns for frame in mixed)
