"""Instruction set extensions of this processor, by the names Linux gives them."""

from __future__ import annotations

import hashlib
from pathlib import Path

_CPUINFO = Path("/proc/cpuinfo")


def instructions() -> str:
    """What tells processors apart that can't run each other's machine code; nothing
    where that is not known."""
    words = " ".join(sorted(_features()))
    return hashlib.sha256(words.encode()).hexdigest()[:16] if words else ""


def has_features(*names: str) -> bool:
    """Whether the processor is known to have what Linux calls by these names."""
    return _features().issuperset(names)


def _features() -> frozenset[str]:
    """What the processor can do, in Linux's words; nothing where that is not known."""
    try:
        lines = _CPUINFO.read_text().splitlines()
    except OSError:
        return frozenset()
    # On x86 and on ARM; they are the same for all cores, or those of the first.
    named = (line for line in lines if line.startswith(("flags", "Features")))
    return frozenset(next(named, "").partition(":")[2].split())
