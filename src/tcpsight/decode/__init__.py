"""Takes Frames, gives Headers."""

from tcpsight.decode.decoding import Decoding, Pair
from tcpsight.decode.extents import Extents, extents_of

__all__ = ["Decoding", "Extents", "Pair", "extents_of"]
