"""What is asked of whoever feeds the room: slots that are open, and room for all rows that a batch may complete."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import pytest

from tcpsight.capture import open_capture
from tcpsight.connections import ConnectionTracking
from tcpsight.decode import Decoding
from tcpsight.requests import RequestPairing, _kernel
from tcpsight.requests.pairing import SMALLEST_ROOM
from tcpsight.tables import TLS_RECORDS, Headers, RequestCounts, Requests, Unanswered
from tests.support.conversation import boundary, tables, talk, whole
from tests.support.pcap import pcap_bytes, tcp_frame

MS = 1_000_000


@pytest.mark.parametrize("slot", [0, 1, SMALLEST_ROOM * 100])
def test_a_slot_that_is_not_open_cannot_end(slot: int):
    with pytest.raises(ValueError, match="slot that is not open"):
        RequestPairing().feed(*tables([boundary("ended", 1, slot, 0)]))


def test_a_slot_beyond_those_there_are_cannot_open():
    slots = np.zeros(_kernel.SLOT_BYTES, np.uint8)
    for slot, is_there in ((0, True), (1, False)):
        segments, boundaries = tables([boundary("opened", 1, slot, 0)])
        outputs = (Requests.allocate(9).packed(), Unanswered.allocate(9).packed(), RequestCounts.allocate(9).packed())
        if is_there:
            _kernel.pair(segments.packed(), boundaries.packed(), slots, outputs, 0, (0, 0))
        else:
            with pytest.raises(ValueError, match="slot that is not open"):
                _kernel.pair(segments.packed(), boundaries.packed(), slots, outputs, 0, (0, 0))


def test_a_slot_opens_once():
    with pytest.raises(ValueError, match="opened twice"):
        RequestPairing().feed(*tables([boundary("opened", 1, 0, 0), boundary("opened", 2, 0, 0)]))


@pytest.mark.parametrize("held", [0, 3])
def test_each_segment_and_each_end_may_complete_two_requests_and_what_is_held_two_more(held: int):
    again = [boundary("opened", 2, 0, 9), boundary("ended", 2, 0, 9)]
    segments, boundaries = tables([*whole("1 0 > 1\n 2 0 < 1"), *again])
    needed = 2 * (2 + 4 + held)
    for lacking, name in (((0, 0, 0), ""), ((1, 0, 0), "requests"), ((0, 1, 0), "unanswered"), ((0, 0, 1), "counts")):
        rows = [needed - lacking[0], 4 - lacking[1], 4 - lacking[2]]
        tables_out = [made.allocate(n) for made, n in zip((Requests, Unanswered, RequestCounts), rows, strict=True)]
        outputs = tuple(table.packed() for table in tables_out)
        arguments: tuple[Any, ...] = (
            segments.packed(),
            boundaries.packed(),
            np.zeros(_kernel.SLOT_BYTES, np.uint8),
            outputs,
            0,
            (0, held),
        )
        if name:
            with pytest.raises(ValueError, match=f"too little room for {name}"):
                _kernel.pair(*arguments)
        else:
            assert _kernel.pair(*arguments)[0] == 1


def test_a_segment_without_acknowledgment_completes_two_requests_of_each_connection_at_once():
    """The one before waits for a byte that is missing; there must be room for both, however many they are."""
    pairing, tracking, count = RequestPairing(), ConnectionTracking(), 8 * SMALLEST_ROOM
    dialogue = [(1, 100, 500, "PA"), (0, 500, 110, "PA"), (0, 530, 110, "PA"), (1, 110, 540, "PA"), (0, 540, 120, "PA")]
    frames = [frame for i in range(count) for frame in (_data(i, *said) for said in dialogue)]
    frames += [_data(i, 1, 120, 0, "P") for i in range(count)]
    content = pcap_bytes((10**18 + i * 1000, each) for i, each in enumerate(frames))
    with open_capture([io.BytesIO(content)]) as opened:
        decoding = Decoding()
        headers = Headers.concatenate([decoding.feed(captured).copy() for captured in opened])
    for begin in range(0, len(dialogue) * count, 64):
        some = headers[begin : begin + 64]
        tracked = tracking.feed(some)
        assert len(pairing.feed(tracked.segments, tracked.boundaries, some).requests) == 0
    tracked = tracking.feed(headers[len(dialogue) * count :])
    assert len(pairing.feed(tracked.segments, tracked.boundaries).requests) == 2 * count


def _data(number: int, from_client: int, sequence: int, acknowledged: int, flags: str) -> bytes:
    ends = (f"10.0.{number >> 8}.{number & 255}", 40_000), ("10.9.9.9", 80)
    (here, port), (there, their_port) = ends if from_client else ends[::-1]
    return tcp_frame(here, there, port, their_port, sequence, acknowledged, flags, b"x" * 10)


def test_a_batch_may_be_larger_than_any_before_it():
    """In connections and in segments; those that were open before lose nothing by it."""
    pairing = RequestPairing()
    pairing.feed(*tables([boundary("opened", 1, 0, 0), *talk("1 0 > 10")]))
    count = 3 * SMALLEST_ROOM
    events = [event for i in range(count) for event in whole("2 0 > 5\n 3 0 < 7", i + 2, i + 1)]
    events += [*talk("4 0 < 20 ack=10"), boundary("ended", 1, 0, 5 * MS)]
    paired = pairing.feed(*tables(events))
    assert len(paired.requests) == len(paired.counts) == count + 1
    assert paired.requests.response_bytes.tolist() == [7] * count + [20]
    assert paired.requests.request_bytes[-1] == 10
    waiting = [event for i in range(count) for event in whole("6 0 > 5", i + 2, i + 1)]
    assert len(pairing.feed(*tables(waiting)).unanswered) == count


def test_who_waits_now_is_asked_without_ending_anything():
    pairing = RequestPairing()
    events = [boundary("opened", 1, 0, 0), boundary("opened", 2, 1, 0)]
    events += [*talk("1 0 > 10\n 2 0 < 10", 1, 0), *talk("3 0 > 10", 2, 1)]
    pairing.feed(*tables(events))
    for until_ns in (500 * MS, 400 * MS):
        unanswered, counts = pairing.open_counts(until_ns)
        assert unanswered.end_ns.tolist() == [until_ns]
        assert unanswered.is_open.tolist() == [1]
        assert counts.requests.tolist() == [1, 0]
    left = pairing.finish()
    assert left.counts.connection_id.tolist() == [1, 2]
    assert left.unanswered.is_open.tolist() == [1]
    assert left.unanswered.end_ns.tolist() == [3 * MS]
    assert len(pairing.finish().counts) == 0


def test_how_many_requests_began_is_counted_over_all_batches():
    pairing = RequestPairing()
    assert pairing.opened == 0
    for i in range(3):
        pairing.feed(*tables(whole("1 0 > 10\n 2 0 < 10\n 3 + > 10", i + 1, i)))
    assert pairing.opened == 6


def test_what_may_be_alerts_is_held_over_batches_and_none_twice():
    """24 bytes of each side wait for what follows; more room is asked for as long as they do."""
    pairing = RequestPairing()
    parts = ["10 0 > 100\n 20 0 < 300", "30 100 > 24 ack=300", "40 300 < 24 ack=124", "50 124 > 100 ack=324"]
    held = []
    for number, part in enumerate(parts):
        opened = [boundary("opened", 1, 0, 0)] if not number else []
        segments, boundaries = tables([*opened, *talk(part)])
        headers = Headers.allocate(len(segments))
        closing = segments.payload_bytes == 24
        headers.tls[:] = np.where(closing, TLS_RECORDS.index("closing"), TLS_RECORDS.index("data"))
        headers.tls_bytes[:], headers.tls_records[:] = segments.payload_bytes, 1
        pairing.feed(segments, boundaries, headers)
        held.append(pairing._held)
    assert held == [0, 1, 2, 0]
    assert pairing.opened == 3
