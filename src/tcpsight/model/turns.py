"""Whether the two sides of a service take turns, without which there is no response time.

Theory of operation
-------------------
Requests are told by turns: the client speaks, then the server. Where a client sends while an answer goes on
(`overlapped`), which answer belongs to which request cannot be told from headers; one such request may be an
accident, but if they are more than `MOST_OVERLAPPED` of all (the lower end of Wilson's 95 % interval, so that few
requests prove nothing), the service does not take turns: it multiplexes, pipelines, or both sides speak when they
like. Two weaker signs are counted beside it. A small request in several segments was written in parts, or several
were sent one after the other without waiting. An answer that trickles for long looks like a server that speaks
unasked.

What it cannot see: requests that were sent in one segment; clients that multiplex but happen to wait; a server that
speaks unasked just after a request.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np

from tcpsight.tables import Requests

MOST_OVERLAPPED = 0.05
"""Of half-duplex protocols next to none are; of multiplexed ones it was a fifth to a half, in a corpus of captures."""

LEAST_OVERLAPPED = 3
"""One or two may be accidents, however few requests there are."""

SMALL_BYTES = 536
"""A request that fits any segment (RFC 9293 §3.7.1)."""

TRICKLE_NS = 1_000_000_000
TRICKLE_BYTES = 1_460
"""Slower than one full segment a second, for a second at least."""

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
        Whose answer came slower than a segment a second, for a second or more.
    first, handshakes : int
        First of their connection; beginning with a message of a TLS handshake.
    connections : set of int
        Those with overlapped requests; no more are added beyond `MOST_CONNECTIONS`.
    """

    requests: int = 0
    overlapped: int = 0
    in_parts: int = 0
    trickling: int = 0
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

    @property
    def overlapped_low(self) -> float:
        """Give the least share of overlapped requests that is likely (Wilson 1927, 95 %)."""
        return wilson_low(self.overlapped, self.requests)

    @property
    def hold(self) -> bool | None:
        """Whether the sides take turns; None where there was no request to tell by."""
        if not self.requests:
            return None
        return self.overlapped < LEAST_OVERLAPPED or self.overlapped_low <= MOST_OVERLAPPED

    @property
    def reason(self) -> str | None:
        """Say why there is no response time; None where there is."""
        if self.hold is not False:
            return None
        share = f"{100 * self.overlapped / self.requests:.3g} %"
        return f"the two sides do not take turns: {share} of the requests were sent while an answer was going on"


def wilson_low(hits: int, count: int) -> float:
    """Give the lower end of the 95 % interval of a share."""
    if not count:
        return 0.0
    share, z2 = hits / count, QUANTILE**2
    middle = share + z2 / (2 * count)
    spread = QUANTILE * math.sqrt(share * (1 - share) / count + z2 / (4 * count**2))
    return max((middle - spread) / (1 + z2 / count), 0.0)
