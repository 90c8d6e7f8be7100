"""Slash commands of the chat: the list with a sentence each, and running them.

All of them are in the palette too. A line that begins with two slashes is a message
that begins with one.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass

from textual.content import Content

from lmtui.tui.chat.attachments import LIST_KEYS
from lmtui.tui.chat.session import BUSY
from lmtui.tui.chat.view import ChatView
from lmtui.tui.widgets.dialog_list import DialogList

Run = Callable[[str], Awaitable[object] | None]
"""Runs a command with its argument; raises `CommandRefused`."""


@dataclass(frozen=True, slots=True)
class Command:
    """Slash command."""

    name: str
    """With its slash."""
    argument: str
    """Text after the name, in capitals; in brackets where it can be left out."""
    what: str
    """The effect, in a clause."""
    waits: bool = True
    """Whether it is of no use while an answer is made."""

    @property
    def needs(self) -> bool:
        """Whether nothing can be done without what follows it."""
        return bool(self.argument) and not self.argument.startswith("[")


COMMANDS = (
    Command("/help", "", "show every key and command", waits=False),
    Command("/new", "", "begin another conversation; this one is kept"),
    Command("/system", "[TEXT]", "set the system message; edit it without TEXT"),
    Command("/model", "[NAME]", "use another model; choose from a list without NAME"),
    Command("/preset", "[NAME]", "use a preset, or list them; save NAME makes one"),
    Command("/temp", "T", "temperature; 0 takes the most probable token", waits=False),
    Command("/seed", "[N]", "repeat the same draws; a new seed without N", waits=False),
    Command("/schema", "FILE|off", "have answers follow a JSON schema", waits=False),
    Command("/regex", "RE|off", "have answers match a regular expression",
            waits=False),
    Command("/grammar", "FILE|off", "have answers follow a grammar: Lark or GBNF",
            waits=False),
    Command("/ban", "[TEXT|off]", "have no answer write TEXT; list such texts",
            waits=False),
    Command("/think", "[on|off]", "have the model think first, or not; without, auto"),
    Command("/n", "N [TEXT]", "draw N answers at once, to TEXT or again; choose one"),
    Command("/fork", "", "continue from here in a new conversation"),
    Command("/undo", "", "restore what was deleted, or undo the last turn"),
    Command("/copy", "[all]", "copy the answer in focus or the last; all with thoughts",
            waits=False),
    Command("/code", "", "list the blocks of code: copy or save one", waits=False),
    Command("/save", "TITLE", "give this conversation a title", waits=False),
    Command("/export", "[FILE]", "write it to a .md, .json or .html file", waits=False),
    Command("/search", "[WORDS]", "find words in all conversations"),
    Command("/stats", "", "show the numbers of this conversation", waits=False),
    Command("/prompt", "", "show what the model was given, token for token",
            waits=False),
    Command("/quit", "", "leave the program", waits=False),
)  # fmt: skip

_BY_NAME = {command.name: command for command in COMMANDS}


def matching(text: str) -> list[Command]:
    if not text.startswith("/") or any(map(str.isspace, text)):
        return []
    return [command for command in COMMANDS if command.name.startswith(text)]


def is_command(text: str) -> bool:
    """Return whether a text is a command, known or not, rather than a message."""
    text = text.lstrip()
    return text.startswith("/") and not text.startswith("//")


_NO_COMMAND = "There is no such command. // at the beginning sends it as a message."


class CommandRefused(Exception):
    """Why a command can't be done, in a sentence."""


class SlashCommands:
    """Offers the commands that what is written can become, and runs them."""

    def __init__(self, view: ChatView, actions: Mapping[str, Run]) -> None:
        self._screen, self._prompt, self._actions = view.screen, view.prompt, actions
        self._session = view.session
        self.list = DialogList(id="commands")
        self.list.can_focus = False
        self._offered: tuple[Command, ...] = ()
        self._dismissed = False  # whether the list was closed, of what is written now

    def offer(self, text: str) -> bool:
        """List what this can become, unless it is an edit; return whether there is
        anything."""
        matches = matching(text)
        self._dismissed = self._dismissed and bool(matches)
        is_edit = self._prompt.edited is not None
        offered = () if is_edit or self._dismissed else tuple(matches)
        if offered != self._offered:
            self._offered = offered
            self.list.display = bool(offered)
            self.list.clear_options()
            self.list.add_options(map(line_of, offered))
            self.list.highlighted = 0 if offered else None
        return bool(offered)

    def use_key(self, key: str) -> bool:
        """Return whether the key did anything. Of a command written out Enter is for
        the prompt, and so are Up and Down: it may be an earlier prompt among others."""
        if not self._offered:
            return False
        if key == "escape":
            self._dismissed = True
            self.offer(self._prompt.text)
            return True
        if self._prompt.text == self._highlighted.name:
            completes = key == "tab" and bool(self._highlighted.argument)
        elif key in LIST_KEYS:
            getattr(self.list, f"action_{LIST_KEYS[key]}")()
            return True
        else:
            completes = key in ("tab", "enter")
        if completes:
            self._write(self._highlighted)
        return completes

    @property
    def _highlighted(self) -> Command:
        return self._offered[self.list.highlighted or 0]

    def write_highlighted(self) -> None:
        self._write(self._highlighted)

    def _write(self, command: Command) -> None:
        self._prompt.text = f"{command.name} " if command.argument else command.name
        self._prompt.move_cursor(self._prompt.document.end)
        self._prompt.focus()

    async def choose(self, command: Command) -> None:
        if command.needs:
            self._write(command)
        else:
            await self.run(command.name)

    async def run(self, text: str) -> bool:
        """Do what a line says; return whether it could be done."""
        name, _, argument = text.strip().partition(" ")
        try:
            await self._run_action(name, argument.strip())
        except CommandRefused as refused:
            self._screen.notify(str(refused), title=name, severity="warning")
            return False
        return True

    async def _run_action(self, name: str, argument: str) -> None:
        command = _BY_NAME.get(name)
        if command is None:
            known = ", ".join(_BY_NAME)
            raise CommandRefused(f"{_NO_COMMAND} The commands are {known}.")
        if command.waits and self._session.is_busy:
            raise CommandRefused(BUSY)
        if command.needs and not argument:
            raise CommandRefused(f"Usage: {name} {command.argument} ({command.what}).")
        if (result := self._actions[name](argument)) is not None:
            await result


def line_of(command: Command) -> Content:
    name = f"{command.name} {command.argument}"
    return Content.assemble((f"{name:<18} ", "$accent"), (command.what, "$quiet"))
