"""Laws of what is carried from one capture to the next: nobody can tell from the rows that there was an end between."""

from __future__ import annotations

import io
import os
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import suppress
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tcpsight import carrying
from tcpsight.batches import Batch, Before, Options
from tcpsight.capture import open_capture
from tcpsight.carrying import Memory, fingerprint
from tcpsight.connections import Timeouts
from tcpsight.continuing import Continuing
from tcpsight.model.clock_leaps import ClockLeaps
from tcpsight.model.clock_steps import ClockSteps
from tcpsight.model.silences import Silences
from tcpsight.rooms import Made, Rooms
from tcpsight.tables import INT64_MAX, Headers, UnseenCounter
from tests.properties.test_connections import table_of
from tests.properties.test_network import paths
from tests.properties.test_pipeline import captures, content
from tests.reference.connections_strategies import traffic
from tests.support.pcap import Frame
from tests.support.thorough import up_to

IS_CHECKED = os.environ.get("TCPSIGHT_CHECKED", "0") not in ("", "0")

TABLES = ("requests", "unanswered", "connections", "network", "policed")
OPTIONS: dict[str, Any] = {"with_network": True, "with_policing": True, "account": "requests"}


class Told:
    """What passes over captures, one after the other, have told, each going on from the one before it."""

    def __init__(self, options: Options) -> None:
        self._options = options
        self._rows: dict[str, list[str]] = defaultdict(list)
        self._unseen = UnseenCounter()
        self._ending: dict[str, list[str]] = defaultdict(list)
        self._unseen_at_end = UnseenCounter()
        self.state = b""

    def read(self, data: bytes) -> None:
        """Read the next capture."""
        self._ending.clear()
        out = io.BytesIO()
        with open_capture([io.BytesIO(data)]) as opened:
            pipeline = Continuing(opened, self._options)
            if self.state:
                pipeline.at_begin = lambda _: pipeline.go_on(io.BytesIO(self.state))
            pipeline.at_end = lambda: pipeline.carry(out)
            for batch in pipeline:
                _take(batch, self._ending if out.tell() else self._rows)
            self._unseen.merge(pipeline.unseen_before_end)
            self._unseen_at_end = pipeline.unseen_at_end
        self.state = out.getvalue()

    def everything(self) -> tuple[dict[str, list[str]], list[Any]]:
        """Give all rows of every table in their order, and what was not understood."""
        self._unseen.merge(self._unseen_at_end)
        rows = {name: self._rows[name] + self._ending[name] for name in TABLES}
        return rows, self._unseen.counts[:, :2].tolist()


def _take(batch: Batch | Made, rows: dict[str, list[str]]) -> None:
    for name in TABLES:
        table = getattr(batch, name)
        # Where in its batch something became final is a matter of batches.
        names = [c.name for c in table.columns if c.name != "made_by"]
        rows[name] += [repr(row) for row in table.rows[names].tolist()]


def told(parts: Sequence[list[Frame]], **options: Any) -> tuple[dict[str, list[str]], list[Any]]:
    telling = Told(Options(**OPTIONS, **options))
    for part in parts:
        telling.read(content(part))
    return telling.everything()


def cut(frames: list[Frame], cuts: list[int]) -> list[list[Frame]]:
    return [frames[begin:end] for begin, end in pairwise([0, *cuts, len(frames)]) if begin < end]


@settings(deadline=None, max_examples=60)
@given(st.data(), captures(), st.sampled_from([1, 2]))
def test_wherever_a_capture_ends_and_the_next_goes_on_the_rows_are_the_same(data, frames, workers):
    cuts = data.draw(st.lists(st.integers(1, max(len(frames) - 1, 1)), unique=True, max_size=4).map(sorted))
    assert told(cut(frames, cuts), workers=workers) == told([frames])


@settings(deadline=None, max_examples=25)
@given(st.data(), captures(), st.integers(1, 30), st.sampled_from([1, 300]))
def test_time_outs_and_limits_go_on_too(data, frames, seconds, most):
    """Time is stretched so that connections time out, and few may be open."""
    frames = [Frame(frames[0].time_ns + (f.time_ns - frames[0].time_ns) * 3000, f.data) for f in frames]
    cuts = data.draw(st.lists(st.integers(1, max(len(frames) - 1, 1)), unique=True, max_size=4).map(sorted))
    limits = {"timeouts": Timeouts(*[seconds * 10**9] * 3), "most_connections": most}
    assert told(cut(frames, cuts), **limits) == told([frames], **limits)


def made_of(pieces: Sequence[Headers], most: int) -> tuple[dict[str, list[str]], list[Any]]:
    """Push pieces through rooms of their own, each of which go on from those before."""
    options = Options(**OPTIONS, most_connections=most)
    rows: dict[str, list[str]] = defaultdict(list)
    unseen, state, rooms = UnseenCounter(), b"", Rooms(options, 1)

    def take(parts: Iterator[tuple[Headers, Any]]) -> None:
        for headers, tracked in parts:
            _take(rooms.make(headers, tracked), rows)

    for number, piece in enumerate(pieces):
        memory = Memory(Silences(), ClockSteps(), ClockLeaps())
        if number:
            rooms = Rooms(options, 1 + number)
            carrying.read(io.BytesIO(state), rooms, memory)
        take(rooms.feed(piece))
        for each in rooms.unseen if number < len(pieces) - 1 else ():
            unseen.merge(each)
        out = io.BytesIO()
        carrying.write(out, rooms, memory, Before(INT64_MAX, 0))
        state = out.getvalue()
    take(rooms.finish())
    for each in rooms.unseen:
        unseen.merge(each)
    return rows, unseen.counts.tolist()


@settings(deadline=None, max_examples=up_to(150))
@given(
    st.one_of(traffic.map(table_of), paths.map(table_of)),
    st.lists(st.integers(0, 60), max_size=4),
    st.sampled_from([1, 600, 100_000]),
)
def test_of_whatever_traffic_rooms_go_on_as_if_they_were_the_same(table, cuts, most):
    edges = [0, *sorted(min(each, len(table)) for each in cuts), len(table)]
    with np.errstate(all="ignore"):
        assert made_of([table[a:b] for a, b in pairwise(edges)], most) == made_of([table], most)


@pytest.fixture(scope="module")
def carried() -> tuple[bytes, bytes]:
    """Give what is known in the middle of an example with losses and a stall, and the rest of it."""
    data = Path("examples/mariadb-lock.pcap").read_bytes()
    places = [24]
    while places[-1] < len(data):
        places.append(places[-1] + 16 + int.from_bytes(data[places[-1] + 8 : places[-1] + 12], "little"))
    middle = places[len(places) // 2]
    telling = Told(Options(**OPTIONS))
    telling.read(data[:middle])
    return telling.state, data[:24] + data[middle : places[len(places) // 2 + 500]]


def go_on(state: bytes, data: bytes) -> None:
    with open_capture([io.BytesIO(data)]) as opened:
        pipeline = Continuing(opened, Options(**OPTIONS))
        pipeline.at_begin = lambda _: pipeline.go_on(io.BytesIO(state))
        for _ in pipeline:
            pass


@pytest.mark.skipif(IS_CHECKED, reason="numbers that are only added up may overflow, which that build does not survive")
@settings(deadline=None, max_examples=150)
@given(st.data())
def test_what_is_carried_may_be_anything_and_is_refused_or_does_no_harm(carried, data):
    """Without the checksum that a lake keeps: whoever writes it may write another one, too."""
    state, rest = carried
    damaged = bytearray(state)
    sections, at = [], 0
    while at < len(state):
        end = at + 8 + int.from_bytes(state[at : at + 8], "little")
        sections.append((at, end))
        at = end
    for _ in range(data.draw(st.integers(1, 4))):
        begin, end = data.draw(st.sampled_from(sections))
        place, size = data.draw(st.integers(begin, end - 1)), data.draw(st.sampled_from([1, 2, 4, 8]))
        damaged[place : place + size] = data.draw(
            st.sampled_from([b"\xff" * size, bytes(size), b"\xff" * (size - 1) + b"\x7f", bytes(size - 1) + b"\x80"])
            | st.binary(min_size=size, max_size=size)
        )
    with np.errstate(all="ignore"), suppress(ValueError):
        go_on(bytes(damaged), rest)


def test_what_breaks_off_or_is_longer_is_refused(carried):
    state, rest = carried
    for wrong in (b"", state[:-1], state[: len(state) // 2], state + b"x", b"\xff" * 8 + state):
        with pytest.raises(ValueError, match=r"breaks off|follows|section"):
            go_on(wrong, rest)


def test_another_version_leaves_another_fingerprint():
    assert fingerprint("1.0") == fingerprint("1.0") != fingerprint("1.1")
