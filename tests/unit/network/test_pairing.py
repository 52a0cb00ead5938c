"""Which connections of two captures are the same."""

from __future__ import annotations

import numpy as np

from tcpsight.network.pairing import TALK, pair_connections


def talk(
    client: str = "10.0.0.1:4000",
    server: str = "10.0.0.9:80",
    zero: tuple[int, int] = (100, 900),
    syn: str = "both",
    most: int = 5000,
) -> np.ndarray:
    row = np.zeros(1, TALK)
    for side, (address, _, port) in (("client", client.rpartition(":")), ("server", server.rpartition(":"))):
        row[f"{side}_address"][0, 12:] = [int(part) for part in address.split(".")]
        row[f"{side}_port"] = int(port)
    row["ip_version"], row["zero"], row["least"], row["most"] = 4, zero, 0, most
    row["has_syn"] = {"both": (1, 1), "none": (0, 0), "client": (1, 0)}[syn]
    return row


def pairs(ours: list[np.ndarray], theirs: list[np.ndarray]):
    return pair_connections(np.concatenate(ours), np.concatenate(theirs))


def test_a_reused_port_is_told_apart_by_sequence_numbers():
    found = pairs([talk(zero=(1, 2)), talk(zero=(3, 4))], [talk(zero=(3, 4)), talk(zero=(1, 2))])
    assert sorted(zip(*(rows.tolist() for rows in found.rows), strict=True)) == [(0, 1), (1, 0)]


def test_a_capture_from_mid_stream_is_shifted_to_where_the_other_counts_from():
    found = pairs([talk()], [talk(zero=(1100, 1000), syn="none")])
    assert found.shift.tolist() == [[1000, 100]]
    found = pairs([talk(zero=(1100, 1000), syn="none")], [talk()])
    assert found.shift.tolist() == [[-1000, -100]]


def test_the_shift_goes_around_the_end_of_sequence_numbers():
    found = pairs([talk(zero=(2**32 - 50, 900))], [talk(zero=(150, 900), syn="none")])
    assert found.shift.tolist() == [[200, 0]]


def test_streams_whose_bytes_do_not_meet_are_not_the_same():
    assert len(pairs([talk(syn="none")], [talk(zero=(2**31 - 1, 2**30), syn="none")])) == 0


def test_roles_may_be_the_other_way_round_where_there_was_no_handshake():
    found = pairs([talk(syn="none")], [talk(client="10.0.0.9:80", server="10.0.0.1:4000", zero=(900, 100), syn="none")])
    assert found.is_flipped.tolist() == [True]
    assert found.shift.tolist() == [[0, 0]]


def test_translated_endpoints_are_known_by_both_initial_numbers():
    found = pairs([talk(), talk(client="10.0.0.2:4000", zero=(7, 8))], [talk(client="192.0.2.1:999", zero=(7, 8))])
    assert (found.rows[0].tolist(), found.rows[1].tolist()) == ([1], [0])
    assert found.is_translated.tolist() == [True]


def test_an_unanswered_syn_is_known_by_the_clients_number_if_it_is_one_of_a_kind():
    unanswered = talk(zero=(77, -1), syn="client")
    assert len(pairs([unanswered], [talk(client="192.0.2.1:5", zero=(77, -1), syn="client")])) == 1
    twice = talk(client="10.0.0.3:9", zero=(77, -1), syn="client")
    assert len(pairs([unanswered, twice], [talk(client="192.0.2.1:5", zero=(77, -1), syn="client")])) == 0


def test_rewritten_sequence_numbers_are_no_hindrance_for_the_only_connection_of_its_endpoints():
    found = pairs([talk(zero=(1, 2))], [talk(zero=(5000, 6000))])
    assert found.is_renumbered.tolist() == [True]
    assert found.shift.tolist() == [[0, 0]]


def test_a_side_whose_syn_both_saw_with_other_numbers_is_another_connection():
    """One of each: no other could be meant, and still they are not the same."""
    ours, theirs = talk(syn="client"), talk(zero=(101, 900), syn="client")
    assert len(pairs([ours], [theirs])) == 0
    assert len(pairs([ours], [talk(zero=(100, 950), syn="client")])) == 1
