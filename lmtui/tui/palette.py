"""The command palette: everything that can be done on a screen, by name.

Owns what is listed and in which order: the keys of the screen, the ways to other
screens, the commands of the program, and what is typed after a slash in the chat.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import partial
from typing import Any

from textual.app import App, SystemCommand
from textual.binding import Binding
from textual.command import DiscoveryHit, Hits
from textual.screen import Screen
from textual.system_commands import SystemCommandsProvider

from lmtui.tui.chat.commands import COMMANDS
from lmtui.tui.chat.screen import ChatScreen
from lmtui.tui.keys import shown_actions

_PLACES = ("models", "start", "history", "settings")
"""Actions of the program that lead somewhere from everywhere."""


_WORDS = {
    "Theme": "Choose a theme; the one under the cursor is shown at once.",
    "Quit": "Leave the program; an unsaved text is asked about first.",
    "Keys": "Show the keys of the focused part beside the screen, or hide them.",
    "Maximize": "Show only the focused part.",
    "Minimize": "Show all parts again.",
    "Screenshot": "Save a picture of this screen as SVG.",
}
"""Textual's own commands in the words of this program."""


class CommandList(SystemCommandsProvider):
    """The commands in the order in which they are given, not by the alphabet."""

    async def discover(self) -> Hits:
        """Everything, before a word is typed."""
        for name, words, callback, _ in self.app.get_system_commands(self.screen):
            yield DiscoveryHit(name, callback, help=words)


def commands(
    app: App[Any], screen: Screen[object], own: Iterable[SystemCommand]
) -> Iterator[SystemCommand]:
    """What can be done on a screen; `own` are Textual's commands."""
    for binding, keys in shown_actions(screen):
        if not binding.action.startswith("app."):  # those are among the next
            yield _command(screen, binding, keys)
    for active in screen.active_bindings.values():
        if active.node is app and active.binding.action in _PLACES:
            keys = app.get_key_display(active.binding)
            yield _command(app, active.binding, keys)
    for command in own:
        words = _WORDS.get(command.title, command.help)
        yield SystemCommand(command.title, words, command.callback)
    if isinstance(screen, ChatScreen):
        yield from _slash_commands(screen)


def _slash_commands(chat: ChatScreen) -> Iterator[SystemCommand]:
    for command in COMMANDS:
        name = f"{command.name} {command.argument}".strip()
        what = f"{command.what[0].upper()}{command.what[1:]}."
        yield SystemCommand(
            name, what, partial(chat.call_later, chat.take_command, command)
        )


def _command(
    node: App[Any] | Screen[object], binding: Binding, keys: str
) -> SystemCommand:
    return SystemCommand(
        f"{binding.description}  ({keys})",
        binding.tooltip,
        partial(node.call_later, node.run_action, binding.action),
    )
