"""What the README shows is what happens."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

README = Path(__file__).parent.parent / "README.md"


@pytest.mark.real
def test_readme_python_example_runs(default_home: Path) -> None:
    (code,) = re.findall(r"```python\n(.*?)```", README.read_text("utf-8"), re.DOTALL)
    assert len([line for line in code.splitlines() if line]) == 11
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=True,
        env=os.environ | {"LMTUI_HOME": str(default_home)},
    )
    expected, score, answer = done.stdout.splitlines()
    assert expected.startswith("[(' ")
    assert -60 < float(score) < 0
    assert answer == "The capital of France is Paris."


def test_every_verb_of_the_readme_exists() -> None:
    from lmtui.cli.main import VERBS

    told = set(re.findall(r"^\| `lmtui (\w+)", README.read_text("utf-8"), re.MULTILINE))
    assert told == set(VERBS)


def test_readme_settings_can_be_used(tmp_path: Path) -> None:
    from lmtui.config.load import load
    from lmtui.tui.keys import user_keys
    from lmtui.tui.themes import load_themes

    told = re.findall(r"```toml\n(.*?)```", README.read_text("utf-8"), re.DOTALL)
    (shown,) = told
    file = tmp_path / "config.toml"
    file.write_text(shown, encoding="utf-8")
    settings = load(environment={}, file=file)
    assert list(settings.presets) == ["pirate"]
    assert load_themes().get(settings.theme)
    assert settings.server_of("gpu")[0] == settings.servers["gpu"].address
    assert len(settings.keys) == 1
    assert user_keys(settings.keys).notices == ()


def test_readme_has_at_most_220_lines() -> None:
    assert len(README.read_text("utf-8").splitlines()) <= 220
