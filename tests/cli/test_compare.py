"""``tcpsight compare``: the page, the facts, the exit status, and what it refuses."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

import tcpsight
from tcpsight import comparing, comparison_facts
from tests.cli.running import Here, assert_one_line
from tests.conftest import ROOT
from tests.support import traffic
from tests.support.closed_system import START_NS
from tests.support.pcap import Frame, pcap_bytes
from tests.support.steady_service import Workload, capture, live
from tests.support.traffic import MS, Talk, answered

GOLDEN = ROOT / "tests" / "golden" / "compare.txt"


@pytest.fixture(scope="module")
def slower(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    folder = tmp_path_factory.mktemp("compare")
    paths = folder / "before.pcap", folder / "after.pcap"
    for path, half in zip(paths, live(Workload(), 1, requests=4000, slow_down=1.3), strict=True):
        path.write_bytes(capture(half))
    return paths


def test_the_page_of_two_examples_is_as_it_was(here: Here, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(ROOT)
    page = tmp_path / "page.txt"
    done = here("compare", "examples/nginx-wrk.pcap", "examples/apache-wrk.pcap", "-o", page)
    assert done.status == 1
    assert page.read_text() == GOLDEN.read_text()


def test_worse_is_status_1_and_said_first(here: Here, slower: tuple[Path, Path]):
    done = here("compare", *slower)
    assert done.status == 1
    verdict = next(line for line in done.text.splitlines() if "verdict" in line)
    assert "worse" in verdict
    assert "median" in verdict
    assert "throughput at equal concurrency −2" in " ".join(done.text.split())


def stalled(path: Path, stall_ms: float | None) -> Path:
    """Write a service that answers in 5 to 10 ms throughout, but for one stall of all its connections."""
    times = [5 + i * 37 % 101 / 20 for i in range(300)]
    if stall_ms is not None:
        times[150] = stall_ms
    talks = [Talk(answered(*times), client_port=40_000 + i) for i in range(8)]
    path.write_bytes(pcap_bytes(traffic.capture(talks), nanoseconds=True))
    return path


@pytest.mark.parametrize(("stalls_ms", "said"), [((None, 900), "came"), ((900, None), "went")])
def test_findings_that_came_or_went_are_in_the_headline_and_decide_nothing_unless_critical(
    here: Here, tmp_path: Path, stalls_ms, said
):
    both = [stalled(tmp_path / f"{i}.pcap", ms) for i, ms in enumerate(stalls_ms)]
    done = here("compare", *both)
    assert done.status == 0
    headline = " ".join(done.text.partition("verdict")[2].partition("  load ")[0].split())
    assert headline.startswith("no difference, ")
    assert f"but a finding {said}: stall" in headline
    same = here("compare", both[0], both[0])
    assert "finding" not in same.text.partition("verdict")[2].partition("  load ")[0]


def test_a_critical_finding_or_a_vanished_service_is_status_1_and_named(here: Here, tmp_path: Path):
    usual, bad = stalled(tmp_path / "usual.pcap", None), stalled(tmp_path / "bad.pcap", 6000)
    done = here("compare", usual, bad)
    assert done.status == 1
    assert "worse   10.0.0.9:3306: a critical finding" in done.text
    assert "worse, a critical finding, or one that may be, and a finding came: stall" in " ".join(done.text.split())
    more = tmp_path / "more.pcap"
    talks = [Talk(answered(*[5] * 50), client_port=40_000 + i, server_port=80) for i in range(8)]
    more.write_bytes(pcap_bytes(traffic.capture(talks), nanoseconds=True))
    assert here("compare", usual, usual, "--before", more).status == 1
    done = here("compare", usual, usual, "--before", more, "--fail-on", "findings", "--fail-on", "response-time")
    assert done.status == 0
    assert "worse   10.0.0.9:80: it is gone: nothing was asked and answered any more (does not count)" in done.text
    assert here("compare", usual, bad, "--fail-on", "none").status == 0
    both = here("compare", usual, bad, "--fail-on", "none", "--fail-on", "failures")
    assert both.status == 2
    assert "--fail-on none says that nothing counts: give it alone" in both.err


def test_a_capture_in_which_the_service_is_gone_is_status_1_and_one_of_nothing_is_status_2(here: Here, tmp_path: Path):
    usual, other = stalled(tmp_path / "usual.pcap", None), tmp_path / "other.pcap"
    talks = [Talk(answered(*[5] * 300), client_port=40_000 + i, server_port=80) for i in range(8)]
    other.write_bytes(pcap_bytes(traffic.capture(talks), nanoseconds=True))
    for options in ([], ["--server", ":3306"]):
        done = here("compare", usual, other, *options)
        assert done.status == 1
        assert "worse   10.0.0.9:3306: it is gone" in done.text
    empty = tmp_path / "empty.pcap"
    empty.write_bytes(pcap_bytes([]))
    assert here("compare", usual, empty).status == 2
    assert here("compare", other, usual, "--server", ":9999").status == 2


def test_better_or_within_tolerance_is_status_0(here: Here, slower: tuple[Path, Path]):
    assert here("compare", *slower[::-1]).status == 0
    done = here("compare", *slower, "--tolerance", "50%")
    assert done.status == 0
    assert "not by more than is tolerated" in done.text


def test_json_holds_the_facts(here: Here, slower: tuple[Path, Path], tmp_path: Path):
    done = here("compare", *slower, "--format", "json", "--quantile", "0.9")
    found = json.loads(done.text)
    assert found["is_worse"]
    assert [row["quantile"] for row in found["services"][0]["response_time"]] == [0.5, 0.9, 0.95]
    here("compare", *slower, "-o", tmp_path / "found.json", "--quantile", "0.9")
    assert json.loads((tmp_path / "found.json").read_text()) == found


def test_one_capture_is_cut_at_an_instant(here: Here, slower: tuple[Path, Path]):
    done = here("compare", slower[0], "--at", f"{START_NS + 3 * 10**9}", "--format", "json")
    found = json.loads(done.text)
    assert done.status == 0
    service = found["services"][0]
    assert service["requests"]["before"] + service["requests"]["after"] == 4000
    assert found["after"]["start_ns"] >= START_NS + 3 * 10**9


def test_a_cut_counts_what_each_side_sent_again_and_a_change_shows(here: Here, tmp_path: Path):
    # Connections that live across the cut; what they send again, they send after it.
    talks = [Talk(answered(*[5] * 100), client_port=40_000 + i) for i in range(20)]
    frames = traffic.capture(talks)
    middle_ns = (frames[0].time_ns + frames[-1].time_ns) // 2
    late = [each for each in frames if each.time_ns > middle_ns and len(each.data) > 60][::2]
    frames = sorted([*frames, *(Frame(each.time_ns + 250 * MS, each.data) for each in late)], key=lambda f: f.time_ns)
    path = tmp_path / "long.pcap"
    path.write_bytes(pcap_bytes(frames, nanoseconds=True))
    found = json.loads(here("compare", path, "--at", str(middle_ns), "--format", "json").text)
    row = next(each for each in found["services"][0]["shares"] if each["name"] == "retransmitted")
    own: dict[str, list[bool]] = {"before": [], "after": []}
    for each in tcpsight.open(str(path)).segments.to_polars().iter_rows(named=True):
        own["before" if each["time_ns"] < middle_ns else "after"].append(each["kind"] == "retransmission")
    assert [row[when]["of"] for when in own] == [len(each) for each in own.values()]
    assert [row[when]["events"] for when in own] == [0, len(late)]
    assert row["low"] > 0
    # Their round trips are of their whole lives, so of neither side.
    assert [each["before"]["count"] for each in found["services"][0]["durations"][1:]] == [0, 0]


def test_a_connection_that_lives_across_a_cut_is_counted_on_the_side_in_which_it_began(here: Here, tmp_path: Path):
    early = [Talk(answered(*[5] * 100), client_port=40_000 + i) for i in range(20)]
    late = [Talk(answered(5), client_port=41_000 + i, start_ns=START_NS + 1000 * MS) for i in range(3)]
    path = tmp_path / "long.pcap"
    path.write_bytes(pcap_bytes(traffic.capture([*early, *late]), nanoseconds=True))
    done = here("compare", path, "--at", str(START_NS + 700 * MS), "--format", "json")
    (service,) = json.loads(done.text)["services"]
    assert service["requests"]["after"] > 20 * 40
    failed = next(each for each in service["shares"] if each["name"] == "failed")
    set_up = service["durations"][0]
    assert [(failed[when]["of"], set_up[when]["count"]) for when in ("before", "after")] == [(20, 20), (3, 3)]


def test_a_service_whose_connections_all_began_before_a_cut_is_compared(here: Here, tmp_path: Path):
    path = tmp_path / "long.pcap"
    # No two begin at the same nanosecond: a clock of whole milliseconds could not tell 5 of them from 5.5.
    talks = [Talk(answered(*[5] * 100), client_port=40_000 + i, start_ns=START_NS + 1237 * i) for i in range(20)]
    path.write_bytes(pcap_bytes(traffic.capture(talks), nanoseconds=True))
    done = here("compare", path, "--at", str(START_NS + 700 * MS))
    assert done.status == 0
    assert "no difference" in done.text


def test_a_part_counts_segments_as_their_connections_do(examples_dir: Path):
    path = examples_dir / "redis-benchmark.pcap"
    both = [comparing.collected(tcpsight.open(str(path), since_ns=since)) for since in (None, 0)]
    endpoints = [list(each.summary.services) for each in both]
    assert endpoints[0] == endpoints[1]
    whole, part = ([side.health.of(each) for each in endpoints[0]] for side in both)
    assert [each.retransmissions for each in whole] == [each.retransmissions for each in part]
    assert [each.round_trips[0].count for each in whole] == [each.round_trips[0].count for each in part]


def test_more_files_join_either_side(here: Here, slower: tuple[Path, Path]):
    whole = json.loads(here("compare", *slower, "--format", "json").text)
    done = json.loads(here("compare", *slower, "--after", slower[0], "--format", "json").text)
    assert done["after"]["files"] == [str(slower[1]), str(slower[0])]
    assert done["after"]["frames"] == whole["before"]["frames"] + whole["after"]["frames"]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["ONE"], "--at INSTANT"),
        (["ONE", "TWO", "--at", "2026-01-01"], "--at cuts one capture"),
        (["ONE", "--at", "2026-01-01", "--since", "2026-01-01"], "--at stands for"),
        (["ONE", "--at", "2026-01-01", "--after", "TWO"], "--at cuts one capture"),
        (["ONE", "--at", "yesterday"], "is no instant"),
        (["-", "-"], "only one"),
        (["-", "--at", "2026-01-01"], "only one"),
        (["ONE", "TWO", "--tolerance", "ten"], "is no share"),
        (["ONE", "TWO", "--tolerance", "10"], "write 10% or 0.1"),
        (["ONE", "TWO", "--tolerance", "-1%"], "is no share"),
        (["ONE", "TWO", "--tolerance", "nan"], "is no share"),
        (["ONE", "TWO", "-o", "ONE"], "would be lost"),
        (["ONE", "missing.pcap"], "missing.pcap"),
        (["ONE", "TWO", "--server", ":9"], "no connection that was asked for"),
        (["ONE", "TWO", "--quantile", "1"], "quantile"),
    ],
)
def test_what_makes_no_sense_is_one_line(here: Here, slower: tuple[Path, Path], arguments: list[str], words: str):
    names = {"ONE": str(slower[0]), "TWO": str(slower[1])}
    done = here("compare", *(names.get(each, each) for each in arguments))
    assert done.status == 2
    assert done.text == ""
    assert words in done.err.splitlines()[-1]
    assert_one_line(done.err)


def test_a_capture_without_tcp_is_refused_as_everywhere(here: Here, slower: tuple[Path, Path], tmp_path: Path):
    empty = tmp_path / "empty.pcap"
    empty.write_bytes(slower[0].read_bytes()[:24])
    done = here("compare", slower[0], empty)
    assert done.status == 2
    assert_one_line(done.err, "holds no frames")


def test_a_capture_that_breaks_off_is_compared_and_status_2(here: Here, slower: tuple[Path, Path], tmp_path: Path):
    cut = tmp_path / "cut.pcap"
    cut.write_bytes(slower[1].read_bytes()[:-40])
    done = here("compare", slower[0], cut)
    assert done.status == 2
    assert "The capture breaks off" in done.text
    assert "verdict" in done.text


def test_a_page_for_a_browser_is_one_file_with_all_in_it(here: Here, slower: tuple[Path, Path], tmp_path: Path):
    page = tmp_path / "changed.html"
    done = here("compare", *slower, "--html", page)
    assert (done.status, done.text) == (1, "")
    text = page.read_text()
    assert text.startswith("<!DOCTYPE html>")
    assert '"verdict":"worse"' in text
    assert "https://" not in text.partition('<script type="text/plain"')[0]


def test_a_page_without_plotly_is_refused_before_anything_is_read(
    here: Here, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("tcpsight.output.page.find_spec", lambda name: None)
    done = here("compare", tmp_path / "none.pcap", tmp_path / "none.pcap", "--html", tmp_path / "changed.html")
    assert done.status == 2
    assert_one_line(done.err, "pip install 'tcpsight[html]'")


def test_a_page_of_more_services_than_a_browser_opens_is_refused_before_anything_is_read(here: Here, tmp_path: Path):
    missing = tmp_path / "missing.pcap"
    for arguments in (["report", str(missing)], ["compare", str(missing), str(missing)]):
        done = here(*arguments, "--html", tmp_path / "page.html", "--top", "51")
        assert done.status == 2
        assert_one_line(done.err, "50 services at most", "--server")
    assert not (tmp_path / "page.html").exists()


def test_requests_that_overlap_are_told_of_from_the_share_on_from_which_turns_are_doubted(monkeypatch):
    service = SimpleNamespace(overlapped=6, requests=100)
    pair: Any = SimpleNamespace(before=SimpleNamespace(service=service), after=SimpleNamespace(service=service))
    assert comparison_facts._is_overlapped(pair)
    monkeypatch.setattr(comparison_facts, "MOST_OVERLAPPED", 0.07)
    assert not comparison_facts._is_overlapped(pair)


def test_one_request_is_one_request(here: Here, tmp_path: Path):
    for name, times in (("few", [5.0]), ("many", [5.0] * 3)):
        (tmp_path / f"{name}.pcap").write_bytes(pcap_bytes(traffic.capture([Talk(answered(*times))]), nanoseconds=True))
    assert "3 → 1 request," in here("compare", tmp_path / "many.pcap", tmp_path / "few.pcap").text
    assert "1 → 3 requests," in here("compare", tmp_path / "few.pcap", tmp_path / "many.pcap").text
    assert "1 request," in here("compare", tmp_path / "few.pcap", tmp_path / "few.pcap").text


def moved(path: Path, examples_dir: Path) -> Path:
    """Write the example as if its server had another address and port."""
    data = bytearray((examples_dir / "mariadb-lock.pcap").read_bytes())
    at = 24
    while at < len(data):
        captured = int.from_bytes(data[at + 8 : at + 12], "little")
        for address, port in ((at + 42, at + 50), (at + 46, at + 52)):
            if data[port : port + 2] == (3306).to_bytes(2, "big"):
                data[address : address + 4], data[port : port + 2] = bytes([10, 9, 9, 9]), (3307).to_bytes(2, "big")
        at += 16 + captured
    path.write_bytes(data)
    return path


@pytest.mark.parametrize("same", [":3306=:3307", "10.1.1.1=10.9.9.9", "10.1.1.1:3306=10.9.9.9:3307"])
def test_a_service_that_moved_is_compared_where_it_is_told_to_be_the_same(here, tmp_path, examples_dir, same):
    after = moved(tmp_path / "after.pcap", examples_dir)
    found = here("compare", examples_dir / "mariadb-lock.pcap", after, "--same", same, "--format", "json")
    told = json.loads(found.text)
    (service,) = told["services"]
    assert (service["server_port"], service["requests"]["before"]) == (3306, service["requests"]["after"])
    assert (service["after_server_address"], service["after_server_port"]) == ("10.9.9.9", 3307)
    assert not told["is_worse"]
    again = tcpsight.compare(examples_dir / "mariadb-lock.pcap", after, same=[same])
    assert again["services"] == told["services"]


@pytest.mark.parametrize(
    ("same", "words"),
    [
        (":3306", "tells of no move: write BEFORE=AFTER"),
        (":3306=:x", "no server"),
        (":1=:3307", "no service is that in the capture before: :1; there is 10.1.1.1:3306"),
        (":3306=10.9.9.8", "no service is that in the capture after: 10.9.9.8; there is 10.9.9.9:3307"),
    ],
)
def test_a_move_that_is_not_there_is_told(here, tmp_path, examples_dir, same, words):
    after = moved(tmp_path / "after.pcap", examples_dir)
    found = here("compare", examples_dir / "mariadb-lock.pcap", after, "--same", same)
    assert found.status == 2
    assert words in found.err
    assert found.err.count("\n") == 1
