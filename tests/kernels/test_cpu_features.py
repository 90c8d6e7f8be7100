"""What the processor can do, read from what Linux says of it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from lmtui.errors import LmtuiError
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


BIG = "avx2 fma f16c avx_vnni avx512f avx512bw avx512vl avx512dq avx512_vnni amx_bf16"


@pytest.mark.parametrize(
    ("said", "limit", "name", "left"),
    [
        ("avx2 fma f16c", "", "avx2", "avx2 fma f16c"),
        ("fpu avx", "", "", "fpu avx"),
        (BIG, "", "avx512-vnni", BIG),
        (BIG, "avx2-vnni", "avx2-vnni", "avx2 fma f16c avx_vnni"),
        (BIG, "avx2", "avx2", "avx2 fma f16c"),
    ],
)
def test_a_class_limits_what_is_used(
    said: str,
    limit: str,
    name: str,
    left: str,
    x86: Callable[[str, str], None],
) -> None:
    x86(said, limit)
    assert cpu_features.instruction_class() == name
    assert cpu_features.has_features(*left.split())
    assert cpu_features.has_features("amx_bf16") == ("amx_bf16" in left)
    cpu_features.limit_libraries()
    capability = limit.partition("-")[0]
    assert cpu_features.os.environ["ATEN_CPU_CAPABILITY"] == capability


def test_a_class_that_the_processor_lacks_is_refused(
    x86: Callable[[str, str], None],
) -> None:
    x86("avx2 fma f16c", "avx512-vnni")
    with pytest.raises(LmtuiError, match="LMTUI_ISA") as caught:
        cpu_features.forced()
    assert caught.value.hint == "Give avx2."
