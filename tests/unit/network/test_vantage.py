"""Where a capture was taken: what the gaps of the handshake and the times to live say, and how sure that is."""

from __future__ import annotations

import pytest

from tcpsight.network import Placing
from tcpsight.tables import VANTAGES
from tests.support.accounting import inputs, lives, plain, run
from tests.support.conversation import whole

US = 1_000
MS = 1_000 * US
UNKNOWN = -1


def vantage(server_rtt_ns: int, client_rtt_ns: int, server_ttl: int = 0, client_ttl: int = 0) -> tuple[str, float]:
    events = whole("0 0 > 10\n 5 0 < 10\n 6 + > 5\n 7 + < 5")
    for event, ttl in zip(events[1:], (client_ttl, server_ttl, 3, 3), strict=False):
        event["ttl"] = ttl
    known = {"server_handshake_rtt_ns": server_rtt_ns, "client_handshake_rtt_ns": client_rtt_ns}
    batch = inputs(events, lives(events, **known))
    row = plain(run([batch]).connections)[0]
    # Who wants nothing else of the account is told the same by less work.
    alone = Placing().feed(*batch).connections
    assert (alone.vantage.tolist(), alone.vantage_confidence.tolist()) == (
        [row["vantage"]],
        [row["vantage_confidence"]],
    )
    return VANTAGES[row["vantage"]], row["vantage_confidence"]


@pytest.mark.parametrize(
    ("server_rtt", "client_rtt", "expected"),
    [
        (60 * US, 40 * MS, "server"),
        (40 * MS, 60 * US, "client"),
        (10 * MS, 30 * MS, "between"),
        (2 * MS, 80 * MS, "server"),  # one part in twenty of a long way is next door
        (5 * MS, 80 * MS, "between"),
        (100 * US, 900 * US, "server"),
        (101 * US, 900 * US, "unknown"),  # both ends are in one building
        (30 * US, 20 * US, "unknown"),
        (UNKNOWN, 20 * US, "unknown"),
        (40 * MS, UNKNOWN, "unknown"),
    ],
)
def test_the_end_that_answers_at_once_is_next_door(server_rtt: int, client_rtt: int, expected: str):
    assert vantage(server_rtt, client_rtt) == (expected, UNKNOWN if expected == "unknown" else 0.8)


@pytest.mark.parametrize(
    ("server_ttl", "client_ttl", "expected"),
    [
        (64, 52, ("server", 0.7)),
        (117, 64, ("client", 0.7)),
        (128, 250, ("server", 0.7)),
        (57, 119, ("between", 0.6)),
        (64, 64, ("unknown", UNKNOWN)),
        (64, 128, ("unknown", UNKNOWN)),  # both were sent here
        (1, 64, ("unknown", UNKNOWN)),  # nobody is 31 routers away
        (0, 64, ("unknown", UNKNOWN)),
    ],
)
def test_what_no_router_has_forwarded_was_sent_next_door(server_ttl: int, client_ttl: int, expected: tuple[str, float]):
    assert vantage(UNKNOWN, UNKNOWN, server_ttl, client_ttl) == expected


@pytest.mark.parametrize(
    ("ttls", "confidence"),
    [((64, 50), 0.95), ((63, 50), 0.95), ((50, 64), 0.5), ((64, 64), 0.8), ((60, 60), 0.8), ((2, 50), 0.8)],
)
def test_times_to_live_make_the_gaps_surer_or_less_sure(ttls: tuple[int, int], confidence: float):
    assert vantage(60 * US, 40 * MS, *ttls) == ("server", confidence)


@pytest.mark.parametrize(("ttls", "confidence"), [((60, 50), 0.95), ((64, 50), 0.5), ((64, 64), 0.8)])
def test_on_the_way_both_sides_packets_were_forwarded(ttls: tuple[int, int], confidence: float):
    assert vantage(10 * MS, 30 * MS, *ttls) == ("between", confidence)


def of_repeated(server: tuple[int, int], client: tuple[int, int]) -> str:
    """Give the vantage by a round trip, or its least, to each end: −1 for what is not known."""
    known = {"server_handshake_rtt_ns": server[0], "client_handshake_rtt_ns": client[0], "connect_ns": 1_050 * MS}
    known |= {"server_handshake_least_ns": server[1], "client_handshake_least_ns": client[1]}
    batch = inputs(events := whole("0 0 > 10\n 5 0 < 10\n 6 + > 5\n 7 + < 5"), lives(events, **known))
    found = VANTAGES[plain(run([batch]).connections)[0]["vantage"]]
    assert VANTAGES[int(Placing().feed(*batch).connections.vantage[0])] == found
    return found


def test_repeated_segments_of_the_handshake_tell_it_if_all_they_can_mean_is_the_same():
    assert of_repeated((30 * US, -1), (UNKNOWN, 20 * MS)) == "server"
    assert of_repeated((UNKNOWN, 20 * MS), (50 * US, -1)) == "client"
    # 40 ms are next to nothing beside a second, and as much as 40 ms.
    assert of_repeated((UNKNOWN, 41 * MS), (40 * MS, -1)) == "unknown"
    assert of_repeated((UNKNOWN, -1), (40 * US, -1)) == "unknown"
