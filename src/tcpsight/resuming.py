"""What is done step by step goes on where it stood, in whatever process: what a dead one knew is done again.

Theory of operation
-------------------
Reading a stretch and following connections have state that cannot be sent from one process to another. It stays where
it was made, in `_KEPT`, under the number of the step that is next. Whoever is asked for that step goes on with it;
whoever is asked for another, or has nothing, makes it again from the captures. Steps that are made again give what they
gave, so it does not matter how often that happens, nor which of several copies is used.

While a step is made its state is kept nowhere: what fails, or is given up, leaves none that is half-way.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Iterator
from typing import Any, NamedTuple

from tcpsight.batches import Before
from tcpsight.mapping import Block, Facts, Job, Mapping, Piece, Times, every_piece
from tcpsight.parts import Part
from tcpsight.reducing import Reducing
from tcpsight.tables import UnseenCounter

IDLE_S = 3600
"""What nobody has asked for so long is dropped: whoever wanted it may have been killed."""


class _State(NamedTuple):
    step: int
    state: Any
    used_s: float


_KEPT: dict[tuple[str, str, int], _State] = {}
_FORGOTTEN: deque[str] = deque(maxlen=100)
_LOCK = threading.Lock()


def _taken(key: tuple[str, str, int], step: int) -> Any:
    """Take a state out, if its next step is this one."""
    with _LOCK:
        known = _KEPT.pop(key, None)
        old = time.monotonic() - IDLE_S
        for each in [each for each, state in _KEPT.items() if state.used_s < old]:
            del _KEPT[each]
    return known.state if known is not None and known.step == step else None


def _put(key: tuple[str, str, int], step: int, state: Any) -> None:
    with _LOCK:
        if key[0] not in _FORGOTTEN:
            _KEPT[key] = _State(step, state, time.monotonic())


def forget(name: str) -> None:
    """Drop what is known of a job, and what a step that is still being made would add."""
    with _LOCK:
        _FORGOTTEN.append(name)
        for key in [key for key in _KEPT if key[0] == name]:
            del _KEPT[key]


def piece(job: Job, begin: int, number: int, before: Facts | None) -> Piece | None:
    """Make a piece of a stretch; nothing where the one before it was the last.

    Parameters
    ----------
    job : Job
        What is wanted.
    begin, number : int
        The rank of the stretch's first file; which of its pieces.
    before : Facts or None
        Those of the piece before, where it has not to be waited for.
    """
    if before is not None and (before.is_over or before.end is not None):
        return None
    key = job.name, "map", begin
    pieces: Iterator[Piece] | None = _taken(key, number)
    if pieces is None:
        pieces = iter(Mapping(job, begin))
        for _ in range(number):
            next(pieces)
    made = next(pieces)
    if made.facts.end is None:
        _put(key, number + 1, pieces)
    return made


def facts_of(made: Piece | None) -> Facts:
    """Give what is known of a piece; of none, that it is over."""
    return Facts(is_over=True) if made is None else made.facts


def times_of(made: Piece) -> Times:
    """Give the times of all headers of a piece."""
    return made.times


def block_of(made: Piece, part: int) -> Block:
    """Give the headers of one part."""
    return made.blocks[part]


class At(NamedTuple):
    """Which part of the connections, and how many pieces, or times it was asked for what is left, came before."""

    part: int
    step: int


def rows(job: Job, at: At, block: Block, times: Times, before: Before, _after: object = None) -> list[list[Part]]:
    """Follow the connections of one part through a piece; not before what is waited for.

    Parameters
    ----------
    job : Job
        What is wanted.
    at : At
        Which part and piece.
    block : Block
        The headers of the part.
    times : Times
        Those of all headers.
    before : Before
        What came before the piece's stretch.
    """
    key = job.name, "reduce", at.part
    reducing = _taken(key, at.step) or _caught_up(job, at.part, at.step)
    made: list[list[Part]] = reducing.feed(block, times, before)
    _put(key, at.step + 1, reducing)
    return made


def last_rows(job: Job, at: At, pieces: int, _after: object = None) -> tuple[list[Part], tuple[UnseenCounter, ...]]:
    """End the capture for one part; give some of what is left: see `Reducing.finish`.

    Parameters
    ----------
    job : Job
        What is wanted.
    at : At
        Which part; how often it was asked before.
    pieces : int
        How many there were.
    """
    key = job.name, "reduce", at.part
    reducing = _taken(key, pieces + at.step)
    if reducing is None:
        reducing = _caught_up(job, at.part, pieces)
        for _ in range(at.step):
            reducing.finish()
    made: tuple[list[Part], tuple[UnseenCounter, ...]] = reducing.finish()
    if not made[0][-1].is_whole:
        _put(key, pieces + at.step + 1, reducing)
    return made


def done(_made: object) -> None:
    """Say that something was made, and nothing of what."""


def _caught_up(job: Job, part: int, pieces: int) -> Reducing:
    """Follow the connections of one part through what came before, from the captures themselves."""
    reducing = Reducing(job)
    if pieces:
        for count, (each, frames, interfaces) in enumerate(every_piece(job), 1):
            reducing.feed(each.blocks[part], each.times, Before(frames, interfaces))
            if count == pieces:
                break
    return reducing
