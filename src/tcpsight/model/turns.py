"""Whether the two sides of a service take turns, without which there is no response time.

Theory of operation
-------------------
Requests are told by turns: the client speaks, then the server. Three things speak against it.

*Overlap.* Where a client sends while an answer goes on (`overlapped`), which answer belongs to which request cannot be
told from headers; one such request may be an accident, but if they are more than `MOST_OVERLAPPED` of all (the lower
end of Wilson's 95 % interval, so that few requests prove nothing), the service does not take turns: it multiplexes,
pipelines, or both sides speak when they like.

*Accidents.* Sides that speak slowly seldom overlap. A side spoke again if what it said in its turn is small and took
longer than the answer took to begin. If both do, no oftener than chance has it (of two sides that speak at random one
or the other does, so that the shares add up to one at most), and the server's words come after a request as they would
if nobody had asked (`Reactions`), turns are accidents. If one side only does, or does so all the time as a server does
that answers in pieces, it may be another accident that clients take as long as servers: that is a doubt.

*Trickles.* An answer that goes on for long in small pieces looks like a server that speaks unasked. Where most do, and
too few requests are known to tell, that is a doubt, too.

What it cannot see: requests that were sent in one segment; clients that multiplex but happen to wait; a server that
speaks unasked just after a request. Pushes that are as fast as a download.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from tcpsight.model.reactions import Reactions
from tcpsight.tables import Requests

Integers = np.ndarray[Any, np.dtype[np.int64]]

MOST_OVERLAPPED = 0.05
"""Of half-duplex protocols next to none are; of multiplexed ones it was a fifth to a half, in a corpus of captures."""

LEAST_OVERLAPPED = 3
"""One or two may be accidents, however few requests there are."""

SMALL_BYTES = 536
"""A request that fits any segment (RFC 9293 §3.7.1)."""

TRICKLE_NS = 1_000_000_000
TRICKLE_BYTES = 14_600
"""Slower than ten full segments a second, for a second at least."""

LEAST_AGAIN = 0.01
"""A side speaks again if it does so in more turns than this (the lower end of the interval)."""

MOST_AGAIN = 1.3
"""If two sides speak at random, the shares of turns in which they speak again add up to one; this allows for bursts."""

QUANTILE = 1.96
MOST_CONNECTIONS = 65_536


@dataclass(slots=True)
class Turns:
    """How the sides of a service take turns.

    Attributes
    ----------
    requests : int
        How many were looked at.
    overlapped : int
        Sent while an answer was going on.
    in_parts : int
        Small, yet in several segments.
    trickling : int
        Whose answer came slower than ten segments a second, for a second or more.
    client_again, server_again : int
        In which the client, or the server, spoke again: small pieces over a longer time than the answer took to begin.
    reactions : Reactions
        Whether the server speaks because it was asked.
    first, handshakes : int
        First of their connection; beginning with a message of a TLS handshake.
    connections : set of int
        Those with overlapped requests; no more are added beyond `MOST_CONNECTIONS`.
    """

    requests: int = 0
    overlapped: int = 0
    in_parts: int = 0
    trickling: int = 0
    client_again: int = 0
    server_again: int = 0
    reactions: Reactions = field(default_factory=Reactions)
    first: int = 0
    handshakes: int = 0
    connections: set[int] = field(default_factory=set)

    def add(self, requests: Requests) -> None:
        """Take answered requests."""
        self.requests += len(requests)
        self.overlapped += int(np.count_nonzero(requests.is_overlapped))
        if len(self.connections) < MOST_CONNECTIONS:
            self.connections.update(requests.connection_id[requests.is_overlapped != 0].tolist())
        self.first += int(np.count_nonzero(requests.is_first))
        self.handshakes += int(np.count_nonzero(requests.is_handshake))
        is_small = requests.request_bytes <= SMALL_BYTES
        self.in_parts += int(np.count_nonzero(is_small & (requests.request_last_ns > requests.request_first_ns)))
        lasting = requests.response_last_ns - requests.response_first_ns
        slow = (lasting >= TRICKLE_NS) & (requests.response_bytes < lasting / TRICKLE_NS * TRICKLE_BYTES)
        self.trickling += int(np.count_nonzero(slow))
        took = np.maximum(requests.response_first_ns - requests.request_last_ns, 1)
        asking = requests.request_last_ns - requests.request_first_ns
        self.client_again += _again(asking, requests.request_bytes, took)
        self.server_again += _again(lasting, requests.response_bytes, took)
        self.reactions.add(requests)

    @property
    def overlapped_low(self) -> float:
        """Give the least share of overlapped requests that is likely (Wilson 1927, 95 %)."""
        return wilson_low(self.overlapped, self.requests)

    @property
    def hold(self) -> bool | None:
        """Whether the sides take turns; None where there was no request to tell by."""
        if not self.requests:
            return None
        return not (self.is_overlapping or (self._are_both_free and self.reactions.are_accidents))

    @property
    def is_overlapping(self) -> bool:
        """Whether too many requests were sent while an answer was going on."""
        return self.overlapped >= LEAST_OVERLAPPED and self.overlapped_low > MOST_OVERLAPPED

    @property
    def _again(self) -> list[int]:
        return [self.client_again, self.server_again]

    @property
    def _are_both_free(self) -> bool:
        """Whether both sides speak again, as often as if at random."""
        does = all(wilson_low(each, self.requests) > LEAST_AGAIN for each in self._again)
        return does and sum(self._again) <= MOST_AGAIN * self.requests

    @property
    def reason(self) -> str | None:
        """Say why there is no response time; None where there is."""
        if self.hold is not False:
            return None
        if self.is_overlapping:
            share = f"{100 * self.overlapped / self.requests:.3g} %"
            return f"the two sides do not take turns: {share} of the requests were sent while an answer was going on"
        return (
            "the two sides do not take turns: both speak again before the other has spoken, as with pipelining or push"
        )

    @property
    def doubt(self) -> str | None:
        """Say why response times may mean nothing, where there are some; None where nothing speaks for it."""
        if not self.hold:
            return None
        if any(wilson_low(each, self.requests) > LEAST_AGAIN for each in self._again) and self.reactions.are_accidents:
            return "the server speaks right after a request no oftener than at other times: pipelining or push"
        if self.reactions.distance is None and 2 * self.trickling >= self.requests:
            share = f"{self.trickling} of {self.requests}"
            return f"{share} answers go on for long, in small pieces: the server may speak unasked"
        return None


def _again(lasting_ns: Integers, sizes: Integers, took_ns: Integers) -> int:
    """Count turns in which a side spoke again, with less than a small segment in the time that an answer takes."""
    is_slow = (lasting_ns > 0) & (lasting_ns >= took_ns)
    return int(np.count_nonzero(is_slow & (sizes <= SMALL_BYTES * (1 + lasting_ns / took_ns))))


def wilson_low(hits: int, count: int) -> float:
    """Give the lower end of the 95 % interval of a share."""
    if not count:
        return 0.0
    share, z2 = hits / count, QUANTILE**2
    middle = share + z2 / (2 * count)
    spread = QUANTILE * math.sqrt(share * (1 - share) / count + z2 / (4 * count**2))
    return max((middle - spread) / (1 + z2 / count), 0.0)
