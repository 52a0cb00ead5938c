"""Says why nothing came out, and what can be done about it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tcpsight.tables import REASONS

if TYPE_CHECKING:
    from tcpsight.analysis import Run
    from tcpsight.connections import Server

NAMED_SERVICES = 5
"""So many services of the capture are named."""


def no_tcp(run: Run) -> str:
    """Say that there is no TCP, and why, as far as the frames tell."""
    frames = run.pipeline.frames
    if run.frame_filter is not None:
        nothing = "no TCP in any of its frames that match --filter"
    else:
        nothing = f"no TCP in any of its {frames:,} frames" if frames > 1 else "no TCP in its only frame"
    return nothing + "".join(f"; {why}" for why in (_cut(run), _fragments(run), _link_types(run)) if why)


def _count(run: Run, reason: str) -> int:
    return int(run.pipeline.unseen.counts[REASONS.index(reason), 0])


def _cut(run: Run) -> str:
    cut = _count(run, "truncated_frame")
    are = f"{cut:,} are" if cut > 1 else "1 is"
    return f"{are} cut before the TCP header ends: capture more of each (tcpdump -s 128)" if cut else ""


def _fragments(run: Run) -> str:
    fragments = _count(run, "fragment")
    several = f"{fragments:,} are IP fragments of packets that are not whole"
    return several if fragments > 1 else "1 is an IP fragment of a packet that is not whole" if fragments else ""


def _link_types(run: Run) -> str:
    """Name the link types that are not decoded, with the way out."""
    if not _count(run, "unknown_link_type"):
        return ""
    from tcpsight.output.link_types import DECODED, HOLDS_NO_TCP, NAMES, advice

    numbers = sorted({each.link_type for each in run.capture.interfaces} - DECODED - HOLDS_NO_TCP)
    if not numbers:
        return ""
    named = [f"{number} ({NAMES[number]})" if number in NAMES else str(number) for number in numbers]
    ways = dict.fromkeys(map(advice, numbers))
    return f"link type {', '.join(named)} is not decoded: {'; '.join(ways)}"


def nothing_selected(run: Run) -> str:
    """Say which options chose nothing, and what there is to choose from."""
    pipeline = run.pipeline
    selection = pipeline.options.selection
    given = {"--server": selection.servers, "--since": selection.since_ns, "--until": selection.until_ns}
    names = [name for name, value in given.items() if value not in ((), None)]
    listed = " and ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)
    there = []
    if selection.servers and pipeline.services_left_out:
        services = [_service(server) for server in pipeline.services_left_out]
        more = ", …" if len(services) > NAMED_SERVICES else ""
        there.append(f"its services are {', '.join(services[:NAMED_SERVICES])}{more}")
    if (len(names) > 1 or not selection.servers) and pipeline.first_ns is not None:
        from tcpsight.output.units import instant

        there.append(f"it runs from {instant(pipeline.first_ns)} to {instant(pipeline.last_ns)}")
    return f"nothing in the capture matches {listed}" + "".join(f"; {what}" for what in there)


def _service(server: Server) -> str:
    import ipaddress

    assert server.address is not None
    if server.ip_version == 4:
        return f"{ipaddress.IPv4Address(server.address[-4:])}:{server.port}"
    return f"[{ipaddress.IPv6Address(server.address)}]:{server.port}"
