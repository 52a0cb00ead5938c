"""The kernel says what its slow twin says, of every frame and of every field."""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tcpsight import tables
from tcpsight.decode import Decoding
from tcpsight.tables import REASONS, Frames, Headers, UnseenCounter
from tests.reference import decode as reference
from tests.reference.decode_strategies import (
    EVERY_LINK_TYPE,
    Piece,
    fragment,
    fragment_batches,
    frame_batches,
    frames_of,
    halves,
)
from tests.support import layers
from tests.support.thorough import up_to

OPTION_BITS = {
    name.removeprefix("OPTION_").lower(): value for name, value in vars(tables).items() if name.startswith("OPTION_")
}


def said_by_the_kernel(rows: np.ndarray[Any, Any]) -> list[dict[str, Any]]:
    """Give rows of Headers the form of the reference's."""
    said = []
    for row in rows:
        one = {name: row[name].tolist() for name in row.dtype.names}
        one["source_address"], one["destination_address"] = (
            bytes(one["source_address"]),
            bytes(one["destination_address"]),
        )
        one["options"] = {name for name, bit in OPTION_BITS.items() if one["options"] & bit}
        one["tls"] = tables.TLS_RECORDS[one["tls"]]
        edges, count = one["sack"], 2 * one.pop("sack_count")
        one["sack"] = list(zip(edges[:count:2], edges[1:count:2], strict=True))
        assert not any(edges[count:])
        said.append(one)
    return said


def unseen_of(counter: UnseenCounter) -> dict[str, list[int]]:
    """Give the counts the form of the reference's."""
    return {reason: row.tolist() for reason, row in zip(REASONS, counter.counts, strict=True) if row[0]}


def check(frames: Frames) -> None:
    decoding = Decoding()
    # A block with old rows in it, to see that none of them shows through.
    packet = bytes([0x60, 0, 0, 0, 0, 20, 6, 9]) + bytes(44) + bytes([0x50]) + bytes(7)
    stale = decoding.feed(frames_of([Piece(packet, len(packet), 101)] * len(frames)))
    assert len(stale) == len(frames)
    for column in Headers.columns:
        stale.rows[column.name] = 0xA5
    decoding.unseen = UnseenCounter()
    headers = decoding.feed(frames)
    said = said_by_the_kernel(headers.rows)
    decoding.finish()
    rows, unseen, joined = reference.decode(frames)
    assert said == rows
    assert unseen_of(decoding.unseen) == unseen
    assert decoding.joined_fragments == joined


@settings(max_examples=up_to(400), deadline=None)
@given(frame_batches())
def test_kernel_equals_reference(frames):
    check(frames)


@settings(max_examples=up_to(400), deadline=None)
@given(fragment_batches())
def test_kernel_equals_reference_on_fragments(frames):
    check(frames)


@pytest.mark.parametrize("tags", range(12, 18))
def test_kernel_equals_reference_where_the_last_header_leads_nowhere(tags):
    packet = layers.typed(fragment(4, 1, 0, bytes(20), is_last=True))
    # A session of which nothing tells what it carries.
    nowhere = layers.l2tp3(layers.tagged(0x893F, packet, bytes(6)), bytes(8))
    inners = (
        nowhere,
        layers.gre(packet, protocol=3),
        layers.over_udp(9, b""),
        layers.typed(fragment(4, 1, 8, b"8", is_last=True)),
    )
    for inner in inners:
        for _ in range(tags):
            inner = layers.tagged(0x8100, inner)
        data = layers.ethernet(inner).data
        check(frames_of([Piece(data, len(data), 1)]))


def test_kernel_equals_reference_when_more_packets_are_begun_than_are_kept():
    chance = random.Random(5)
    order = [(number, half) for number in range(700) for half in (0, 1)]
    # Each half is at most 400 places from where it would be: some packets are forgotten in between, some are not.
    order.sort(key=lambda at: 2 * at[0] + at[1] * chance.choice([0, 100, 500, 520, 800]))
    check(frames_of([Piece(halves(number)[half], 54, 1) for number, half in order]))


@settings(max_examples=up_to(200), deadline=None)
@given(st.lists(st.builds(Piece, st.binary(max_size=90), st.integers(0, 2**32 - 1), st.sampled_from(EVERY_LINK_TYPE))))
def test_kernel_equals_reference_on_noise(pieces):
    check(frames_of(pieces))
