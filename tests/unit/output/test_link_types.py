"""Which link types are decoded is told as it is."""

from __future__ import annotations

from tcpsight.decode import Decoding
from tcpsight.output.link_types import DECODED, HOLDS_NO_TCP, NAMES, advice
from tcpsight.tables import LINK_TYPE_TEXT_LENGTHS, REASONS
from tests.unit.decode.frames import frames_of


def test_the_link_types_said_to_be_decoded_are_those_that_are():
    frames = frames_of(*[bytes(64)] * 65_536)
    frames.link_type[:] = range(65_536)
    decoded, without = set(), set()
    for link_type in range(65_536):
        decoding = Decoding()
        decoding.feed(frames[link_type : link_type + 1])
        reason = REASONS[int(decoding.unseen.table().reason[0])]
        if reason in ("no_network", "netlink"):
            without.add(link_type)
        elif reason != "unknown_link_type":
            decoded.add(link_type)
    assert decoded == DECODED
    assert without == HOLDS_NO_TCP


def test_every_link_type_that_is_known_has_a_name():
    assert set(NAMES) >= (DECODED | HOLDS_NO_TCP) - {LINK_TYPE_TEXT_LENGTHS}


def test_advice_on_private_link_types_names_the_way_to_say_what_they_are():
    assert "editcap -T" in advice(147)
    assert "editcap -T" in advice(162)
    assert "editcap" not in advice(163)
    assert NAMES[150] == "private use, USER3"
