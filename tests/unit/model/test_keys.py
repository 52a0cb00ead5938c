"""Intervals by service, server and client."""

from __future__ import annotations

import numpy as np
import pytest

from tcpsight.model import IntervalKey, KeyCounter, KeyedIntervalSeries
from tcpsight.tables import Intervals, KeyedIntervals, Requests
from tests.support.intervals import answered, never_answered


def address(last: int) -> bytes:
    return bytes([0] * 10 + [255, 255, 10, 0, 0, last])


def label(table: Requests, servers: list[int], ports: list[int], clients: list[int]) -> Requests:
    for i, (server, client) in enumerate(zip(servers, clients, strict=True)):
        table.server_address[i] = np.frombuffer(address(server), np.uint8)
        table.client_address[i] = np.frombuffer(address(client), np.uint8)
    table.server_port[:] = ports
    return table


@pytest.fixture
def requests() -> Requests:
    """Two servers, the first with two services; two clients."""
    stays = [(1, 4), (2, 3), (11, 15), (12, 21)]
    return label(answered(stays), servers=[1, 1, 1, 2], ports=[80, 3306, 80, 80], clients=[8, 9, 8, 8])


def keyed(by, keys, requests, unanswered=None, **span) -> KeyedIntervals:
    series = KeyedIntervalSeries(by, keys, 10, first_ns=0, last_ns=30, **span)
    fed = series.feed(requests, unanswered).copy()
    return KeyedIntervals.concatenate([fed, series.finish()])


def counted(by, requests: Requests) -> list[IntervalKey]:
    counter = KeyCounter(by)
    counter.feed(requests)
    return counter.largest()


def test_a_service_is_a_servers_address_and_port(requests):
    wanted = [IntervalKey(address(1), 80), IntervalKey(address(1), 3306), IntervalKey(address(2), 80)]
    assert counted("service", requests) == wanted


def test_servers_and_clients_are_addresses(requests):
    assert counted("server", requests) == [IntervalKey(address(1)), IntervalKey(address(2))]
    assert counted("client", requests) == [IntervalKey(address(8)), IntervalKey(address(9))]


def test_the_largest_come_first_and_no_more_than_asked_for(requests):
    counter = KeyCounter("client")
    counter.feed(requests)
    assert counter.largest(1) == [IntervalKey(address(8))]


def test_counters_of_several_workers_add_up(requests):
    counter, other = KeyCounter("service"), KeyCounter("service")
    counter.feed(requests[:1])
    other.feed(requests[1:])
    counter.merge(other)
    assert counter.largest() == counted("service", requests)


def test_a_counter_keeps_a_bounded_number_of_keys_and_counts_the_rest(requests):
    counter = KeyCounter("service", most_keys=2)
    for row in range(len(requests)):
        counter.feed(requests[row : row + 1])
    assert counter.uncounted == 1
    at_once = KeyCounter("service", most_keys=2)
    at_once.feed(requests)
    assert (at_once.largest(), at_once.uncounted) == (counter.largest(), 1)


def test_every_slice_has_a_row_for_every_key_and_one_for_the_others(requests):
    rows = keyed("service", counted("service", requests)[:2], requests)
    assert rows.start_ns.tolist() == [0, 0, 0, 10, 10, 10, 20, 20, 20]
    assert rows.is_other.tolist() == [0, 0, 1] * 3
    assert rows.server_port.tolist() == [80, 3306, -1] * 3
    assert rows.arrivals.tolist() == [1, 1, 0, 1, 0, 1, 0, 0, 0]
    assert rows.weighted_ns.tolist() == [3, 1, 0, 4, 0, 8, 0, 0, 1]


def test_what_is_not_part_of_the_key_is_null(requests):
    by_client = keyed("client", counted("client", requests), requests)
    assert not by_client.server_address.any()
    assert set(by_client.server_port.tolist()) == {-1}
    assert by_client.client_address[0].tobytes() == address(8)
    by_server = keyed("server", counted("server", requests), requests)
    assert not by_server.client_address.any()
    assert set(by_server.server_port.tolist()) == {-1}
    assert not by_server.server_address[2].any()  # the others


def test_unanswered_requests_are_keyed_too(requests):
    waiting = label(never_answered([(5, 30)]), servers=[2], ports=[80], clients=[9])
    rows = keyed("server", [IntervalKey(address(2))], requests, waiting)
    assert rows.unanswered_backlog.tolist() == [1, 0] * 3


def test_without_keys_all_are_others(requests):
    rows = keyed("client", [], requests)
    assert rows.is_other.tolist() == [1, 1, 1]
    assert rows.arrivals.tolist() == [2, 2, 0]


def test_a_quiet_key_keeps_its_rows_while_another_is_busy(requests):
    rows = keyed("service", counted("service", requests), requests, longest_run=1)
    assert not rows.is_gap.any()


def test_rows_of_keys_begin_with_the_columns_of_intervals():
    assert KeyedIntervals.columns[: len(Intervals.columns)] == Intervals.columns
    keyed_fields, fields = KeyedIntervals.dtype.fields, Intervals.dtype.fields
    assert keyed_fields is not None
    assert fields is not None
    assert {column.name: keyed_fields[column.name] for column in Intervals.columns} == dict(fields)


def test_a_counter_that_takes_anothers_keeps_a_bounded_number_of_keys_too(requests):
    counter, other = KeyCounter("service", most_keys=2), KeyCounter("service")
    other.feed(requests)
    counter.merge(other)
    counter.merge(other)
    assert len(counter.largest(9)) == 2
    assert counter.uncounted == 2
