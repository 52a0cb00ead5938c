"""Transports: every message arrives, times are those of round trips, and nothing is left behind."""

from __future__ import annotations

import os
import socket
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tcpsight.errors import TcpsightError
from tcpsight.model.distribution import Distribution
from tcpsight.output.drawing import Screen
from tcpsight.output.transports import page
from tcpsight.tables import Requests
from tcpsight.transports import _exchange, measuring
from tcpsight.transports.channels import TRANSPORTS, open_channel
from tcpsight.transports.facts import are_measured, measured_facts, service_facts, stack_ns
from tcpsight.transports.measuring import Case, Measurement, cases, measure, processors

CASE_NS = 20_000_000


@pytest.mark.parametrize("size", [1, 64, 5000, 200_000])
@pytest.mark.parametrize("transport", TRANSPORTS)
def test_every_byte_that_was_sent_arrives_and_round_trips_are_counted(transport, size):
    found = measure(Case(transport, size, "free"), CASE_NS)
    assert found.messages > 0
    assert found.byte_count == found.messages * size
    assert 0 < found.round_trips.min <= found.round_trips.quantile(0.5) <= found.round_trips.max
    assert found.duration_ns >= CASE_NS // 2


@pytest.mark.parametrize("delay_ms", [2, 6])
def test_a_side_that_takes_its_time_is_measured(delay_ms):
    """The truth is what the other side waits: no round trip is shorter."""
    one, other = socket.socketpair()

    def answer() -> None:
        while data := other.recv(100):
            time.sleep(delay_ms / 1000)
            other.sendall(data)

    thread = threading.Thread(target=answer)
    thread.start()
    samples = np.zeros(20, np.int64)
    message = np.zeros(10, np.uint8)
    count = _exchange.ping(one.fileno(), one.fileno(), message, _exchange.now_ns() + 10**10, samples, is_datagram=False)
    one.close()
    thread.join()
    other.close()
    assert count == 20
    assert samples.min() >= delay_ms * 1_000_000


@pytest.mark.parametrize("transport", [each for each in TRANSPORTS if each != "shared_memory"])
def test_the_other_side_gets_the_bytes_that_were_sent(transport):
    ours, theirs = open_channel(transport)
    message = np.frombuffer(bytes(range(200)), np.uint8).copy()
    assert _exchange.flood(ours.sending, message, 0) > 0
    got = np.zeros(200, np.uint8)
    answers = threading.Thread(target=lambda: os.write(theirs.sending, os.read(theirs.receiving, 200)))
    answers.start()
    answers.join()
    assert os.read(ours.receiving, 200) == bytes(range(200))
    ours.say_end()
    assert _exchange.drain(theirs.receiving, got, is_datagram=transport == "unix_datagram") % 200 == 0
    for each in (ours, theirs):
        each.close()


def test_shared_memory_carries_the_bytes_there_and_back_and_round_the_ring():
    size, most, count, milliseconds = 100, 0, 0, 10
    message, taken = np.arange(size, dtype=np.uint8), np.zeros(size, np.uint8)
    while most <= 64:  # until slots are used again, however busy the processor is
        milliseconds *= 2
        until = _exchange.now_ns() + milliseconds * 1_000_000
        memory = np.zeros(_exchange.shared_bytes(size), np.uint8)
        total: list[int] = []
        drain = threading.Thread(target=drain_into, args=(total, memory, taken, until))
        drain.start()
        count = _exchange.flood_shared(memory, message, until)
        drain.join()
        assert total == [count * size]
        most = max(most, count)
    assert (taken == message).all()


def drain_into(total: list[int], memory: Any, taken: Any, until: int) -> None:
    total.append(_exchange.drain_shared(memory, taken, until))


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_one_message_comes_through_even_if_time_is_over_before_it_begins(transport):
    found = measure(Case(transport, 64, "free"), 0)
    assert found.messages > 0
    assert found.round_trips.count > 0


def test_fork_and_exit_of_the_other_side_are_not_in_the_time_of_shared_memory(monkeypatch):
    """Whatever the load, what is slept before and after is not in it."""

    class Slow(measuring._Child):
        def __init__(self, run: Callable[[], object], places: tuple[int, int] | None) -> None:
            def slowly() -> None:
                time.sleep(0.1)  # what must not be measured
                run()
                time.sleep(0.1)  # what must not be measured

            super().__init__(slowly, places)

    monkeypatch.setattr(measuring, "_Child", Slow)
    begun_ns = _exchange.now_ns()
    _, _, took_ns = measuring._throughput_shared(Case("shared_memory", 64, "free"), None, 10_000_000)
    assert 10_000_000 <= took_ns <= _exchange.now_ns() - begun_ns - 200_000_000


def test_both_processes_run_on_the_processors_they_are_pinned_to(monkeypatch):
    places: list[set[int]] = []
    monkeypatch.setattr(os, "sched_setaffinity", lambda pid, given: places.append(set(given)))
    monkeypatch.setattr(measuring, "processors", lambda pinning: (5, 3))
    read, write = os.pipe()
    allowed = os.sched_getaffinity(0)
    with measuring._Child(lambda: os.write(write, bytes(places[-1])), (5, 3)) as child:
        child.wait()
    assert os.read(read, 9) == bytes([3])
    measure(Case("pipe", 64, "apart"), CASE_NS)
    assert places == [{5}, allowed]
    os.close(read)
    os.close(write)


def test_of_few_round_trips_no_percentile_is_told():
    few, enough = Distribution(), Distribution()
    few.add(np.arange(1, 20))
    enough.add(np.arange(1, 21))
    case = Case("pipe", 64, "free")
    facts = measured_facts([Measurement(case, each, 1, 64, 1) for each in (few, enough)], [])
    rows = facts["transports"]
    assert [(row["round_trip_p50_ns"], row["round_trip_p99_ns"]) for row in rows] == [(None, None), (10, 20)]
    assert [row["round_trip_max_ns"] for row in rows] == [19, 20]
    shown = page({**facts, "refused": []}, Screen(width=80))
    assert "fewer than 20 round trips" in shown


@pytest.mark.parametrize(("sizes", "is_within"), [((100, 300), True), ((99, 300), False), ((100, 301), False)])
def test_messages_beyond_the_sizes_measured_are_marked(sizes, is_within):
    rows = [measured("tcp_nodelay", 100, 8_000), measured("tcp_nodelay", 300, 16_000), measured("pipe", 1, 1)]
    assert are_measured(rows, "tcp_nodelay", sizes) == is_within
    assert not are_measured([measured("tcp_nodelay", 100, None)], "tcp_nodelay", sizes)


def test_memory_that_is_too_small_is_refused():
    with pytest.raises(ValueError, match="too little memory"):
        _exchange.ping_shared(np.zeros(100, np.uint8), np.zeros(50, np.uint8), 0, np.zeros(1, np.int64))


@pytest.mark.parametrize("transport", ["unix_stream", "pipe", "tcp"])
def test_a_side_that_has_gone_is_an_error_not_a_hang(transport):
    ours, theirs = open_channel(transport)
    theirs.close()
    samples = np.zeros(5, np.int64)
    message = np.zeros(10, np.uint8)
    until = _exchange.now_ns() + 10**9
    assert _exchange.ping(ours.sending, ours.receiving, message, until, samples, is_datagram=False) < 0
    ours.close()


def test_a_message_that_a_transport_does_not_take_is_told():
    with pytest.raises(TcpsightError, match="Message too long"):
        measure(Case("unix_datagram", 10_000_000, "free"), CASE_NS)


def test_nothing_is_left_when_it_has_been_measured(monkeypatch):
    children: list[int] = []
    fork = os.fork

    def noted() -> int:
        child = fork()
        children.append(child)
        return child

    monkeypatch.setattr(os, "fork", noted)
    before = os.sched_getaffinity(0), set(Path("/proc/self/fd").iterdir())
    for pinning in ("same", "free"):
        measure(Case("pipe", 64, pinning), CASE_NS)
        measure(Case("shared_memory", 64, pinning), CASE_NS)
    assert (os.sched_getaffinity(0), set(Path("/proc/self/fd").iterdir())) == before
    assert children
    for child in children:  # other children of this process are other tests'
        with pytest.raises(ChildProcessError):
            os.waitpid(child, os.WNOHANG)


def test_pinned_processes_run_where_they_should(monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: {5, 3, 9})
    assert (processors("free"), processors("same"), processors("apart")) == (None, (3, 3), (3, 5))
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: {4})
    with pytest.raises(TcpsightError, match="two processors are needed"):
        processors("apart")


def test_cases_go_by_pinning_then_size():
    made = list(cases(("pipe", "tcp"), (1, 2), ("free", "same")))
    assert [(each.pinning, each.message_bytes, each.transport) for each in made[:3]] == [
        ("free", 1, "pipe"),
        ("free", 1, "tcp"),
        ("free", 2, "pipe"),
    ]
    assert len(made) == 8


def measured(transport: str, size: int, p50: int | None) -> dict[str, Any]:
    return {"transport": transport, "message_bytes": size, "pinning": "free", "round_trip_p50_ns": p50}


def test_the_stack_is_a_quarter_of_the_round_trips_of_request_and_response():
    rows = [measured("tcp_nodelay", 100, 8_000), measured("tcp_nodelay", 300, 16_000), measured("pipe", 100, 1_000)]
    assert stack_ns(rows, "tcp_nodelay", (100, 300)) == (8_000 + 16_000) / 4
    assert stack_ns(rows, "tcp_nodelay", (200, 1_000_000)) == (12_000 + 16_000) / 4
    assert stack_ns(rows, "unix_stream", (1, 1)) is None
    assert stack_ns([], "tcp_nodelay", (1, 1)) is None


def test_services_are_told_their_share_and_what_they_would_save():
    requests = Requests.allocate(4)
    requests.server_address[:, 10:12] = 255
    requests.server_address[:2, 12:] = (127, 0, 0, 1)
    requests.server_address[2:, 12:] = (10, 0, 0, 1)
    requests.ip_version[:] = 4
    requests.server_port[:] = 80
    requests.request_bytes[:] = requests.response_bytes[:] = 100
    requests.response_time_ns[:] = (40_000, 40_000, 1_000, 1_000)
    rows = [measured("tcp_nodelay", 100, 8_000), measured("unix_stream", 100, 5_000)]
    one, other = sorted(service_facts([requests], rows), key=lambda each: each["server_address"], reverse=True)
    assert (one["server_address"], one["is_loopback"], one["requests"]) == ("127.0.0.1", True, 2)
    assert (one["stack_ns"], one["stack_fraction"], one["saved_by_unix_stream_ns"]) == (4_000, 0.1, 1_500)
    assert (other["is_loopback"], other["stack_fraction"]) == (False, 1.0)


@pytest.mark.parametrize(("p50", "is_told"), [(8_000, False), (400_000, True)])
def test_a_stack_that_takes_longer_than_the_responses_is_told(p50, is_told):
    requests = Requests.allocate(1)
    requests.ip_version[:], requests.server_port[:] = 4, 80
    requests.request_bytes[:] = requests.response_bytes[:] = 100
    requests.response_time_ns[:] = 40_000
    facts = measured_facts([], []) | {"services": service_facts([requests], [measured("tcp_nodelay", 100, p50)])}
    assert ("what was measured takes longer than the responses did" in page(facts, Screen(width=80))) == is_told


def test_services_have_a_row_for_each_pinning_whatever_their_order():
    requests = Requests.allocate(1)
    requests.ip_version[:], requests.server_port[:] = 4, 80
    requests.request_bytes[:] = requests.response_bytes[:] = 100
    requests.response_time_ns[:] = 40_000
    rows = [
        measured("tcp_nodelay", 100, p50) | {"pinning": pinning}
        for pinning, p50 in (("apart", 48_000), ("free", 8_000), ("same", 16_000))
    ]
    told = [service_facts([requests], each) for each in (rows, rows[::-1])]
    assert told[0] == told[1]
    assert [(each["pinning"], each["stack_fraction"]) for each in told[0]] == [
        ("free", 0.1), ("same", 0.2), ("apart", 0.6)
    ]  # fmt: skip


def test_facts_tell_rates_and_what_was_left_out():
    found = measure(Case("pipe", 64, "free"), CASE_NS)
    facts = measured_facts([found], [(Case("tcp", 9, "free"), "no")])
    (row,) = facts["transports"]
    assert row["messages_per_s"] == pytest.approx(found.messages * 1e9 / found.duration_ns)
    assert row["bytes_per_s"] == pytest.approx(64 * row["messages_per_s"])
    assert sum(step["count"] for step in row["histogram"]) == row["round_trips"]
    assert facts["refused"] == [{"transport": "tcp", "message_bytes": 9, "pinning": "free", "reason": "no"}]
