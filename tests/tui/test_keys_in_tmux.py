"""Every key of the program in plain tmux: each arrives under the name it is bound by.

What a key then does is tested without a terminal, beside each screen.
"""

from __future__ import annotations

import json
import shlex
import sys
from pathlib import Path

from textual.app import App
from textual.events import Key

from lmtui.tui.keys import all_bound
from lmtui.tui.terminal import TerminalDriver
from tests.cli.program import REPOSITORY
from tests.tui.tmux import needs_tmux, server

NAMES = {
    "backspace": "BSpace",
    "ctrl+@": "C-Space",
    "delete": "DC",
    "full_stop": ".",
    "left_square_bracket": "[",
    "minus": "-",
    "pagedown": "NPage",
    "pageup": "PPage",
    "plus": "+",
    "right_square_bracket": "]",
    "shift+tab": "BTab",
    "slash": "/",
}
"""Names of keys in tmux, where they are not those of Textual."""
MODIFIERS = {"alt": "M", "ctrl": "C", "shift": "S"}
OTHERS = {
    "alt+enter": "enter",
    "alt+f": "ctrl+right",
    "shift+enter": "enter",
}
"""Keys that plain tmux sends as others, or that Textual reads as others."""


def in_tmux(key: str) -> str:
    """tmux's name of one of Textual's keys."""
    if key in NAMES:
        return NAMES[key]
    *modifiers, name = key.split("+")
    name = NAMES.get(name, name if len(name) == 1 else name.capitalize())
    return "-".join([*(MODIFIERS[each] for each in modifiers), name])


class Listener(App[None]):
    """Writes the names of the keys that arrive into a file."""

    ENABLE_COMMAND_PALETTE = False

    def __init__(self, file: Path) -> None:
        super().__init__(driver_class=TerminalDriver)
        self._file, self._names = file, list[str]()

    def on_mount(self) -> None:
        self._write()

    async def on_event(self, event: object) -> None:
        """Take every key before anything is done at it."""
        if not isinstance(event, Key):
            await super().on_event(event)  # type: ignore[arg-type]
            return
        self._names.append(event.key)
        self._write()

    def _write(self) -> None:
        part = self._file.with_suffix(".part")
        part.write_text(json.dumps(self._names))
        part.replace(self._file)


@needs_tmux
def test_every_key_arrives_under_its_name(home: Path, tmp_path: Path) -> None:
    pressed = sorted({key for item in all_bound() for key in item.keys})
    file = tmp_path / "keys.json"
    command = [sys.executable, "-m", "tests.tui.test_keys_in_tmux", str(file)]
    with server(home) as tmux:
        tmux.type(f"cd {shlex.quote(str(REPOSITORY))} && {shlex.join(command)}\n")
        tmux.until(lambda _: file.exists())
        for count, key in enumerate(pressed, 1):
            tmux.press(in_tmux(key))
            tmux.until(lambda _, n=count: len(json.loads(file.read_text())) == n)
    arrived = zip(pressed, json.loads(file.read_text()), strict=True)
    assert {key: name for key, name in arrived if key != name} == OTHERS
    assert not [item.id for item in all_bound() if not {*item.keys} - {*OTHERS}]


if __name__ == "__main__":
    Listener(Path(sys.argv[1])).run()
