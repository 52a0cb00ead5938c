"""Find the same connections in two captures: by endpoints, or, where those were translated, by sequence numbers.

Theory of operation
-------------------
1. Connections with the same two endpoints and both initial sequence numbers are the same.
2. Of what is left, those with the same endpoints are the same if their sequence numbers fit: equal initial ones where
   both are known, else bytes of theirs within the same 2³¹. One alone at its endpoints in both captures, with both
   handshakes seen, is the same even if its sequence numbers are not: a firewall writes them anew.
3. Of what is left, connections with the same initial sequence numbers are the same: an address or port was translated.
   Where only the client's is known on one side, it must be one of a kind on both.

Offsets count from the SYN, or from the first byte that was captured where there was none: what must be added to those
of the server side follows from the sequence numbers of offset 0.

What it cannot see
------------------
Connections whose addresses were translated and whose handshake is in one capture only. Captures of one stream whose
beginnings lie more than 4 GiB apart.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import Any

import numpy as np

Integers = np.ndarray[Any, np.dtype[np.int64]]

MODULUS = 1 << 32

SLACK_BYTES = 1 << 24
"""Parts of a stream that two captures have may lie so far apart: more than a window of 16 MiB is rare."""

MOST_ALIKE = 16
"""So many connections at the same endpoints are compared with each other; beyond that only neighbours in time."""

TALK = np.dtype(
    [
        ("connection_id", "i8"),
        ("client_address", "u1", 16),
        ("client_port", "u2"),
        ("server_address", "u1", 16),
        ("server_port", "u2"),
        ("ip_version", "u1"),
        # By direction: the sequence number of offset 0 (-1: unknown), whether that is a SYN's, which offsets there are.
        ("zero", "i8", 2),
        ("has_syn", "u1", 2),
        ("least", "i8", 2),
        ("most", "i8", 2),
        # Whether both sides are known to use SACK.
        ("has_sack", "u1"),
    ],
    align=True,
)
"""What tells connections apart."""

Talks = np.ndarray[Any, Any]


@dataclass(frozen=True, slots=True)
class Pairs:
    """The same connections in two captures.

    Attributes
    ----------
    rows : tuple of ndarray of int64, shape (n,) each
        Where they are among the connections of either capture.
    is_flipped : ndarray of bool, shape (n,)
        Whether the captures disagree who is the client.
    shift : ndarray of int64, shape (n, 2)
        What to add to the server side's offsets of what the client, and the server, by the client side, sent.
    is_translated, is_renumbered : ndarray of bool, shape (n,)
        Whether their endpoints differ; whether their sequence numbers do.
    """

    rows: tuple[Integers, Integers]
    is_flipped: np.ndarray[Any, np.dtype[np.bool_]]
    shift: Integers
    is_translated: np.ndarray[Any, np.dtype[np.bool_]]
    is_renumbered: np.ndarray[Any, np.dtype[np.bool_]]

    def __len__(self) -> int:
        return len(self.rows[0])


def pair_connections(ours: Talks, theirs: Talks) -> Pairs:
    """Find the connections that both captures have.

    Parameters
    ----------
    ours, theirs : ndarray of TALK, shape (n,) and (m,)
        The connections of the client-side and of the server-side capture, in the order in which they began.
    """
    endpoints = _endpoints(ours), _endpoints(theirs)
    pairs = _joined(*(_with_numbers(talks, ends) for talks, ends in zip((ours, theirs), endpoints, strict=True)))
    left = [_rest(len(talks), [pair[side] for pair in pairs]) for side, talks in enumerate((ours, theirs))]
    pairs += _by_endpoints((ours, theirs), endpoints, left)
    translated = len(pairs)
    left = [_rest(len(talks), [pair[side] for pair in pairs]) for side, talks in enumerate((ours, theirs))]
    pairs += _by_numbers((ours, theirs), left)
    return _finished((ours, theirs), endpoints, pairs, translated)


def _rest(count: int, used: list[int]) -> list[int]:
    is_left = np.ones(count, np.bool_)
    is_left[used] = False
    return [int(row) for row in np.flatnonzero(is_left)]


def _endpoints(talks: Talks) -> list[bytes]:
    """Give both endpoints of each connection as bytes, the lesser first, so that roles do not matter."""
    sides = []
    for side in ("client", "server"):
        port = talks[f"{side}_port"].astype(">u2").view(np.uint8).reshape(-1, 2)
        sides.append(np.concatenate([talks[f"{side}_address"].reshape(-1, 16), port], axis=1).tobytes())
    first, second = sides
    lengths = range(0, len(first), 18)
    pairs = ((first[i : i + 18], second[i : i + 18]) for i in lengths)
    versions = talks["ip_version"].tolist()
    return [bytes([v]) + (a + b if a <= b else b + a) for (a, b), v in zip(pairs, versions, strict=True)]


def _client_is_first(talk: Any) -> bool:
    """Tell whether the client's endpoint is the lesser one."""
    ends = [
        talk[f"{side}_address"].tobytes() + int(talk[f"{side}_port"]).to_bytes(2, "big")
        for side in ("client", "server")
    ]
    return bool(ends[0] <= ends[1])


def _with_numbers(talks: Talks, endpoints: list[bytes]) -> dict[tuple[Any, ...], list[int]]:
    """Give the connections whose two SYNs were seen, by endpoints and initial sequence numbers."""
    found: dict[tuple[Any, ...], list[int]] = defaultdict(list)
    seen = (talks["has_syn"] == 1).all(axis=1).tolist()
    for row, (ends, is_seen, zero) in enumerate(zip(endpoints, seen, talks["zero"].tolist(), strict=True)):
        if is_seen:
            found[ends, min(zero), max(zero)].append(row)
    return found


def _joined(ours: dict[tuple[Any, ...], list[int]], theirs: dict[tuple[Any, ...], list[int]]) -> list[tuple[int, int]]:
    """Put connections with equal keys together, the k-th of several with the k-th."""
    return [pair for key, rows in ours.items() for pair in zip(rows, theirs.get(key, ()), strict=False)]


def _by_endpoints(
    talks: tuple[Talks, Talks], endpoints: tuple[list[bytes], list[bytes]], left: list[list[int]]
) -> list[tuple[int, int]]:
    """Put together what has the same endpoints and sequence numbers that fit."""
    groups: list[dict[bytes, list[int]]] = [defaultdict(list), defaultdict(list)]
    for side in (0, 1):
        for row in left[side]:
            groups[side][endpoints[side][row]].append(row)
    pairs = []
    for ends, mine in groups[0].items():
        others = groups[1].get(ends, [])
        is_alone = len(mine) == 1 == len(others)
        taken: set[int] = set()
        for k, row in enumerate(mine):
            near = others if len(others) <= MOST_ALIKE else others[max(k - MOST_ALIKE // 2, 0) : k + MOST_ALIKE // 2]
            for other in near:
                if other not in taken and _fits(talks[0][row], talks[1][other], is_alone=is_alone):
                    taken.add(other)
                    pairs.append((row, other))
                    break
    return pairs


def _fits(ours: Any, theirs: Any, *, is_alone: bool) -> bool:
    """Tell whether two connections with the same endpoints can be one."""
    is_flipped = _client_is_first(ours) != _client_is_first(theirs)
    shifts = [_shift(ours, theirs, side, is_flipped=is_flipped) for side in (0, 1)]
    if all(ours["has_syn"]) and all(theirs["has_syn"]):
        return is_alone and not is_flipped  # equal numbers have been put together before
    known = False
    for side, shift in enumerate(shifts):
        other = side ^ is_flipped
        if shift is None:
            continue
        if ours["has_syn"][side] and theirs["has_syn"][other] and ours["zero"][side] != theirs["zero"][other]:
            return False
        least, most = int(theirs["least"][other]) + shift, int(theirs["most"][other]) + shift
        if least > int(ours["most"][side]) + SLACK_BYTES or most < int(ours["least"][side]) - SLACK_BYTES:
            return False
        known = True
    return known


def _shift(ours: Any, theirs: Any, side: int, *, is_flipped: bool) -> int | None:
    """Tell what to add to the server side's offsets of what one side sent; None if its numbers are unknown."""
    other = side ^ is_flipped
    if ours["zero"][side] < 0 or theirs["zero"][other] < 0:
        return None
    apart = (int(theirs["zero"][other]) - int(ours["zero"][side])) % MODULUS
    has_syn, other_has_syn = bool(ours["has_syn"][side]), bool(theirs["has_syn"][other])
    if has_syn and other_has_syn:
        return 0  # both count from the SYN, whatever its number
    if has_syn:
        return apart
    # Ours began in mid-stream: theirs counts from before that, unless it did, too.
    if other_has_syn:
        return apart - MODULUS if apart else 0
    return apart - MODULUS if apart >= MODULUS // 2 else apart


def _by_numbers(talks: tuple[Talks, Talks], left: list[list[int]]) -> list[tuple[int, int]]:
    """Put together what has the same initial sequence numbers, whatever its endpoints."""
    keyed: list[dict[tuple[Any, ...], list[int]]] = []
    singles: list[dict[tuple[Any, ...], list[int]]] = []
    for side, rows in enumerate(left):
        both: dict[tuple[Any, ...], list[int]] = defaultdict(list)
        one: dict[tuple[Any, ...], list[int]] = defaultdict(list)
        for row in rows:
            talk = talks[side][row]
            if not talk["has_syn"][0]:
                continue
            one[(int(talk["zero"][0]),)].append(row)
            if talk["has_syn"][1]:
                both[tuple(talk["zero"].tolist())].append(row)
        keyed.append(both)
        singles.append(one)
    pairs = _joined(*keyed)
    done = [{pair[side] for pair in pairs} for side in (0, 1)]
    for key, rows in singles[0].items():
        others = singles[1].get(key, [])
        if len(rows) == 1 == len(others) and rows[0] not in done[0] and others[0] not in done[1]:
            ours, theirs = talks[0][rows[0]], talks[1][others[0]]
            if not (ours["has_syn"][1] and theirs["has_syn"][1]):
                pairs.append((rows[0], others[0]))
    return pairs


def _finished(
    talks: tuple[Talks, Talks],
    endpoints: tuple[list[bytes], list[bytes]],
    pairs: list[tuple[int, int]],
    translated: int,
) -> Pairs:
    """Say of each pair what has to be done to compare its segments."""
    count = len(pairs)
    is_flipped, shift = np.zeros(count, np.bool_), np.zeros((count, 2), np.int64)
    is_renumbered = np.zeros(count, np.bool_)
    for i, (row, other) in enumerate(pairs):
        ours, theirs = talks[0][row], talks[1][other]
        if i < translated:
            is_flipped[i] = _client_is_first(ours) != _client_is_first(theirs)
        flip = bool(is_flipped[i])
        shift[i] = [_shift(ours, theirs, side, is_flipped=flip) or 0 for side in (0, 1)]
        is_renumbered[i] = any(
            ours["has_syn"][side]
            and theirs["has_syn"][side ^ flip]
            and ours["zero"][side] != theirs["zero"][side ^ flip]
            for side in (0, 1)
        )
    rows = tuple(np.array([pair[side] for pair in pairs], np.int64) for side in (0, 1))
    return Pairs((rows[0], rows[1]), is_flipped, shift, np.arange(count) >= translated, is_renumbered)
