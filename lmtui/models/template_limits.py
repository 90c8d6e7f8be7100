"""Limits of time and memory for chat templates, far above what any conversation
needs."""

SECONDS = 5.0
"""Time on the processor for rendering one conversation."""
MEMORY = 512_000_000
"""Bytes of the process that renders templates."""
LONGEST = 1 << 20
"""Code points of a template."""


def most_output(asked: int) -> int:
    """Return how many code points may be rendered from a request of `asked` bytes."""
    return 1_000_000 + 16 * asked
