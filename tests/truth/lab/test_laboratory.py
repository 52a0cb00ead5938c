"""The laboratory measures itself: what its log says is what captures, sockets and tracepoints saw.

Records three short scenarios at once, each in a process of its own, and compares four witnesses of the same packets:
the forwarder's log, a capture at either end, TCP_INFO and the kernel's tracepoints.
"""

from __future__ import annotations

import json
import os
from collections import Counter
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zstandard

from tests.conftest import PEERS_ARE_REQUIRED, require_program
from tests.truth.lab import catalogue, kernel, record
from tests.truth.lab.path import DOWN, FATES, RECORD, UP, Direction
from tests.truth.lab.rewriting import Frame, read

pytestmark = [pytest.mark.live, pytest.mark.slow]

SCENARIOS = ("listed_loss", "shallow_queue", "clean_exchanges")
FIRST = record.SETS["A"]


def _has_offload(name: str, number: int) -> bool:
    return catalogue.make(name, FIRST + number).hosts.has_offload


# With offload, a capture at the sender's end shows segments that the path never carries: nothing to compare with.
SEED = next(n for n in range(70, 1000) if not any(_has_offload(name, n) for name in SCENARIOS))


@dataclass
class Run:
    """A recorded run, read back."""

    truth: dict[str, Any]
    log: np.ndarray[Any, Any]
    frames: dict[str, list[Frame]]
    rules: tuple[Direction, Direction]

    @property
    def tcp(self) -> np.ndarray[Any, Any]:
        return self.log[self.log["source"] > 0]


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Run]:
    require_program("tcpdump")
    require_program("ip")
    require_program("cc")
    reason = kernel.missing()
    if reason:
        if PEERS_ARE_REQUIRED and os.geteuid() == 0:
            pytest.fail(f"the laboratory {reason}")
        pytest.skip(f"the laboratory {reason}")
    folder = tmp_path_factory.mktemp("lab")
    wanted = [*SCENARIOS, "--first", str(SEED), "--parallel", "3", "--keep-log", "-o", str(folder)]
    # A machine that runs the other tests at the same time wakes nobody on time.
    record.LATE_P99_NS = record.LATE_MAX_NS = 10**9
    assert record.main(wanted) == 0
    return {name: _read(folder / name / f"{SEED:03d}", name) for name in SCENARIOS}


def _read(folder: Path, name: str) -> Run:
    truth = json.loads((folder / "truth.json").read_text())
    data = zstandard.ZstdDecompressor().decompressobj().decompress((folder / "path.log.zst").read_bytes())
    frames = {v: read(folder / f"{v}.pcap.zst")[1] for v in ("client", "middle", "server")}
    link = catalogue.make(name, truth["seed"]).link
    return Run(truth, np.frombuffer(data, RECORD), frames, (link.up, link.down))


def _headers(frames: list[Frame]) -> Counter[bytes]:
    return Counter(f.data for f in frames)


def _logged(rows: np.ndarray[Any, Any]) -> Counter[bytes]:
    return Counter(bytes(r["headers"][: r["header_bytes"]]) for r in rows)


def _cut(frames: list[Frame]) -> list[Frame]:
    """Keep headers only: what the log keeps."""
    return [f._replace(data=f.data[: f.ip_bytes + f.tcp_bytes]) for f in frames]


def _without_checksums(headers: Counter[bytes]) -> Counter[bytes]:
    """Blank what offload to the device fills in: the TCP checksum."""
    found: Counter[bytes] = Counter()
    for data, n in headers.items():
        at = ((data[0] & 15) * 4 if data[0] >> 4 == 4 else 40) + 16
        found[data[:at] + b"\0\0" + data[at + 2 :]] += n
    return found


@pytest.mark.parametrize("name", SCENARIOS)
def test_every_packet_has_a_fate(runs: dict[str, Run], name: str) -> None:
    log = runs[name].tcp
    gone = log[log["fate"] != 0]
    assert (gone["out_ns"] == 0).all()
    assert (log[log["fate"] == 0]["out_ns"] > 0).all(), "packets were still on the way when the run ended"
    assert set(gone["fate"]) <= {FATES.index(f) for f in ("listed", "queue")}


@pytest.mark.parametrize("name", SCENARIOS)
def test_captures_at_both_ends_are_what_the_log_says(runs: dict[str, Run], name: str) -> None:
    run = runs[name]
    assert not run.truth["hosts"]["has_offload"]
    log = run.tcp
    up, down = log[log["direction"] == UP], log[log["direction"] == DOWN]
    for vantage, sent, received in (("client", up, down), ("server", down, up)):
        expected = _logged(sent) + _logged(received[received["out_ns"] > 0])
        assert _without_checksums(_headers(_cut(run.frames[vantage]))) == _without_checksums(expected)


@pytest.mark.parametrize("name", SCENARIOS)
def test_nothing_leaves_before_its_time(runs: dict[str, Run], name: str) -> None:
    log = runs[name].tcp
    out = log[log["out_ns"] > 0]
    assert (out["out_ns"] >= out["due_ns"]).all()
    for direction, rules in enumerate(runs[name].rules):
        rows = out[out["direction"] == direction]
        assert (rows["due_ns"] - rows["in_ns"] >= rules.delay_ns).all()


def test_a_free_link_takes_its_delay_and_the_time_of_the_bits(runs: dict[str, Run]) -> None:
    run = runs["clean_exchanges"]
    for direction, rules in enumerate(run.rules):
        rows = run.tcp[run.tcp["direction"] == direction]
        assert rules.line_rate > 0
        free_ns = 0
        for r in rows:
            free_ns = max(free_ns, int(r["in_ns"])) + int(r["wire_bytes"]) * 8 * 10**9 // rules.line_rate
            # The realtime clock may be slewed between two readings; 20 µs is far more than it ever is.
            assert abs(int(r["due_ns"]) - (free_ns + rules.delay_ns)) < 20_000


def test_a_full_link_carries_its_rate(runs: dict[str, Run]) -> None:
    run = runs["shallow_queue"]
    direction = next(d for d, rules in enumerate(run.rules) if rules.rate)
    rules = run.rules[direction]
    rows = run.tcp[(run.tcp["direction"] == direction) & (run.tcp["out_ns"] > 0)]
    busy = [(a, b) for a, b in pairwise(rows) if a["queued"] > 3000 and b["queued"] > 3000]
    assert len(busy) > 100
    for a, b in busy:
        took = int(b["due_ns"]) - int(a["due_ns"])
        assert took == pytest.approx(int(b["wire_bytes"]) * 8e9 / rules.rate, abs=20_000)


def test_what_is_lost_is_lost_for_the_reason_that_was_set(runs: dict[str, Run]) -> None:
    counts = {name: Counter(FATES[f] for f in runs[name].tcp["fate"]) for name in SCENARIOS}
    assert counts["listed_loss"]["listed"] > 0
    assert counts["listed_loss"]["queue"] == 0
    assert counts["shallow_queue"]["queue"] > 0
    assert set(counts["clean_exchanges"]) == {"forwarded"}


@pytest.mark.parametrize("name", SCENARIOS)
def test_the_kernel_counted_every_segment_that_was_sent_again(runs: dict[str, Run], name: str) -> None:
    sides = [c[side] for c in runs[name].truth["connections"] for side in ("client", "server")]
    for side in sides:
        assert side["info"]["total_retrans"] == side["resent"]
        # A tracepoint may stand for several segments: the kernel sends again by buffer.
        traced = side["kernel_retransmissions"]["all"] + side["kernel_retransmissions"]["syn_ack"]
        assert traced <= side["resent"]
        assert (traced > 0) == (side["resent"] > 0)
    assert (sum(side["resent"] for side in sides) > 0) == (name != "clean_exchanges")


@pytest.mark.parametrize("name", SCENARIOS)
def test_sockets_and_log_count_the_same_bytes(runs: dict[str, Run], name: str) -> None:
    for connection in runs[name].truth["connections"]:
        for side, other in (("client", "server"), ("server", "client")):
            sent, received = connection[side], connection[other]
            assert sent["bytes"] == received["info"]["bytes_received"] - (side == "client")
            assert sent["info"]["bytes_retrans"] == sent["resent_bytes"]


@pytest.mark.parametrize("name", SCENARIOS)
def test_no_round_trip_is_shorter_than_the_path(runs: dict[str, Run], name: str) -> None:
    up, down = runs[name].rules
    for connection in runs[name].truth["connections"]:
        for side in ("client", "server"):
            unit_ns = 1_000_000 if connection[side]["is_rtt_coarse"] else 1000  # what the kernel rounds down to
            assert connection[side]["rtt_min_ns"] > up.delay_ns + down.delay_ns - unit_ns


@pytest.mark.parametrize("name", SCENARIOS)
def test_the_tap_in_the_middle_sees_times_between_those_of_the_ends(runs: dict[str, Run], name: str) -> None:
    run = runs[name]
    middle = {f.data: f.time_ns for f in _cut(run.frames["middle"])}
    for r in run.tcp[run.tcp["out_ns"] > 0]:
        time_ns = middle[bytes(r["headers"][: r["header_bytes"]])]
        assert r["in_ns"] <= time_ns <= r["out_ns"] or (run.tcp["seq"] == r["seq"]).sum() > 1
