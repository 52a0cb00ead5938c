"""A watch when clocks step, and when there is nothing to see."""

from __future__ import annotations

import io
import struct
from collections.abc import Iterator
from typing import Any

import pytest

from tcpsight.capture import CaptureFile, open_capture
from tcpsight.output.packet_files import Counts
from tcpsight.output.pcapng import DescribedInterface, PcapngEncoder
from tcpsight.pipeline import Options, Pipeline
from tcpsight.tables import Frames, UnseenCounter
from tcpsight.watching import Slice, Watch, Watched
from tests.support.pcap import Frame, pcap_bytes
from tests.support.traffic import MS, START_NS, Exchange, Talk, answered

S = 1_000_000_000
HOUR = 3600 * S


def watched(frames: list[Frame], **how: Any) -> list[Slice]:
    content = pcap_bytes(frames, nanoseconds=True)
    with open_capture([io.BytesIO(content)], **how) as capture:
        return list(Watch(capture, Pipeline([], Options(given_at="answer")), Watched(S, S)))


def shifted(talk: Talk, shift_ns: int) -> list[Frame]:
    return [Frame(frame.time_ns + shift_ns, frame.data) for frame in talk.frames()]


def talk(number: int) -> Talk:
    return Talk(answered(1, 2, 3), client_port=40_000 + number)


def answers(slices: list[Slice]) -> int:
    return sum(int(each.total.completions[0]) for each in slices)


def test_a_frame_from_the_future_moves_nothing_by_itself():
    ahead = Frame(START_NS + 5 * HOUR, talk(1).frames()[0].data)
    frames = [*shifted(talk(0), 0), ahead, *shifted(talk(2), 2 * S)]
    for batch_frames in (1, 1000):
        slices = watched(frames, batch_frames=batch_frames)
        assert answers(slices) == 6
        assert [(each.start_ns - START_NS) // S for each in slices[:2]] == [0, 1]
        assert slices[2].start_ns == START_NS + 2 * S


def test_time_that_went_on_for_hours_is_told_slice_by_slice():
    slices = watched(shifted(talk(0), 0) + shifted(talk(1), 2 * HOUR))
    assert answers(slices) == 6
    starts = [each.start_ns for each in slices]
    assert starts == list(range(START_NS, START_NS + 2 * HOUR + 1, S))


def test_a_clock_that_was_set_back_lets_slices_begin_anew():
    frames = shifted(talk(0), HOUR) + shifted(talk(1), 0) + shifted(talk(2), 5 * S)
    for batch_frames in (1, 2, 1000):
        slices = watched(frames, batch_frames=batch_frames)
        starts = [(each.start_ns - START_NS) // S for each in slices]
        # One of the talk before the step, then those of the time after it, and none of the hour between.
        assert starts == [3600, 0, 1, 2, 3, 4, 5]
        assert [int(each.total.arrivals[0]) for each in slices] == [3, 3, 0, 0, 0, 0, 3]
        assert slices[0].end_ns > slices[0].start_ns


def test_a_frame_from_the_past_lets_nothing_begin_anew_even_if_silence_follows():
    frames = shifted(talk(0), 60 * S)
    early = Frame(START_NS, talk(1).frames()[0].data)

    def interrupted(*, is_told: bool) -> Iterator[Frames]:
        content = pcap_bytes([*frames, early, *shifted(talk(2), 61 * S)], nanoseconds=True)
        with open_capture([io.BytesIO(content)], batch_frames=1) as capture:
            for number, batch in enumerate(capture, 1):
                yield batch
                if number == len(frames) + 1 and is_told:
                    yield Frames(until_ns=START_NS + 60 * S + 500 * MS)

    told = [list(Watch(interrupted(is_told=each), Pipeline([], Options(given_at="answer")), Watched(S, S)))
            for each in (False, True)]  # fmt: skip
    assert [each.start_ns for each in told[0]] == [each.start_ns for each in told[1]]
    assert answers(told[0]) == answers(told[1]) == 6


def test_a_step_back_of_a_second_is_no_new_beginning():
    slices = watched(shifted(talk(0), S) + shifted(talk(1), 0) + shifted(talk(2), 3 * S))
    starts = [each.start_ns for each in slices]
    assert starts == sorted(starts)
    assert answers(slices) == 9


def test_frames_without_tcp_open_no_slice():
    udp = Frame(START_NS, bytes(12) + b"\x08\x00" + bytes(40))
    assert watched([udp] * 5) == []
    slices = watched([udp, *shifted(talk(0), 2 * S + 5 * MS)])
    assert slices[0].start_ns == START_NS + 2 * S + 5 * MS


def test_silence_before_the_first_segment_tells_nothing():
    def silent() -> Iterator[Frames]:
        for second in range(5):
            yield Frames(until_ns=START_NS + second * S)

    assert list(Watch(silent(), Pipeline([], Options(given_at="answer")), Watched(S, S))) == []


def ended(frames: list[Frame], ended_ns: int) -> list[Slice]:
    """Watch a capture that says when it ended."""
    encoder = PcapngEncoder([DescribedInterface("eth0", 1, 0)], "test")
    content = encoder.begin() + pcapng_records(frames) + encoder.statistics([Counts(1, 0, 0)], 0, ended_ns)
    with open_capture([io.BytesIO(content)]) as capture:
        return list(Watch(capture, Pipeline([], Options(given_at="answer")), Watched(S, S)))


def pcapng_records(frames: list[Frame]) -> bytes:
    records = []
    for frame in frames:
        length = len(frame.data)
        body = struct.pack("=IIIII", 0, frame.time_ns >> 32, frame.time_ns & 0xFFFFFFFF, length, length)
        body += frame.data + bytes(-len(frame.data) % 4)
        records.append(struct.pack("=II", 6, len(body) + 12) + body + struct.pack("=I", len(body) + 12))
    return b"".join(records)


def cut(slices: list[Slice]) -> list[tuple[int, int, int]]:
    return [(each.start_ns - START_NS, each.end_ns - each.start_ns, int(each.total.length_ns[0])) for each in slices]


def live(frames: list[Frame], ended_ns: int) -> list[Slice]:
    """Watch what comes by an interface until somebody ends it."""

    class Coming:
        files = (CaptureFile(0, "eth0"),)
        unseen = UnseenCounter()

        def __iter__(self) -> Iterator[Frames]:
            with open_capture([io.BytesIO(pcap_bytes(frames, nanoseconds=True))]) as capture:
                yield from capture
            for until_ns in range(frames[-1].time_ns + 200 * MS, ended_ns - 300 * MS, 300 * MS):
                yield Frames(until_ns=until_ns)
            self.files[0].ended_ns = ended_ns

    return list(Watch(Coming(), Pipeline([], Options(given_at="answer")), Watched(S, S)))


@pytest.mark.parametrize("is_hung", [False, True])
@pytest.mark.parametrize("silent_ns", [0, 100 * MS, 4 * S + 321 * MS])
def test_live_and_replay_end_alike_when_the_capture_tells_when_it_ended(silent_ns, is_hung):
    exchanges = [*answered(1, 2, 3), *([Exchange(5 * MS, None)] if is_hung else [])]
    frames = Talk(exchanges, is_closed=False).frames()
    end_ns = frames[-1].time_ns + silent_ns
    expected = live(frames, end_ns)
    told = ended(frames, end_ns)
    assert [each.total.rows.tobytes() for each in told] == [each.total.rows.tobytes() for each in expected]
    assert [each.services.rows.tobytes() for each in told] == [each.services.rows.tobytes() for each in expected]
    # Whole slices, and a last one that ends with the capture.
    assert told[-1].end_ns == end_ns
    assert [each.end_ns % S for each in told[:-1]] == [0] * (len(told) - 1)
    # Who waits is told to wait until the end.
    assert int(told[-1].total.unanswered_backlog[0]) == is_hung


def test_an_end_that_nobody_can_believe_is_none():
    frames = Talk(answered(1, 2, 3), is_closed=False).frames()
    for ended_ns in (0, START_NS - HOUR, START_NS + 30 * HOUR, 2**64 - 1):
        assert cut(ended(frames, ended_ns)) == cut(watched(frames))


def test_a_capture_that_ends_with_a_slice_has_no_slice_of_nothing():
    frames = Talk(answered(1, 2, 3), is_closed=False).frames()
    end_ns = START_NS - START_NS % S + 3 * S
    told = ended(frames, end_ns)
    assert told[-1].end_ns == end_ns
    assert all(each.end_ns - each.start_ns > MS for each in told)


def test_silence_of_a_pipe_ends_the_last_slice():
    frames = Talk(answered(1, 2, 3), is_closed=False).frames()

    def silent() -> Iterator[Frames]:
        with open_capture([io.BytesIO(pcap_bytes(frames, nanoseconds=True))]) as capture:
            yield from capture
        yield Frames(until_ns=START_NS + 2 * S + 7 * MS)

    told = list(Watch(silent(), Pipeline([], Options(given_at="answer")), Watched(S, S)))
    assert told[-1].end_ns == START_NS + 2 * S + 7 * MS
    assert int(told[-1].total.length_ns[0]) == 7 * MS
