"""Boards that show something known, made without a thread."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

import tcpsight
from tcpsight.tables import FINDINGS, SEVERITIES, Findings
from tcpsight.ui.board import Board
from tests.support.pcap import pcap_bytes
from tests.support.traffic import Exchange, Talk, answered, capture


def watched(path: Path, *, source: str = "", ends: bool = True, slices: int | None = None) -> Board:
    """Show a capture, or its first slices."""
    board = Board(source or path.name)
    with tcpsight.open(path).watch(with_totals=True) as (run, watch):
        watch.on_batch = board.note
        for number, each in enumerate(watch, 1):
            board.take(each, run)
            if number == slices:
                break
        if ends:
            board.end(run)
    return board


def two_services(folder: Path) -> Path:
    """Record a fast service with two connections, and a slow one with a request that waits in the end."""
    second = 1_000_000_000
    fast = [Exchange(second // 10, 2_000_000)] * 30
    slow = [*answered(300, 500, after_ms=200), Exchange(second // 2, None)]
    talks = [
        Talk(fast, client_port=40_000, server_port=80, is_closed=False),
        Talk(fast[:25], client_port=40_001, server_port=80),
        Talk(slow, client_port=50_000, server_port=5432, is_closed=False),
    ]
    path = folder / "two-services.pcap"
    path.write_bytes(pcap_bytes(capture(talks)))
    return path


def finding(summary: str = "answers stopped for 1.5 s", subject: str = "10.0.0.9:80") -> Findings:
    """Make a finding."""
    found = Findings.allocate(1)
    found.rows["kind"] = FINDINGS.index("refused")
    found.rows["severity"] = SEVERITIES.index("critical")
    found.rows["start_ns"] = 1_700_000_001 * 10**9
    found.rows["end_ns"] = 1_700_000_002 * 10**9
    found.rows["direction"] = 255
    found.rows["connection_id"] = -1
    found.rows["subject"] = subject.encode()
    found.rows["summary"] = summary.encode()
    found.rows["evidence"] = json.dumps({}).encode()
    found.rows["server_address"] = np.frombuffer(bytes(10) + b"\xff\xff\x0a\x00\x00\x09", np.uint8)
    found.rows["server_port"] = 80
    found.rows["ip_version"] = 4
    return found


def with_findings(board: Board, *findings: Findings) -> Board:
    """Put findings on a board."""
    board._keep_findings(Findings.concatenate(list(findings)))
    board._show(**board._kept())
    return board


def names(rows: Any) -> list[str]:
    """Name services in order."""
    return [row.name for row in rows]
