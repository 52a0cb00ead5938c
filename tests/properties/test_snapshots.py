"""Laws of looking at what is open: it tells what an end would tell, and changes nothing."""

from __future__ import annotations

import io
from typing import Any
from unittest import mock

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from tcpsight.capture import open_capture
from tcpsight.network import measuring
from tcpsight.pipeline import Options, Pipeline
from tcpsight.tables import Connections, Network, Requests, Table, Unanswered
from tests.properties.test_pipeline import captures, content
from tests.support.pcap import Frame
from tests.support.thorough import up_to
from tests.support.traffic import Talk, answered

PARTS = ("requests", "unanswered", "connections", "network")


def pipeline_of(frames: list[Frame], **how: Any) -> Pipeline:
    return Pipeline(open_capture([io.BytesIO(content(frames))], **how), Options(with_network=True))


def values(table: Table, leave_out: tuple[str, ...] = ()) -> list[str]:
    """Give rows as text, in the order of their connections; between columns lie bytes that mean nothing."""
    names = [c.name for c in type(table).columns if c.name not in (*leave_out, "made_by")]
    rows = zip(*(table.rows[name].tolist() for name in names), strict=True)
    return sorted(map(repr, rows))


def everything(batches: Any) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {name: [] for name in PARTS}
    for batch in batches:
        for name in PARTS:
            found[name] += values(getattr(batch, name))
    return found


def network_of(pipeline: Pipeline, connections: Connections) -> Network:
    """Give what the network did to open connections, however many are told at a time."""
    found = []
    for rows in (2, 6, 4096):
        with mock.patch.object(measuring, "SNAPSHOT_ROWS", rows):
            parts = [(own.copy(), network.copy()) for own, network in pipeline.open_network(connections)]
        assert [each for own, _ in parts for each in own.connection_id.tolist()] == connections.connection_id.tolist()
        found.append(Network.concatenate([network for _, network in parts]))
    assert values(found[0]) == values(found[1]) == values(found[2])
    return found[0]


@settings(deadline=None, max_examples=up_to(60))
@given(captures(), st.integers(1, 5))
def test_looking_changes_nothing(frames, batch_frames):
    def looked_at() -> Any:
        pipeline = pipeline_of(frames, batch_frames=batch_frames)
        for batch in pipeline:
            yield batch
            connections = pipeline.open_connections(frames[-1].time_ns)
            network_of(pipeline, connections)
            pipeline.waiting(frames[-1].time_ns)

    expected = everything(pipeline_of(frames, batch_frames=batch_frames))
    assert everything(looked_at()) == expected


@settings(deadline=None, max_examples=up_to(60))
@given(captures(), st.integers(0, 200))
def test_what_is_open_is_told_as_if_the_capture_ended_there(frames, count):
    frames = frames[: max(count, 1)]
    end_ns = max(frame.time_ns for frame in frames)
    pipeline = pipeline_of(frames)
    with open_capture([io.BytesIO(content(frames))]) as capture:
        for part in capture:
            for _ in pipeline.feed(part):
                pass
    connections = pipeline.open_connections(end_ns).copy()
    network, waiting = network_of(pipeline, connections), pipeline.waiting(end_ns).copy()
    ended: dict[str, list[Any]] = {name: [] for name in PARTS}
    for batch in pipeline.finish():
        for name in PARTS:
            ended[name].append(getattr(batch, name).copy())
    # A Community ID costs more than the rest of the row, and those who look have the endpoints.
    later = ("community_id",)
    assert values(connections, later) == values(Connections.concatenate(ended["connections"]), later)
    assert values(network) == values(Network.concatenate(ended["network"]))
    # By then time had come to the last frame that was stamped latest.
    own = tuple(c.name for c in Unanswered.columns if c.name not in {c.name for c in Requests.columns})
    assert values(waiting, own) == values(Unanswered.concatenate(ended["unanswered"]), own)
    assert np.all(waiting.end_ns >= waiting.arrival_ns)


def test_round_trips_that_wait_to_be_counted_are_told_and_still_counted_later():
    for exchanges in range(1, 40):
        frames = Talk(answered(*range(1, exchanges + 1)), is_closed=False).frames()
        pipeline = pipeline_of(frames)
        with open_capture([io.BytesIO(content(frames))]) as capture:
            for part in capture:
                for _ in pipeline.feed(part):
                    pass
        looked = [values(network_of(pipeline, pipeline.open_connections(frames[-1].time_ns))) for _ in range(2)]
        ended = Network.concatenate([batch.network.copy() for batch in pipeline.finish()])
        assert looked == [values(ended)] * 2
