"""Takes Segments, gives Network: round trips and recovery by connection and direction."""

from tcpsight.network.measuring import NetworkMeasuring

__all__ = ["NetworkMeasuring"]
