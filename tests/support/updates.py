"""Updates for feeds, as a watch of a small capture gives them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from time import monotonic, sleep

import tcpsight
from tcpsight.output.feeds import Update
from tcpsight.tables import FINDINGS, SEVERITIES, Findings, UnseenCounter
from tests.support.pcap import pcap_bytes
from tests.support.traffic import MS, START_NS, Exchange, Talk, answered, capture

TALKS = (
    Talk(answered(5, 1, 3)),
    Talk(answered(2, 4), client="10.0.0.2", start_ns=START_NS + 7 * MS),
    Talk(answered(50, 60, 70), server="fd00::9", client="fd00::1", server_port=80, start_ns=START_NS + 20 * MS),
    Talk([Exchange(5 * MS, None)], client="10.0.0.3", start_ns=START_NS + 30 * MS, is_closed=False),
)
INTERVAL_NS = 50 * MS
BEGUN_NS = 1_700_000_000 * 10**9
SERVICES = ("10.0.0.9:3306", "[fd00::9]:80")


def updates_of(talks: Sequence[Talk], interval_ns: int = INTERVAL_NS) -> list[Update]:
    """Watch a capture of these talks; give an update for each slice."""
    with TemporaryDirectory() as folder:
        path = Path(folder) / "traffic.pcap"
        path.write_bytes(pcap_bytes(capture(talks), nanoseconds=True))
        with tcpsight.open(path).watch(interval_ns, with_totals=True) as (run, slices):
            return [
                Update(
                    each.services,
                    each.total,
                    each.totals,
                    each.histogram,
                    run.pipeline.unseen,
                    frames=run.pipeline.frames,
                    segments=run.pipeline.segments,
                    drops=0,
                    open_connections=run.pipeline.open_count,
                )
                for each in slices
            ]


@cache
def updates() -> tuple[Update, ...]:
    """Updates of `TALKS`."""
    return tuple(updates_of(TALKS))


def nothing_yet() -> Update:
    """Tell what a watch knows of two interfaces before there was anything."""
    update = updates()[0]
    return Update(
        update.services[:0],
        update.total[:0],
        update.totals[:0],
        update.histogram[:0],
        UnseenCounter(),
        Findings(),
        frames=0,
        segments=0,
        bytes=0,
        drops=0,
        open_connections=0,
        interfaces={"eth0": True, "eth1": False},
        begun_ns=BEGUN_NS,
        looked_ns=BEGUN_NS + 5 * 10**9,
    )


def finding(kind: str = "stall", severity: str = "warning") -> Findings:
    """Make one finding."""
    found = Findings.allocate(1)
    found.kind[0], found.severity[0] = FINDINGS.index(kind), SEVERITIES.index(severity)
    found.rows["subject"][0], found.rows["summary"][0] = b"10.0.0.9:3306", b'a "quoted" summary\n'
    found.rows["evidence"][0] = b'{"rule":"waits","number":3}'
    found.rows["connection_id"][0] = -1
    return found


def wait_until(holds: Callable[[], bool], seconds: float = 20) -> None:
    """Wait for what another thread does."""
    until = monotonic() + seconds
    while not holds():
        assert monotonic() < until, "it did not happen"
        sleep(0.005)
