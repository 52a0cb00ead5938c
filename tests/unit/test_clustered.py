"""Whoever does the work, and however often they forget or repeat it: the rows are those of one worker, to the byte."""

from __future__ import annotations

import io
import random
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tcpsight import mapping, reducing, resuming
from tcpsight.analysis import Analysis
from tcpsight.batches import Before
from tcpsight.capture import open_capture
from tcpsight.capture.stretches import Stretch
from tcpsight.cli.notes import note_lines
from tcpsight.pipeline import Options
from tcpsight.resuming import At
from tcpsight.tables import Findings, Frames
from tests.support.engines import AtOnce
from tests.support.pcap import pcap_bytes
from tests.support.thorough import some_of
from tests.support.traffic import MS, START_NS, Exchange, Talk, udp_frame
from tests.unit.connections.test_crowds import flood

TABLES = ("requests", "unanswered", "connections", "network", "policed")
OPTIONS = Options(with_network=True, with_policing=True, account="requests")


@pytest.fixture(autouse=True)
def small_pieces(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(mapping, "PIECE_BATCHES", 1)
    yield
    assert not resuming._KEPT


@pytest.fixture
def files(tmp_path: Path) -> list[Path]:
    """Forty connections in twelve files: some in a row, some overlap, one has no TCP, one is cut, one empty."""
    talks = [
        Talk(
            [Exchange(MS, 3 * MS)] * (5 + i % 7),
            client_port=40_000 + i,
            start_ns=START_NS + i * 11 * MS,
            is_closed=i % 3 > 0,
        )
        for i in range(40)
    ]
    frames = sorted((frame for talk in talks for frame in talk.frames()), key=lambda frame: frame.time_ns)
    last = frames[-1].time_ns
    paths = []
    size = len(frames) // 9
    for number in range(9):
        begin, end = number * size, (number + 1) * size if number < 8 else len(frames)
        part = frames[begin:end]
        paths.append(tmp_path / f"{number}.pcap")
        if number == 4:  # overlaps with the one behind it, and with the one behind that
            part = [*part, frames[end + 2 * size - 3]]
            frames[end + 2 * size - 3] = udp_frame(frames[end + 2 * size - 3].time_ns)
        paths[-1].write_bytes(pcap_bytes(part, nanoseconds=True))
    (tmp_path / "udp.pcap").write_bytes(pcap_bytes([udp_frame(last + 90_000 * MS), udp_frame(last + 180_000 * MS)]))
    (tmp_path / "none.pcap").write_bytes(pcap_bytes([]))
    cut = tmp_path / "cut.pcap"
    cut.write_bytes(paths.pop(6).read_bytes()[:-7])
    return [*paths, tmp_path / "udp.pcap", tmp_path / "none.pcap", cut]


def told(analysis: Analysis) -> dict[str, Any]:
    """Read everything that a pass tells."""
    found: dict[str, Any] = {name: [] for name in TABLES}
    with analysis.run(Findings) as run:
        for batch in run:
            for name in TABLES:
                table = getattr(batch, name)
                found[name] += [[row[c.name].tolist() for c in table.columns if not c.internal] for row in table.rows]
        pipeline = run.pipeline
        found["unseen"] = pipeline.unseen.table().rows.tolist()
        found["counts"] = pipeline.frames, pipeline.segments, pipeline.selected, pipeline.joined_fragments
        found["span"] = pipeline.span
        found["broken"] = str(pipeline.broken)
        found["clock"] = pipeline.silences.spans, pipeline.clock_steps.steps, pipeline.clock_steps.back_ns
        found["files"] = [
            (f.index, f.path, f.format, f.frames, f.bytes_total, f.first_ns, f.problem) for f in run.capture.files
        ]
        found["interfaces"] = run.capture.interfaces
        found["read"] = run.capture.bytes_read
        found["tags"] = run.tags.vlan_tags, run.tags.has_others
        found["notes"] = list(note_lines(run))
        if run.frame_filter is not None and not run.frame_filter.matched:
            found["why"] = run.frame_filter.why_nothing_matched()
    return found


def check(sources: list[Path], engine: AtOnce, options: Options = OPTIONS, **how: Any) -> dict[str, Any]:
    expected = told(Analysis(sources, options, **how))
    found = told(Analysis([str(each) for each in sources], options, engine=engine, **how))
    for name, value in expected.items():
        assert repr(found[name]).replace("PosixPath", "") == repr(value).replace("PosixPath", ""), name
    return expected


@pytest.mark.parametrize("places", [1, 2, 5])
def test_files_that_follow_each_other_overlap_break_off_or_have_nothing(files: list[Path], places: int):
    engine = AtOnce(places)
    expected = check(files, engine)
    assert len(expected["connections"]) == 40
    assert "cut.pcap" in expected["broken"]
    assert engine.steps.count("piece") > 9
    check(random.Random(places).sample(files, len(files)), AtOnce(places))


@pytest.mark.parametrize("seed", some_of(range(20), 3))
def test_what_is_forgotten_or_done_twice_changes_nothing(files: list[Path], seed: int):
    check(files, AtOnce(1 + seed % 4, seed), skips_bad=bool(seed % 2))


def test_bad_files_are_left_out_and_counted(files: list[Path], tmp_path: Path):
    (tmp_path / "text.pcap").write_text("not a capture")
    expected = check([*files, tmp_path / "text.pcap", tmp_path / "missing.pcap"], AtOnce(), skips_bad=True)
    assert len([each for each in expected["files"] if each[-1]]) == 3


def test_a_single_file_is_one_stretch(files: list[Path]):
    for each in files[:2]:
        check([each], AtOnce(2))
    check([files[-1]], AtOnce(2, seed=1))


@pytest.mark.parametrize("expression", ["tcp port 3306", "tcp port 40003", "port 9"])
def test_filters_count_what_others_matched(files: list[Path], expression: str):
    expected = check(files, AtOnce(), frame_filter=expression)
    assert ("why" in expected) == (expression == "port 9")


def test_interfaces_of_several_files_are_numbered_as_ever():
    check([Path("examples/two-points-client.pcap.zst"), Path("examples/two-points-server.pcap.zst")], AtOnce(2))


def test_the_plan_leaves_nothing_open(files: list[Path]):
    with open_capture(files[:4]) as capture:
        plan = capture.plan()
    stretch = Stretch(plan, 1)
    assert sum(len(batch) for batch in stretch) == stretch.learnt().frames > 0
    assert stretch.learnt().following == 2


@pytest.mark.parametrize("seed", [None, 5])
def test_an_engine_that_is_given_up_keeps_nothing(files: list[Path], seed: int | None):
    engine = AtOnce(2, seed)
    with Analysis([str(each) for each in files], replace(OPTIONS), engine=engine).run() as run:
        batches = iter(run)
        next(batches)
        batches.close()  # type: ignore[attr-defined]


def test_who_wants_segments_reads_by_himself(files: list[Path]):
    engine = AtOnce()
    assert len(Analysis([str(files[0])], engine=engine).segments.to_numpy()) > 20
    stream = io.BytesIO(files[0].read_bytes())
    assert len(Analysis([stream], engine=engine).requests.to_numpy()) > 5
    assert engine.steps == []


@pytest.mark.parametrize("forgets", [False, True])
def test_very_many_that_end_with_the_capture_come_some_at_a_time(forgets: bool, monkeypatch: pytest.MonkeyPatch):
    gathered = mapping._Gathered(1)
    gathered.add(flood(70_000), Frames.allocate(0))
    piece = gathered.piece()
    job = mapping.Job("flood", None, Options(most_connections=2_000_000), 1)  # type: ignore[arg-type]
    monkeypatch.setattr(reducing, "FINAL_ROWS", 10)
    monkeypatch.setattr(resuming, "every_piece", lambda _: iter([(piece, 0, 0)]))
    resuming.rows(job, At(0, 0), piece.blocks[0], piece.times, Before(0, 0))
    numbers: list[int] = []
    for number in range(100):
        if forgets:
            resuming._KEPT.clear()
        parts, _ = resuming.last_rows(job, At(0, number), 1)
        assert sum(len(part.rows[2].table) for part in parts) < 20_000
        numbers += [each for part in parts for each in part.rows[2].table.rows["connection_id"].tolist()]
        if parts[-1].is_whole:
            break
    assert number > 2
    assert numbers == sorted(set(numbers))
    assert len(numbers) == 70_000


def test_a_step_that_ends_after_it_was_given_up_keeps_nothing():
    resuming._put(("given up", "map", 0), 1, object())
    assert resuming._KEPT
    resuming.forget("given up")
    resuming._put(("given up", "map", 0), 2, object())
    assert not resuming._KEPT
