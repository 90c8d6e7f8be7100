"""The JSON of a fixed set of commands on the default model: its keys, integers and
texts stay as they are written down in `same_json/`.

Commands can be added, and events can get more fields; what is there does not change.
`python -m tests.cli.test_same_json FOLDER` writes all of it, the numbers included, so
that two versions can be compared byte for byte on one machine.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from lmtui.cli.main import main
from lmtui.engine import engine
from lmtui.models import hardware
from lmtui.models.loaded_model import LoadedModel
from lmtui.models.progress import OnProgress

WRITTEN = Path(__file__).with_name("same_json")
FILES = {
    "cat.txt": "The cat sat on the mat.\nThe cat sat on the rug.\n",
    "moon.txt": "A dog barks at the moön. It is “cold”.",
    "half.txt": "The capital of Fran",
    "hole.py": "def add(a, b):\n    return \n\nprint(add(1, 2))\n",
    "person.json": '{"type": "object", "properties": {"name": {"type": "string", '
    '"maxLength": 8}, "age": {"type": "integer", "maximum": 99}}, "required": '
    '["name", "age"], "additionalProperties": false}',
}
CHAT = ("chat", "--json", "--top", "1", "--seed", "1", "--max-tokens")
INSPECT = ("inspect", "--json")
COMPLETE = ("complete", "--json", "--max-tokens")
COMMANDS: dict[str, tuple[str, ...]] = {
    "inspect": (*INSPECT, "cat.txt", "--top", "3"),
    "inspect-windows": (*INSPECT, "moon.txt", "--window", "8", "--stride", "4"),
    "score": ("score", "--json", "cat.txt", "moon.txt"),
    "lens": ("lens", "half.txt"),
    "inspect-against": (*INSPECT, "moon.txt", "--against", "ngram:2",
                        "--ngram-text", "cat.txt"),
    "chat": (*CHAT, "12", "--once", "What is the capital of Japan?"),
    "chat-prefill": (*CHAT, "8", "--once", "Name three rivers.", "--prefill", "1. The"),
    "chat-hot": (*CHAT, "16", "--once", "Tell me a story.", "--temperature", "1.3",
                 "--top-k", "0", "--top-p", "1", "--min-p", "0.02"),
    "chat-penalties": (*CHAT, "16", "--once", "Repeat: la la la la la la",
                       "--repetition-penalty", "1.2", "--presence-penalty", "0.3",
                       "--frequency-penalty", "0.2", "--dry-multiplier", "0.8"),
    "chat-xtc": (*CHAT, "12", "--once", "Say hello.", "--temperature", "1",
                 "--xtc-probability", "0.5", "--typical-p", "0.9",
                 "--top-n-sigma", "1.5"),
    "chat-banned": (*CHAT, "12", "--once", "What is the capital of Japan?",
                    "--banned-phrases", "[\"Tokyo\"]"),
    "chat-schema": (*CHAT, "40", "--once", "Describe Anna, 31.",
                    "--schema", "person.json"),
    "chat-regex": (*CHAT, "8", "--once", "When did it begin?", "--regex", "[0-9]{4}"),
    "complete": (*COMPLETE, "8", "cat.txt", "--top", "2"),
    "complete-half": (*COMPLETE, "6", "half.txt", "--top", "2"),
    "complete-hole": (*COMPLETE, "8", "hole.py", "--at", "2:12", "--single-line"),
    "complete-regex": (*COMPLETE, "8", "cat.txt", "--regex", "The cat .*\\."),
}  # fmt: skip
VARIES = frozenset({"guessed", "guessed_tokens", "precision", "dtype", "device"})
"""Fields that depend on the processor, or on how fast it is."""


def outcome(command: str, run: Callable[..., str]) -> Iterator[dict[str, Any]]:
    """The events of a command."""
    for line in run(*COMMANDS[command]).splitlines():
        yield json.loads(line)


def settled(value: Any) -> Any:
    """What does not depend on the machine: a float becomes the word for it."""
    if isinstance(value, dict):
        return {
            key: settled(each)
            for key, each in value.items()
            if key not in VARIES and not key.endswith("seconds")
        }
    if isinstance(value, list):
        return [settled(each) for each in value]
    return "float" if isinstance(value, float) else value


def shared(written: Any, found: Any) -> Any:
    """Of what was found, the fields that are written down, too."""
    if isinstance(written, dict) and isinstance(found, dict):
        return {
            key: shared(written[key], found[key]) for key in written if key in found
        }
    if isinstance(written, list) and isinstance(found, list):
        pairs = zip(written, found, strict=False)
        return [*(shared(*pair) for pair in pairs), *found[len(written) :]]
    return found


@pytest.fixture(scope="module", autouse=True)
def loaded_once() -> Iterator[None]:
    """Load the model once for the same options: loading takes as long as a command."""
    load = engine.load
    loaded: dict[str, LoadedModel] = {}

    def load_once(*spec: Any, on_progress: OnProgress, **options: Any) -> LoadedModel:
        key = repr((spec, options))
        if key not in loaded:
            loaded[key] = load(*spec, on_progress=on_progress, **options)
        return loaded[key]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(engine, "load", load_once)
        yield


@pytest.mark.real
@pytest.mark.parametrize("command", COMMANDS)
def test_json_has_the_fields_and_values_that_it_had(
    command: str,
    default_home: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("LMTUI_HOME", str(default_home))
    monkeypatch.chdir(tmp_path)
    for name, text in FILES.items():
        Path(name).write_text(text, encoding="utf-8")

    def run(*arguments: str) -> str:
        assert main(list(arguments)) == 0
        return capsys.readouterr().out

    written = [
        json.loads(line)
        for line in (WRITTEN / f"{command}.jsonl").read_text("utf-8").splitlines()
    ]
    # Rounded to bfloat16, as some processors do, other tokens would be drawn.
    monkeypatch.setattr(hardware, "fast_at_bfloat16", lambda device: False)
    assert shared(written, list(map(settled, outcome(command, run)))) == written


def write(folder: Path) -> None:
    """Write the JSON of every command into a folder: `*.json` with all numbers but
    times, and `*.jsonl` as it is stored here."""
    folder = folder.absolute()
    (folder / "texts").mkdir(parents=True, exist_ok=True)
    for name, text in FILES.items():
        (folder / "texts" / name).write_text(text, encoding="utf-8")

    def run(*arguments: str) -> str:
        command = [sys.executable, "-m", "lmtui", *arguments]
        env = {**os.environ, "PYTHONPATH": os.getcwd()}
        done = subprocess.run(
            command, cwd=folder / "texts", env=env, capture_output=True, check=True
        )
        return done.stdout.decode()

    for command in COMMANDS:
        events = list(outcome(command, run))
        for suffix, change in (("json", timeless), ("jsonl", settled)):
            lines = [json.dumps(change(each), ensure_ascii=False) for each in events]
            path = folder / f"{command}.{suffix}"
            path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def timeless(value: dict[str, Any]) -> dict[str, Any]:
    """An event without its times."""
    timed = ("guessed", "guessed_tokens", "tokens_per_second")
    return {
        key: each
        for key, each in value.items()
        if key not in timed and not key.endswith("seconds")
    }


if __name__ == "__main__":
    write(Path(sys.argv[1]))
