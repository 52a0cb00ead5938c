"""What may be named as a source, and what is said of what is no capture."""

from __future__ import annotations

import gzip
import io
import os
import threading
from pathlib import Path

import pytest

from tcpsight.capture import open_capture
from tcpsight.errors import CaptureError, UsageError
from tests.support.capture import Trickle, read_capture
from tests.support.pcap import Frame, pcap_bytes, pcap_header, pcap_record

CONTENT = pcap_bytes([(n, b"frame %d" % n) for n in range(10)])


def open_files() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


def refusal(source) -> str:
    outcome = read_capture(source)
    assert outcome.rows == []
    assert outcome.error is not None
    return outcome.error.reason


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "is empty; it is not a capture file"),
        (b"\xd4", "has 1 byte; no capture is so short"),
        (b"\xd4\xc3\xb2", "has 3 bytes; no capture is so short"),
        (b"ab\n", "has 3 bytes; no capture is so short"),
        (gzip.compress(b"\n", mtime=0), "has 1 byte inside gzip; no capture is so short"),
        (gzip.compress(b"", mtime=0), "nothing inside gzip; it holds no frames"),
        (b"<!DOCTYPE html><html></html>", "is an HTML page, not a capture"),
        (b"\xef\xbb\xbf\n <html lang=en>", "is an HTML page, not a capture"),
        (b"dear diary,\ntoday nothing happened\n" * 1000, "is text, but not the text of tcpdump"),
        (b"PK\x03\x04and so on", "is a zip archive; unpack it first"),
        (
            b"XCP\0002.001",
            "is a capture in the format of NetXray or Sniffer for Windows, which is not read; convert it: ",
        ),
        (
            b"iptrace 2.0",
            "is a capture in the format of AIX iptrace, which is not read; convert it: editcap FILE NEW.pcapng",
        ),
        (bytes(257) + b"ustar", "is a tar archive; unpack it first"),
        (b"7z\xbc\xaf\x27\x1c", "is a 7-Zip archive; unpack it first"),
        (bytes(200) + "Events.etl".encode("utf-16-le"), "seems to be a Windows event trace (ETL)"),
        (b"\x02\x21\x4c\x18", "is lz4 data in the legacy format"),
        (b"\x01\x02\x03\x04\x05\x06\x07\x08\x09", "is not a capture file (it begins with 01 02 03 04 05 06 07 08)"),
        (b"\x1f\x8b", "the gzip data ends early"),
        (b"\x1f\x8bnot gzip at all", "the gzip data is damaged"),
    ],
)
def test_what_is_no_capture_is_said_in_one_line(content, reason):
    found = refusal(content)
    assert found.startswith(reason)
    assert "\n" not in found


def test_a_path_that_does_not_exist_is_an_error_before_any_byte(tmp_path):
    with pytest.raises(CaptureError, match=r"absent\.pcap: cannot be opened: No such file or directory$") as raised:
        open_capture([tmp_path / "absent.pcap"])
    assert raised.value.offset == -1


def test_a_directory_is_an_error(tmp_path):
    with pytest.raises(CaptureError, match=r"is a directory, not a capture file$"):
        open_capture([str(tmp_path)])


def test_a_file_that_may_not_be_read_is_an_error(tmp_path, monkeypatch):
    def refuse(path, *arguments):
        raise PermissionError(13, "Permission denied", path)

    monkeypatch.setattr("tcpsight.capture.source.io.FileIO", refuse)
    with pytest.raises(CaptureError, match=r"cannot be opened: Permission denied$"):
        open_capture([tmp_path / "secret.pcap"])


def test_a_path_with_a_zero_byte_is_an_error():
    with pytest.raises(CaptureError, match="cannot be opened"):
        open_capture(["a\0b"])


def test_a_stream_that_fails_gives_the_frames_before_and_an_error():
    class Failing(Trickle):
        def readinto(self, view):
            count = super().readinto(view)
            if count == 0:
                raise OSError(5, "Input/output error")
            return count

    outcome = read_capture(Failing(CONTENT, [40]))
    assert len(outcome.rows) == 10
    assert "cannot be read: Input/output error" in str(outcome.error)


def test_nothing_to_open_is_wrong_usage():
    with pytest.raises(UsageError, match="no capture was named"):
        open_capture([])


def test_a_dash_is_standard_input():
    outcome = read_capture("-", stdin=io.BytesIO(CONTENT))
    assert len(outcome.rows) == 10
    assert outcome.capture is not None
    assert outcome.capture.files[0].path == "-"
    assert outcome.capture.bytes_total is None


def test_closed_standard_input_is_an_error(monkeypatch):
    monkeypatch.setattr("sys.stdin", None)
    with pytest.raises(CaptureError, match="-: standard input is closed"):
        open_capture(["-"])


def test_standard_input_twice_is_wrong_usage():
    with pytest.raises(UsageError, match="- is named twice"):
        open_capture(["-", "-"], stdin=io.BytesIO(CONTENT))


def test_any_object_with_read_is_a_source():
    class OnlyRead:
        def __init__(self):
            self.stream = io.BytesIO(CONTENT)

        def read(self, size):
            return self.stream.read(size)

    assert len(read_capture(OnlyRead()).rows) == 10


def test_an_open_file_is_left_open(tmp_path):
    (tmp_path / "a.pcap").write_bytes(CONTENT)
    with (tmp_path / "a.pcap").open("rb") as stream:
        assert len(read_capture(stream).rows) == 10
        assert not stream.closed


def test_progress_is_counted_in_bytes_as_stored(tmp_path):
    packed = gzip.compress(CONTENT)
    (tmp_path / "a").write_bytes(packed)
    with open_capture([tmp_path / "a"]) as capture:
        assert capture.bytes_total == len(packed)
        for _ in capture:
            pass
        assert capture.bytes_read == len(packed)
        assert capture.files[0].bytes_total == len(packed)
        assert capture.files[0].frames == 10


def test_a_live_pipe_gives_each_frame_when_it_has_arrived():
    reader, writer = os.pipe()
    with os.fdopen(reader, "rb") as stream, os.fdopen(writer, "wb", buffering=0) as pipe:
        pipe.write(pcap_header())
        with open_capture([stream]) as capture:
            for n in range(3):
                pipe.write(pcap_record(Frame(n * 1000, b"x" * n)))
                assert next(capture).time_ns.tolist() == [n * 1000]
            pipe.close()
            assert list(capture) == []


def test_a_pipe_that_somebody_made_non_blocking_is_waited_for():
    reader, writer = os.pipe()
    os.set_blocking(reader, False)
    with os.fdopen(reader, "rb", buffering=0) as stream, os.fdopen(writer, "wb", buffering=0) as pipe:
        later = threading.Timer(0.05, pipe.write, [CONTENT])
        later.start()
        with open_capture([stream]) as capture:
            assert len(next(capture)) == 10
        later.join()


def test_a_named_pipe_is_read(tmp_path):
    path = tmp_path / "pipe"
    os.mkfifo(path)
    writer = threading.Thread(target=path.write_bytes, args=(CONTENT,))
    writer.start()
    outcome = read_capture(path)
    writer.join()
    assert len(outcome.rows) == 10
    assert outcome.capture is not None
    assert outcome.capture.bytes_total is None


def test_closing_early_closes_the_file(tmp_path):
    (tmp_path / "a.pcap").write_bytes(CONTENT)
    before = open_files()
    with open_capture([tmp_path / "a.pcap"], batch_frames=1) as capture:
        next(capture)
        assert open_files() == before + 1
    assert open_files() == before


def test_text_of_tcpdump_is_told_by_content_inside_compression_too():
    line = b"2023-11-14 22:13:20.000001 IP 10.0.0.1.5000 > 10.0.0.2.80: Flags [S], seq 1, win 100, length 0\n"
    for content in (line, gzip.compress(line)):
        outcome = read_capture(content)
        assert outcome.capture is not None
        assert outcome.capture.files[0].format == "tcpdump text"
        assert [r.time_ns for r in outcome.rows] == [1_700_000_000_000_001_000]


def test_text_that_trickles_in_is_recognised_by_its_first_line():
    reader, writer = os.pipe()
    line = b"2023-11-14 22:13:20.000001 IP 10.0.0.1.5000 > 10.0.0.2.80: Flags [S], seq 1, win 100, length 0\n"
    with os.fdopen(reader, "rb") as stream, os.fdopen(writer, "wb", buffering=0) as pipe:
        pipe.write(line)
        # The pipe stays open: this would wait for ever if more were needed to recognise it.
        with open_capture([stream]) as capture:
            assert capture.files[0].format == "tcpdump text"
            pipe.close()
            assert len(next(capture)) == 1


def test_text_with_noise_behind_its_first_lines_is_text_however_it_arrives():
    line = b"2023-11-14 22:13:20.00000%d IP 10.0.0.1.5000 > 10.0.0.2.80: Flags [.], ack 1, win 1, length 0\n"
    content = line % 1 + line % 2 + b"\0\1\2\n" + line % 3
    for source in (content, Trickle(content), Trickle(content, [150])):
        assert len(read_capture(source).rows) == 3
