"""Requests that wait when the capture ends: those that were merely in flight, and those that nothing answers.

Theory of operation
-------------------
Who asked a moment before the capture ended had no answer in it, and that tells nothing of the server. So a request
whose connection was still open then is in flight, neither answered nor unanswered, if it had waited no longer than the
longest response time of its service; one that had waited longer is unanswered, for the server may hang. What the
longest is stands only when everything was seen, so until then the waits are kept: at most one for each open connection.

What it cannot see: a server that hangs for less than it has taken before.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from tcpsight.tables import Unanswered

Integers = np.ndarray[Any, np.dtype[np.int64]]
Mask = np.ndarray[Any, np.dtype[np.bool_]]

_COLUMNS = ("client_address", "ip_version", "arrival_ns", "end_ns")
_KEPT = np.dtype([("client_address", "u1", 16), ("ip_version", "u1"), ("arrival_ns", "i8"), ("end_ns", "i8")])


def in_flight(unanswered: Unanswered, longest_ns: int | Integers) -> Mask:
    """Tell which requests were in flight at the end of the capture, shape (n,).

    Parameters
    ----------
    unanswered : Unanswered, shape (n,)
        Requests without an answer.
    longest_ns : int, or ndarray of int64, shape (n,)
        The longest response time of the service of each in ns; −1 where nothing was answered.
    """
    mask: Mask = (unanswered.is_open != 0) & _is_short(unanswered.arrival_ns, unanswered.end_ns, longest_ns)
    return mask


def _is_short(arrival_ns: Integers, end_ns: Integers, longest_ns: int | Integers) -> Mask:
    """Tell who had waited no longer than the service ever took."""
    mask: Mask = end_ns - arrival_ns <= longest_ns
    return mask


class OpenRequests:
    """Keep who waited at one service when the capture ended, and how long, until its longest response time is known."""

    __slots__ = ("_kept",)

    def __init__(self) -> None:
        self._kept: list[np.ndarray[Any, Any]] = []

    def add(self, unanswered: Unanswered) -> None:
        """Take requests whose connections were open when the capture ended."""
        kept = np.zeros(len(unanswered), _KEPT)
        for name in _COLUMNS:
            kept[name] = unanswered.rows[name]
        self._kept.append(kept)

    def split(self, longest_ns: int) -> tuple[int, Unanswered]:
        """Give how many were in flight, and the others, which are unanswered; none is kept any more.

        Parameters
        ----------
        longest_ns : int
            The service's longest response time in ns; −1 where nothing was answered.

        Returns
        -------
        tuple
            The number, and the rows, of which only client, arrival and end are filled.
        """
        kept = np.concatenate([np.zeros(0, _KEPT), *self._kept])
        self._kept = []
        others = kept[~_is_short(kept["arrival_ns"], kept["end_ns"], longest_ns)]
        unanswered = Unanswered.allocate(len(others))
        for name in _COLUMNS:
            unanswered.rows[name] = others[name]
        return len(kept) - len(others), unanswered
