"""Slices that are told while time goes on: who is late, who waits, and whose row it is."""

from __future__ import annotations

import numpy as np

from tcpsight.model.live_slices import ClosedSlice, LiveSlices
from tcpsight.model.service_places import IDLE_NS, ServicePlaces
from tcpsight.tables import Requests, Unanswered

S = 1_000_000_000


def answered(*stays: tuple[float, float], port: int = 80, last_octet: int = 1) -> Requests:
    """Make requests that arrived and were answered at these seconds."""
    table = Requests.allocate(len(stays))
    _place(table, port, last_octet)
    table.arrival_ns[:] = [int(arrival * S) for arrival, _ in stays]
    table.completion_ns[:] = [int(completion * S) for _, completion in stays]
    table.response_time_ns[:] = table.completion_ns - table.arrival_ns
    return table


def unanswered(*stays: tuple[float, float], port: int = 80, last_octet: int = 1) -> Unanswered:
    table = Unanswered.allocate(len(stays))
    _place(table, port, last_octet)
    table.arrival_ns[:] = [int(arrival * S) for arrival, _ in stays]
    table.end_ns[:] = [int(end * S) for _, end in stays]
    table.completion_ns[:] = table.response_time_ns[:] = -1
    return table


def _place(table: Requests, port: int, last_octet: int) -> None:
    table.server_address[:, 10:] = [255, 255, 10, 0, 0, last_octet]
    table.server_port[:] = port
    table.ip_version[:] = 4


NOBODY = Unanswered()


def looked(slices: LiveSlices, now_s: float, waiting: Unanswered = NOBODY) -> list[ClosedSlice]:
    return list(slices.look(int(now_s * S), waiting))


def of(closed: ClosedSlice, name: str) -> int:
    return int(closed.total.rows[name][0])


def test_a_slice_is_told_at_its_end_if_nobody_who_arrived_in_it_waits():
    slices = LiveSlices(S, 5 * S)
    slices.begin(0)
    slices.take(answered((0.1, 0.2), (0.5, 0.6)), NOBODY)
    assert slices.due_ns == S
    (told,) = looked(slices, 1)
    assert (of(told, "arrivals"), of(told, "completions"), of(told, "backlog")) == (2, 2, 0)
    assert slices.due_ns == 2 * S


def test_a_slice_waits_for_answers_to_its_requests_but_not_longer_than_its_lateness():
    slices = LiveSlices(S, 2 * S)
    slices.begin(0)
    waiting = unanswered((0.5, 9))
    assert looked(slices, 1, waiting) == []
    assert slices.due_ns == 1.5 * S
    assert looked(slices, 1.5, waiting) == []
    first, second, _ = looked(slices, 3, waiting)
    assert (of(first, "arrivals"), of(first, "unanswered"), of(first, "unanswered_backlog")) == (0, 1, 1)
    # Who arrived before a slice does not keep it waiting.
    assert (of(second, "unanswered"), of(second, "unanswered_backlog")) == (0, 1)
    assert of(first, "unanswered_weighted_ns") == S // 2
    assert of(second, "unanswered_weighted_ns") == S


def test_an_answer_within_the_lateness_counts_where_its_request_arrived():
    slices = LiveSlices(S, 2 * S)
    slices.begin(0)
    assert looked(slices, 1, unanswered((0.5, 9))) == []
    slices.take(answered((0.5, 1.2)), NOBODY)
    (told,) = looked(slices, 1.5)
    assert (of(told, "arrivals"), of(told, "completions"), of(told, "backlog"), of(told, "unanswered")) == (1, 0, 1, 0)
    assert of(told, "response_time_max_ns") == 0.7 * S


def test_an_answer_after_the_slice_was_told_is_late_in_the_slice_of_its_completion():
    slices = LiveSlices(S, 0)
    slices.begin(0)
    (first,) = looked(slices, 1, unanswered((0.5, 9)))
    (second,) = looked(slices, 2, unanswered((0.5, 9)))
    slices.take(answered((0.5, 2.5), (2.1, 2.2)), NOBODY)
    (third,) = looked(slices, 3)
    assert [of(each, "unanswered") for each in (first, second, third)] == [1, 0, 0]
    assert (of(third, "arrivals"), of(third, "completions"), of(third, "late")) == (1, 2, 1)
    # It was there for the first half, beside the one that took a tenth.
    assert of(third, "weighted_ns") == 0.6 * S
    assert of(third, "response_time_max_ns") == 0.1 * S
    assert third.services.late.tolist() == [1, 0]


def test_a_request_whose_connection_ended_waits_no_longer():
    slices = LiveSlices(S, 0)
    slices.begin(0)
    slices.take(Requests(), unanswered((0.25, 0.5)))
    (first,) = looked(slices, 1)
    (second,) = looked(slices, 2)
    assert (of(first, "unanswered"), of(first, "unanswered_backlog"), of(first, "unanswered_weighted_ns")) == (
        1,
        0,
        S // 4,
    )
    assert (of(second, "unanswered"), of(second, "unanswered_backlog")) == (0, 0)


def test_empty_slices_that_are_skipped_are_rows_until_there_are_too_many():
    slices = LiveSlices(S, 0)
    slices.begin(0)
    told = list(slices.skip(5 * S + 1))
    assert [each.start_ns // S for each in told] == [0, 1, 2, 3, 4]
    assert slices.due_ns == 6 * S
    (gap,) = slices.skip(200_005 * S)
    assert gap.total.is_gap.tolist() == [1]
    assert (gap.start_ns, gap.end_ns) == (5 * S, 200_005 * S)


def test_the_last_slice_ends_with_the_last_segment_and_holds_its_instant():
    slices = LiveSlices(S, 0)
    slices.begin(0)
    slices.take(answered((0.1, 1.5)), NOBODY)
    first, last = slices.finish(int(1.5 * S), NOBODY)
    assert (of(first, "completions"), of(last, "completions")) == (0, 1)
    assert (last.start_ns, last.end_ns) == (S, int(1.5 * S))
    assert last.total.is_partial.tolist() == [1]


def test_services_keep_their_places_and_those_without_one_share_a_row():
    slices = LiveSlices(S, 0, most_services=2)
    slices.begin(0)
    slices.take(answered((0.1, 0.2), port=80), NOBODY)
    slices.take(answered((0.3, 0.4), port=443), NOBODY)
    slices.take(answered((0.5, 0.6), (0.7, 0.8), port=3306), NOBODY)
    (told,) = looked(slices, 1)
    assert told.services.server_port.tolist() == [80, 443, -1]
    assert told.services.arrivals.tolist() == [1, 1, 2]
    assert told.services.is_other.tolist() == [0, 0, 1]
    assert told.places.tolist() == [0, 1, 2, 2]


def test_a_place_goes_to_another_service_when_its_own_was_idle_for_long():
    places = ServicePlaces(1)
    places.admit(answered((0, 1), port=80), NOBODY)
    late_s = IDLE_NS / S + 1
    places.admit(answered((late_s - 2, late_s), port=443), NOBODY)
    assert [port for _, port, _ in places.endpoints] == [80]
    places.admit(answered((late_s + 1, late_s + 2), port=443), NOBODY)
    assert [port for _, port, _ in places.endpoints] == [443]
    assert places.codes(answered((0, 1), port=80)).tolist() == [1]
    assert places.codes(answered((0, 1), port=443)).tolist() == [0]


def test_whoever_answers_takes_the_place_of_one_that_never_did():
    places = ServicePlaces(2)
    places.admit(Requests(), unanswered((0.1, 9), port=1))
    places.admit(Requests(), unanswered((0.2, 9), port=2))
    places.admit(Requests(), unanswered((0.3, 9), port=3))  # noise takes no place from noise
    assert [port for _, port, _ in places.endpoints] == [1, 2]
    places.admit(Requests(), unanswered((0.4, 9), port=1))
    places.admit(answered((0.4, 0.5), port=80), NOBODY)
    assert [port for _, port, _ in places.endpoints] == [1, 80]
    places.admit(answered((0.5, 0.6), port=443), NOBODY)
    assert [port for _, port, _ in places.endpoints] == [443, 80]
    places.admit(answered((0.6, 0.7), port=3306), NOBODY)  # nor from who answered
    places.admit(Requests(), unanswered((0.8, 9), port=80))
    assert [port for _, port, _ in places.endpoints] == [443, 80]


def test_services_get_the_same_places_however_requests_are_cut():
    stays = [
        (11, 0.0, 0.1),
        (12, 0.2, 0.3),
        (13, IDLE_NS / S + 1, IDLE_NS / S + 2),
        (11, IDLE_NS / S + 3, IDLE_NS / S + 4),
    ]
    whole, cut = ServicePlaces(2), ServicePlaces(2)
    requests = [answered((arrival, completion), port=port) for port, arrival, completion in stays]
    whole.admit(Requests.concatenate(requests), NOBODY)
    for each in requests:
        cut.admit(each, NOBODY)
    assert [port for _, port, _ in whole.endpoints] == [port for _, port, _ in cut.endpoints] == [13, 11]


def test_rows_of_services_are_told_apart_by_address_too():
    places = ServicePlaces()
    both = [answered((0, 1), last_octet=1), answered((0, 1), last_octet=2)]
    for each in both:
        places.admit(each, NOBODY)
    assert [places.codes(each).tolist() for each in both] == [[0], [1]]
    assert np.array_equal(places.codes(Requests.concatenate(both)), [0, 1])
