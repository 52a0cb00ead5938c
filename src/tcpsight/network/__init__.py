"""Takes Segments, gives Network: round trips and recovery by connection and direction; and where the time went."""

from tcpsight.network.accounting import Accounted, RequestMatching, TimeAccounting

__all__ = ["Accounted", "RequestMatching", "TimeAccounting"]
