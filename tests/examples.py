"""How many examples a property test tries where each of them takes long."""

from __future__ import annotations

from hypothesis import settings


def examples(usual: int, full: int) -> int:
    """One number usually, another with --full."""
    return full if settings.get_current_profile_name() == "full" else usual
