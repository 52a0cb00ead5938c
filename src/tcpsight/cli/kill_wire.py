"""``tcpsight kill -i``: connections seen on the wire."""

from __future__ import annotations

import time
from contextlib import ExitStack, suppress
from typing import TYPE_CHECKING

from tcpsight.cli.kill import agreed, list_rows, say, without_own

if TYPE_CHECKING:
    from collections.abc import Iterator

    import numpy as np

    from tcpsight.cli.kill import Asked
    from tcpsight.cli.running import Output
    from tcpsight.local.observing import Observation
    from tcpsight.tables import Connections, Frames

SILENT = "silent ones are in a capture that has seen them (--capture)"
CATCH_UP_NS = 10_000_000_000
"""So long at most what has passed already is waited for."""


def on_the_wire(asked: Asked, output: Output) -> int:
    """End connections that pass an interface, or that a capture left open."""
    from tcpsight.capture import open_capture
    from tcpsight.capture.live import open_live
    from tcpsight.local.observing import Observation
    from tcpsight.output.units import duration
    from tcpsight.tables import Connections
    from tcpsight.where import Where

    for text in asked.without_times().conditions("", ""):
        Where(text, Connections, is_accounted=False)  # what is wrong with it is told before anybody waits
    seen = Observation()
    with ExitStack() as stack:
        live = None
        if asked.interface is not None:
            live = stack.enter_context(
                open_live([asked.interface], expression="tcp", immediate=True, wait_ns=20_000_000)
            )
        if asked.capture is not None:
            with open_capture([asked.capture]) as capture:
                for frames in capture:
                    seen.feed(frames)
        if live is not None:
            seen.begin_live()
            until = time.monotonic_ns() + asked.listen_ns
            for frames in live:
                seen.feed(frames)
                if time.monotonic_ns() >= until:
                    break
        chosen = _chosen(asked, seen)
        list_rows(chosen, output, asked)
        _tell_numbers(chosen, seen)
        # Frames would pile up while somebody thinks, and numbers grow old.
        meanwhile = None if live is None else lambda: seen.feed(next(live))
        if not agreed(asked, len(chosen), meanwhile) or live is None:
            if live is not None and not len(chosen) and asked.capture is None:
                say(f"only those were looked at that spoke within {duration(asked.listen_ns)} (--listen); {SILENT}")
            return 0
        _catch_up(seen, live)
        return _end(asked, _still(asked, chosen, seen), seen, live)


def _chosen(asked: Asked, seen: Observation) -> Connections:
    """Give the connections that meet the conditions; idleness and age are told by the times of the capture."""
    from tcpsight.where import Where

    connections = seen.connections()
    for text in asked.without_times().conditions("", ""):
        connections = Where(text, type(connections), is_accounted=False).apply(connections)
    if asked.idle_ns is not None:
        connections = connections[connections.end_ns <= seen.until_ns - asked.idle_ns]
    if asked.age_ns is not None:
        connections = connections[connections.start_ns <= seen.until_ns - asked.age_ns]
    return without_own(connections, _are_own(connections))


def _catch_up(seen: Observation, live: Iterator[Frames]) -> None:
    """Take what has passed up to now: a machine that is busy may not have come to it."""
    now_ns = time.time_ns()
    patience_ns = time.monotonic_ns() + CATCH_UP_NS
    for frames in live:
        seen.feed(frames)
        # An empty batch alone does not say that nothing is on its way: how far time has come does.
        if seen.until_ns >= now_ns or time.monotonic_ns() >= patience_ns:
            break


def _still(asked: Asked, chosen: Connections, seen: Observation) -> Connections:
    """Leave out those that are not what was agreed on any more."""
    import numpy as np

    now = _chosen(asked, seen)
    stays = np.isin(chosen.connection_id, now.connection_id)
    for row in chosen.rows[~stays]:
        say(f"{_described(row)}: not what it was any more, left alone")
    return now[np.isin(now.connection_id, chosen.connection_id)]


def _are_own(connections: Connections) -> list[bool]:
    """Tell which are those by which whoever runs this came here."""
    from tcpsight.errors import TcpsightError
    from tcpsight.local.observing import sides_of
    from tcpsight.local.own import own_connections
    from tcpsight.local.reading import read_sockets
    from tcpsight.tables import Sockets

    sockets = Sockets()
    with suppress(TcpsightError):  # a kernel without sock_diag: what sshd tells is left
        sockets = read_sockets().sockets
    mine = own_connections(sockets)
    sides = [sides_of(row) for row in connections.rows]
    return [(*client, *server) in mine or (*server, *client) in mine for client, server in sides]


def _tell_numbers(chosen: Connections, seen: Observation) -> None:
    """Say which RSTs would end them now."""
    from tcpsight.cli.notes import warn
    from tcpsight.local.observing import sides_of

    for row in chosen.rows[:20]:
        client, server = sides_of(row)
        numbers = seen.numbers(server, client), seen.numbers(client, server)
        texts = [f"{each.expected}" if each is not None else "unknown" for each in numbers]
        warn(f"{_described(row)}: a RST to the server needs sequence number {texts[0]}, to the client {texts[1]}")


def _end(asked: Asked, chosen: Connections, seen: Observation, live: object) -> int:
    from tcpsight.capture.live import LiveCapture
    from tcpsight.local.audit import Audit
    from tcpsight.local.observing import sides_of
    from tcpsight.local.resets import RawSender
    from tcpsight.local.resetting import Resetting, Side, Target

    assert isinstance(live, LiveCapture)
    described, targets = {}, []
    for row in chosen.rows:
        client, server = sides_of(row)
        sides = [
            Side(*way, seen.numbers(*way) if seen.is_live(*way) else None, seen.before(*way))
            for way in ((client, server), (server, client))
        ]
        target = Target((sides[0], sides[1]), must_be_idle=asked.idle_ns is not None)
        described[id(target)] = _described(row)
        targets.append(target)
    is_fine = True
    with RawSender() as sender, Audit(asked.why, f"by RST, on {asked.interface}", asked.audit, say) as audit:
        for target in targets:
            audit.intend(described[id(target)])
        for target in Resetting(sender, targets).run(live, asked.within_ns / 1e9):
            assert target.outcome is not None
            audit.tell(described[id(target)], target.outcome)
            is_fine &= target.outcome.is_fine
    return 0 if is_fine else 1


def _described(row: np.void) -> str:
    from tcpsight.output.addresses import endpoint_text
    from tcpsight.tables import STATES

    version = int(row["ip_version"])
    client = endpoint_text(row["client_address"].tobytes(), int(row["client_port"]), version)
    server = endpoint_text(row["server_address"].tobytes(), int(row["server_port"]), version)
    return f"{client} - {server} ({STATES[row['state']]})"
