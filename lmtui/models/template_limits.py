"""How much a chat template may take.

Owns the limits; they are far above what any conversation needs.
"""

SECONDS = 5.0
"""For one conversation."""
MEMORY = 512_000_000
"""Bytes of the process that it runs in."""
LONGEST = 1 << 20
"""Code points of a template."""


def most_output(asked: int) -> int:
    """Code points that may be made of a question of so many bytes."""
    return 1_000_000 + 16 * asked
