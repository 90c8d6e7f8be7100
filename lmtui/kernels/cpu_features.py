"""Instruction set extensions of this processor, by the names Linux gives them."""

from __future__ import annotations

import hashlib
from pathlib import Path

_CPUINFO = Path("/proc/cpuinfo")


def instructions() -> str:
    """Return a digest of the processor's instruction set extensions, which differs
    where machine code can't be exchanged; empty where they are not known."""
    words = " ".join(sorted(_features()))
    return hashlib.sha256(words.encode()).hexdigest()[:16] if words else ""


def has_features(*names: str) -> bool:
    """Return whether the processor has all of these extensions, by Linux's names."""
    return _features().issuperset(names)


def _features() -> frozenset[str]:
    """Return the processor's extensions, by Linux's names; empty where they are not
    known."""
    try:
        lines = _CPUINFO.read_text().splitlines()
    except OSError:
        return frozenset()
    # The lines are the same for all cores, or those of the first core count.
    named = (line for line in lines if line.startswith(("flags", "Features")))
    return frozenset(next(named, "").partition(":")[2].split())
