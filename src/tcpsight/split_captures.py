"""The library: two captures of the same traffic, and what they tell together."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any, cast

from tcpsight.ending import conclude
from tcpsight.errors import UsageError
from tcpsight.opening import open as open_capture
from tcpsight.rows import Rows
from tcpsight.sightings import Sighted, sighted
from tcpsight.split_facts import Facts, split_facts, why_not
from tcpsight.split_requests import split_requests
from tcpsight.splitting import Comparison, End, compare
from tcpsight.tables import SplitRequests, Table

if TYPE_CHECKING:
    from tcpsight.analysis import Analysis
    from tcpsight.arguments import Source
    from tcpsight.rows import OnBreak

__all__ = ["Split", "split"]


class Split:
    """Two captures of the same traffic; `tcpsight.split` makes it.

    Parameters
    ----------
    client_side, server_side : Analysis
        The capture taken nearer the clients, and the one taken nearer the servers.

    Notes
    -----
    Both captures are read when something is asked for first, and once.

    Examples
    --------
    >>> split = tcpsight.split("examples/two-points-client.pcap.zst", "examples/two-points-server.pcap.zst")
    >>> len(split.requests.to_numpy())
    9
    """

    def __init__(self, client_side: Analysis, server_side: Analysis) -> None:
        self.client_side = client_side
        self.server_side = server_side

    @cached_property
    def _sighted(self) -> tuple[Sighted, Sighted]:
        return sighted(self.client_side), sighted(self.server_side)

    @cached_property
    def _comparison(self) -> Comparison:
        comparison = compare(*self._sighted, end=cast("End", self.client_side.options.end))
        if reason := why_not(comparison):
            raise UsageError(reason)
        return comparison

    @cached_property
    def _table(self) -> SplitRequests:
        return split_requests(self._comparison, start=self.client_side.options.start)

    @property
    def requests(self) -> Rows:
        """Answered requests of the client-side capture, each with the parts of its time.

        Raises
        ------
        UsageError
            When it is read: if the captures have no connection in common, or were given the wrong way round.

        Examples
        --------
        >>> split = tcpsight.split("examples/two-points-client.pcap.zst", "examples/two-points-server.pcap.zst")
        >>> split.requests.to_arrow().column_names[-3:]
        ['path_error_ns', 'request_bytes', 'response_bytes']
        """

        def read(on_break: OnBreak) -> Iterator[Table]:
            if len(self._table):
                yield self._table
            for side in self._sighted:
                conclude(side.run, on_break)

        return Rows(SplitRequests, read, is_strict=self.client_side.is_strict)

    @property
    def facts(self) -> Facts:
        """Clocks, delays, losses and sums as dictionaries, lists and numbers: what the command prints as JSON.

        Raises
        ------
        UsageError
            If the captures have no connection in common, or were given the wrong way round.

        Examples
        --------
        >>> facts = tcpsight.split("examples/two-points-client.pcap.zst", "examples/two-points-server.pcap.zst").facts
        >>> sorted(facts)
        ['client_side', 'clock', 'connections', 'losses', 'not_captured', 'path', 'requests', 'segments', 'server_side']
        """
        return split_facts(self._comparison, self._table)


def split(
    client_side: Source | Sequence[Source],
    server_side: Source | Sequence[Source],
    *,
    start_end: tuple[str, str] = ("request_last", "response_first"),
    **options: Any,
) -> Split:
    """Compare two captures of the same traffic.

    Parameters
    ----------
    client_side, server_side : path, ``-`` or binary file, or a list of them
        The capture taken nearer the clients, and the one taken nearer the servers.
    start_end : tuple of str
        Between which instants of a request response time runs, as of `tcpsight.open`.
    **options
        ``servers``, ``frame_filter``, ``since_ns``, ``until_ns``, ``input_timezone`` and ``strict`` of `tcpsight.open`;
        the times are by the client-side clock, and choose requests of the client-side capture.

    Returns
    -------
    Split
        Its `requests` and `facts` are read when they are used.

    Raises
    ------
    UsageError
        If an argument makes no sense.

    Examples
    --------
    >>> both = tcpsight.split("examples/two-points-client.pcap.zst", "examples/two-points-server.pcap.zst")
    >>> both.facts["connections"]["matched"]
    3
    >>> rows = both.requests.to_numpy()
    >>> parts = rows["request_path_ns"] + rows["server_ns"] + rows["response_path_ns"]
    >>> bool((parts == rows["response_time_ns"]).all())
    True
    """
    ours = open_capture(client_side, start_end=start_end, **options)
    # Which requests are wanted is asked of the client side; its clock is not the other's.
    theirs = open_capture(server_side, start_end=start_end, **options | {"since_ns": None, "until_ns": None})
    return Split(ours, theirs)
