"""Slash commands of the chat: the list with a sentence each, and their actions.

All of them are in the palette too. A line that begins with two slashes is a message
that begins with one. Knows no torch.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from typing import Any

from textual import on
from textual.content import Content
from textual.widgets import OptionList
from textual.widgets.option_list import Option

from lmtui.chat.conversation import Conversation
from lmtui.chat.thinking import answer_of
from lmtui.config.settings import THINKING
from lmtui.errors import LmtuiError
from lmtui.models.source import ModelRef
from lmtui.text import visible_line
from lmtui.tui.chat.attachments import WALKS
from lmtui.tui.chat.pages import prompt_page, stats_page
from lmtui.tui.chat.taking_along import TakingScreen
from lmtui.tui.dialogs import PageScreen
from lmtui.tui.engine.messages import ModelChosen
from lmtui.tui.widgets.dialog_list import DialogList


@dataclass(frozen=True, slots=True)
class Command:
    """Slash command."""

    name: str
    """With its slash."""
    argument: str
    """What follows it, in capitals; in brackets where it can be left out."""
    what: str
    """What it does, in a clause."""
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
    Command("/own", "", "use the model that wrote this conversation"),
    Command("/model", "[NAME]", "use another model; choose from a list without NAME"),
    Command("/adapter", "[NAME]", "use an adapter; choose from a list without NAME"),
    Command("/preset", "[NAME]", "use a preset; list them without NAME"),
    Command("/temp", "T", "temperature; 0 takes the most probable token", waits=False),
    Command("/topk", "K", "draw from the K most probable tokens", waits=False),
    Command("/topp", "P", "draw from the smallest set with this mass", waits=False),
    Command("/minp", "P", "drop tokens below this share of the top one", waits=False),
    Command("/seed", "[N]", "repeat the same draws; a new seed without N", waits=False),
    Command("/think", "[on|off]", "have the model think first, or not; without, auto"),
    Command("/regen", "", "another answer in place of the last one"),
    Command("/continue", "", "continue the last answer from its end"),
    Command("/edit", "", "change your last message, or the one in focus"),
    Command("/tree", "", "show every branch; continue from any message"),
    Command("/fork", "", "continue from here in a new conversation"),
    Command("/undo", "", "restore what was deleted, or undo the last turn"),
    Command("/redo", "", "restore the turn that was undone"),
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
_SAMPLING: dict[str, tuple[str, Callable[[str], Any]]] = {
    "/temp": ("temperature", float),
    "/topk": ("top_k", int),
    "/topp": ("top_p", float),
    "/minp": ("min_p", float),
    "/seed": ("seed", int),
}


def matching(text: str) -> list[Command]:
    """The commands that what is typed can become; none where it is no command."""
    if not text.startswith("/") or any(map(str.isspace, text)):
        return []
    return [command for command in COMMANDS if command.name.startswith(text)]


def is_command(text: str) -> bool:
    """Whether a line is meant as a command, also as one that does not exist."""
    name = text.split(maxsplit=1)[0] if text.strip() else ""
    return name in _BY_NAME or (
        name.startswith("/") and name[1:].isalpha() and "\n" not in text
    )


class _Refused(Exception):
    """Why a command can't be done."""


class CommandScreen(TakingScreen):
    """Has a prompt in which commands are written too, and above it a `#commands` list
    of those that what is written can become."""

    _offered: tuple[Command, ...] = ()
    _left = False  # whether the list was closed, of what is written now

    @property
    def _commands(self) -> DialogList:
        return self.query_one("#commands", DialogList)

    def offer_commands(self, text: str) -> bool:
        """List what this can become; whether there is anything."""
        found = matching(text)
        self._left = self._left and bool(found)
        offered = () if self.is_editing or self._left else tuple(found)
        if offered != self._offered:
            self._offered = offered
            self._commands.display = bool(offered)
            self._commands.clear_options()
            self._commands.add_options(Option(line_of(each)) for each in offered)
            self._commands.highlighted = 0 if offered else None
        return bool(offered)

    def take_key(self, key: str) -> bool:
        """Do what a key does while there are commands to choose from; whether it did
        anything. Of one that is written out Enter is for the prompt, and so are Up and
        Down: it may be an earlier prompt among others."""
        if not self._offered:
            return False
        if key == "escape":
            self._left = True
            self.offer_commands(self._prompt.text)
            return True
        if self._prompt.text == self._marked.name:
            takes = key == "tab" and bool(self._marked.argument)
        elif key in WALKS:
            getattr(self._commands, f"action_{WALKS[key]}")()
            return True
        else:
            takes = key in ("tab", "enter")
        if takes:
            self.begin_command(self._marked)
        return takes

    @property
    def _marked(self) -> Command:
        return self._offered[self._commands.highlighted or 0]

    @on(OptionList.OptionSelected, "#commands")
    def take_clicked(self, event: OptionList.OptionSelected) -> None:
        """A command was clicked."""
        event.stop()
        self.begin_command(self._marked)

    def begin_command(self, command: Command) -> None:
        """Let the user write what a command needs."""
        self._prompt.text = f"{command.name} " if command.argument else command.name
        self._prompt.move_cursor(self._prompt.document.end)
        self._prompt.focus()

    async def take_command(self, command: Command) -> None:
        """Do a command, or let the user write what it needs."""
        if command.needs:
            self.begin_command(command)
        else:
            await self.run_command(command.name)

    async def run_command(self, text: str) -> bool:
        """Do what a line says; whether it could be done."""
        name, _, argument = text.strip().partition(" ")
        try:
            await self._do(name, argument.strip())
        except _Refused as refused:
            title = visible_line(name)
            self.notify(str(refused), title=title, severity="warning", markup=False)
            return False
        return True

    async def _do(self, name: str, argument: str) -> None:
        command = _BY_NAME.get(name)
        if command is None:
            raise _Refused("There is no such command; /help lists them all.")
        if command.waits and self.busy:
            raise _Refused("The model is answering; Esc stops it.")
        if command.needs and not argument:
            raise _Refused(f"It needs {command.argument}: {command.what}.")
        if name in _SAMPLING:
            self._set(name, argument)
        elif (done := self._doings[name](argument)) is not None:
            await done

    @property
    def _doings(self) -> dict[str, Callable[[str], Awaitable[object] | None]]:
        app = self.app
        return {
            "/help": lambda _: self._help(),
            "/new": lambda _: self.begin_new(),
            "/system": self._system_message,
            "/model": lambda name: self._use(ModelRef(name) if name else None),
            "/adapter": lambda name: self._use(ModelRef(None, name) if name else None),
            "/own": lambda _: self.use_owner(),
            "/preset": self._use_preset,
            "/think": self._think,
            "/regen": lambda _: self.run_action("regenerate"),
            "/continue": lambda _: self.run_action("go_on"),
            "/edit": lambda _: self._edit_last(),
            "/tree": lambda _: self.action_tree(),
            "/fork": lambda _: self._fork_here(),
            "/undo": lambda _: self.undo(),
            "/redo": lambda _: self.redo(),
            "/copy": self._copy,
            "/code": lambda _: self.action_code(),
            "/save": self.save_title,
            "/export": self.export,
            "/search": self._search,
            "/stats": lambda _: self._show("In numbers", self._stats),
            "/prompt": lambda _: self._show("As sent", prompt_page),
            "/quit": lambda _: app.run_action("quit"),
        }

    def _set(self, name: str, argument: str) -> None:
        """Change a setting of the sampler."""
        field, kind = _SAMPLING[name]
        try:
            value: dict[str, Any] = {field: kind(argument) if argument else None}
            settings = replace(self._settings, **value)
        except ValueError as error:
            raise _Refused(f"{visible_line(argument)} is not a number.") from error
        except LmtuiError as error:
            raise _Refused(f"{error}. {error.hint}") from error
        self.draw_with(settings)
        self.notify(f"{name[1:]} {argument or 'random'}", markup=False)

    async def _system_message(self, text: str) -> None:
        if not text:
            self.edit(self._conversation.root)
            return
        self._conversation.reword(0, text)
        await self.branch_changed()
        self.notify("The model reads it before the next answer.")

    def _use_preset(self, name: str) -> Awaitable[object] | None:
        preset = self.presets.get(name)
        if preset is None:
            known = ", ".join(map(visible_line, self.presets))
            some = (
                f"Available presets: {known}."
                if known
                else "config.toml has no presets."
            )
            raise _Refused(some)
        self.draw_with(preset.applied(self._settings))
        self.notify(f"preset {visible_line(name)}", markup=False)
        return self._system_message(preset.system) if preset.system else None

    def _think(self, value: str) -> None:
        if (value := value or "auto") not in THINKING:
            raise _Refused(f"It is one of: {', '.join(THINKING)}.")
        if self._info is not None and not self._info.switches_thinking:
            raise _Refused("This model's chat template has no such switch.")
        self.tell_thinking(value)
        self.conversation_changed()
        self.notify(f"Thinking is {value} in this conversation.")

    def _use(self, ref: ModelRef | None) -> Awaitable[object] | None:
        if ref is None:
            return self.app.run_action("models")
        self.post_message(ModelChosen(ref))
        return None

    def _edit_last(self) -> None:
        said = [node for node in self._conversation.path if node.role == "user"]
        focused = self.focused_message()
        if focused is not None or said:
            self.edit(focused or said[-1])
        else:
            self.notify("The conversation is empty.")

    def _fork_here(self) -> Awaitable[object] | None:
        node = self.focused_message() or self._conversation.leaf
        if not self.is_begun:
            self.notify("The conversation is empty.")
            return None
        return self.fork(node)

    def _copy(self, what: str) -> None:
        node = self._message_in_focus()
        if node is None:
            self.notify("The conversation is empty.")
        elif what == "all":
            self.copy_text(node.content)
        else:
            self.copy_text(answer_of(node))

    def _search(self, words: str) -> Awaitable[object]:
        return self.app.run_action(f"history({words!r})")

    def _stats(self, conversation: Conversation) -> Content:
        return stats_page(conversation, self._info)

    def _help(self) -> None:
        lines = Content("\n").join(map(line_of, COMMANDS))
        self.app.push_screen(PageScreen("Commands; F1 shows the keys", lines))

    def _show(self, title: str, page: Callable[[Conversation], Content]) -> None:
        if self.is_begun:
            self.app.push_screen(PageScreen(title, page(self._conversation)))
        else:
            self.notify("The conversation is empty.")


def line_of(command: Command) -> Content:
    """A command as a line of a list."""
    name = f"{command.name} {command.argument}"
    return Content.assemble((f"{name:<18} ", "$accent"), (command.what, "$quiet"))
