"""Takes Frames, gives Headers."""

from tcpsight.decode.decoding import Decoding

__all__ = ["Decoding"]
