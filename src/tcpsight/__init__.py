"""How any TCP service performs, from packet headers alone."""

__version__ = "0.1.0"
