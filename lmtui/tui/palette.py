"""The palette: everything that can be done here, by name.

Owns what is listed for a screen besides Textual's own commands: the ways to other
screens, what is typed after a slash in the chat, and every key.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any

from textual.app import App, SystemCommand
from textual.binding import Binding
from textual.screen import Screen

from lmtui.tui.keys import shown_actions
from lmtui.tui.screens.chat import ChatScreen
from lmtui.tui.screens.commands import COMMANDS

_PLACES = ("models", "start", "history", "settings")
"""Actions of the program that lead somewhere from everywhere."""


def commands(app: App[Any], screen: Screen[object]) -> Iterator[SystemCommand]:
    """What can be done on a screen."""
    if isinstance(screen, ChatScreen):
        yield from _slash_commands(screen)
    for active in screen.active_bindings.values():
        if active.node is app and active.binding.action in _PLACES:
            keys = app.get_key_display(active.binding)
            yield _command(app, active.binding, keys)
    for binding, keys in shown_actions(screen):
        if not binding.action.startswith("app."):  # those are among the above
            yield _command(screen, binding, keys)


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
