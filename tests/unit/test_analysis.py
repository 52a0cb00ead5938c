"""The library: tables for NumPy, Arrow, Polars and pandas, and what happens when a capture is not whole."""

from __future__ import annotations

import doctest
import importlib
import inspect
import io
import re
from pathlib import Path
from typing import Any

import numpy as np
import pandas
import polars
import pyarrow as pa
import pytest

import tcpsight
from tcpsight.errors import CaptureError, UsageError
from tcpsight.model.auto_interval import MAX_STALL_NS
from tcpsight.tables import (
    Connections,
    Intervals,
    KeyedIntervals,
    Network,
    Requests,
    SegmentDetails,
    Table,
    Unanswered,
    Unseen,
)
from tests.conftest import ROOT
from tests.support.capture import Trickle
from tests.support.pcap import Frame, pcap_bytes
from tests.support.traffic import MS, START_NS, Exchange, Talk, answered, capture, udp_frame

TALKS = [
    Talk(answered(5, 1, 3)),
    Talk([*answered(50), Exchange(MS, None)], server_port=80, client_port=50_000, is_closed=False),
]
FRAMES = capture(TALKS)
OPEN: Any = tcpsight.open
"""For arguments of types that it does not take."""

TIMES = sorted(ms * MS for ms in (5, 1, 3, 50))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "talks.pcap"
    path.write_bytes(pcap_bytes([*FRAMES, Frame(FRAMES[-1].time_ns, udp_frame().data)], nanoseconds=True))
    return path


def test_network_rows_by_themselves_are_those_beside_everything_else():
    analysis = tcpsight.open(ROOT / "examples" / "mariadb-lock.pcap")
    with analysis.run(Network) as run:
        beside = np.concatenate([batch.network.rows.copy() for batch in run])
    alone = np.concatenate([table.rows.copy() for table in analysis.network])
    assert len(alone)
    for name in Network.dtype.names or ():
        assert alone[name].tolist() == beside[name].tolist()


def test_every_form_of_a_table_holds_the_same_rows(path):
    rows = tcpsight.open(path).requests
    records = rows.to_numpy()
    arrow, frame, pandas_frame = rows.to_arrow(), rows.to_polars(), rows.to_pandas()
    assert isinstance(records, np.ndarray)
    assert isinstance(arrow, pa.Table)
    assert isinstance(frame, polars.DataFrame)
    assert isinstance(pandas_frame, pandas.DataFrame)
    assert sorted(records["response_time_ns"].tolist()) == TIMES
    for found in (arrow["response_time_ns"].to_pylist(), frame["response_time_ns"].to_list()):
        assert found == records["response_time_ns"].tolist()
    assert pandas_frame["response_time_ns"].tolist() == records["response_time_ns"].tolist()
    assert arrow.column_names == frame.columns == list(pandas_frame.columns)
    assert set(frame["server_address"]) == {"10.0.0.9"}


def test_a_table_is_an_arrow_stream_for_whoever_asks(path):
    rows = tcpsight.open(path).connections
    assert pa.table(rows) == rows.to_arrow()
    assert pa.RecordBatchReader.from_stream(rows).read_all() == rows.to_arrow()
    assert polars.DataFrame(rows).equals(rows.to_polars())


def test_unknown_is_null(path):
    waiting = tcpsight.open(path).unanswered
    assert waiting.to_arrow()["response_time_ns"].to_pylist() == [None]
    assert waiting.to_polars()["completion_ns"].to_list() == [None]
    assert waiting.to_pandas()["response_time_ns"].isna().all()
    assert waiting.to_numpy()["response_time_ns"].tolist() == [-1]


def test_every_table_has_its_type(path):
    opened = tcpsight.open(path)
    for rows, table_type in (
        (opened.requests, Requests),
        (opened.unanswered, Unanswered),
        (opened.connections, Connections),
        (opened.segments, SegmentDetails),
        (opened.intervals(), Intervals),
        (opened.intervals(10 * MS, by="client"), KeyedIntervals),
    ):
        assert rows.table_type is table_type
        assert rows.to_numpy().dtype == table_type.dtype
        assert all(isinstance(block, table_type) for block in rows)
        assert repr(rows) == f"<{table_type.__name__} of a capture, not read yet>"
    assert len(opened.segments.to_numpy()) == len(FRAMES)


def test_an_empty_table_still_has_its_columns(path):
    rows = tcpsight.open(path, servers=[":9"]).requests
    assert len(rows.to_numpy()) == 0
    assert rows.to_arrow().num_rows == 0
    assert "response_time_ns" in rows.to_polars().columns
    assert "response_time_ns" in rows.to_pandas().columns


def test_options_are_those_of_the_command(path):
    def times(rows: tcpsight.Rows) -> list[int]:
        return sorted(rows.to_numpy()["response_time_ns"].tolist())

    assert times(tcpsight.open(path, servers=[":80"]).requests) == [50 * MS]
    assert times(tcpsight.open(str(path), frame_filter="port 3306").requests) == TIMES[:3]
    assert times(tcpsight.open(path, start_end=("request_first", "response_last")).requests) == TIMES
    series = tcpsight.open(path).intervals(10 * MS).to_numpy()
    assert series["arrivals"].sum() == 4
    assert series["unanswered"].sum() == 1
    assert (series["length_ns"][1:-1] == 10 * MS).all()


def test_time_is_selected_as_by_the_command(path):
    whole = tcpsight.open(path).requests.to_numpy()
    since_ns, until_ns = sorted(whole["arrival_ns"].tolist())[2:]
    part = tcpsight.open(path, since_ns=since_ns, until_ns=until_ns)
    assert part.requests.to_numpy()["arrival_ns"].tolist() == [since_ns]
    times = part.segments.to_numpy()["time_ns"]
    assert since_ns <= times.min() <= times.max() < until_ns
    series = part.intervals(MS).to_numpy()
    assert (series["start_ns"][0], (series["start_ns"] + series["length_ns"])[-1]) == (since_ns, until_ns)
    assert len(tcpsight.open(path, since_ns=until_ns).requests.to_numpy()) == 1


def test_the_chosen_interval_says_why(path):
    assert tcpsight.open(path).intervals().chosen is None
    rows = tcpsight.open(path).intervals()
    assert (rows.to_numpy()["length_ns"][1:-1] == 200 * MS).all()
    assert rows.chosen is not None
    assert rows.chosen.interval_ns == 200 * MS
    assert "50 ms" in rows.chosen.reason
    shorter = tcpsight.open(path).intervals(max_stall_ns=20 * MS, by="service")
    assert (shorter.to_numpy()["length_ns"][3:-3] == 20 * MS).all()
    assert shorter.chosen is not None
    assert shorter.chosen.interval_ns == 20 * MS
    usual = inspect.signature(tcpsight.Analysis.intervals).parameters["max_stall_ns"].default
    assert usual == MAX_STALL_NS
    given = tcpsight.open(path).intervals(10 * MS)
    given.to_numpy()
    assert given.chosen is None


def test_several_files_are_one_capture(path, tmp_path):
    parts = [tmp_path / "1.pcap", tmp_path / "2.pcap"]
    for part, frames in zip(parts, (FRAMES[:8], FRAMES[8:]), strict=True):
        part.write_bytes(pcap_bytes(frames, nanoseconds=True))
    assert tcpsight.open(*parts[::-1]).requests.to_arrow() == tcpsight.open(path).requests.to_arrow()


def test_tables_can_be_read_again_also_from_an_open_file(path):
    for opened in (tcpsight.open(path), tcpsight.open(io.BytesIO(path.read_bytes()))):
        assert opened.requests.to_arrow() == opened.requests.to_arrow()
        assert len(opened.connections.to_numpy()) == 2
    with path.open("rb") as file:
        opened = tcpsight.open(file)
        assert opened.requests.to_arrow() == opened.requests.to_arrow()


def test_a_pipe_can_be_read_once(path):
    opened = tcpsight.open(io.BufferedReader(Trickle(path.read_bytes(), (7, 100))))
    assert sorted(opened.requests.to_numpy()["response_time_ns"].tolist()) == TIMES
    with pytest.raises(CaptureError):
        opened.requests.to_numpy()


def test_what_was_not_understood_is_counted(path):
    unseen = tcpsight.open(path).unseen
    assert unseen.table_type is Unseen
    assert unseen.to_numpy()["count"].tolist() == [1]
    assert unseen.to_polars()["first_frame"].to_list() == [len(FRAMES) + 1]
    assert pa.table(unseen) == unseen.to_arrow()


def test_a_broken_capture_gives_its_rows_and_then_raises(tmp_path):
    path = tmp_path / "cut.pcap"
    path.write_bytes(pcap_bytes(FRAMES, nanoseconds=True)[:-10])
    opened = tcpsight.open(path)
    blocks, error = until_broken(opened.requests)
    found = [time for block in blocks for time in block.rows["response_time_ns"].tolist()]
    assert sorted(found) == TIMES
    assert error.path == str(path)
    assert error.offset > 0
    assert "\n" not in str(error)
    blocks, error = until_broken(opened.intervals())
    assert sum(int(block.rows["arrivals"].sum()) for block in blocks) == len(found)


def test_conversions_of_a_broken_capture_give_its_rows_with_a_warning_or_raise_where_that_is_wanted(tmp_path):
    path = tmp_path / "cut.pcap"
    path.write_bytes(pcap_bytes(FRAMES, nanoseconds=True)[:-10])
    opened = tcpsight.open(path)
    for convert in ("to_numpy", "to_arrow", "to_polars", "to_pandas"):
        with pytest.warns(tcpsight.CaptureWarning, match="every row before that is here") as told:
            rows = getattr(opened.requests, convert)()
        assert sorted(pandas.Series(rows["response_time_ns"]).tolist()) == TIMES
        assert {each.filename for each in told} == {__file__}
    with pytest.warns(tcpsight.CaptureWarning):
        assert pa.table(opened.requests).num_rows == len(TIMES)
    with pytest.warns(tcpsight.CaptureWarning):
        assert len(opened.requests.where("response_time > 2ms").to_numpy()) == 3
    with pytest.warns(tcpsight.CaptureWarning):
        assert opened.unseen.table_type.columns[0].name in opened.unseen.to_polars().columns
    strict = tcpsight.open(path, strict=True)
    for rows in (
        strict.requests,
        strict.intervals(),
        strict.buckets(),
        strict.unseen,
        strict.requests.where("server_port = 80"),
    ):
        with pytest.raises(CaptureError):
            rows.to_arrow()


def test_a_capture_without_tcp_is_told_as_the_commands_tell_it(tmp_path):
    path = tmp_path / "udp.pcap"
    path.write_bytes(pcap_bytes([udp_frame()], nanoseconds=True))
    opened = tcpsight.open(path)
    with pytest.warns(tcpsight.CaptureWarning, match="no TCP in its only frame"):
        assert len(opened.requests.to_numpy()) == 0
    assert opened.unseen.to_numpy()["count"].tolist() == [1]
    blocks, error = until_broken(opened.connections)
    assert not blocks
    assert "no TCP" in str(error)
    with pytest.raises(CaptureError, match="no TCP"):
        tcpsight.open(path, strict=True).intervals().to_numpy()
    with pytest.warns(tcpsight.CaptureWarning, match="port 9"):
        tcpsight.open(path, frame_filter="port 9").requests.to_numpy()
    path.write_bytes(pcap_bytes([], nanoseconds=True))
    with pytest.warns(tcpsight.CaptureWarning, match="no frames"):
        tcpsight.open(path).requests.to_numpy()


def test_what_was_asked_for_and_is_not_there_is_told(path):
    with pytest.warns(tcpsight.CaptureWarning, match="nothing in the capture matches"):
        assert len(tcpsight.open(path, servers=":9").requests.to_numpy()) == 0


def test_lists_of_files_one_server_and_durations_are_taken_as_they_are_meant(path, tmp_path):
    parts = [tmp_path / "1.pcap", tmp_path / "2.pcap"]
    for part, frames in zip(parts, (FRAMES[:8], FRAMES[8:]), strict=True):
        part.write_bytes(pcap_bytes(frames, nanoseconds=True))
    assert tcpsight.open(parts).requests.to_arrow() == tcpsight.open(*parts).requests.to_arrow()
    assert tcpsight.open(path, servers=":80").requests.to_arrow().num_rows == 1
    opened = tcpsight.open(path)
    for text, length_ns in (("10ms", 10 * MS), ("0.01 s", 10 * MS), ("1s20ms", 1020 * MS), ("1", 1000 * MS)):
        assert opened.intervals(text).to_arrow() == opened.intervals(length_ns).to_arrow()
    assert opened.intervals("auto").to_arrow() == opened.intervals().to_arrow()


@pytest.mark.parametrize(
    ("ask", "told"),
    [
        (lambda path: OPEN([]), "no capture was named"),
        (lambda path: OPEN(5), "5 is no capture"),
        (lambda path: OPEN(path, servers=3306), "3306 is no server"),
        (lambda path: OPEN(path, servers=[3306]), "3306 is no server"),
        (lambda path: OPEN(path, since_ns="2024"), "since_ns is '2024'"),
        (lambda path: OPEN(path, start_end="request_last"), "start_end is 'request_last'"),
        (lambda path: OPEN(path).intervals("soon"), "interval_ns is 'soon': write 200ms"),
        (lambda path: OPEN(path).intervals("5s 3"), "write 200ms"),
        (lambda path: OPEN(path).intervals(0.5), "interval_ns is 0.5"),
        (lambda path: OPEN(path).intervals("0s"), "longer than 0"),
        (lambda path: OPEN(path).intervals("9" * 50 + "s"), "longer than any"),
        (lambda path: OPEN(path).intervals(by="hour"), "no series by 'hour'"),
        (lambda path: OPEN(path).buckets(width="5"), "no number"),
    ],
)
def test_an_obvious_mistake_is_one_line(path, ask, told):
    with pytest.raises(UsageError, match=told) as raised:
        ask(path)
    assert "\n" not in str(raised.value)


def test_text_that_was_opened_is_no_capture(path):
    with path.open(errors="replace") as file, pytest.raises(UsageError, match="mode 'rb'"):
        OPEN(file)


def test_completion_shows_the_public_names():
    assert set(dir(tcpsight)) == set(tcpsight.__all__)


def until_broken(rows: tcpsight.Rows) -> tuple[list[Table], CaptureError]:
    """Give the blocks before the error, and the error."""
    blocks: list[Table] = []
    try:
        blocks.extend(block.copy() for block in rows)
    except CaptureError as error:
        return blocks, error
    raise AssertionError("nothing was raised")


def test_mistakes_are_told_as_errors_of_tcpsight(path, tmp_path):
    with pytest.raises(UsageError, match="no capture was named"):
        tcpsight.open()
    with pytest.raises(UsageError, match="no server"):
        tcpsight.open(path, servers=["nonsense:port"])
    with pytest.raises(UsageError, match="not after"):
        tcpsight.open(path, since_ns=5, until_ns=5)
    for length_ns in (0, -1):
        with pytest.raises(UsageError, match="longer than 0"):
            tcpsight.open(path).intervals(length_ns)
        with pytest.raises(UsageError, match="longer than 0"):
            tcpsight.open(path).intervals(max_stall_ns=length_ns)
    with pytest.raises(CaptureError, match="No such file"):
        tcpsight.open(tmp_path / "missing.pcap").requests.to_numpy()
    with pytest.raises(UsageError):
        tcpsight.open(path, start_end=("request_last", "never")).requests.to_numpy()
    with pytest.raises(UsageError):
        tcpsight.open(path, frame_filter="port port").requests.to_numpy()
    with pytest.raises(AttributeError, match="nonsense"):
        _ = tcpsight.nonsense
    assert issubclass(CaptureError, tcpsight.TcpsightError)


def test_docstring_examples_run(monkeypatch):
    monkeypatch.chdir(ROOT)
    for name in ("analysis", "errors", "interval_rows", "opening", "rows", "capture.following"):
        module = importlib.import_module(f"tcpsight.{name}")
        result = doctest.testmod(module, extraglobs={"tcpsight": tcpsight})
        assert result.attempted >= 1, name
        assert result.failed == 0, name


def test_the_example_of_the_readme_runs(monkeypatch):
    monkeypatch.chdir(ROOT)
    examples = re.findall(r"^```python\n(.*?)^```", (ROOT / "README.md").read_text("utf-8"), re.MULTILINE | re.DOTALL)
    assert examples
    for example in examples:
        names: dict[str, object] = {}
        exec(compile(example, "README.md", "exec"), names)
        assert isinstance(names["slow"], polars.DataFrame)
        assert len(names["slow"]) == 9


def test_public_names_are_there():
    for name in tcpsight.__all__:
        assert getattr(tcpsight, name) is not None


def test_times_are_selected_from_the_start(path):
    assert tcpsight.open(path).segments.to_numpy()["time_ns"][0] == START_NS


def test_rows_are_chosen_by_a_condition(path):
    capture = tcpsight.open(path)
    kept = capture.requests.where("response_time > 1ms and server_port = 3306")
    assert sorted(kept.to_numpy()["response_time_ns"].tolist()) == [3 * MS, 5 * MS]
    assert kept.where("response_time < 4ms").to_arrow().num_rows == 1
    with pytest.raises(UsageError, match="no column 'port'"):
        capture.requests.where("port = 1")


@pytest.mark.parametrize("end", ["client", "server"])
def test_the_network_says_where_it_was_seen_from_and_knows_no_more_than_is_seen_there(end):
    capture = tcpsight.open(ROOT / "examples" / f"two-points-{end}.pcap.zst")
    network, connections = capture.network.to_polars(), capture.connections.to_polars()
    assert network["vantage"].to_list() == [end] * 6 == [v for v in connections["vantage"] for _ in range(2)]
    assert network["vantage_confidence"].to_list() == [0.8] * 6
    is_of_sender = network["direction"].cast(str) == end
    assert (network["non_idle_ns"].is_null() != is_of_sender).all()
