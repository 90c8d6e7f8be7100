"""Actions of the chat's slash commands.

Most of it is a controller's; what is here belongs to none.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from functools import partial
from typing import Any

from textual.content import Content

from lmtui.chat.thinking import answer_of
from lmtui.config.settings import THINKING
from lmtui.errors import LmtuiError
from lmtui.models.source import ModelRef
from lmtui.text import visible_line
from lmtui.tui.app_messages import ModelChosen, PresetNamed
from lmtui.tui.chat.bans import ban
from lmtui.tui.chat.commands import COMMANDS, CommandRefused, Run, line_of
from lmtui.tui.chat.export import ChatExporter
from lmtui.tui.chat.grammar import GRAMMARS, GrammarCommands
from lmtui.tui.chat.history_edit import MessageEditor
from lmtui.tui.chat.pages import stats_page
from lmtui.tui.chat.parts import EMPTY, ChatParts
from lmtui.tui.chat.reply import ReplyController
from lmtui.tui.chat.sender import MessageSender
from lmtui.tui.chat.switch import ConversationSwitcher
from lmtui.tui.chat.tokens import TokensController
from lmtui.tui.dialogs import PageScreen

FEWEST, MOST = 2, 8
"""Versions that are drawn together."""
_SAVE = "save"
_NO_PRESETS = "config.toml has no presets."
_SAMPLING: dict[str, tuple[str, Callable[[str], Any]]] = {
    "/temp": ("temperature", float),
    "/seed": ("seed", int),
}


class CommandActions:
    """Runs the commands of `COMMANDS`."""

    def __init__(
        self,
        parts: ChatParts,
        editor: MessageEditor,
        exporter: ChatExporter,
        switcher: ConversationSwitcher,
        *,
        sender: MessageSender,
        tokens: TokensController,
        reply: ReplyController,
    ) -> None:
        self._screen, self._session = screen, session = parts.screen, parts.session
        self._branch, self._sampler = parts.branch, parts.screen.sampler
        self._editor, self._chat_model = editor, parts.chat_model
        self._switcher, self._sender, self._reply = switcher, sender, reply
        grammars = GrammarCommands(screen, sender)
        self.table: Mapping[str, Run] = {
            "/help": lambda _: self._show_help(),
            "/new": lambda _: switcher.begin_new(),
            "/system": self._set_system,
            "/model": self._use_model,
            "/preset": self._use_preset,
            "/ban": partial(ban, screen),
            "/think": self._think,
            "/n": self._draw_versions,
            "/fork": lambda _: self._fork_here(),
            "/undo": lambda _: editor.undo(),
            "/copy": partial(self._copy, exporter),
            "/code": lambda _: exporter.show_code(),
            "/save": session.save_title,
            "/export": exporter.export,
            "/search": lambda words: screen.app.run_action(f"history({words!r})"),
            "/stats": lambda _: self._show_stats(),
            "/prompt": lambda _: self._show_prompt(tokens),
            "/quit": lambda _: screen.app.run_action("quit"),
            **{name: partial(self._set, name) for name in _SAMPLING},
            **{name: partial(grammars.set, name) for name in GRAMMARS},
        }

    def _set(self, name: str, argument: str) -> None:
        field, kind = _SAMPLING[name]
        try:
            value: dict[str, Any] = {field: kind(argument) if argument else None}
            settings = replace(self._sampler.settings, **value)
        except ValueError as error:
            number = "whole number" if kind is int else "number"
            raise CommandRefused(
                f"{visible_line(argument)} is not a {number}."
            ) from error
        except LmtuiError as error:
            raise CommandRefused(f"{error}. {error.hint}") from error
        self._sampler.use(settings)
        if not self._sampler.controls.region:  # which shows it
            self._screen.notify(f"{name[1:]} {argument or 'random'}", markup=False)

    async def _draw_versions(self, argument: str) -> None:
        """Draw so many versions of the answer to a text, or to the last message."""
        number, *rest = argument.split(maxsplit=1)
        if not number.isdecimal() or not FEWEST <= int(number) <= MOST:
            raise CommandRefused(
                f"{visible_line(number)} is no number from {FEWEST} to {MOST}."
            )
        if self._sampler.settings.temperature == 0:
            raise CommandRefused(
                "At temperature 0 all answers are the same; /temp changes it."
            )
        leaf, count = self._session.conversation.leaf, int(number)
        if rest:
            self._sender.send(rest[0], count=count, written=f"/n {argument}")
        elif leaf.role == "system":
            raise CommandRefused(
                f"There is no message yet to answer; try /n {count} TEXT."
            )
        elif not self._reply.has_model:
            raise CommandRefused("No model is loaded yet.")
        else:
            await self._reply.answer_again(leaf, count)

    async def _set_system(self, text: str) -> None:
        if not text:
            self._editor.edit(self._session.conversation.root)
            return
        await self._editor.reword_system(text)
        self._screen.notify("The model reads it before the next answer.")

    def _use_preset(self, name: str) -> Awaitable[object] | None:
        preset = self._sampler.presets.get(name)
        verb, _, new = name.partition(" ")
        if preset is None and verb == _SAVE:
            self._save_preset(new.strip())
            return None
        if preset is None:
            known = ", ".join(map(visible_line, self._sampler.presets))
            told = f"Available presets: {known}." if known else _NO_PRESETS
            if name:
                raise CommandRefused(told)
            self._screen.notify(told, markup=False)
            return None
        self._sampler.use(preset.applied(self._sampler.settings))
        self._screen.notify(f"preset {visible_line(name)}", markup=False)
        return self._set_system(preset.system) if preset.system else None

    def _save_preset(self, name: str) -> None:
        if not name:
            raise CommandRefused(f"Usage: /preset {_SAVE} NAME.")
        system = self._session.conversation.root.content
        settings = self._sampler.settings
        self._screen.post_message(PresetNamed(name, settings, system))

    def _think(self, value: str) -> None:
        if (value := value or "auto") not in THINKING:
            raise CommandRefused(f"It is one of: {', '.join(THINKING)}.")
        info = self._chat_model.info
        if info is not None and not info.switches_thinking:
            raise CommandRefused("This model's chat template has no such switch.")
        self._session.set_thinking(value)
        self._switcher.follow_change()
        self._screen.notify(f"Thinking is {value} in this conversation.")

    def _use_model(self, name: str) -> Awaitable[object] | None:
        if not name:
            return self._screen.app.run_action("models")
        self._screen.post_message(ModelChosen(ModelRef(name)))
        return None

    def _fork_here(self) -> Awaitable[object] | None:
        node = self._branch.focused() or self._session.conversation.leaf
        if not self._session.is_begun:
            self._screen.notify(EMPTY)
            return None
        return self._editor.fork(node)

    def _copy(self, exporter: ChatExporter, scope: str) -> None:
        node = self._branch.focused_or_last()
        if node is None:
            self._screen.notify(EMPTY)
        else:
            exporter.copy(node.content if scope == "all" else answer_of(node))

    def _show_prompt(self, tokens: TokensController) -> None:
        if self._session.is_begun:
            tokens.show_prompt()
        else:
            self._screen.notify(EMPTY)

    def _show_help(self) -> None:
        lines = Content("\n").join(map(line_of, COMMANDS))
        page = PageScreen("Commands; F1 shows the keys", lines)
        self._screen.app.push_screen(page)

    def _show_stats(self) -> None:
        if self._session.is_begun:
            page = stats_page(self._session.conversation, self._chat_model.info)
            self._screen.app.push_screen(PageScreen("In numbers", page))
        else:
            self._screen.notify(EMPTY)
