"""The command palette: keys of the screen, ways to other screens, Textual's commands,
and the chat's slash commands."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import partial
from typing import TYPE_CHECKING, Any

from textual.app import App, SystemCommand
from textual.binding import Binding
from textual.command import DiscoveryHit, Hits
from textual.screen import Screen
from textual.system_commands import SystemCommandsProvider

from lmtui.tui.keys import shown_actions

if TYPE_CHECKING:
    from lmtui.tui.chat.screen import ChatScreen

_SCREENS = ("models", "start", "history", "settings")
"""Actions of the app that open a screen from everywhere."""


_WORDS = {
    "Theme": "Choose a theme; the one under the cursor is shown at once.",
    "Quit": "Leave the program; an unsaved text is asked about first.",
    "Keys": "Show the keys of the focused part beside the screen, or hide them.",
    "Maximize": "Show only the focused part.",
    "Minimize": "Show all parts again.",
    "Screenshot": "Save a picture of this screen as SVG.",
}
"""Descriptions of Textual's own commands."""


class CommandList(SystemCommandsProvider):
    """Provider of the commands in the order given; Textual's sorts them by name."""

    async def discover(self) -> Hits:
        for name, description, callback, _ in self.app.get_system_commands(self.screen):
            yield DiscoveryHit(name, callback, help=description)


def commands(
    app: App[Any], screen: Screen[object], own: Iterable[SystemCommand]
) -> Iterator[SystemCommand]:
    for binding, keys in shown_actions(screen):
        if not binding.action.startswith("app."):  # yielded by the next loop
            yield _command(screen, binding, keys)
    for active in screen.active_bindings.values():
        if active.node is app and active.binding.action in _SCREENS:
            keys = app.get_key_display(active.binding)
            yield _command(app, active.binding, keys)
    for command in own:
        description = _WORDS.get(command.title, command.help)
        yield SystemCommand(command.title, description, command.callback)
    from lmtui.tui.chat.screen import ChatScreen

    if isinstance(screen, ChatScreen):
        yield from _slash_commands(screen)


def _slash_commands(chat: ChatScreen) -> Iterator[SystemCommand]:
    from lmtui.tui.chat.commands import COMMANDS

    for command in COMMANDS:
        name = f"{command.name} {command.argument}".strip()
        what = f"{command.what[0].upper()}{command.what[1:]}."
        yield SystemCommand(
            name, what, partial(chat.call_later, chat.commands.choose, command)
        )


def _command(
    node: App[Any] | Screen[object], binding: Binding, keys: str
) -> SystemCommand:
    return SystemCommand(
        f"{binding.description}  ({keys})",
        binding.tooltip,
        partial(node.call_later, node.run_action, binding.action),
    )
