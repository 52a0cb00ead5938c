"""The small languages that a user types: capture filters, conditions, endpoints, durations, instants."""

from __future__ import annotations

import io
from collections.abc import Callable
from functools import cache

import click

from tcpsight.capture import open_capture
from tcpsight.capture.filter import FrameFilter
from tcpsight.cli import values
from tcpsight.endpoints import parse_server
from tcpsight.errors import UsageError
from tcpsight.pipeline import Options, Pipeline
from tcpsight.tables import Connections, Intervals, KeyedIntervals, Requests, SegmentDetails, Table
from tcpsight.where import Where
from tests.fuzz.features import Features, shape_of
from tests.support.pcap import pcap_bytes
from tests.support.traffic import Talk, answered, capture, udp_frame

VALUES: tuple[Callable[[str], object], ...] = (
    parse_server,
    values.duration_ns,
    values.positive_duration_ns,
    values.interval_ns,
    values.start_end,
    values.zone,
    lambda text: values.instant_ns(text, "UTC"),
    lambda text: values.instant_ns(text, "Europe/Vienna"),
)

TABLES: tuple[type[Table], ...] = (Requests, Connections, SegmentDetails, Intervals, KeyedIntervals)


@cache
def sample() -> bytes:
    """Give a small capture with a little of everything."""
    talks = [Talk(answered(1, 20, 3)), Talk(answered(5), client_port=40_001, is_closed=False)]
    six = Talk(answered(2), client="2001:db8::1", server="2001:db8::9", client_port=40_002, server_port=80)
    return pcap_bytes([*capture([*talks, six]), udp_frame()])


@cache
def rows(which: int) -> Table:
    """Give a few rows of a table; of those that the pipeline does not give, zeros."""
    kind, found = TABLES[which], []
    with open_capture([io.BytesIO(sample())]) as opened:
        for batch in Pipeline(opened, Options(with_segments=True)):
            for name in ("requests", "connections", "segments"):
                table = getattr(batch, name)
                if type(table) is kind:
                    found.append(table.copy())
    return kind.concatenate(found) if found else kind.allocate(5)


def run_where(data: bytes) -> Features:
    """Read a condition and apply it."""
    kind = TABLES[data[0] % len(TABLES)] if data else Requests
    text = data[1:].decode("utf-8", "surrogateescape")
    try:
        where = Where(text, kind)
    except UsageError as error:
        return {f"refused {shape_of(str(error))}"}
    table = rows(TABLES.index(kind))
    mask = where.mask(table)
    assert mask.shape == (len(table),)
    assert mask.dtype == bool
    return {f"held {kind.__name__} {int(mask.sum())}"}


def run_filter(data: bytes) -> Features:
    """Compile a capture filter and run it over a few frames."""
    text = data.decode("utf-8", "surrogateescape")
    try:
        frame_filter = FrameFilter(text)
        with open_capture([io.BytesIO(sample())]) as opened:
            for _ in Pipeline(opened, Options(), frame_filter):
                pass
    except UsageError as error:
        return {f"refused {shape_of(str(error))}"}
    if not frame_filter.matched:
        frame_filter.why_nothing_matched()
    return {f"matched {frame_filter.matched}"}


def run_values(data: bytes) -> Features:
    """Read an option's value in every way there is."""
    text = data.decode("utf-8", "surrogateescape")
    told = set()
    for i, read in enumerate(VALUES):
        try:
            read(text)
            told.add(f"{i} taken")
        except (UsageError, click.ClickException) as error:
            told.add(f"{i} {shape_of(str(error))}")
    return told
