"""Threads share the work of one capture, and nobody can tell from what comes out."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tcpsight
from tcpsight.ahead import Ahead
from tcpsight.batches import Options
from tcpsight.connections import Timeouts
from tcpsight.errors import UsageError
from tcpsight.rooms import Made, Rooms
from tcpsight.tables import FLAG_ACK, Headers
from tcpsight.workers import Workers
from tests.support.pcap import pcap_bytes
from tests.support.traffic import MS, Exchange, Talk
from tests.unit.connections.test_crowds import SECOND, flood

SHORT = Timeouts(SECOND, SECOND, SECOND)


def alone(batches: list[Headers], options: Options) -> Iterator[Made]:
    rooms = Rooms(options, 1)
    for headers in batches:
        for part in rooms.feed(headers):
            yield rooms.make(*part)
    for part in rooms.finish():
        yield rooms.make(*part)


def shared(batches: list[Headers], options: Options) -> Iterator[Made]:
    workers = Workers(options, 2)
    for headers in batches:
        yield from workers.feed(headers)
    yield from workers.finish()


def numbers(made: Iterator[Made]) -> list[tuple[int, int]]:
    """Give which connections ended when, in their order, and check that no part is large."""
    found: list[tuple[int, int]] = []
    for each in made:
        rows = each.connections.rows
        assert len(each.network) == 2 * len(rows)
        assert each.network.connection_id.tolist() == np.repeat(rows["connection_id"], 2).tolist()
        found += zip(rows["connection_id"].tolist(), rows["end_ns"].tolist(), strict=True)
    return found


@pytest.mark.parametrize("workers", [2, 5])
def test_very_many_that_end_together_come_in_one_order_and_in_parts(workers: int):
    # All time out at the first header of the second batch, at different deadlines; the rest end with the capture.
    late = flood(40_000, FLAG_ACK, from_frame=200_000)
    late.time_ns[:] += 3 * SECOND
    batches = [flood(70_000), late]
    options = Options(timeouts=SHORT, with_network=True, most_connections=2_000_000)
    expected = numbers(alone(batches, options))
    assert len(expected) == 110_000
    assert numbers(shared(batches, Options(**given(options), workers=workers))) == expected


@pytest.mark.parametrize("workers", [2, 5])
def test_those_for_whom_there_is_no_room_are_the_same(workers: int):
    batches = [flood(3000, FLAG_ACK, from_frame=first) for first in range(1, 30_001, 3000)]
    options = Options(with_network=True, most_connections=1000)
    expected = numbers(alone(batches, options))
    assert numbers(shared(batches, Options(**given(options), workers=workers))) == expected


def given(options: Options) -> dict[str, Any]:
    names = ("timeouts", "with_network", "most_connections")
    return {name: getattr(options, name) for name in names}


@pytest.fixture
def capture(tmp_path: Path) -> Path:
    """Fifty connections of twenty requests each."""
    made = [Talk([Exchange(MS, MS)] * 20, client_port=40_000 + i) for i in range(50)]
    frames = sorted((frame for talk in made for frame in talk.frames()), key=lambda frame: frame.time_ns)
    path = tmp_path / "capture.pcap"
    path.write_bytes(pcap_bytes(frames, nanoseconds=True))
    return path


def own_threads() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name.startswith("tcpsight")]


@pytest.mark.parametrize("workers", [2, 3, 4, 9])
def test_threads_end_with_the_run_and_when_it_is_given_up(workers: int, capture: Path):
    analysis = tcpsight.open(capture, workers=workers)
    with analysis.run() as run:
        assert run.pipeline.options.workers == workers
        batches = iter(run)
        next(batches)
        batches.close()  # type: ignore[attr-defined]
    assert own_threads() == []
    assert len(analysis.requests.to_numpy()) == 1000
    assert own_threads() == []


@pytest.mark.parametrize("workers", [2, 5])
def test_what_goes_wrong_in_a_thread_is_raised_where_rows_are_asked_for(
    workers: int, capture: Path, monkeypatch: pytest.MonkeyPatch
):
    def fail(self: Rooms, *_: object) -> None:
        raise MemoryError("no room")

    monkeypatch.setattr(Rooms, "measure", fail)
    with pytest.raises(MemoryError, match="no room"):
        tcpsight.open(capture, workers=workers).requests.to_numpy()
    assert own_threads() == []


def test_a_capture_that_breaks_off_tells_so_after_its_rows(capture: Path):
    capture.write_bytes(capture.read_bytes()[:-5])
    for workers in (1, 2, 5):
        with pytest.warns(tcpsight.CaptureWarning, match="cut|ends"):
            rows = tcpsight.open(capture, workers=workers).requests.to_numpy()
        assert len(rows) == 1000


def test_who_wants_segments_or_what_is_open_has_one_worker(capture: Path):
    analysis = tcpsight.open(capture, workers=5)
    assert len(analysis.segments.to_numpy()) > 2000
    with analysis.watch() as (run, slices):
        assert run.pipeline.options.workers == 1
        assert sum(int(each.total.completions.sum()) for each in slices) == 1000


@pytest.mark.parametrize("wrong", [0, -1, 257, 1.5, "2"])
def test_a_number_of_workers_that_makes_no_sense_is_refused(wrong: object, capture: Path):
    with pytest.raises(UsageError, match="workers is"):
        tcpsight.open(capture, workers=wrong)  # type: ignore[arg-type]


def test_a_thread_that_nobody_waits_for_any_more_ends():
    made: list[int] = []

    def count() -> Iterator[int]:
        for i in range(1000):
            made.append(i)
            yield i

    ahead = Ahead(count(), 2)
    assert next(iter(ahead)) == 0
    ahead.close()
    assert len(made) <= 6
    assert own_threads() == []


def test_the_batches_of_one_worker_are_those_of_three(capture: Path):
    with tcpsight.open(capture, workers=1).run() as one, tcpsight.open(capture, workers=3).run() as three:
        assert [len(batch.connections) for batch in one] == [len(batch.connections) for batch in three]
        assert three.pipeline.segments == one.pipeline.segments
