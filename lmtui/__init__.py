"""lmtui: see a local language model think, in a terminal."""

__version__ = "0.1.0"
