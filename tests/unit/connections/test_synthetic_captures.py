"""Captures whose every connection is known, from the file to the rows."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tcpsight.tables import Connections
from tests.peers.ours import read
from tests.support.headers import words

COLUMNS = (
    "client_port",
    "state",
    "connect_attempts",
    "client_bytes",
    "server_bytes",
    "client_segments",
    "server_segments",
    "client_retransmissions",
    "server_retransmissions",
    "client_gap_bytes",
    "server_gap_bytes",
)

EXPECTED: dict[str, list[tuple[Any, ...]]] = {
    "connections-80.pcap": [
        (40001, "closed", 1, 100, 5000, 5, 6, 0, 0, 0, 0),
        (40002, "closed", 1, 200, 10000, 4, 11, 0, 0, 0, 0),
        (40003, "closed", 1, 300, 20000, 4, 18, 0, 0, 0, 0),
        (40004, "closed", 1, 2000, 40000, 6, 31, 0, 0, 0, 0),
        (40005, "closed", 2, 50, 100, 6, 3, 1, 0, 0, 0),  # its SYN was sent twice
        (40006, "closed", 3, 50, 100, 6, 4, 2, 0, 0, 0),  # and here three times
        (40007, "closed", 1, 10, 0, 5, 2, 0, 0, 0, 0),
        (40008, "client_reset", 1, 10, 10, 4, 2, 0, 0, 0, 0),
        (40009, "server_reset", 1, 10, 10, 3, 3, 0, 0, 0, 0),
        (40010, "unanswered", 4, 0, 0, 4, 0, 3, 0, 0, 0),
        (40011, "open", 1, 10, 10, 3, 2, 0, 0, 0, 0),
        (40012, "closed", 1, 3000, 3000, 7, 5, 0, 0, 0, 0),  # both numbers wrap
        (40001, "closed", 1, 11, 22, 5, 3, 0, 0, 0, 0),  # the port again
        (40013, "handshaking", 1, 0, 0, 1, 5, 0, 4, 0, 0),  # five SYN-ACKs
        (40014, "closed", 1, 5, 1000, 4, 3, 0, 0, 0, 0),
        (40015, "closed", 0, 0, 0, 2, 1, 0, 0, 0, 0),  # only its end
    ],
    "streams-mix.pcap": [
        (41001, "closed", 1, 38, 43, 5, 3, 0, 0, 0, 0),
        (41002, "closed", 1, 10, 17, 6, 4, 1, 0, 0, 0),  # out of order, and once sent again
        (41003, "closed", 1, 13, 7, 5, 3, 0, 0, 5, 0),  # five bytes are missing
        (41004, "open", 1, 7, 0, 3, 1, 0, 0, 0, 0),
        (41005, "closed", 1, 0, 0, 4, 2, 0, 0, 0, 0),
        (41006, "server_reset", 1, 15, 0, 3, 2, 0, 0, 0, 0),  # the RST carries data
        (41004, "closed", 1, 22, 0, 5, 2, 0, 0, 0, 0),  # the port again, while it was in use
    ],
    "seqwrap.pcap": [(42001, "closed", 1, 20, 400, 6, 3, 0, 0, 0, 0)],
    "reqresp-3306.pcap": [
        (50001, "closed", 1, 3128, 2714, 14, 11, 1, 1, 0, 0),
        (50002, "open", 1, 390, 324, 25, 24, 0, 0, 0, 0),
        (50003, "open", 1, 99, 10, 3, 2, 0, 0, 0, 0),
        (50004, "open", 1, 5, 7, 3, 3, 0, 0, 0, 0),
        (50005, "open", 1, 4, 0, 3, 1, 0, 0, 0, 0),
        (50001, "open", 1, 9, 9, 3, 2, 0, 0, 0, 0),  # the same client port to another server
    ],
}


@pytest.mark.parametrize("name", EXPECTED)
def test_every_connection_comes_out_exactly(name: str, fixtures_dir: Path):
    reading = read(fixtures_dir / "synthetic" / name)
    assert not reading.stopped
    by_id = Connections(np.array([row for _, row in sorted(reading.connections.items())], Connections.dtype))
    found = list(zip(*(words(Connections, by_id, column) for column in COLUMNS), strict=True))
    assert found == EXPECTED[name]
