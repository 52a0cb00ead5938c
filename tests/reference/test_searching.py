"""The search through runs as they lie in a capture misses and invents nothing: beside the twin of streams."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tcpsight.connections import searching
from tcpsight.connections.searching import Chains, PieceSearch
from tcpsight.tables import KINDS, Pieces
from tests.reference.streams import Run, assemble
from tests.support.thorough import up_to

PROBE = KINDS.index("zero_window_probe")

RUNS = st.lists(
    st.tuples(
        st.integers(0, 2),  # whose
        st.integers(-3, 3),  # how far from the end of the one before it
        st.binary(max_size=6).map(lambda data: bytes(byte % 2 + 97 for byte in data)),
        st.integers(0, 2),  # bytes cut off
        st.integers(0, 15).map(lambda n: n == 0),  # a probe
    ),
    max_size=14,
)
BOUNDS = st.lists(st.tuples(st.integers(-1, 30), st.booleans()), min_size=3, max_size=3)
PATTERNS = st.binary(min_size=1, max_size=9).map(lambda data: bytes(byte % 2 + 97 for byte in data))


def laid_out(runs, bounds=((0, True),) * 3):
    """Lay runs one behind the other, with something between them; give pieces, bytes, runs of each stream, and chains.

    Each connection has one stream with bytes, what its client sent, up to an end or farther, and with a start or none.
    """
    pieces, content = Pieces.allocate(len(runs)), bytearray(b"b")
    last: dict[int, int] = {}
    ends: dict[int, int] = {}
    streams: dict[int, list[Run]] = {}
    for i, (whose, step, data, cut, is_probe) in enumerate(runs):
        offset = ends.get(whose, 0) + step * (step < -1 or step > 1)
        row = pieces.rows[i]
        row["connection_id"], row["offset"], row["position"] = whose + 1, offset, len(content)
        row["previous"], row["captured_bytes"], row["payload_bytes"] = last.get(whose, -1), len(data), len(data) + cut
        row["kind"] = PROBE if is_probe else 0
        content += data + b"a"
        last[whose], ends[whose] = i, offset + len(data) + cut
        streams.setdefault(whose + 1, []).append(Run(offset, data, len(data) + cut, is_probe))
    made = []
    for whose in sorted(last):
        made.append((whose + 1, last[whose], len(streams[whose + 1]), *bounds[whose]))
        made.append((whose + 1, -1, 0, 0, True))
    columns = [np.array(column, np.int64) for column in zip(*made, strict=True)] or [np.zeros(0, np.int64)] * 5
    numbers, lasts, counts, until, have_starts = columns
    return pieces, bytes(content), streams, Chains(numbers, lasts, counts, until, have_starts != 0)


def holds(runs, pattern, overlaps="first", bound=(0, True)):
    """Look at every offset for the pattern."""
    content = assemble(runs, bound[0], overlaps=overlaps, has_start=bound[1]).content
    return any(all(content.get(at + i) == byte for i, byte in enumerate(pattern)) for at in content)


@settings(max_examples=up_to(400))
@given(RUNS, PATTERNS, st.lists(st.integers(0, 14)), BOUNDS, st.sampled_from(("first", "last")))
def test_what_is_found_is_what_streams_hold_that_are_put_in_order(runs, pattern, cuts, bounds, overlaps):
    pieces, content, streams, chains = laid_out(runs, bounds)
    looking = PieceSearch(pieces.rows, pattern, chains, overlaps)
    edges = [0, *sorted(min(cut, len(runs)) for cut in cuts), len(runs)]
    for first, last in pairwise(edges):
        looking.feed(first, last, content, 0)
    found = looking.holding()
    truth = {number for number, parts in streams.items() if holds(parts, pattern, overlaps, bounds[number - 1])}
    assert found.sure.tolist() == sorted(truth)
    assert found.doubtful.tolist() == []


@given(RUNS, PATTERNS, st.integers(0, 8))
def test_streams_beyond_those_there_is_memory_for_stay_doubtful(runs, pattern, most):
    pieces, content, streams, chains = laid_out(runs)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(searching, "MOST_PIECES", most)
        looking = PieceSearch(pieces.rows, pattern, chains)
    looking.feed(0, len(runs), content, 0)
    sure, doubtful = (set(each.tolist()) for each in looking.holding())
    truth = {number for number, parts in streams.items() if holds(parts, pattern)}
    assert sure <= truth <= sure | doubtful
    assert not sure & doubtful


def test_what_stands_across_runs_is_found():
    runs = [(0, 0, b"aab", 0, False), (1, 0, b"b", 0, False), (0, 0, b"", 0, False), (0, 0, b"bab", 0, False)]
    pieces, content, _, chains = laid_out(runs)
    looking = PieceSearch(pieces.rows, b"abba", chains)
    looking.feed(0, 4, content, 0)
    assert looking.holding().sure.tolist() == [1]
    assert looking.holding().doubtful.tolist() == []


def test_a_pattern_of_more_than_64_bytes_is_looked_for_by_its_beginning():
    runs = [(0, 0, b"ab" * 40, 0, False), (1, 0, b"a" * 80, 0, False)]
    pieces, content, _, chains = laid_out(runs)
    looking = PieceSearch(pieces.rows, b"ab" * 35, chains)
    looking.feed(0, 2, content, 0)
    assert (looking.holding().sure.tolist(), looking.holding().doubtful.tolist()) == ([], [1])


def test_places_outside_of_the_data_are_refused():
    pieces, content, _, chains = laid_out([(0, 0, b"abab", 0, False)])
    for name, value in (
        ("position", 10**6),
        ("position", -1),
        ("captured_bytes", 2**30),
        ("previous", 0),
        ("previous", -5),
    ):
        broken = pieces.copy()
        broken.rows[name] = value
        try:
            looking = PieceSearch(broken.rows, b"ab", chains)
            looking.feed(0, 1, content, 0)
        except ValueError:
            continue
        raise AssertionError(name)
    assert isinstance(np.asarray(pieces.rows), np.ndarray)
