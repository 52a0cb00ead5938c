"""Says why options chose nothing, and what there is to choose from."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tcpsight.analysis import Run
    from tcpsight.connections import Server

NAMED_SERVICES = 5
"""So many services of the capture are named."""


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
