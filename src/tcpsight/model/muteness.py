"""Services that never answer: requests that wait where no other ever had an answer.

Theory of operation
-------------------
Stalls are told by what is usual at a service, and where next to nothing was ever answered nothing is usual. There, a
request that all of was sent, and that waited for longer than sending it took, is counted: many after `BRIEF_NS`, as
clients give up, several after `LEAST_NS`, one alone after `LONE_NS`. Who sends all the time and wants no answer, as
what ships logs does, waits for none: the last data is never long ago compared with the first.

What it cannot see: whether an answer was due. Who sends something now and then on connections of their own, and keeps
these open, looks the same.
"""

from __future__ import annotations

import numpy as np

from tcpsight.tables import Requests, Unanswered

BRIEF_NS, MANY = 100_000_000, 10
"""So long so many wait for their first answer."""

MOST_ANSWERED = 0.05
"""Where so many are answered at most, the service as good as never answers; `MANY` must wait then."""

LEAST_NS = 1_000_000_000
"""So long several do."""

LONE_NS = 5_000_000_000
"""So long one does."""

EXAMPLES = 5


class Muteness:
    """Count the requests of one service that wait although nobody had an answer.

    Attributes
    ----------
    answered : int
        Requests that had one.
    waited : int
        Requests that waited for `BRIEF_NS` and longer than it took to send them: one of a connection.
    long : int
        How many of these did for `LEAST_NS`.
    longest_ns : int
        For how long, from the last data of the request; of the one that waited longest.
    connection_id : int
        Whose that was; -1 if there was none.
    still_waiting : int
        How many waited when the capture ended.
    """

    def __init__(self) -> None:
        self.answered = self.waited = self.long = self.still_waiting = self.longest_ns = 0
        self.connection_id = -1
        self.examples: list[int] = []
        self.first_ns, self.last_ns = 2**63 - 1, -(2**63)

    def add(self, requests: Requests) -> None:
        """Take requests, answered or not, in any order."""
        if not isinstance(requests, Unanswered):
            self.answered += len(requests)
            return
        waited_ns = requests.end_ns - requests.request_last_ns
        is_waiting = waited_ns >= np.maximum(requests.request_last_ns - requests.request_first_ns, BRIEF_NS)
        if not is_waiting.any():
            return
        rows, waited_ns = requests[np.flatnonzero(is_waiting)], waited_ns[is_waiting]
        self.waited += len(rows)
        self.long += int((waited_ns >= LEAST_NS).sum())
        self.still_waiting += int(rows.is_open.sum())
        longest = int(np.argmax(waited_ns))
        if waited_ns[longest] > self.longest_ns:
            self.longest_ns, self.connection_id = int(waited_ns[longest]), int(rows.connection_id[longest])
        self.first_ns = min(self.first_ns, int(rows.request_last_ns.min()))
        self.last_ns = max(self.last_ns, int(rows.end_ns.max()))
        self.examples += rows.connection_id[: EXAMPLES - len(self.examples)].tolist()

    @property
    def is_mute(self) -> bool:
        """Whether that says something of the service."""
        if self.waited >= MANY:
            return self.answered <= MOST_ANSWERED * (self.answered + self.waited)
        return self.answered == 0 and (self.long > 1 or self.longest_ns >= LONE_NS)
