"""Instruction set extensions of this processor, and the classes of machine code that
kernels are compiled for.

`LMTUI_ISA` names a smaller class than the processor's, for tests and benchmarks.
Imports no torch.
"""

from __future__ import annotations

import hashlib
import os
import platform
from pathlib import Path
from typing import NamedTuple

from lmtui.errors import LmtuiError

_CPUINFO = Path("/proc/cpuinfo")
_VARIABLE = "LMTUI_ISA"
_X86 = ("x86_64", "AMD64")
_LARGER = ("avx512", "amx", "avx_vnni")
"""How the names of extensions begin that not all classes have."""


class InstructionClass(NamedTuple):
    """A class of machine code for x86 processors."""

    name: str
    features: frozenset[str]
    """The extensions that it needs, by Linux's names."""
    options: tuple[str, ...]
    """Of the compiler."""
    torch: str
    """The value of ATEN_CPU_CAPABILITY."""
    onednn: str
    """The value of ONEDNN_MAX_CPU_ISA."""


_AVX2 = frozenset({"avx2", "fma", "f16c"})
_AVX512 = _AVX2 | {"avx512f", "avx512bw", "avx512vl", "avx512dq"}
CLASSES = (
    InstructionClass(
        "avx512-bf16",
        _AVX512 | {"avx512_vnni", "avx512_bf16"},
        ("-march=cooperlake",),
        "avx512",
        "AVX512_CORE_BF16",
    ),
    InstructionClass(
        "avx512-vnni",
        _AVX512 | {"avx512_vnni"},
        ("-march=cascadelake",),
        "avx512",
        "AVX512_CORE_VNNI",
    ),
    InstructionClass(
        "avx2-vnni",
        _AVX2 | {"avx_vnni"},
        ("-march=haswell", "-mavxvnni"),
        "avx2",
        "AVX2_VNNI",
    ),
    InstructionClass("avx2", _AVX2, ("-march=haswell",), "avx2", "AVX2"),
)
"""The largest first. AMX, where a processor has it, is left to torch."""


def forced() -> InstructionClass | None:
    """Return the class that `LMTUI_ISA` names; None without it.

    Raises:
        LmtuiError: there is no such class, or this processor lacks it.
    """
    name = os.environ.get(_VARIABLE)
    if not name:
        return None
    here = [class_ for class_ in CLASSES if _all_features() >= class_.features]
    for features in here:
        if features.name == name:
            return features
    names = (
        ", ".join(features.name for features in here) or "no value: it has none of them"
    )
    raise LmtuiError(
        f"this processor has no such class of instructions ({_VARIABLE})",
        name,
        f"Give {names}.",
    )


def limit_libraries() -> None:
    """Limit torch and oneDNN to the class that `LMTUI_ISA` names; to be called before
    torch is imported.

    Raises:
        LmtuiError: as in `forced`.
    """
    if (limit := forced()) is not None:
        os.environ["ATEN_CPU_CAPABILITY"] = limit.torch
        os.environ["ONEDNN_MAX_CPU_ISA"] = limit.onednn


def instruction_class() -> str:
    """Return the name of the class that kernels are compiled for here; the machine's
    name where it is not x86, or its extensions are not known; empty without AVX2."""
    if platform.machine() not in _X86 or not _features():
        return platform.machine()
    fitting = (class_.name for class_ in CLASSES if _features() >= class_.features)
    return next(fitting, "")


def instructions() -> str:
    """Return a digest of the instruction set extensions in use, which differs where
    machine code can't be exchanged; empty where they are not known."""
    words = " ".join(sorted(_features()))
    return hashlib.sha256(words.encode()).hexdigest()[:16] if words else ""


def has_features(*names: str) -> bool:
    """Return whether all of these extensions are in use, by Linux's names."""
    return _features().issuperset(names)


def compiler_options() -> list[str]:
    """Return the compiler's options for the machine code in use."""
    if (limit := forced()) is not None:
        return [*limit.options]
    return ["-march=native" if platform.machine() in _X86 else "-mcpu=native"]


def _features() -> frozenset[str]:
    """Return the processor's extensions, without those above the forced class."""
    every, limit = _all_features(), forced()
    if limit is None:
        return every
    return frozenset(
        name for name in every if not name.startswith(_LARGER) or name in limit.features
    )


def _all_features() -> frozenset[str]:
    """Return the processor's extensions, by Linux's names; empty where they are not
    known."""
    try:
        lines = _CPUINFO.read_text().splitlines()
    except OSError:
        return frozenset()
    # The lines are the same for all cores, or those of the first core count.
    named = (line for line in lines if line.startswith(("flags", "Features")))
    return frozenset(next(named, "").partition(":")[2].split())
