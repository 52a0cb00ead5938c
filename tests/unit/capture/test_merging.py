"""Several files as one capture."""

from __future__ import annotations

import gzip
import io

import pytest

from tcpsight.capture import open_capture
from tcpsight.errors import CaptureError, UsageError
from tests.support.capture import Trickle, read_capture
from tests.support.pcap import Frame, Interface, pcap_bytes, pcap_header, pcapng_bytes


def write(folder, **contents: bytes):
    paths = []
    for name, content in contents.items():
        paths.append(folder / name)
        paths[-1].write_bytes(content)
    return paths


def capture_of(*times: int, mark: bytes = b"x", **options) -> bytes:
    return pcap_bytes([(t, mark * (n + 1)) for n, t in enumerate(times)], nanoseconds=True, **options)


def test_files_that_do_not_overlap_follow_each_other_whatever_their_order(tmp_path):
    later, earlier = write(tmp_path, b=capture_of(100, 110), a=capture_of(1, 2, 3))
    outcome = read_capture(later, earlier)
    assert [(r.frame_number, r.time_ns, r.file, r.frame_in_file) for r in outcome.rows] == [
        (1, 1, 1, 1),
        (2, 2, 1, 2),
        (3, 3, 1, 3),
        (4, 100, 0, 1),
        (5, 110, 0, 2),
    ]


def test_overlapping_files_are_merged_by_time(tmp_path):
    paths = write(tmp_path, a=capture_of(1, 3, 5, 100), b=capture_of(2, 4, 6, 50))
    assert [r.time_ns for r in read_capture(*paths).rows] == [1, 2, 3, 4, 5, 6, 50, 100]


def test_frames_of_one_file_keep_their_order_even_where_its_times_go_back(tmp_path):
    paths = write(tmp_path, a=capture_of(10, 5, 12), b=capture_of(11, 13))
    outcome = read_capture(*paths)
    assert [r.time_ns for r in outcome.rows] == [10, 5, 11, 12, 13]
    assert [r.frame_in_file for r in outcome.rows if r.file == 0] == [1, 2, 3]


def test_at_the_same_time_the_file_that_began_first_goes_first(tmp_path):
    paths = write(tmp_path, late=capture_of(5, 9), early=capture_of(1, 9))
    assert [(r.time_ns, r.file) for r in read_capture(*paths).rows] == [(1, 1), (5, 0), (9, 1), (9, 0)]


def test_long_runs_of_one_file_are_not_copied(tmp_path):
    paths = write(tmp_path, a=capture_of(*range(1000)), b=capture_of(*range(500, 1500), mark=b"y"))
    with open_capture(paths) as capture:
        sizes = [len(batch) for batch in capture]
    assert sizes[0] == 500
    outcome = read_capture(*paths)
    assert [r.time_ns for r in outcome.rows] == sorted([*range(1000), *range(500, 1500)])
    assert all(set(r.data) == {b"xy"[r.file]} for r in outcome.rows)


def test_interfaces_are_numbered_through_all_files_as_frames_come(tmp_path):
    first = pcapng_bytes(
        [Frame(1, b"a", interface=1), Frame(7, b"b", interface=0)],
        interfaces=[
            Interface(1, 9, name="unused until 7"),
            Interface(2, 9, name="first"),
            Interface(3, 9, name="never"),
        ],
    )
    second = pcapng_bytes([Frame(5, b"c")], interfaces=[Interface(4, 9, name="second")])
    outcome = read_capture(*write(tmp_path, a=second, b=first))
    assert [(r.interface_id, r.link_type) for r in outcome.rows] == [(0, 2), (1, 4), (2, 1)]
    assert outcome.capture is not None
    assert [i.name for i in outcome.capture.interfaces] == ["first", "second", "unused until 7", "never"]
    assert [i.file for i in outcome.capture.interfaces] == [1, 0, 1, 1]


def test_the_same_file_twice_is_an_error(tmp_path):
    (path,) = write(tmp_path, a=capture_of(1))
    with pytest.raises(UsageError, match="is named twice; its frames would be counted twice"):
        open_capture([path, path])


def test_the_same_file_by_another_link_is_an_error(tmp_path):
    (path,) = write(tmp_path, a=capture_of(1))
    (tmp_path / "b").hardlink_to(path)
    (tmp_path / "c").symlink_to(path)
    for other in ("b", "c"):
        with pytest.raises(UsageError, match="are the same capture"):
            open_capture([path, tmp_path / other])


def test_the_same_content_by_another_name_is_an_error_even_compressed(tmp_path):
    content = capture_of(1, 2)
    paths = write(tmp_path, a=content, b=capture_of(1, 3), c=gzip.compress(content))
    with pytest.raises(UsageError, match=r"a and .*c are the same capture"):
        open_capture(paths)


def test_files_that_only_begin_alike_are_two_captures(tmp_path):
    paths = write(tmp_path, a=capture_of(1, 2), b=capture_of(1, 3))
    one, other = read_capture(*paths), read_capture(*reversed(paths))
    assert [r.time_ns for r in one.rows] == [1, 1, 2, 3]
    assert [r.file for r in one.rows] == [1 - r.file for r in other.rows]


def test_captures_without_frames_may_be_alike(tmp_path):
    paths = write(tmp_path, a=pcap_header(), b=capture_of(1), c=pcap_header())
    outcome = read_capture(*paths)
    assert len(outcome.rows) == 1
    assert outcome.error is None
    assert outcome.capture is not None
    assert len(outcome.capture.interfaces) == 3


def test_a_damaged_file_takes_nothing_from_the_others(tmp_path):
    paths = write(tmp_path, a=capture_of(1, 5, 9)[:-1], b=capture_of(2, 6, 20))
    outcome = read_capture(*paths)
    assert [r.time_ns for r in outcome.rows] == [1, 2, 5, 6, 20]
    assert outcome.error is not None
    assert outcome.error.path == str(paths[0])
    assert "cut short" in outcome.error.reason


def test_several_damaged_files_are_counted(tmp_path):
    paths = write(tmp_path, a=capture_of(1)[:-1], b=capture_of(2, 3)[:-1], c=capture_of(4, 5)[:-1])
    outcome = read_capture(*paths)
    assert [r.time_ns for r in outcome.rows] == [2, 4]
    assert "2 other files are damaged, too" in str(outcome.error)


def test_the_newest_of_rotated_files_may_be_empty_yet(tmp_path):
    paths = write(tmp_path, a=capture_of(1, 2), b=capture_of(3), c=b"")
    outcome = read_capture(*paths)
    assert [r.time_ns for r in outcome.rows] == [1, 2, 3]
    assert outcome.error is not None
    assert "c: is empty" in str(outcome.error)


def test_a_file_that_is_no_capture_is_an_error_before_any_frame(tmp_path):
    paths = write(tmp_path, a=capture_of(1), b=b"<html>")
    with pytest.raises(CaptureError, match="b: is"):
        open_capture(paths)


def test_pipes_are_merged_too():
    outcome = read_capture(
        Trickle(capture_of(1, 4, 9), [10]), io.BytesIO(capture_of(2, 3, 10)), "-", stdin=io.BytesIO(capture_of(5))
    )
    assert [(r.time_ns, r.file) for r in outcome.rows] == [(1, 0), (2, 1), (3, 1), (4, 0), (5, 2), (9, 0), (10, 1)]


def test_frames_larger_than_the_arena_are_merged(tmp_path):
    large = bytes(range(256)) * 4096
    paths = write(
        tmp_path, a=pcap_bytes([(1000, b"a"), (4000, large)], snaplen=2**24), b=pcap_bytes([(2000, b"b"), (5000, b"c")])
    )
    assert [len(r.data) for r in read_capture(*paths).rows] == [1, 1, len(large), 1]


def test_progress_covers_all_files(tmp_path):
    paths = write(tmp_path, a=capture_of(1, 5, 9), b=capture_of(2, 6, 20))
    size = sum(path.stat().st_size for path in paths)
    with open_capture(paths) as capture:
        assert (capture.bytes_read, capture.bytes_total) == (0, size)
        for _ in capture:
            pass
        assert capture.bytes_read == size
        assert [f.frames for f in capture.files] == [3, 3]
