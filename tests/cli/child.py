"""The program with a scripted engine, as a process: `child.py SCRIPT ARGUMENTS…`.

SCRIPT is JSON: `engine` holds FakeEngine's fields, `interrupt` how often Ctrl-C is
pressed before token 3, `flood` how many long tokens the answer has, `bug` makes the
engine fail in an unforeseen way, `missing` is why there is no model at all.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from typing import Any

from lmtui.cli.main import main
from lmtui.errors import LmtuiError
from lmtui.settings import Settings
from tests.fakes import FakeEngine


def open_fake(settings: Settings, script: dict[str, Any]) -> FakeEngine:
    """The engine that the script describes."""

    def press(index: int) -> None:
        if index == 3:
            for _ in range(script.get("interrupt", 0)):
                os.kill(os.getpid(), signal.SIGINT)

    if missing := script.get("missing"):
        raise LmtuiError("there is no such model", missing, "Name another.")
    engine = FakeEngine(**script.get("engine", {}), on_token=press)
    if flood := script.get("flood"):
        engine = FakeEngine([["x" * 8000] * flood])
    if script.get("bug"):
        engine.error = RuntimeError(script["bug"])
    return engine


if __name__ == "__main__":
    given = json.loads(sys.argv[1])
    sys.exit(main(sys.argv[2:], open_engine=lambda s: open_fake(s, given)))
