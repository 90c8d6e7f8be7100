"""The program with a scripted engine, as a process: `child.py SCRIPT ARGUMENTS…`.

SCRIPT is JSON: `engine` holds FakeWriter's fields, `interrupt` how often Ctrl-C is
pressed before token 3, `flood` how many long tokens the answer has, `bug` makes the
engine fail in an unforeseen way, `missing` is why there is no model at all, `models`
holds the fields of others by their names, `gone` are names of models that are not
here, `worker` is what a training's worker does.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NoReturn

from lmtui.cli.errors import leave
from lmtui.cli.main import main
from lmtui.config.settings import Settings
from lmtui.engine.document.types import Replacement
from lmtui.errors import LmtuiError
from lmtui.models import inventory
from lmtui.train import client
from tests.fake_writing import FakeWriter


def open_fake(settings: Settings, script: Mapping[str, Any]) -> FakeWriter:
    """The engine that the script describes."""

    def press(index: int) -> None:
        if index == 3:
            for _ in range(script.get("interrupt", 0)):
                os.kill(os.getpid(), signal.SIGINT)

    if missing := script.get("missing"):
        raise LmtuiError("there is no such model", missing, "Name another.")
    fields = dict(
        script.get("models", {}).get(settings.model, script.get("engine", {}))
    )
    fields = {"adapter": settings.adapter, **fields}
    others = fields.pop("others", ())
    words = [Replacement(*word) for word in fields.pop("words", ())]
    engine = FakeWriter(**fields, others=others, words=words, on_token=press)
    if flood := script.get("flood"):
        engine = FakeWriter([["x" * 8000] * flood])
    if script.get("bug"):
        engine.error = RuntimeError(script["bug"])
    return engine


def prepared(
    script: Mapping[str, Any], put: Callable[[Any, str, object], None] = setattr
) -> Callable[[Settings], FakeWriter]:
    """What opens the engine; `put` sets what else the script says, in its modules."""
    worker = Path(__file__).parents[1] / "train" / "fake_worker.py"
    scripted = json.dumps(script.get("worker", {}))
    gone = script.get("gone", ())
    put(inventory, "is_local", lambda ref: ref.model not in gone)
    put(client, "COMMAND", (sys.executable, str(worker), scripted))
    return lambda settings: open_fake(settings, script)


def run_scripted() -> NoReturn:
    """Run the program as sys.argv says, and end the process."""
    script = json.loads(sys.argv[1])
    leave(main(sys.argv[2:], open_engine=prepared(script)))


if __name__ == "__main__":
    run_scripted()
