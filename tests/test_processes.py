"""Child processes: what they are started with."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from lmtui import processes

CODE = "import json, os; print(json.dumps(dict(os.environ)))"


@pytest.mark.parametrize(("given", "policy"), [(None, "passive"), ("active", "active")])
def test_child_waits_without_spinning_unless_the_user_says_so(
    given: str | None, policy: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("OMP_WAIT_POLICY", raising=False)
    if given is not None:
        monkeypatch.setenv("OMP_WAIT_POLICY", given)
    file = tmp_path / "out"
    with file.open("wb") as output:
        assert processes.begin([sys.executable, "-c", CODE], output).wait(60) == 0
    assert json.loads(file.read_text())["OMP_WAIT_POLICY"] == policy
