"""What holds of decoding whatever the frames are."""

from __future__ import annotations

import ctypes
import itertools
import mmap

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from tcpsight.decode import Decoding
from tcpsight.tables import Frames, Headers
from tests.reference.decode_strategies import Piece, fragment_batches, frames_of, pieces
from tests.support.thorough import up_to

MADE = st.lists(pieces(), max_size=6)


def decoded(*batches: Frames) -> tuple[bytes, bytes]:
    """Give all rows and all counts, as bytes."""
    rows, counts, _ = decoded_with_fragments(*batches)
    return rows, counts


def decoded_with_fragments(*batches: Frames) -> tuple[bytes, bytes, int]:
    """Give all rows and all counts, as bytes, and how many frames are part of another frame's segment."""
    decoding = Decoding()
    rows = b"".join(decoding.feed(batch).rows.tobytes() for batch in batches)
    rows += decoding.finish().rows.tobytes()
    return rows, decoding.unseen.counts.tobytes(), decoding.joined_fragments


def cut(frames: Frames, at: list[int]) -> list[Frames]:
    """Cut one batch into several."""
    edges = [0, *sorted(min(a, len(frames)) for a in at), len(frames)]
    return [Frames(frames.rows[a:b], data=frames.data) for a, b in itertools.pairwise(edges)]


@settings(max_examples=up_to(100), deadline=None)
@given(MADE, st.lists(st.integers(0, 6), max_size=4))
def test_cutting_into_batches_changes_nothing(made, at):
    frames = frames_of(made)
    assert decoded(*cut(frames, at)) == decoded(frames)


@settings(max_examples=up_to(200), deadline=None)
@given(fragment_batches(), st.lists(st.integers(0, 12), max_size=6))
def test_cutting_between_fragments_changes_nothing(frames, at):
    assert decoded_with_fragments(*cut(frames, at)) == decoded_with_fragments(frames)


@settings(max_examples=up_to(200), deadline=None)
@given(fragment_batches(), st.integers(-(2**40), 2**60))
def test_shifting_the_times_of_fragments_shifts_the_times_and_nothing_else(frames, shift):
    headers, unseen, joined = decoded_with_fragments(frames)
    frames.time_ns[:] += shift
    expected = np.frombuffer(bytearray(headers), Headers.dtype)  # a copy that has the padding, too
    expected["time_ns"] += shift
    assert decoded_with_fragments(frames) == (expected.tobytes(), unseen, joined)


@settings(max_examples=up_to(200), deadline=None)
@given(fragment_batches())
def test_every_fragment_is_part_of_a_row_or_counted(frames):
    decoding = Decoding()
    rows = decoding.feed(frames).copy()
    assert (rows.captured_payload_bytes <= rows.payload_bytes).all()
    assert set(rows.frame_number.tolist()) <= set(frames.frame_number.tolist())
    decoding.finish()
    assert len(rows) + decoding.unseen.counts[:, 0].sum() + decoding.joined_fragments == len(frames)


@settings(max_examples=up_to(100), deadline=None)
@given(MADE, st.integers(-(2**40), 2**60))
def test_shifting_the_times_shifts_the_times_and_nothing_else(made, shift):
    frames, shifted = frames_of(made), frames_of(made)
    shifted.time_ns[:] += shift
    headers, unseen = decoded(frames)
    expected = np.frombuffer(bytearray(headers), Headers.dtype)  # a copy that has the padding, too
    expected["time_ns"] += shift
    assert decoded(shifted) == (expected.tobytes(), unseen)


@settings(max_examples=up_to(100), deadline=None)
@given(MADE, st.randoms(use_true_random=False))
def test_every_frame_but_fragments_stands_alone(made, random):
    frames = frames_of(made)
    order = list(range(len(frames)))
    random.shuffle(order)
    shuffled = Frames(frames.rows[order], data=frames.data)
    rows, unseen, joined = decoded_with_fragments(frames)
    shuffled_rows, shuffled_unseen, joined_shuffled = decoded_with_fragments(shuffled)
    assume(joined == joined_shuffled == 0)
    found = Headers(np.frombuffer(shuffled_rows, Headers.dtype))
    # Not by np.sort, which leaves the padding of rows undefined.
    assert found[np.argsort(found.frame_number, kind="stable")].rows.tobytes() == rows
    assert shuffled_unseen == unseen


@settings(max_examples=up_to(100), deadline=None)
@given(MADE, st.binary(min_size=40, max_size=40))
def test_bytes_that_were_not_captured_say_nothing(made, noise):
    frames = frames_of(made)
    behind = frames_of([Piece(p.data + noise, p.wire_bytes, p.link_type) for p in made])
    behind.captured_bytes[:] = frames.captured_bytes
    assert decoded(behind) == decoded(frames)


@settings(max_examples=up_to(100), deadline=None)
@given(MADE)
def test_every_frame_is_a_row_or_counted(made):
    frames = frames_of(made)
    decoding = Decoding()
    headers = decoding.feed(frames)
    decoding.finish()
    assert len(headers) + decoding.unseen.counts[:, 0].sum() + decoding.joined_fragments == len(frames)
    assert (headers.captured_payload_bytes <= headers.payload_bytes).all()
    assert (headers.captured_payload_bytes >= 0).all()


@pytest.fixture(scope="module")
def page_before_a_wall():
    """Give a page of memory behind which every touch is fatal."""
    memory = mmap.mmap(-1, 2 * mmap.PAGESIZE)
    start = ctypes.addressof(ctypes.c_char.from_buffer(memory))
    libc = ctypes.CDLL(None, use_errno=True)
    assert libc.mprotect(ctypes.c_void_p(start + mmap.PAGESIZE), mmap.PAGESIZE, 0) == 0
    return memoryview(memory)[: mmap.PAGESIZE]


@settings(max_examples=up_to(200), deadline=None)
@given(pieces())
def test_nothing_is_read_behind_the_buffer(page_before_a_wall, piece):
    page = page_before_a_wall
    frames = frames_of([piece])
    frames.position[0] = len(page) - len(piece.data)
    page[len(page) - len(piece.data) :] = piece.data
    expected = decoded(frames_of([piece]))
    frames.data = page
    assert decoded(frames) == expected
