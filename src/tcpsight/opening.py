"""The door of the library: `open`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from tcpsight.analysis import Analysis
from tcpsight.arguments import (
    Source,
    captures,
    instant_ns,
    kinds_of_requests,
    services,
    start_and_end,
    worker_count,
)
from tcpsight.errors import UsageError
from tcpsight.pipeline import Options
from tcpsight.selection import Selection

if TYPE_CHECKING:
    from tcpsight.capture import Following

__all__ = ["open"]


def open(  # noqa: PLR0913 - each is a question of its own, asked by name
    *sources: Source | Sequence[Source],
    servers: str | Sequence[str] = (),
    frame_filter: str | None = None,
    since_ns: int | None = None,
    until_ns: int | None = None,
    start_end: tuple[str, str] = ("request_last", "response_first"),
    leave_out: Sequence[str] = (),
    input_timezone: str = "UTC",
    following: Following | None = None,
    strict: bool = False,
    skip_bad: bool = False,
    workers: int | None = None,
) -> Analysis:
    """Open a capture, in one file or several.

    Parameters
    ----------
    *sources : path, ``-`` or binary file, or lists of them
        pcap, pcapng or tcpdump text, plain or compressed; several are one capture.
    servers : str or sequence of str
        ``[ADDRESS]:PORT`` of the services of interest; all by default.
    frame_filter : str, optional
        BPF expression.
    since_ns, until_ns : int, optional
        Nanoseconds since the Unix epoch: requests that arrive, connections that last, segments and slices that lie in
        [since_ns, until_ns). State is built from the whole capture.
    start_end : tuple of str
        Between which instants of a request response time runs: ``request_first`` or ``request_last``, and
        ``response_first`` or ``response_last``.
    leave_out : sequence of str
        Requests that get no rows: ``first`` of a connection, TLS ``handshake``, ``overlapped`` with a response.
    input_timezone : str
        IANA name of the zone of times in tcpdump text, or ``local``.
    following : Following, optional
        Until when a file that is still being written is followed; its end is the end by default.
    strict : bool
        Raise `CaptureError` where a capture is cut short or has no TCP in it, instead of giving the rows before that
        with a `CaptureWarning`.
    skip_bad : bool
        Of several files, leave out those that cannot be read, and the rest of those that break off; they are counted
        (`bad_file`), and `Run.capture.files` says what is wrong with each. Otherwise a file that is missing or no
        capture raises `CaptureError`, and one that breaks off ends with it, once all others were read.
    workers : int, optional
        Threads that follow connections; by default one for each processor that this process may use, up to 3. Rows
        never depend on it; pipes and passes over segments have one.

    Returns
    -------
    Analysis
        Its `requests`, `connections`, `segments`, `intervals()` and the others are read when they are used.

    Raises
    ------
    UsageError
        Without a source, or if an argument makes no sense. What a filter means, and whether the capture can be read,
        is told when rows are.

    Examples
    --------
    >>> capture = tcpsight.open("examples/mariadb-lock.pcap", servers=":3306")
    >>> int(capture.requests.to_numpy()["response_time_ns"].max())
    1500280404
    """
    named = captures(sources)
    since_ns, until_ns = instant_ns("since_ns", since_ns), instant_ns("until_ns", until_ns)
    if since_ns is not None and until_ns is not None and until_ns <= since_ns:
        raise UsageError(f"until_ns {until_ns} is not after since_ns {since_ns}")
    selection = Selection(services(servers), since_ns, until_ns)
    options = Options(
        selection, *start_and_end(start_end), leave_out=kinds_of_requests(leave_out), workers=worker_count(workers)
    )
    capture = Analysis(
        named,
        options,
        frame_filter=frame_filter,
        input_timezone=input_timezone,
        following=following,
        skips_bad=skip_bad,
    )
    capture.is_strict = strict
    return capture
