"""The Textual screens. Use the engine through its protocol, and never torch."""

import os

# Textual paints what has changed at most so many times a second, 60 unless it is told:
# a key then waits up to 17 ms until it is drawn.
os.environ.setdefault("TEXTUAL_FPS", "120")
