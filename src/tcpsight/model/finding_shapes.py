"""What rules of findings look at, and what they give."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from tcpsight.tables import STATES, Connections, Network

Bools = np.ndarray[Any, np.dtype[np.bool_]]
Array = np.ndarray[Any, Any]

MS = 1_000_000
SECOND = 1_000_000_000

LEAST_MTU_PAYLOAD = 1000
"""Segments of the least path MTU of IPv4 (576) or IPv6 (1280) are not too large for any path that matters."""

UNANSWERED, HANDSHAKING, REFUSED, CLOSED, CLIENT_RESET, SERVER_RESET, HALF_CLOSED, OPEN = range(len(STATES))


class Pair(NamedTuple):
    """One direction of the connections of a batch, each shape (n,)."""

    own: Network
    peer: Network
    connections: Connections
    direction: int

    @classmethod
    def both(cls, network: Network, connections: Connections) -> tuple[Pair, Pair]:
        """Give the client's direction, then the server's."""
        client, server = network[::2], network[1::2]
        return cls(client, server, connections, 0), cls(server, client, connections, 1)


@dataclass(slots=True)
class Hits:
    """Which connections meet a rule, each array of shape (n,)."""

    is_hit: Bools
    start_ns: Array
    end_ns: Array
    score: Array
    numbers: dict[str, Array]
    severity: Array
    confidence: Array


class ConnectionRule(NamedTuple):
    """A condition of one direction of a connection.

    Attributes
    ----------
    kind : str
        What is found.
    text : str
        The rule in words.
    look : callable
        Tells which connections of a batch meet it; None where the direction can't.
    has_direction : bool
        Whether it is about the data of one side.
    is_exclusive : bool
        Whether a direction that one such rule found is left out by the next.
    """

    kind: str
    text: str
    look: Callable[[Pair], Hits | None]
    has_direction: bool = True
    is_exclusive: bool = False


def hits_of(
    pair: Pair,
    is_hit: Bools,
    span: tuple[Array, Array] | None = None,
    *,
    score: Array | None = None,
    severity: Array | str = "warning",
    confidence: Array | float = 0.9,
    **numbers: Array,
) -> Hits:
    """Give hits of a batch: by default of whole connections, as warnings, fairly sure."""
    n = len(is_hit)
    start, end = span if span is not None else (pair.connections.start_ns, pair.connections.end_ns)
    return Hits(
        is_hit,
        start,
        end,
        np.zeros(n) if score is None else score,
        numbers,
        np.broadcast_to(np.asarray(severity), (n,)),
        np.broadcast_to(np.asarray(confidence, np.float64), (n,)),
    )


def heard(pair: Pair) -> Bools:
    """Whether both sides have been heard."""
    is_heard: Bools = (pair.own.segments > 0) & (pair.peer.segments > 0) & (pair.connections.state != REFUSED)
    return is_heard
