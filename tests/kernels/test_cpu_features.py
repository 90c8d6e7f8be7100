"""What the processor can do, read from what Linux says of it."""

from __future__ import annotations

from pathlib import Path

import pytest

from lmtui.kernels import cpu_features


def test_instructions_tell_processors_apart_by_their_flags(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "cpuinfo"
    monkeypatch.setattr(cpu_features, "_CPUINFO", file)
    assert cpu_features.instructions() == ""
    seen = []
    for said in (
        "processor\t: 0\ncpu MHz\t: 2000\nflags\t\t: fpu avx2 f16c\n",
        "processor\t: 1\ncpu MHz\t: 1234\nflags\t\t: avx2 fpu f16c\n",
        "processor\t: 0\ncpu MHz\t: 2000\nflags\t\t: fpu avx2 f16c avx512_fp16\n",
        "processor\t: 0\nFeatures\t: fp asimd\n",
    ):
        file.write_text(said)
        seen.append(cpu_features.instructions())
    assert seen[0] == seen[1] and len(set(seen)) == 3 and all(seen)
