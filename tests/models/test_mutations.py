"""Hundreds of hostile models and adapters: each works or is refused, without harm.

They are tried by a process of its own, which tries some at a time in a process again;
see `mutant_child`. What fails is named by its seed: `mutations.mutated` makes it again.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.models import mutations

USUAL, FULL = 600, 20_000


@pytest.fixture(scope="module")
def bases(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("bases")
    mutations.make_bases(folder)
    return folder


@pytest.mark.skipif(sys.platform != "linux", reason="its limits are those of Linux")
@pytest.mark.timeout(7200)
def test_mutated_models_work_or_are_refused(
    bases: Path, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    count = FULL if request.config.getoption("--full") else USUAL
    command = [sys.executable, "-m", "tests.models.mutant_child", bases]
    done = subprocess.run(
        [*command, "0", str(count)],
        capture_output=True,
        text=True,
        cwd=Path(__file__).parents[2],
        env=os.environ | {"LMTUI_HOME": str(tmp_path / "home")},
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    found = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(found) == count
    harmful = [each for each in found if each.get("end") not in ("fine", "refused")]
    assert not harmful
    ends = [each["end"] for each in found]
    assert min(ends.count("fine"), ends.count("refused")) > count // 10
