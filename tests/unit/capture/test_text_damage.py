"""Text that is cut, garbled or hostile: every line is a frame, talk, or counted; nothing grows without bound."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tcpsight.capture.reader import CaptureFile, ReadOptions
from tcpsight.capture.text import LINE_LIMIT, TextReader, looks_like_text
from tcpsight.capture.text_sequence import SequenceNumbers
from tcpsight.errors import CaptureError
from tests.support.text import Memory, Reading, read
from tests.support.thorough import up_to

LINES = [
    b"2009-04-12 16:46:02.977905 IP 10.0.0.1.40000 > 10.0.0.2.3306: tcp 101",
    b"2009-04-12 16:46:02.977906 IP 10.0.0.2.3306 > 10.0.0.1.40000: Flags [P.], seq 5:9, ack 1, win 5, length 4",
    b"\t0x0000:  4508 0055 8050 4000 4006 bc48 7f00 0001",
    b"\t0x0010:  7f00 0001 d804 0cea 1b4c dfd1 1b00 8f43",
    b"2009-04-12 16:46:03.1 IP (tos 0x0, ttl 64, id 1, offset 0, flags [DF], proto TCP (6), length 60)",
    b"    10.0.0.1.40000 > 10.0.0.2.3306: Flags [S], seq 7, win 5, options [mss 1460,sack 1 {1:2}], length 0",
    b"1257766312.341907 IP6 ::1.80 > ::2.81: P 1:3(2) ack 5 win 6 <nop,nop,timestamp 1 2>",
    b"2009-04-12 16:46:04.1 ARP, Request who-has 10.0.0.1 tell 10.0.0.2, length 46",
    b"3 packets dropped by kernel",
    b"what is this",
    b"",
]


def all_of(reading: Reading) -> tuple[object, ...]:
    rows = reading.frames.rows.copy()
    return rows.tolist(), reading.frames.data, reading.unseen, [i.name for i in reading.file.interfaces]


@pytest.mark.parametrize("step", [1, 7, 64, 1000])
@pytest.mark.parametrize("batch_frames", [1, 3, 512])
def test_how_the_text_is_cut_into_pieces_does_not_matter(step, batch_frames):
    text = b"\n".join(LINES * 3) + b"\n"
    assert all_of(read(text, step=step, batch_frames=batch_frames)) == all_of(read(text))


def test_a_last_line_without_a_line_end_is_delivered_if_it_is_complete():
    assert len(read(LINES[0]).frames) == 1
    assert len(read(LINES[1]).frames) == 1
    cut = read(LINES[0] + b"\n" + LINES[1][:-30], may_break=True)
    assert len(cut.frames) == 1
    assert cut.unseen["unreadable_text"] == 1
    assert cut.error is not None
    assert cut.error.reason == "the text ends inside line 2; it was cut short"
    assert cut.error.offset == len(LINES[0]) + 1


@pytest.mark.parametrize("length", range(1, len(LINES[1]), 7))
def test_a_cut_last_line_is_never_lost_in_silence(length):
    reading = read(LINES[0] + b"\n" + LINES[1][:length], may_break=True)
    assert len(reading.frames) + reading.unseen.get("unreadable_text", 0) == 2
    assert (reading.error is not None) == (len(reading.frames) == 1)


@pytest.mark.parametrize("step", [1, 50, 1 << 20])
@pytest.mark.parametrize(
    ("lines", "number"),
    [
        ([LINES[0], b"what is this", LINES[0], b"and this"], 2),
        ([LINES[0], b"x" * (LINE_LIMIT + 1), LINES[0]], 2),
        ([LINES[2], LINES[0]], 1),
        ([b"", LINES[0], LINES[2], LINES[2], LINES[3], b"", LINES[2][:-4] + b"zzzz", LINES[3]], 8),
        ([LINES[0], b"2009-02-30 00:00:00.0 IP 10.0.0.1.1 > 10.0.0.2.2: tcp 1", LINES[2], LINES[0]], 2),
    ],
)
def test_the_first_line_that_was_not_understood_is_named(lines, number, step):
    reading = read(b"\n".join(lines) + b"\n", step=step)
    assert reading.file.unreadable_line == number
    assert reading.unseen["unreadable_text"] >= 1


def test_a_line_that_is_too_long_is_counted_once_and_skipped():
    for size in (LINE_LIMIT + 1, 3 * LINE_LIMIT):
        for start in (b"", LINES[0]):
            text = LINES[0] + b"\n" + start + b"x" * size + b"\n" + LINES[0] + b"\n"
            for step in (1000, 1 << 20):
                reading = read(text, step=step)
                assert len(reading.frames) == 2
                assert reading.unseen["unreadable_text"] == 1


def test_hex_lines_behind_an_unreadable_line_do_not_go_to_the_frame_before_it():
    reading = read(b"\n".join([LINES[0], b"what is this", LINES[2], LINES[3]]) + b"\n")
    assert reading.frames.captured_bytes.tolist() == [40]
    assert reading.unseen["unreadable_text"] == 3


def test_an_impossible_date_is_unreadable():
    for date in (b"2009-13-41 16:46:02.9", b"0000-00-00 00:00:00.0", b"2009-02-29 00:00:00.0"):
        assert read(date + b" IP 10.0.0.1.1 > 10.0.0.2.2: tcp 1\n").unseen == {"unreadable_text": 1}


def test_dates_at_the_ends_of_time_are_clamped():
    for date in (b"0001-01-01 00:00:00.0", b"9999-12-31 23:59:59.9"):
        for zone in ("UTC", "Asia/Tokyo", "America/New_York"):
            reading = read(date + b" IP 10.0.0.1.1 > 10.0.0.2.2: tcp 1\n", zone=zone)
            assert len(reading.frames) + reading.unseen.get("unreadable_text", 0) == 1


def test_the_frames_before_a_break_of_the_source_are_delivered():
    class Broken(Memory):
        def readinto(self, view: memoryview) -> int:
            count = super().readinto(view)
            if count == 0:
                raise CaptureError(self.path, 5, "broken")
            return count

    reader = TextReader(Broken(LINES[0] + b"\n" + LINES[0] + b"\n", 40), CaptureFile(0, "x"), ReadOptions())
    batches = iter(reader.read, None)
    assert len(next(batches)) + len(next(batches)) == 2
    with pytest.raises(CaptureError, match="broken"):
        next(batches)


def test_conversations_remembered_are_bounded(monkeypatch):
    monkeypatch.setattr("tcpsight.capture.text_sequence.CONVERSATION_LIMIT", 10)
    numbers = SequenceNumbers()
    for i in range(100):
        numbers.resolve((b"a%d" % i, b"b"), 16, (5, 7), 1, ())
    assert len(numbers._conversations) == 10


@settings(max_examples=up_to(200), deadline=None)
@given(st.lists(st.one_of(st.sampled_from(LINES), st.binary(max_size=80)), max_size=12), st.data())
def test_hostile_text_never_crashes_and_no_stamped_line_is_lost(lines, data):
    text = bytearray(b"\n".join(lines))
    for _ in range(data.draw(st.integers(0, 4))):
        if text:
            text[data.draw(st.integers(0, len(text) - 1))] = data.draw(st.integers(0, 255))
    looks_like_text(bytes(text))
    try:
        reading = read(bytes(text))
    except CaptureError:
        return
    rows = reading.frames.rows
    assert (rows["captured_bytes"] <= rows["wire_bytes"]).all()
    assert rows["captured_bytes"].sum() == len(reading.frames.data)
    assert rows["frame_in_file"].tolist() == list(range(1, len(rows) + 1))


@settings(max_examples=50, deadline=None)
@given(st.text("0123456789abcdef:.> \t[](){},xXtcpIPFlags-", max_size=3000))
def test_no_line_takes_long(text):
    read(b"2009-04-12 16:46:02.977905 " + text.encode() + b"\n")
