"""Several processes that load a model for the first time, at once."""

from __future__ import annotations

import subprocess
import sys
from collections import Counter
from pathlib import Path

from tests.models import first_loads, tiny


def test_first_loads_at_once_all_give_an_answer(
    llama_folder: Path, tmp_path: Path
) -> None:
    kinds = ("Q8_0", "Q4_0")
    models = [
        tiny.write_gguf(llama_folder, tmp_path / f"{kind}.gguf", kind) for kind in kinds
    ]
    command = (sys.executable, "-m", first_loads.__name__, tmp_path, *models)
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    said = Counter(done.stdout.splitlines())
    each = first_loads.WAVES * first_loads.AT_ONCE // 4
    assert list(said.values()) == [each] * 4, done.stderr
    ways = {tuple(line.split()[:2]) for line in said}
    assert ways == {(f"{k}.gguf", p) for k in kinds for p in ("fast", "exact")}
