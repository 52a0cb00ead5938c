"""When an expected finding was so, and for whom: from the packets of the forwarder's log."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from tests.truth.lab.applications import FLOOD_PORTS
from tests.truth.lab.path import FATES, RST, SYN
from tests.truth.lab.scenario import Expected, Scenario

if TYPE_CHECKING:
    from tests.truth.lab.truth import Packet


def is_made_up(port: int, scenario: Scenario) -> bool:
    """Whether nobody is at that port of a client: its SYN was written by hand."""
    return scenario.client.flood > 0 and FLOOD_PORTS[0] <= port < FLOOD_PORTS[1]


def expectation(e: Expected, by_port: dict[int, list[Packet]], scenario: Scenario) -> dict[str, Any]:
    """Add to an expected finding when it was so, and for whom."""
    is_flood = e.span == "flood"
    chosen = {
        port: [p for p in some if is_of(e, p, scenario)]
        for port, some in by_port.items()
        if is_made_up(port, scenario) == is_flood
    }
    times = [t for some in chosen.values() for p in some for t in (p.in_ns, p.out_ns) if t]
    return asdict(e) | {
        "values": dict(e.values),
        "start_ns": min(times, default=None),
        "end_ns": max(times, default=None),
        "client_ports": sorted(port for port, some in chosen.items() if some),
        "server_port": scenario.client.port,
        "happened": sum(map(len, chosen.values())) >= LEAST.get(e.span, 1),
    }


LONG_QUEUE_NS = 100_000_000
LEAST = {"queue": 30, "resets": 10, "flood": 100, "drops:policer": 5, "drops:outage": 4, "drops:mtu": 3}
"""How many packets must have been so: one drop of a policer is no policing."""


def is_of(e: Expected, p: Packet, scenario: Scenario) -> bool:
    """Whether a packet is part of what an expected finding tells."""
    if e.direction and p.side != e.direction and e.span not in ("connections", "zero_window"):
        return False
    if e.span.startswith("drops:"):
        return FATES[p.fate] == e.span.removeprefix("drops:")
    if e.span == "zero_window":
        return p.window == 0 and p.side != e.direction and not p.flags & (SYN | RST)
    if e.span == "flood":
        return bool(p.flags & SYN)
    if e.span == "resets":
        return bool(p.flags & RST)
    if e.span == "queue":
        rules = scenario.link.up if p.side == "client" else scenario.link.down
        return bool(p.out_ns) and p.out_ns - p.in_ns - rules.delay_ns > LONG_QUEUE_NS
    return True
