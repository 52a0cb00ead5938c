"""Takes Frames, gives Headers."""

from tcpsight.decode.decoding import Decoding
from tcpsight.decode.extents import Extents, extents_of

__all__ = ["Decoding", "Extents", "extents_of"]
