"""Captures for the command to read, and ways to run it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.cli.running import SIZES_AND_COLOURS, Here
from tests.support.pcap import pcap_bytes
from tests.support.traffic import MS, START_NS, Exchange, Talk, answered, capture

TALKS = (
    Talk(answered(5, 1, 3)),
    Talk(answered(2, 4), client="10.0.0.2", start_ns=START_NS + 7 * MS),
    Talk(answered(50), server_port=80, client_port=50_000, start_ns=START_NS + 20 * MS),
    Talk([Exchange(5 * MS, None)], client="10.0.0.3", start_ns=START_NS + 30 * MS, is_closed=False),
)
RESPONSE_TIMES_MS = [1, 2, 3, 4, 5, 50]


@pytest.fixture
def here(capsysbinary: Any, monkeypatch: pytest.MonkeyPatch) -> Here:
    for name in SIZES_AND_COLOURS:  # pytest-xdist sets some
        monkeypatch.delenv(name, raising=False)
    return Here(capsysbinary)


@pytest.fixture
def pcap(tmp_path: Path) -> Path:
    """Four connections to two services; six requests are answered, one is not."""
    path = tmp_path / "traffic.pcap"
    path.write_bytes(pcap_bytes(capture(TALKS), nanoseconds=True))
    return path
