"""The library: open a capture, take its tables."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from tcpsight.arguments import Source, slice_ns
from tcpsight.ending import conclude, conclude_if_broken
from tcpsight.errors import UsageError
from tcpsight.interval_rows import IntervalRows
from tcpsight.passes import Passes
from tcpsight.rows import OnBreak, Rows, on_break
from tcpsight.run import Run
from tcpsight.tables import (
    AccountedRequests,
    Connections,
    Findings,
    Network,
    Requests,
    SegmentDetails,
    Table,
    Unanswered,
    Unseen,
)

if TYPE_CHECKING:
    from tcpsight.bucketing import Scale
    from tcpsight.flows import Record
    from tcpsight.model.keys import By
    from tcpsight.streams import CapturedStreams, Policy

__all__ = ["Analysis", "Run", "Source"]


class Analysis(Passes):
    """What a capture tells; `tcpsight.open` makes it.

    Parameters
    ----------
    sources : sequence of path, ``-`` or binary file
        One capture, in any number of files.
    options : Options
        Which rows, and how they are made.
    frame_filter : str, optional
        BPF expression; frames that do not match are left out before anything else.
    input_timezone : str
        IANA name of the zone of times in tcpdump text, or ``local``.
    following : Following, optional
        Until when a file that is still being written is followed; not at all by default.
    link_offset : int
        Bytes in front of IP that the link type does not explain.
    skips_bad : bool
        Leave out what cannot be read of a file, if there are others.

    Attributes
    ----------
    is_strict : bool
        Whether conversions of a broken capture raise `CaptureError` instead of a `CaptureWarning`; False at first.

    Notes
    -----
    Every table is made by a pass of its own, which reads the files again, open ones from where they stood; a pipe can
    be read once.

    Examples
    --------
    >>> capture = tcpsight.open("examples/mariadb-lock.pcap", servers=":3306")
    >>> requests = capture.requests.to_polars()
    >>> requests.height, requests["response_time_ns"].max()
    (4706, 1500280404)
    """

    @property
    def requests(self) -> Rows:
        """Answered requests, in the order in which they became final.

        Examples
        --------
        >>> tcpsight.open("examples/mariadb-lock.pcap").requests.to_polars().height
        4706
        """
        return self._rows(Requests, lambda batch: batch.requests)

    @property
    def accounted_requests(self) -> Rows:
        """Answered requests, each with where its time went.

        Examples
        --------
        >>> tcpsight.open("examples/mariadb-lock.pcap").accounted_requests.to_polars()["limited_by"].unique().to_list()
        ['server']
        """
        return self._rows(AccountedRequests, lambda batch: batch.requests)

    @property
    def unanswered(self) -> Rows:
        """Requests that were never answered.

        Examples
        --------
        >>> len(tcpsight.open("examples/mariadb-lock.pcap").unanswered.to_numpy())
        0
        """
        return self._rows(Unanswered, lambda batch: batch.unanswered)

    @property
    def connections(self) -> Rows:
        """Connections, in the order in which they became final.

        Examples
        --------
        >>> tcpsight.open("examples/mariadb-lock.pcap").connections.to_arrow().num_rows
        9
        """
        return self._rows(Connections, lambda batch: batch.connections)

    @property
    def findings(self) -> Rows:
        """Conditions that have a name, the worst first.

        Examples
        --------
        >>> len(tcpsight.open("examples/mariadb-lock.pcap").findings.to_numpy())
        1
        """
        from tcpsight.findings import CaptureFindings

        def read(on_break: OnBreak) -> Iterator[Table]:
            collection = CaptureFindings(self.options.selection)
            with self.run(Findings) as run:
                for batch in run:
                    collection.add(batch)
                if len(table := collection.table(run)):
                    yield table
                conclude(run, on_break)

        return Rows(Findings, read, is_strict=self.is_strict)

    @property
    def network(self) -> Rows:
        """What the network did to each direction of each connection.

        Examples
        --------
        >>> network = tcpsight.open("examples/mariadb-lock.pcap").network.to_numpy()
        >>> len(network), int(network["retransmissions"].sum())
        (18, 0)
        """
        return self._rows(Network, lambda batch: batch.network)

    def flow_records(
        self,
        schema: str = "tcpsight",
        *,
        country_file: str | os.PathLike[str] | None = None,
        zone_file: str | os.PathLike[str] | None = None,
        where: str | None = None,
    ) -> Iterator[Record]:
        """Read the capture, and give a record for each connection as it ends: what ``--record flow`` writes.

        Parameters
        ----------
        schema : {"tcpsight", "zeek", "ecs", "ipfix"}
            Whose names the fields have.
        country_file, zone_file : path, optional
            Where countries of clients, in MaxMind's format, and zones of servers, a table of networks, are looked up.
        where : str, optional
            Only connections for which this holds: a condition on columns of connections, and of network for the
            direction that carried more bytes.

        Raises
        ------
        UsageError
            If there is no such schema, the condition makes no sense, or ``maxminddb`` is missing.

        Examples
        --------
        >>> records = tcpsight.open("examples/mariadb-lock.pcap").flow_records(where="server_bytes < 1kB")
        >>> [(record["direction"], record["blackholed"]) for record in records]
        [('server', False)]
        """
        from tcpsight.flows import FlowAssembly

        assembly = FlowAssembly(schema, country_file=country_file, zone_file=zone_file, where=where)
        return assembly.read(self.run)

    @property
    def segments(self) -> Rows:
        """Segments, in capture order.

        Examples
        --------
        >>> len(tcpsight.open("examples/mariadb-lock.pcap").segments.to_numpy())
        12186
        """
        return self._rows(SegmentDetails, lambda batch: batch.segments)

    def intervals(
        self, interval_ns: int | str | None = None, *, max_stall_ns: int | str = 200_000_000, by: By | None = None
    ) -> IntervalRows:
        """Slices of time: arrivals, completions, concurrency, response times.

        Parameters
        ----------
        interval_ns : int or str, optional
            Length of a slice, in nanoseconds or as ``"1s"``, ``"200ms"``, ``"1min30s"``; by default, and for
            ``"auto"``, it is chosen from the response times, and the rows' `chosen` says why.
        max_stall_ns : int or str
            The longest slice that is chosen: shorter stalls can hide in it.
        by : {"service", "server", "client"}, optional
            A series for each of the 20 largest.

        Raises
        ------
        UsageError
            If a length is none, or not longer than 0, or if there are no series by that.

        Examples
        --------
        >>> capture = tcpsight.open("examples/mariadb-lock.pcap")
        >>> int(capture.intervals("1s").to_numpy()["completions"].sum())
        4706
        """
        from tcpsight.slices import IntervalCollection

        is_chosen = isinstance(interval_ns, str) and interval_ns.strip().lower() == "auto"
        length_ns = None if interval_ns is None or is_chosen else slice_ns("interval_ns", interval_ns)
        most_ns = slice_ns("max_stall_ns", max_stall_ns)
        if by not in (None, "service", "server", "client"):
            raise UsageError(f"no series by {by!r}; there are service, server, client")
        return IntervalRows(
            self.run,
            lambda: IntervalCollection(length_ns, max_stall_ns=most_ns, by=by),
            is_strict=self.is_strict,
        )

    def scalability(
        self, interval_ns: int | str | None = None, *, most_services: int = 10, at: Sequence[float] = ()
    ) -> dict[str, Any]:
        """Fit the universal scalability law to each of the largest services; read now.

        Parameters
        ----------
        interval_ns : int or str, optional
            Length of the slices that are the points, as of `intervals`; by default chosen for each service.
        most_services : int
            How many services.
        at : sequence of float
            Concurrencies that ``forecast`` shall have, beside those that it chooses.

        Returns
        -------
        dict
            What ``tcpsight usl --format json`` prints: ``sigma``, ``kappa`` and ``lambda``, each with ``value``,
            ``low`` and ``high``, or None where the capture does not tell; ``peak_concurrency``,
            ``peak_throughput_per_s``, ``refusal`` and more of the largest service, and under ``services`` of each.

        Raises
        ------
        UsageError
            If a length is none, or SciPy is not installed.

        Examples
        --------
        >>> told = tcpsight.open("examples/mariadb-lock.pcap").scalability()
        >>> told["server_port"], told["requests"], told["kappa"]  # nine clients and a lock: no curve
        (3306, 4706, None)
        """
        from tcpsight.scalability import ScalabilityCollection

        is_chosen = interval_ns is None or (isinstance(interval_ns, str) and interval_ns.strip().lower() == "auto")
        collection = ScalabilityCollection(
            None if is_chosen else slice_ns("interval_ns", interval_ns), most_services=most_services, at=at
        )
        with self.run() as run:
            for batch in run:
                collection.feed(batch)
            told = collection.facts(run)
            conclude(run, on_break(is_strict=self.is_strict))
        return told

    def buckets(
        self,
        by: str = "duration",
        *,
        where: str | None = None,
        scale: Scale | None = None,
        width: int | None = None,
        count: int | None = None,
    ) -> Rows:
        """Count connections in buckets, and tell what those in each are like.

        Parameters
        ----------
        by : str
            ``duration``, ``connect``, ``client_bytes``, ``server_bytes``, ``throughput``, ``requests``, ``attempts``.
        where : str, optional
            Only connections for which this holds.
        scale : {"logarithmic", "linear", "quantile"}, optional
            Edges at 1, 2, 5, 10 …; of one width; or with equal numbers of connections. By default linear where a width
            is given and for attempts, else logarithmic.
        width : int, optional
            Width of linear buckets, in the unit of what they are made by.
        count : int, optional
            How many linear buckets, or quantiles.

        Raises
        ------
        UsageError
            If the condition or the buckets make no sense.

        Examples
        --------
        >>> buckets = tcpsight.open("examples/mariadb-lock.pcap").buckets("server_bytes", scale="quantile", count=4)
        >>> int(buckets.to_numpy()["connections"].sum())
        9
        """
        return self._in_buckets(by, where, {"scale": scale, "width": width, "count": count}, is_list=False)

    def bucketed(
        self,
        by: str = "duration",
        *,
        where: str | None = None,
        scale: Scale | None = None,
        width: int | None = None,
        count: int | None = None,
    ) -> Rows:
        """Give connections in order of what buckets are made by, each with its bucket; arguments as of `buckets`.

        Examples
        --------
        >>> listed = tcpsight.open("examples/mariadb-lock.pcap").bucketed("server_bytes")
        >>> len(listed.to_numpy())
        9
        """
        return self._in_buckets(by, where, {"scale": scale, "width": width, "count": count}, is_list=True)

    def _in_buckets(self, by: str, where: str | None, chosen: dict[str, Any], *, is_list: bool) -> Rows:
        from tcpsight.bucketing import BucketCollection
        from tcpsight.tables import BucketConnections, RatedConnections
        from tcpsight.where import Where

        condition = Where(where, RatedConnections) if where is not None else None
        table_type = BucketCollection(by, **chosen).table_type  # what makes no sense is refused now

        def read(on_break: OnBreak) -> Iterator[Table]:
            collection = BucketCollection(by, where=condition, **chosen)
            with self.run(Connections) as run:
                for batch in run:
                    collection.feed(batch.connections)
                collection.tags = run.tags
                yield from collection.connections() if is_list else collection.rows()
                conclude(run, on_break)

        return Rows(BucketConnections if is_list else table_type, read, is_strict=self.is_strict)

    def streams(self, overlaps: Policy = "first") -> CapturedStreams:
        """Read the capture once, and give what each side of each connection sent: use it in a ``with`` statement.

        Parameters
        ----------
        overlaps : {"first", "last"}
            Which copy gives a byte that was captured more than once.

        Examples
        --------
        >>> with tcpsight.open("examples/mariadb-lock.pcap").streams() as streams:
        ...     len(streams), sum(len(conversation.client) for conversation in streams)
        (9, 222288)
        """
        from tcpsight.streams import CapturedStreams

        return CapturedStreams(self, overlaps)

    @property
    def unseen(self) -> Rows:
        """What was not understood, by reason: of a broken capture, in what was read of it.

        Examples
        --------
        >>> tcpsight.open("examples/mariadb-lock.pcap").unseen.to_arrow().column_names
        ['reason', 'count', 'bytes', 'first_frame', 'furthest_back_ns']
        """

        def read(on_break: OnBreak) -> Iterator[Table]:
            with self.run() as run:
                for _ in run:
                    pass
                if len(table := run.pipeline.unseen.table()):
                    yield table
                # That there is no TCP in it is told by these very rows.
                conclude_if_broken(run, on_break)

        return Rows(Unseen, read, is_strict=self.is_strict)
