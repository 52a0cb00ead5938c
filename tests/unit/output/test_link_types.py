"""Which link types are decoded is told as it is."""

from __future__ import annotations

from tcpsight.decode import Decoding
from tcpsight.output.link_types import DECODED, NAMES
from tcpsight.tables import LINK_TYPE_TEXT_LENGTHS, REASONS
from tests.unit.decode.frames import frames_of


def test_the_link_types_said_to_be_decoded_are_those_that_are():
    frames = frames_of(*[bytes(64)] * 65_536)
    frames.link_type[:] = range(65_536)
    decoded = set()
    for link_type in range(65_536):
        decoding = Decoding()
        decoding.feed(frames[link_type : link_type + 1])
        if not decoding.unseen.counts[REASONS.index("unknown_link_type"), 0]:
            decoded.add(link_type)
    assert decoded == DECODED


def test_every_decoded_link_type_of_a_file_has_a_name():
    assert set(NAMES) >= DECODED - {LINK_TYPE_TEXT_LENGTHS}
