"""The order of the rooms: what one pass gives, and which rows are selected from it."""

from __future__ import annotations

import io
import struct
from typing import Any

import numpy as np
import pytest

from tcpsight.capture import open_capture
from tcpsight.connections import Server
from tcpsight.endpoints import parse_server
from tcpsight.errors import CaptureError
from tcpsight.pipeline import Options, Pipeline
from tcpsight.selection import Selection
from tcpsight.tables import KINDS, REASONS, Requests
from tests.support.pcap import Frame, pcap_bytes, tcp_frame
from tests.support.traffic import MS, START_NS, Exchange, Talk, answered, capture, udp_frame

TALKS = [
    Talk(answered(5, 1, 3)),
    Talk([*answered(50), Exchange(MS, None)], server_port=80, client_port=50_000, is_closed=False),
]


def run(frames: list[Frame], options: Options | None = None, *, cut: int = 0, **reading: Any) -> Any:
    """Read to the end; give the pipeline and all its rows by table."""
    content = pcap_bytes(frames, nanoseconds=True)
    with open_capture([io.BytesIO(content[: len(content) - cut])], **reading) as opened:
        pipeline = Pipeline(opened, options)
        batches = [tuple(table.copy() for table in batch[:4]) for batch in pipeline]
    tables = [type(parts[0]).concatenate(list(parts)) for parts in zip(*batches, strict=True)]
    return pipeline, *tables


def test_one_pass_gives_every_table():
    frames = capture(TALKS)
    pipeline, requests, unanswered, connections, segments = run([*frames, udp_frame(START_NS + 10**9)])
    assert sorted(requests.response_time_ns.tolist()) == [MS, 3 * MS, 5 * MS, 50 * MS]
    assert unanswered.request_bytes.tolist() == [20]
    assert len(connections) == 2
    assert len(segments) == 0
    assert (pipeline.frames, pipeline.segments, pipeline.selected) == (len(frames) + 1, len(frames), 2)
    assert (pipeline.first_ns, pipeline.last_ns) == (frames[0].time_ns, frames[-1].time_ns)
    assert pipeline.span == (pipeline.first_ns, pipeline.last_ns)
    table = pipeline.unseen.table()
    assert [REASONS[reason] for reason in table.reason] == ["not_tcp"]


def test_a_connection_knows_its_requests():
    _, requests, unanswered, connections, _ = run(capture(TALKS))
    for row in connections:
        assert row["requests"] == (requests.connection_id == row["connection_id"]).sum()
        assert row["unanswered"] == (unanswered.connection_id == row["connection_id"]).sum()


def test_segments_are_made_only_where_they_are_wanted():
    frames = capture(TALKS)
    *_, segments = run(frames, Options(with_segments=True))
    assert segments.frame_number.tolist() == list(range(1, len(frames) + 1))
    assert segments.frame_in_file.tolist() == segments.frame_number.tolist()
    assert set(segments.kind.tolist()) == {KINDS.index("new")}


def test_a_break_is_kept_until_the_rows_before_it_are_out():
    frames = Talk(answered(5, 1, 3)).frames()
    pipeline, requests, *_ = run(frames, cut=5)
    assert isinstance(pipeline.broken, CaptureError)
    assert len(requests) == 3
    assert run(frames)[0].broken is None


def test_without_a_segment_there_is_no_span():
    pipeline, *tables = run([udp_frame()])
    assert pipeline.span is None
    assert [len(table) for table in tables] == [0, 0, 0, 0]


@pytest.mark.parametrize("batch_frames", [1, 3, 4096])
def test_services_are_selected_in_every_table(batch_frames):
    selection = Selection((parse_server(":80"),))
    options = Options(selection, with_segments=True)
    pipeline, requests, unanswered, connections, segments = run(capture(TALKS), options, batch_frames=batch_frames)
    assert requests.response_time_ns.tolist() == [50 * MS]
    assert len(unanswered) == 1
    assert connections.server_port.tolist() == [80]
    assert len(segments) == len(TALKS[1].frames())
    assert set(segments.connection_id.tolist()) == set(connections.connection_id.tolist())
    assert pipeline.selected == 1
    # What was selected is one thing, what the capture spans another.
    assert pipeline.first_ns == START_NS


def test_a_server_is_an_address_a_port_or_both():
    rows = Requests.allocate(3)
    ten = bytes(10) + b"\xff\xff\x0a\x00\x00\x01"
    rows.server_address[:] = np.frombuffer(ten, np.uint8)
    rows.server_port[:] = [80, 81, 80]
    rows.ip_version[:] = [4, 4, 6]
    select = lambda *texts: Selection(tuple(parse_server(t) for t in texts)).of_services(rows).tolist()  # noqa: E731
    assert select("10.0.0.1") == [True, True, False]
    assert select(":80") == [True, False, True]
    assert select("10.0.0.1:80") == [True, False, False]
    assert select("[::ffff:10.0.0.1]:80") == [False, False, True]
    assert select(":80", ":81") == [True, True, True]
    assert Selection().of_services(rows).all()


def test_time_selects_requests_by_arrival_and_connections_by_overlap():
    frames = Talk(answered(5, 5, 5)).frames()
    arrivals = [frame.time_ns for frame in frames[3:9:2]]
    selection = Selection(since_ns=arrivals[1], until_ns=arrivals[2])
    _, requests, _, connections, segments = run(frames, Options(selection, with_segments=True))
    assert requests.arrival_ns.tolist() == [arrivals[1]]
    assert len(connections) == 1
    assert segments.time_ns.tolist() == [f.time_ns for f in frames if arrivals[1] <= f.time_ns < arrivals[2]]
    assert len(run(frames, Options(Selection(until_ns=START_NS)))[3]) == 0
    assert len(run(frames, Options(Selection(since_ns=frames[-1].time_ns)))[3]) == 1
    assert len(run(frames, Options(Selection(since_ns=frames[-1].time_ns + 1)))[3]) == 0


@pytest.mark.parametrize(("since", "until", "there"), [(12, 17, 1), (17, 30, 1), (18, 30, 0), (0, 12, 0), (0, 13, 1)])
def test_time_selects_residents_by_overlap(since, until, there):
    # One request that is answered and one that is not, each from 12 ms on: until 17 ms, and until the end at 40 ms.
    talks = [Talk(answered(5)), Talk([Exchange(10 * MS, None)], client_port=41_000, is_closed=False)]
    frames = [*capture(talks), udp_frame(START_NS + 40 * MS)]
    options = Options(Selection(since_ns=START_NS + since * MS, until_ns=START_NS + until * MS))
    with open_capture([io.BytesIO(pcap_bytes(frames, nanoseconds=True))]) as opened:
        batches = [(len(batch.residents), len(batch.waiting)) for batch in Pipeline(opened, options)]
    residents, waiting = map(sum, zip(*batches, strict=True))
    assert residents == there
    assert waiting == (until > 12)


@pytest.mark.parametrize(
    ("since", "until", "span"),
    [(None, None, (10, 20)), (15, None, (15, 20)), (None, 12, (10, 12)), (5, 30, (10, 20)), (21, None, None),
     (None, 9, None), (20, None, (20, 20))],
)  # fmt: skip
def test_the_span_is_cut_to_the_wanted_time(since, until, span):
    assert Selection(since_ns=since, until_ns=until).span(10, 20) == span


def test_state_is_built_from_all_frames_whatever_is_selected():
    # The request arrives in the wanted time; the handshake that tells who is the client lies before it.
    frames = Talk(answered(5), client_port=80, server_port=40_000).frames()
    selection = Selection(since_ns=frames[3].time_ns)
    _, requests, _, connections, _ = run(frames, Options(selection))
    assert requests.server_port.tolist() == connections.server_port.tolist() == [40_000]


def test_servers_of_the_selection_tell_the_roles():
    frames = Talk(answered(5)).frames()[3:]
    _, requests, *_ = run(frames, Options(Selection((Server(None, 40_000, 0),))))
    assert len(requests) == 0


def test_sack_blocks_are_offsets_of_the_other_stream():
    talk = Talk(answered(5), is_closed=False)
    frames = talk.frames()
    # The server has sent 100 bytes; the client acknowledges 9001 (offset 0) and has 9041 to 9061 and 9081 to 9101.
    sack = b"\x01\x01\x05\x12" + struct.pack(">IIII", 9041, 9061, 9081, 9101)
    ack = tcp_frame("10.0.0.1", "10.0.0.9", 40_000, 3306, 1021, 9001, "A", options=sack)
    *_, segments = run([*frames, Frame(frames[-1].time_ns + MS, ack)], Options(with_segments=True))
    assert segments.sack[-1] == b"40-60 80-100"
    assert segments.sack[0] == b""


def test_segments_of_other_ports_never_reach_the_rooms():
    _, everything, *_ = run(capture(TALKS))
    pipeline, requests, _, connections, _ = run(capture(TALKS), Options(ports=(80,)))
    assert everything.server_port.tolist().count(80) == len(requests) == 1
    assert connections.server_port.tolist() == [80]
    assert requests.request_number.tolist() == [0]
    assert (pipeline.opened, pipeline.segments) == (2, len(TALKS[1].frames()))


def test_segments_between_other_endpoints_never_reach_the_rooms():
    _, _, _, both, _ = run(capture(TALKS))
    row = both.rows[both.server_port == 80][0]
    client, server = ((row[f"{side}_address"].tobytes(), int(row[f"{side}_port"])) for side in ("client", "server"))
    pipeline, requests, _, connections, _ = run(capture(TALKS), Options(pairs=((client, server),)))
    assert (len(requests), connections.connection_id.tolist()) == (1, [int(row["connection_id"])])
    assert pipeline.segments == len(TALKS[1].frames())
