"""``watch`` of a file whose writer stops: silence at its end is not the server's."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest

from tests.cli.running import Outcome, process
from tests.support.pcap import Frame, pcap_header, pcap_record
from tests.support.traffic import MS, START_NS, Exchange, Talk, answered


def followed_to_its_end(folder: Path) -> Outcome:
    """Follow a file of a service that answers at once, the last frames of which are requests."""
    talks = [Talk([*answered(*[1, 2] * 100), Exchange(1 * MS, None)], client_port=40_000 + i, is_closed=False,
                  start_ns=START_NS + i * MS) for i in range(20)]  # fmt: skip
    frames = sorted((frame for talk in talks for frame in talk.frames()), key=lambda frame: frame.time_ns)
    shift = time.time_ns() - frames[-1].time_ns
    path = folder / "grow.pcap"
    records = [pcap_record(Frame(frame.time_ns + shift, frame.data), nanoseconds=True) for frame in frames]
    path.write_bytes(pcap_header(nanoseconds=True) + b"".join(records))
    return process("watch", path, "--follow", "--follow-idle", "6s", "--json", "--interval", "500ms")


@pytest.fixture(scope="module")
def outcome(tmp_path_factory: pytest.TempPathFactory) -> Outcome:
    return followed_to_its_end(tmp_path_factory.mktemp("unheard"))


def test_requests_under_way_when_the_writer_stopped_are_no_critical_stall(outcome):
    assert outcome.status == 0
    assert "critical" not in outcome.err
    (stall,) = [line for line in outcome.err.splitlines() if ": stall: " in line]
    assert stall.startswith("tcpsight: warning: ")
    assert "nothing at all was captured for " in stall
    assert "or capturing stood still" in stall


def test_the_end_says_for_how_long_nothing_was_captured(outcome):
    rows = [json.loads(line) for line in outcome.text.splitlines()]
    assert rows[-1]["arrivals"] == 0
    assert "note: nothing was captured in the last " in outcome.err
