"""Takes Headers, gives Segments and Connections."""

from tcpsight.connections.tracking import ConnectionTracking, Server, Timeouts, Tracked

__all__ = ["ConnectionTracking", "Server", "Timeouts", "Tracked"]
