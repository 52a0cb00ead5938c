"""Takes Segments, gives Requests."""

from tcpsight.requests.pairing import ENDS, MOMENTS, ORDERS, STARTS, Paired, RequestPairing

__all__ = ["ENDS", "MOMENTS", "ORDERS", "STARTS", "Paired", "RequestPairing"]
