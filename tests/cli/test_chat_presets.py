"""Presets in the shell: listed, and what wins where several say something."""

from __future__ import annotations

from pathlib import Path

import pytest

from lmtui.cli.chat import under
from lmtui.config.load import load
from lmtui.errors import LmtuiError
from tests.cli.program import run

FILE = """\
[sampling]
top_k = 3
min_p = 0.5

[presets.pirate]
system = "You are a \\u001b pirate."
temperature = 1.5
top_k = 7
"""


@pytest.fixture
def file(empty_home: Path) -> Path:
    file = empty_home / "config.toml"
    file.write_text(FILE)
    return file


def test_preset_overrides_environment_and_file_but_not_flags(file: Path) -> None:
    environment = {"LMTUI_TEMPERATURE": "0.1"}
    settings = load({"top_k": 9}, environment=environment, file=file)
    drawn, system = under(settings, "pirate")
    sampling = drawn.sampling
    assert (sampling.temperature, sampling.top_k, sampling.min_p) == (1.5, 9, 0.5)
    assert system == "You are a \x1b pirate."
    assert drawn.origin("temperature").where == "--preset pirate"
    assert drawn.origin("top_k").where == "--top-k"
    assert under(settings, None) == (settings, "")
    with pytest.raises(LmtuiError, match="no preset of that name"):
        under(settings, "priate")


def test_config_lists_the_presets(file: Path) -> None:
    text = run("config").out
    assert "[presets.pirate]\n" in text
    assert "    system = You are a ␛ pirate.\n    temperature = 1.5\n" in text
    presets = [e for e in run("config", "--json").events if e["event"] == "preset"]
    assert presets == [
        {
            "event": "preset",
            "name": "pirate",
            "system": "You are a \x1b pirate.",
            "sampling": {"temperature": 1.5, "top_k": 7},
        }
    ]


def test_a_conversation_begins_with_a_preset(file: Path) -> None:
    engine = {"engine": {"answers": ["Arr"]}}
    done = run("chat", "--once", "hi", "--preset", "pirate", "--json", script=engine)
    start = done.events[0]
    assert start["sampling"]["temperature"] == 1.5
    assert start["sampling"]["top_k"] == 7
    kept = run("history", "show", "1", "--json").out
    assert "pirate." in kept
