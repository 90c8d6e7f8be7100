"""Actions of the chat's slash commands.

Most of it is a controller's; what is here belongs to none. Disks are waited for, and
grammars compiled, on another thread.
"""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
import tempfile
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from textual.app import SuspendNotSupported
from textual.content import Content

from lmtui import paths
from lmtui.chat.conversation import Conversation
from lmtui.chat.excerpts import blocks_of
from lmtui.chat.thinking import answer_of
from lmtui.config.settings import THINKING
from lmtui.engine.grammar.compile import check_grammar
from lmtui.engine.grammar.text import NAMES, Grammar, read_grammar, read_schema
from lmtui.errors import LmtuiError
from lmtui.models.source import ModelRef
from lmtui.tui.app_messages import ModelChosen, PresetNamed
from lmtui.tui.background import run_in_thread
from lmtui.tui.chat.commands import COMMANDS, CommandRefused, Run, line_of
from lmtui.tui.chat.history_edit import MessageEditor
from lmtui.tui.chat.pages import stats_page
from lmtui.tui.chat.reply import ReplyController
from lmtui.tui.chat.sender import MessageSender
from lmtui.tui.chat.session import EMPTY, Sent
from lmtui.tui.chat.tokens import TokensController
from lmtui.tui.chat.view import ChatView
from lmtui.tui.dialogs import PageScreen
from lmtui.tui.terminal import copy_text

FEWEST, MOST = 2, 8
"""Versions that are drawn together."""
OFF, _SAVE = "off", "save"
_NO_PRESETS = "config.toml has no presets."
_SAMPLING: dict[str, tuple[str, Callable[[str], Any]]] = {
    "/temp": ("temperature", float),
    "/seed": ("seed", int),
}
_GRAMMARS: dict[str, Callable[[str], Grammar]] = {
    "/schema": lambda name: read_schema(paths.expanded(name)),
    "/regex": lambda text: Grammar("regex", text),
    "/grammar": lambda name: read_grammar(paths.expanded(name)),
}
_QUOTES = (('"', '"'), ("“", "”"))


class CommandActions:
    """Runs the commands of `COMMANDS`."""

    def __init__(
        self,
        view: ChatView,
        editor: MessageEditor,
        *,
        sender: MessageSender,
        tokens: TokensController,
        reply: ReplyController,
    ) -> None:
        self._screen, self._session = screen, session = view.screen, view.session
        self._view, self._sampler = view, view.screen.sampler
        self._editor, self._chat_model = editor, view.chat_model
        self._sender, self._reply, self._prompt = sender, reply, view.prompt
        self._grammar_entry: Sent | None = None  # of the grammar that was set last
        self.table: Mapping[str, Run] = {
            "/help": lambda _: self._show_help(),
            "/new": lambda _: editor.begin_new(),
            "/system": self._set_system,
            "/model": self._use_model,
            "/preset": self._use_preset,
            "/ban": self._ban,
            "/think": self._think,
            "/n": self._draw_versions,
            "/fork": lambda _: self._if_begun(self._fork_here),
            "/undo": lambda _: editor.undo(),
            "/copy": self._copy,
            "/code": lambda _: self._show_code(),
            "/save": session.save_title,
            "/export": lambda name: self._if_begun(partial(self._export, name)),
            "/search": lambda words: screen.app.run_action(f"history({words!r})"),
            "/stats": lambda _: self._if_begun(self._show_stats),
            "/prompt": lambda _: self._if_begun(tokens.show_prompt),
            "/quit": lambda _: screen.app.run_action("quit"),
            **{name: partial(self._set, name) for name in _SAMPLING},
            **{name: partial(self._set_grammar, name) for name in _GRAMMARS},
        }

    def _if_begun(
        self, run: Callable[[], Awaitable[object] | None]
    ) -> Awaitable[object] | None:
        """Run what is about the messages, where there are any."""
        if self._session.is_begun:
            return run()
        self._screen.notify(EMPTY)
        return None

    # How the next answers are drawn.

    def _set(self, name: str, argument: str) -> None:
        field, kind = _SAMPLING[name]
        try:
            value: dict[str, Any] = {field: kind(argument) if argument else None}
            settings = replace(self._sampler.settings, **value)
        except ValueError as error:
            number = "whole number" if kind is int else "number"
            raise CommandRefused(f"{argument} is not a {number}.") from error
        except LmtuiError as error:
            raise CommandRefused(f"{error}. {error.hint}") from error
        self._sampler.use(settings)
        if not self._sampler.controls.region:  # which shows it
            self._screen.notify(f"{name[1:]} {argument or 'random'}")

    def _set_grammar(self, name: str, argument: str) -> None:
        """Have answers follow a grammar, also to a message that is sent before it has
        compiled, which waits for it; with `off`, they are free again."""
        if argument == OFF:
            self._sender.end(self._grammar_entry)
            self._use_grammar(None)
            self._screen.notify("The next answers follow no grammar.")
            return

        def read_and_compile() -> Grammar:
            grammar = _GRAMMARS[name](argument)
            check_grammar(grammar)
            return grammar

        # The last one counts, whichever has compiled first.
        self._grammar_entry = entry = self._sender.begin()
        run_in_thread(
            read_and_compile,
            self._screen.call_later,
            partial(self._use_checked, entry),
            failed=partial(self._sender.refuse, entry),
            bug="the grammar can't be checked",
        )

    def _use_checked(self, entry: Sent, grammar: Grammar) -> None:
        if self._sender.end(entry) and entry is self._grammar_entry:
            self._use_grammar(grammar.setting)
            self._screen.notify(f"The next answers follow this {NAMES[grammar.kind]}.")

    def _use_grammar(self, setting: str | None) -> None:
        self._sampler.use(replace(self._sampler.settings, grammar=setting))

    def _ban(self, argument: str) -> None:
        """Add a phrase that no answer may have, take all off, or list them."""
        settings = self._sampler.settings
        banned = settings.banned_phrases
        if not argument:
            phrases = ", ".join(f"“{phrase}”" for phrase in banned)
            words = phrases or "No phrase is banned."
            self._screen.notify(words, title="Banned phrases")
        elif argument == OFF:
            self._sampler.use(replace(settings, banned_phrases=()))
            self._screen.notify("Every phrase can be written.")
        elif not (phrase := _unquoted(argument)):
            raise CommandRefused("Give the phrase, as it would be written.")
        else:
            all_ = tuple(dict.fromkeys((*banned, phrase)))
            self._sampler.use(replace(settings, banned_phrases=all_))
            what = "from now on, in just these letters."
            self._screen.notify(f"No answer has “{phrase}” {what}")

    def _use_preset(self, name: str) -> Awaitable[object] | None:
        preset = self._sampler.presets.get(name)
        verb, _, new = name.partition(" ")
        if preset is None and verb == _SAVE:
            self._save_preset(new.strip())
            return None
        if preset is None:
            known = ", ".join(self._sampler.presets)
            told = f"Available presets: {known}." if known else _NO_PRESETS
            if name:
                raise CommandRefused(told)
            self._screen.notify(told)
            return None
        self._sampler.use(preset.applied(self._sampler.settings))
        self._screen.notify(f"preset {name}")
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
        info = self._chat_model.model.info
        if info is not None and not info.switches_thinking:
            raise CommandRefused("This model's chat template has no such switch.")
        self._session.set_thinking(value)
        self._editor.follow_change()
        self._screen.notify(f"Thinking is {value} in this conversation.")

    def _use_model(self, name: str) -> Awaitable[object] | None:
        if not name:
            return self._screen.app.run_action("models")
        self._screen.post_message(ModelChosen(ModelRef(name)))
        return None

    # The messages.

    async def _draw_versions(self, argument: str) -> None:
        """Draw so many versions of the answer to a text, or to the last message."""
        number, *rest = argument.split(maxsplit=1)
        if not number.isdecimal() or not FEWEST <= int(number) <= MOST:
            raise CommandRefused(f"{number} is no number from {FEWEST} to {MOST}.")
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

    def _fork_here(self) -> Awaitable[object]:
        node = self._view.focused() or self._session.conversation.leaf
        return self._editor.fork(node)

    def edit_draft(self) -> None:
        """Have the program that $EDITOR names write what is to be said."""
        try:
            text = self._edited_outside(self._prompt.draft)
        except (OSError, ValueError, SuspendNotSupported) as error:
            hint = "Set EDITOR to the program you write with."
            self._screen.show_error(
                LmtuiError("the editor can't be used", str(error), hint)
            )
            return
        self._prompt.write(text.removesuffix("\n"))

    def _edited_outside(self, text: str) -> str:
        editor = os.environ.get("VISUAL") or os.environ.get("EDITOR") or "vi"
        with tempfile.TemporaryDirectory(prefix="lmtui-") as folder:
            file = Path(folder) / "draft.md"
            file.write_text(text, encoding="utf-8", errors="replace")
            with self._screen.app.suspend():
                # Where the screen is drawn; the process's own stdout may be the log.
                subprocess.run(
                    [*shlex.split(editor), str(file)],
                    stdout=sys.__stdout__,
                    stderr=sys.__stdout__,
                    check=False,
                )
            return file.read_text(encoding="utf-8", errors="replace")

    # Taking them elsewhere, and pages about them.

    def _copy(self, scope: str) -> None:
        node = self._view.focused_or_last()
        if node is None:
            self._screen.notify(EMPTY)
            return
        copy_text(self._screen.app, node.content if scope == "all" else answer_of(node))
        self._screen.notify("Copied.")

    def _show_code(self) -> None:
        from lmtui.tui.chat.code_blocks import CodeScreen

        path = self._session.conversation.path[1:]
        blocks = [block for node in path for block in blocks_of(node.content)]
        if blocks:
            self._screen.app.push_screen(CodeScreen(blocks))
        else:
            self._screen.notify("There is no block of code in this conversation.")

    def _export(self, name: str) -> None:
        from lmtui.chat.export import format_of, name_for, write_new, written

        meta, original = self._session.meta, self._session.conversation
        # A copy: the one that is shown can grow meanwhile.
        copy = Conversation.restored(original.nodes, original.chosen)
        path = paths.expanded(name or f"{name_for(meta.title)}.md")
        run_in_thread(
            lambda: write_new(path, [written(format_of(path), copy, meta)]),
            self._screen.call_later,
            lambda _: self._screen.notify(f"Written to {path}"),
            failed=self._screen.show_error,
            bug="it could not be written",
        )

    def _show_help(self) -> None:
        lines = Content("\n").join(map(line_of, COMMANDS))
        self._show_page("Commands; F1 shows the keys", lines)

    def _show_stats(self) -> None:
        page = stats_page(self._session.conversation, self._chat_model.model.info)
        self._show_page("In numbers", page)

    def _show_page(self, title: str, text: Content) -> None:
        self._screen.app.push_screen(PageScreen(title, text))


def _unquoted(argument: str) -> str:
    """Return what a command says, without quotes around it: they keep spaces."""
    for opening, closing in _QUOTES:
        if len(argument) > 1 and argument[0] == opening and argument[-1] == closing:
            return argument[1:-1]
    return argument
