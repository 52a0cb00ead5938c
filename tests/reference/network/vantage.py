"""The slow, obvious twin of the vantage point."""

from __future__ import annotations

from typing import Any

Row = dict[str, Any]

MS = 1_000_000


def hops(ttl: int | None) -> int | None:
    if not ttl:
        return None
    start = next(number for number in (32, 64, 128, 255) if number >= ttl)
    return start - ttl if start - ttl < 30 else None


def vantage(c: Row, server_ttl: int | None, client_ttl: int | None) -> Row:
    """Tell where a connection was captured, by the gaps of its handshake and the times to live of either side."""
    server_hops, client_hops = hops(server_ttl), hops(client_ttl)
    has_hops = server_hops is not None and client_hops is not None and (server_hops, client_hops) != (0, 0)
    told_by_gaps = {
        gap_vantage(to_server, to_client) if min(to_server, to_client) >= 0 else "unknown"
        for to_server in gaps(c, "server")
        for to_client in gaps(c, "client")
    }
    by_gaps = told_by_gaps.pop() if len(told_by_gaps) == 1 else "unknown"
    if by_gaps == "unknown":
        if not has_hops:
            return told("unknown", -1)
        if server_hops == 0:
            return told("server", 0.7)
        return told("client", 0.7) if client_hops == 0 else told("between", 0.6)
    if not has_hops:
        return told(by_gaps, 0.8)
    assert server_hops is not None
    assert client_hops is not None
    agrees = {
        "server": server_hops < client_hops,
        "client": client_hops < server_hops,
        "between": bool(server_hops and client_hops),
    }
    if agrees[by_gaps]:
        return told(by_gaps, 0.95)
    return told(by_gaps, 0.8 if server_hops == client_hops else 0.5)


def gaps(c: Row, end: str) -> tuple[int, ...]:
    """The round trip to an end; what it was at least, and at most, if a segment was repeated."""
    if c[f"{end}_handshake_rtt_ns"] >= 0:
        return (c[f"{end}_handshake_rtt_ns"],)
    return c[f"{end}_handshake_least_ns"], c["connect_ns"]


def gap_vantage(to_server: int, to_client: int) -> str:
    near = max(100_000, to_server // 20 + to_client // 20)
    is_near = (to_server <= near, to_client <= near)
    if is_near == (True, False):
        return "server"
    if is_near == (False, True):
        return "client"
    return "between" if is_near == (False, False) and max(to_server, to_client) >= MS else "unknown"


def told(where: str, confidence: float) -> Row:
    return {"vantage": ("server", "client", "between", "unknown").index(where), "vantage_confidence": confidence}
