"""How a connection ended, in the words of Zeek's ``conn_state``.

Theory of operation
-------------------
Zeek keeps a state for each endpoint and derives ``conn_state`` from the two when the connection is over. The rows of
Connections tell as much of these states as is needed: whose SYN was seen (`client_isn`, `server_isn`), who sent
anything, whose FIN was seen (`fin_from`), and whose RST was believed first (`state`). They are derived here, and then
asked in Zeek's order.

What it cannot see: a second RST, by the other side, for which Zeek gives REJ or RSTR where the client's came first;
whether an acknowledgment without data came before the client's RST where the SYN-ACK was not captured, unless it
completed the handshake. A FIN that was acknowledged but not captured counts here, not there; a RST outside of the
window counts there, not here.
"""

from __future__ import annotations

from typing import Any

ENDED = {None: None, "refused": "REJ", "closed": "SF"}
"""States that say it all."""

INACTIVE, PARTIAL, SYN_SENT, ESTABLISHED = "inactive", "partial", "syn_sent", "established"


def conn_state(connection: dict[str, Any]) -> str | None:
    """Give Zeek's name for how far a connection came.

    Parameters
    ----------
    connection : dict
        Its row of Connections, as plain values.

    Returns
    -------
    str or None
        None where no flags are known.
    """
    state, fin_from = connection["state"], connection["fin_from"]
    client, server = _client(connection), _server(connection)
    if state in ENDED:
        return ENDED[state]
    if state == "server_reset":
        return _reset_by_server(client, has_closed=fin_from in ("client", "both"))
    if state == "client_reset":
        is_heard = server == ESTABLISHED or fin_from in ("server", "both")
        return "RSTO" if is_heard else _reset_unheard(connection, client)
    if fin_from == "client":
        return "S2" if server == ESTABLISHED else "SH"
    if fin_from == "server":
        return "S3" if client in (SYN_SENT, ESTABLISHED) else "SHR"
    return _unclosed(client, server)


def _client(connection: dict[str, Any]) -> str:
    """Tell how far the originator came before it closed."""
    if connection["client_isn"] is not None:
        return ESTABLISHED if connection["server_isn"] is not None else SYN_SENT
    if not connection["client_segments"]:
        return INACTIVE
    # What follows upon a SYN-ACK is taken for the rest of a handshake.
    return ESTABLISHED if connection["server_isn"] is not None else PARTIAL


def _server(connection: dict[str, Any]) -> str:
    """Tell how far the responder came before it closed."""
    if connection["server_isn"] is not None:
        return ESTABLISHED
    # Acknowledgments alone do not make a responder active, as long as the originator waits for its SYN.
    is_active = connection["server_bytes"] if connection["client_isn"] is not None else connection["server_segments"]
    return PARTIAL if is_active else INACTIVE


def _unclosed(client: str, server: str) -> str:
    if client == SYN_SENT and server == INACTIVE:
        return "S0"
    return "S1" if client == server == ESTABLISHED else "OTH"


def _reset_by_server(client: str, *, has_closed: bool) -> str:
    if has_closed or client == ESTABLISHED:
        return "RSTR"
    return "REJ" if client == SYN_SENT else "RSTRH"


def _reset_unheard(connection: dict[str, Any], client: str) -> str:
    """Name a RST of the originator to a responder that never sent a SYN: a SYN taken back, or nothing known."""
    return "RSTOS0" if client == SYN_SENT and connection["connect_ns"] is None else "OTH"
