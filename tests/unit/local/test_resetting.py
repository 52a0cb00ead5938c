"""Who is sent a RST, and what counts as an end: by segments that are made here, without any network."""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np
import pytest

from tcpsight.errors import TcpsightError
from tcpsight.local.audit import ENDED, FAILED, SPARED, UNKNOWN
from tcpsight.local.observing import Numbers
from tcpsight.local.resets import Endpoint, Made
from tcpsight.local.resetting import FURTHEST_UNSEEN, Resetting, Side, Target
from tcpsight.tables import FLAG_ACK, FLAG_RST, FLAG_SYN, IPV4_PREFIX, Frames

CLIENT: Endpoint = (IPV4_PREFIX + bytes([192, 0, 2, 1]), 40_000)
SERVER: Endpoint = (IPV4_PREFIX + bytes([192, 0, 2, 2]), 80)
OF_CLIENT, OF_SERVER = Numbers(5000, 1000), Numbers(1000, 5000)
RAW_IP = 101


class Sender:
    """Keeps what it is to send; has no way to some."""

    def __init__(self, unreachable: Sequence[Endpoint] = ()) -> None:
        self.resets: list[tuple[Endpoint, int]] = []
        self.probes: list[Made] = []
        self._unreachable = unreachable

    def send_resets(self, source: Endpoint, destination: Endpoint, expected: Iterable[int], window: int) -> None:
        self.resets += [(destination, number) for number in expected]

    def send(self, made: Made) -> None:
        if made.destination in self._unreachable:
            raise TcpsightError("no way")
        self.probes.append(made)


class Wire:
    """Gives what went by at each look; counts what was dropped before it."""

    def __init__(self, looks: Sequence[Sequence[Made]], dropped: int = 0) -> None:
        self._looks, self.dropped = looks, dropped

    def __iter__(self) -> Iterator[Frames]:
        number = 0
        for look in self._looks:
            packets = [made.packet() for made in look]
            frames = Frames.allocate(len(packets))
            frames.rows["frame_number"] = frames.rows["frame_in_file"] = np.arange(number, number + len(packets)) + 1
            frames.rows["link_type"] = RAW_IP
            sizes = np.array([len(each) for each in packets], np.int64)
            frames.captured_bytes[:] = frames.wire_bytes[:] = sizes
            frames.position[:] = np.cumsum(sizes) - sizes
            frames.data = b"".join(packets)
            number += len(packets)
            yield frames


def client_says(numbers: Numbers, flags: int = FLAG_ACK) -> Made:
    return Made(CLIENT, SERVER, numbers.sent, numbers.expected, flags, 0)


def server_says(numbers: Numbers, flags: int = FLAG_ACK) -> Made:
    return Made(SERVER, CLIENT, numbers.sent, numbers.expected, flags, 0)


def moved(numbers: Numbers, expected: int = 0, sent: int = 0) -> Numbers:
    return Numbers((numbers.expected + expected) % 2**32, (numbers.sent + sent) % 2**32)


def target(*, is_idle: Any = False, **seen: Any) -> Target:
    sides = Side(CLIENT, SERVER), Side(SERVER, CLIENT)
    for name, numbers in seen.items():
        of, when = name.split("_")
        setattr(sides[of == "server"], when, numbers)
    return Target(sides, must_be_idle=is_idle)


def outcome(chosen: Target, wire: Wire, sender: Sender | None = None) -> tuple[str, Sender]:
    sender = sender or Sender()
    told = list(Resetting(sender, [chosen]).run(wire, 60))  # type: ignore[arg-type]
    assert told == [chosen]
    assert chosen.outcome is not None
    return chosen.outcome.result, sender


LIVE = {"client_live": OF_CLIENT, "server_live": OF_SERVER}
BEFORE = {"client_before": OF_CLIENT, "server_before": OF_SERVER}
ANSWERS = [client_says(OF_CLIENT), server_says(OF_SERVER)]
ENDS = [client_says(Numbers(0, OF_CLIENT.sent), FLAG_RST), server_says(Numbers(0, OF_SERVER.sent), FLAG_RST)]


@pytest.mark.parametrize("seen", [LIVE, BEFORE])
def test_each_side_gets_a_rst_with_the_number_it_expects_and_ends_by_its_answer(seen):
    result, sender = outcome(target(**seen), Wire([ANSWERS, ENDS]))
    assert result == ENDED
    assert sender.resets == [(CLIENT, 5000), (SERVER, 1000)]


@pytest.mark.parametrize("number", [0, 12_345, 2**32 - 1])
def test_a_rst_with_a_number_that_no_probe_acknowledged_is_nobodys_end(number):
    false = [client_says(Numbers(0, number), FLAG_RST), server_says(Numbers(0, number), FLAG_RST)]
    result, sender = outcome(target(**LIVE), Wire([ANSWERS, false, false]))
    assert result == UNKNOWN
    probed = len(sender.probes)
    assert probed > len(outcome(target(**LIVE), Wire([ANSWERS]))[1].probes)  # they are asked again
    assert outcome(target(**LIVE), Wire([ANSWERS, false, ENDS]))[0] == ENDED


def test_a_side_that_answers_on_after_a_false_rst_lives_on():
    false = [client_says(Numbers(0, 77), FLAG_RST)]
    assert outcome(target(**LIVE), Wire([ANSWERS, false, ANSWERS]))[0] == FAILED


def test_a_syn_between_its_endpoints_is_another_connection():
    result, sender = outcome(target(**LIVE), Wire([[client_says(Numbers(0, 9_999), FLAG_SYN)], ANSWERS]))
    assert (result, sender.resets) == (SPARED, [])


FAR = 20 * FURTHEST_UNSEEN


def test_where_frames_were_dropped_numbers_that_moved_on_both_ways_are_anothers():
    replaced = [client_says(moved(OF_CLIENT, FAR, FAR)), server_says(moved(OF_SERVER, FAR, FAR))]
    result, sender = outcome(target(**LIVE), Wire([replaced], dropped=1))
    assert (result, sender.resets) == (SPARED, [])
    # Without a drop its SYN would have been seen.
    assert outcome(target(**LIVE), Wire([replaced]))[1].resets


def test_where_frames_were_dropped_one_that_is_busy_one_way_is_still_the_same():
    busy = [client_says(moved(OF_CLIENT, sent=FAR)), server_says(moved(OF_SERVER, expected=FAR))]
    result, sender = outcome(target(**LIVE), Wire([busy], dropped=1))
    assert result == UNKNOWN
    assert {to for to, _ in sender.resets} == {CLIENT, SERVER}


def test_where_frames_were_dropped_what_replaces_it_after_the_first_rst_is_spared():
    replaced = [client_says(moved(OF_CLIENT, FAR, FAR)), server_says(moved(OF_SERVER, FAR, FAR))]
    result, sender = outcome(target(**LIVE), Wire([ANSWERS, replaced], dropped=1))
    assert result == SPARED
    assert sender.resets == [(CLIENT, 5000), (SERVER, 1000)]


@pytest.mark.parametrize("names", [("client_before",), ("server_before",), ("client_before", "server_before")])
@pytest.mark.parametrize("speaks_first", [client_says, server_says])
def test_whichever_side_was_captured_numbers_of_another_connection_draw_no_rst(names, speaks_first):
    seen = {name: BEFORE[name] for name in names}
    same = OF_CLIENT if speaks_first is client_says else OF_SERVER
    for change in ({"expected": FAR}, {"sent": FAR}):
        result, sender = outcome(target(**seen), Wire([[speaks_first(moved(same, **change))]]))
        assert (result, sender.resets) == (SPARED, [])
    result, sender = outcome(target(**seen), Wire([[speaks_first(same)]]))
    assert len(sender.resets) == 1


@pytest.mark.parametrize("live", ["client_live", "server_live"])
@pytest.mark.parametrize("before", ["client_before", "server_before"])
def test_what_is_seen_live_is_compared_with_what_was_captured_of_either_side(live, before):
    now = moved(LIVE[live], FAR, FAR)
    result, sender = outcome(target(**{live: now, before: BEFORE[before]}), Wire([ANSWERS]))
    assert (result, sender.resets, sender.probes) == (SPARED, [], [])


def test_a_side_of_which_nothing_is_known_is_probed_by_what_the_other_said():
    _, sender = outcome(target(client_before=OF_CLIENT), Wire([[]]))
    (probe,) = [each for each in sender.probes if each.destination == SERVER]
    assert (probe.sequence_number, probe.acknowledgment_number) == (OF_SERVER.expected - 1, OF_SERVER.sent)


def test_without_any_number_seen_nothing_is_sent():
    result, sender = outcome(target(), Wire([ANSWERS]))
    assert (result, sender.resets, sender.probes) == (SPARED, [], [])


@pytest.mark.parametrize("change", [{"expected": 1}, {"sent": 1}])
@pytest.mark.parametrize("seen", [LIVE, BEFORE])
def test_an_idle_one_whose_numbers_moved_on_is_spared(seen, change):
    answer = client_says(moved(OF_CLIENT, **change))
    result, sender = outcome(target(is_idle=True, **seen), Wire([[answer]]))
    assert (result, sender.resets) == (SPARED, [])
    assert len(outcome(target(**seen), Wire([[answer]]))[1].resets) == 1


def test_an_idle_one_whose_last_keepalive_or_acknowledgment_was_missed_has_rested():
    of_client = moved(OF_CLIENT, expected=-3, sent=-1)
    result, _ = outcome(target(is_idle=True, client_live=of_client, server_live=OF_SERVER), Wire([ANSWERS, ENDS]))
    assert result == ENDED


def test_an_idle_one_of_which_one_side_was_seen_is_spared():
    result, sender = outcome(target(is_idle=True, client_before=OF_CLIENT), Wire([ANSWERS]))
    assert (result, sender.probes) == (SPARED, [])


def test_one_that_cannot_be_reached_has_not_ended_and_keeps_no_other_from_it():
    away: Endpoint = (IPV4_PREFIX + bytes([203, 0, 113, 9]), 80)
    far = Target((Side(CLIENT, away, OF_CLIENT), Side(away, CLIENT, OF_SERVER)), must_be_idle=False)
    near = target(**LIVE)
    told = list(Resetting(Sender([away]), [far, near]).run(Wire([ANSWERS, ENDS]), 60))  # type: ignore[arg-type]
    assert {id(each): each.outcome.result for each in told if each.outcome} == {id(far): FAILED, id(near): ENDED}


def test_what_was_sent_from_here_is_not_taken_for_an_answer(monkeypatch):
    monkeypatch.setattr(secrets, "randbelow", lambda _: 499)
    own = [each._replace(window=500) for each in [*ANSWERS, *ENDS]]
    result, sender = outcome(target(**LIVE), Wire([own]))
    assert (result, sender.resets) == (UNKNOWN, [])
