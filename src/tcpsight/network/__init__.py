"""Takes Segments, gives Network and Policed: what the network did to each connection, direction and exchange."""

from tcpsight.network.measuring import NetworkMeasuring
from tcpsight.network.policing import PolicingDetection

__all__ = ["NetworkMeasuring", "PolicingDetection"]
