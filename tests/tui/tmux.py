"""The program in plain tmux at 80x24, typed into and looked at as by a person.

It runs with a scripted engine in a tmux server of the test's own.
"""

from __future__ import annotations

import json
import os
import shlex
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.cli.program import REPOSITORY, command

TMUX = shutil.which("tmux")
Seen = Callable[[str], object]
"""Whether something is seen on a screen."""
needs_tmux = pytest.mark.skipif(TMUX is None, reason="tmux is not installed")


class Tmux:
    """A server of its own with one window, in which a shell runs."""

    def __init__(self, folder: Path, home: Path) -> None:
        self._run, self._home = folder / "run.sh", home
        socket = folder / "tmux"
        self._server = [TMUX or "tmux", "-S", str(socket), "-f", os.devnull]
        self.run("new-session", "-d", "-x", "80", "-y", "24", "env PS1='$ ' sh")

    def run(self, *arguments: str) -> str:
        """A command of tmux; what it prints."""
        return subprocess.run(
            [*self._server, *arguments],
            capture_output=True,
            text=True,
            check=True,
            cwd=REPOSITORY,
            timeout=20,
        ).stdout

    def start(
        self,
        *arguments: str,
        engine: Mapping[str, Any] | None = None,
        worker: Mapping[str, Any] | None = None,
        env: Mapping[str, str] | None = None,
        real: bool = False,
        first: str = "",
    ) -> None:
        """Run the program with these arguments, over an engine and a training's worker
        with these fields, or over the `real` default model, after the code `first`;
        how it ended is said on the screen."""
        given = {"LMTUI_HOME": str(self._home), "PYTHONUTF8": "1", "LC_ALL": "C.UTF-8"}
        given |= env or {}
        script = {"engine": engine or {}, "worker": worker or {}}
        run = command(arguments, script)
        if real:
            code = f"{first}\nfrom lmtui.cli.main import run\nrun()"
            run = [sys.executable, "-c", code, *arguments]
        exported = shlex.join(f"{name}={value}" for name, value in given.items())
        self._run.write_text(
            f"cd {shlex.quote(str(REPOSITORY))}\nunset COLUMNS LINES\n"
            f"export {exported}\n"
            f"{shlex.join(run)}\n"
            "echo left with $?\n",
            encoding="utf-8",
        )
        self.type(f"sh {shlex.quote(str(self._run))}\n")

    def close(self) -> None:
        """End the server and what runs in it."""
        self.run("kill-server")

    def press(self, *keys: str) -> None:
        """Press keys by tmux's names."""
        self.run("send-keys", *keys)

    def type(self, text: str) -> None:
        """Type letters."""
        self.run("send-keys", "-l", text)

    def paste(self, text: str) -> None:
        """Paste, in brackets where the program asked for them."""
        self.run("set-buffer", text)
        self.run("paste-buffer", "-p")

    @property
    def screen(self) -> str:
        """What stands on the screen."""
        return self.run("capture-pane", "-p")

    def state(self, name: str) -> str:
        """One of tmux's variables of the window."""
        return self.run("display-message", "-p", f"#{{{name}}}").strip()

    def until(self, seen: Seen, seconds: float = 20) -> str:
        """Look until it is seen; the screen then."""
        deadline = time.monotonic() + seconds
        while not seen(screen := self.screen):
            assert time.monotonic() < deadline, f"waited in vain:\n{screen}"
            time.sleep(0.02)
        return screen

    def shows(self, *words: str) -> str:
        """Wait until all of these stand on the screen."""
        return self.until(lambda screen: all(word in screen for word in words))

    def lacks(self, word: str) -> str:
        """Wait until this does not stand on the screen."""
        return self.until(lambda screen: word not in screen)


@contextmanager
def server(home: Path) -> Iterator[Tmux]:
    """A tmux whose programs have this home, in which no hint is new."""
    state = home / "state"
    state.mkdir(parents=True, exist_ok=True)
    (state / "seen.json").write_text(
        json.dumps(["start", "complete", "chat", "inspect"])
    )
    with tempfile.TemporaryDirectory(
        prefix="lmtui-"
    ) as folder:  # sockets' paths are short
        tmux = Tmux(Path(folder), home)
        try:
            yield tmux
        finally:
            tmux.close()
