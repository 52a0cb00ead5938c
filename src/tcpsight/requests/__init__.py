"""Takes Segments, gives Requests."""

from tcpsight.requests.pairing import ENDS, STARTS, Paired, RequestPairing

__all__ = ["ENDS", "STARTS", "Paired", "RequestPairing"]
