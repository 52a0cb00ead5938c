"""What benchmarks judge and write, without running them."""

from __future__ import annotations

import json

from benchmarks import instructions, peers


def test_the_table_of_the_readme_is_what_was_measured():
    told = json.loads(peers.RESULTS.read_text())
    text = peers.README.read_text()
    assert peers.table(told) in text
    assert peers.with_table(text, told) == text


def test_every_peer_that_was_measured_has_a_row_the_fastest_first():
    rows = [
        {"name": name, "tells": "what", "million_segments_per_cpu_s": speed, "peak_mb": 20}
        for name, speed in (("slow", 0.0123), ("tcpsight x", 4.56), ("fast", 12.34))
    ]
    about = {"cpu": "C", "date": "D"}
    told = {"segments": 2_000_000, "connections": 4000, "machine": about, "peers": rows}
    lines = peers.table(told | {"rounds": 1}).splitlines()
    assert lines[2:5] == [
        "| fast | 12.3 | 20 MB | what |",
        "| **tcpsight x** | 4.6 | 20 MB | what |",
        "| slow | 0.01 | 20 MB | what |",
    ]
    assert lines[-1].startswith("2 million segments of 4,000 connections")
    assert "included, one round;" in lines[-1]
    assert "included, median of 3 rounds;" in peers.table(told | {"rounds": 3})


def test_slow_peers_read_the_beginning_only():
    scapy = next(peer for peer in peers.PEERS if peer.name == "scapy")
    assert peers.read(scapy, 10_000_000) == scapy.most_segments
    assert peers.read(scapy, 50) == 50
    assert str(scapy.most_segments) in scapy.command(peers.RESULTS, peers.read(scapy, 10_000_000))


def test_more_instructions_than_before_are_a_regression_where_libraries_are_the_same():
    history = [
        {"kind": {"numpy": "1"}, "per_segment": {"requests": 100.0}, "commit": "a"},
        {"kind": {"numpy": "1"}, "per_segment": {"requests": 110.0}, "commit": "b"},
        {"kind": {"numpy": "2"}, "per_segment": {"requests": 300.0}, "commit": "c"},
    ]
    known = instructions.latest(history, {"numpy": "1"})
    assert known is not None
    assert known["commit"] == "b"
    assert instructions.latest(history, {"numpy": "3"}) is None
    assert instructions.regressions(known["per_segment"], {"requests": 113.0, "network": 5.0}) == []
    assert instructions.regressions(known["per_segment"], {"requests": 113.4}) == ["requests"]


def test_the_stored_history_tells_of_every_command():
    history = json.loads(instructions.RESULTS.read_text())
    assert set(history[-1]["per_segment"]) == set(instructions.COMMANDS)
