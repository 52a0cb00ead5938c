"""Takes Headers, gives Segments and Connections."""

from tcpsight.connections.tracking import MOST_CONNECTIONS, ConnectionTracking, Server, Timeouts, Tracked

__all__ = ["MOST_CONNECTIONS", "ConnectionTracking", "Server", "Timeouts", "Tracked"]
