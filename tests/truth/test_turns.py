"""Two sides that speak at random have no response times; those that answer have, in whatever pieces."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

import tcpsight
from tcpsight.cli.main import main
from tcpsight.model.turns import Turns
from tcpsight.output.report import page
from tcpsight.tables import Requests
from tests.support.pcap import Frame, pcap_bytes, tcp_frame
from tests.support.reports import facts_of

MS = 1_000_000
Events = list[tuple[int, int]]
"""When a side says something: 0 the client, 1 the server."""


def turns_of(talks: list[Events]) -> Turns:
    """Pair what was said, connection by connection, into small requests and answers."""
    found = Turns()
    for number, events in enumerate(talks):
        runs: list[list[Any]] = []
        for at, side in sorted(events):
            if runs and runs[-1][0] == side:
                runs[-1][1].append(at)
            elif runs or side == 0:
                runs.append([side, [at]])
        pairs = list(zip(runs[::2], runs[1::2], strict=False))
        table = Requests.allocate(len(pairs))
        table.connection_id[:] = number
        for row, ((_, asked), (_, told)) in enumerate(pairs):
            table.request_index[row] = row
            table.request_first_ns[row], table.request_last_ns[row] = asked[0], asked[-1]
            table.response_first_ns[row], table.response_last_ns[row] = told[0], told[-1]
            table.request_bytes[row], table.response_bytes[row] = 40 * len(asked), 40 * len(told)
        found.add(table)
    return found


def alone(random: np.random.Generator, rate_per_s: float, law: str, seconds: float) -> Iterator[int]:
    """Say something now and then, whatever the other side does."""
    now = random.random() / rate_per_s
    while now < seconds:
        yield int(now * 1e9)
        now += random.exponential(1 / rate_per_s) if law == "random" else random.normal(1, 0.02) / rate_per_s


def two_ways(seed: int, server: str, ratio: float) -> list[Events]:
    random = np.random.default_rng(seed)
    rate = float(10 ** random.uniform(0, 3))
    talks = []
    for _ in range(3):
        seconds = 150 / min(rate, rate * ratio)
        said = [alone(random, rate, "random", seconds), alone(random, rate * ratio, server, seconds)]
        talks.append([(at, side) for side in (0, 1) for at in said[side]])
    return talks


Law = Callable[[np.random.Generator], float]

TIMES: dict[str, Law] = {
    "none": lambda random: 0.02 * MS,
    "fixed": lambda random: 5 * MS,
    "random": lambda random: random.exponential(5 * MS),
    "lognormal": lambda random: random.lognormal(0, 1.5) * 3 * MS,
    "person": lambda random: random.lognormal(0, 1) * 1000 * MS,
}


def answering(seed: int, think: str, parts: tuple[int, int]) -> list[Events]:
    """Let clients ask, in some segments, and a server answer in some pieces, after long pauses."""
    random = np.random.default_rng(seed)
    talks = []
    for _ in range(3):
        now, events = 0.0, []
        for _ in range(150):
            now += TIMES[think](random) + 1000
            for part in range(parts[0]):
                now += 40 * MS * (part > 0)  # Nagle's algorithm waits for a delayed acknowledgment
                events.append((int(now), 0))
            now += TIMES["random"](random) + 20_000
            for part in range(parts[1]):
                now += random.exponential(30 * MS) * (part > 0)
                events.append((int(now), 1))
        talks.append(events)
    return talks


@pytest.mark.parametrize("server", ["random", "clock"])
@pytest.mark.parametrize("ratio", [0.2, 0.5, 1, 2, 5])
def test_sides_that_speak_at_random_have_no_response_times(server, ratio):
    verdicts = [turns_of(two_ways(seed, server, ratio)) for seed in range(20)]
    # A clock slower than its client speaks never again, one that is faster leaves the client little to say.
    refused = [each.hold is False for each in verdicts]
    told = [each.hold is False or each.doubt is not None for each in verdicts]
    assert sum(told) >= 19
    if server == "random":
        assert sum(refused) >= 19


@pytest.mark.parametrize("think", TIMES)
@pytest.mark.parametrize("parts", [(1, 1), (2, 1), (1, 2), (1, 8), (2, 4)])
def test_sides_that_answer_have_response_times(think, parts):
    for seed in range(10):
        found = turns_of(answering(seed, think, parts))
        assert found.hold
        if parts == (1, 1) or think in ("none", "person"):
            assert found.doubt is None


def recorded(talks: list[Events]) -> bytes:
    """Write talks as a capture: a small segment for whatever is said."""
    said = sorted((at, side, number) for number, events in enumerate(talks) for at, side in events)
    sent = [[9000, 1000] for _ in talks]
    frames = []
    for at, side, number in said:
        ends = (("10.0.0.9", "10.0.0.1") if side else ("10.0.0.1", "10.0.0.9"), (80, 40_000 + number))
        ports = ends[1] if side else ends[1][::-1]
        own = sent[number]
        data = tcp_frame(*ends[0], *ports, own[1 - side], own[side], "PA", bytes(40))
        frames.append(Frame(1_700_000_000 * 10**9 + at, data))
        own[1 - side] += 40
    return pcap_bytes(frames, nanoseconds=True)


def test_of_sides_that_speak_at_random_nothing_is_told_that_follows_from_response_times(capsys, tmp_path):
    path = tmp_path / "chat.pcap"
    path.write_bytes(recorded(two_ways(1, "random", 1)))
    told = facts_of(path.read_bytes())
    (service,) = told["services"]
    assert service["turns"]["hold"] is False
    for words in ("time went to", "by the time they waited", "clients thinking"):
        assert words not in page(told)
    assert service["response_time"]["p50_ns"] is service["concurrency"] is None
    assert main(["usl", str(path)]) == 0
    assert "refused         the two sides do not take turns" in capsys.readouterr().out
    (found,) = tcpsight.open(path).findings.to_arrow().to_pylist()
    assert found["kind"] == "no_turns"
    assert "there are no response times" in found["summary"]
    # Whoever spoke at random is counted, though nothing overlapped.
    assert found["connections"] == len(tcpsight.open(path).connections.to_numpy())
    assert found["connection_id"] > 0


def test_a_doubt_is_told_beside_the_response_times(tmp_path):
    path = tmp_path / "clock.pcap"
    path.write_bytes(recorded(two_ways(2, "clock", 0.2)))
    told = facts_of(path.read_bytes())
    (service,) = told["services"]
    assert service["turns"]["hold"] is True
    assert service["response_time"]["p50_ns"] is not None
    assert f"in doubt: {service['turns']['doubt'][:40]}" in page(told)
    found = [each for each in tcpsight.open(path).findings.to_arrow().to_pylist() if each["kind"] == "no_turns"]
    assert [each["confidence"] for each in found] == [0.5]
