"""Taking a conversation elsewhere: the clipboard, a file, $EDITOR.

Disks are waited for on another thread. Knows no torch.
"""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import ClassVar

from textual import on
from textual.app import SuspendNotSupported
from textual.binding import Binding, BindingType
from textual.message import Message

from lmtui.chat.conversation import Conversation
from lmtui.chat.excerpts import blocks_of, title_of
from lmtui.chat.export import format_of, name_for, write_new, written
from lmtui.chat.summary import ConversationMeta
from lmtui.errors import LmtuiError
from lmtui.text import visible
from lmtui.tui.background import post_from_thread
from lmtui.tui.chat.code_blocks import CodeScreen
from lmtui.tui.chat.editing import EditingScreen
from lmtui.tui.terminal import copy_here


class TakingScreen(EditingScreen):
    """Has a conversation that can be taken elsewhere."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("ctrl+l", "editor", "Editor", id="chat.editor", show=False,
                tooltip="Edit the draft in the program that $EDITOR names."),
    ]  # fmt: skip

    class Exported(Message):
        """The conversation was written to a file; or the error."""

        def __init__(self, path: Path, error: LmtuiError | None = None) -> None:
            self.path, self.error = path, error
            super().__init__()

    def copy_text(self, text: str) -> None:
        """Copy a text."""
        self.app.copy_to_clipboard(text)
        copy_here(text)
        self.notify("Copied.")

    def action_code(self) -> None:
        """Walk the blocks of code in the shown branch."""
        path = self._conversation.path[1:]
        blocks = [block for node in path for block in blocks_of(node.content)]
        if blocks:
            self.app.push_screen(CodeScreen(blocks))
        else:
            self.notify("There is no block of code in this conversation.")

    @property
    def facts(self) -> ConversationMeta:
        """The conversation's title and other facts beside its messages."""
        asked = [n.content for n in self._conversation.path if n.role == "user"]
        made = title_of(asked[0]) if asked else "Conversation"
        facts = self._about.facts if self._about else ConversationMeta(made)
        facts = replace(facts, thinking=self.told)
        return replace(facts, title=self._title, named=True) if self._title else facts

    def export(self, name: str) -> None:
        """Write the conversation to a new file."""
        if not self.is_begun:
            self.notify("The conversation is empty.")
            return
        facts, held = self.facts, self._conversation
        # A copy: the one that is held can grow meanwhile.
        copy = Conversation.restored(held.nodes, held.chosen)
        path = Path(name or f"{name_for(facts.title)}.md").expanduser()

        def work() -> Message:
            try:
                write_new(path, [written(format_of(path), copy, facts)])
            except LmtuiError as error:
                return self.Exported(path, error)
            return self.Exported(path)

        bug = self.Exported(path, LmtuiError("it could not be written"))
        post_from_thread(work, self.post_message, otherwise=bug)

    @on(Exported)
    def tell_exported(self, event: Exported) -> None:
        if event.error is not None:
            self._show_error(event.error)
        else:
            self.notify(visible(f"Written to {event.path}"), markup=False)

    # The draft in another program.

    def action_editor(self) -> None:
        """Let $EDITOR write the draft."""
        try:
            text = self._edited_outside(self._prompt.draft)
        except (OSError, ValueError, SuspendNotSupported) as error:
            self._show_error(
                LmtuiError(
                    "the editor can't be used",
                    str(error),
                    "Set EDITOR to the program you write with.",
                )
            )
            return
        self._prompt.write(text.removesuffix("\n"))

    def _edited_outside(self, text: str) -> str:
        editor = os.environ.get("VISUAL") or os.environ.get("EDITOR") or "vi"
        with tempfile.TemporaryDirectory(prefix="lmtui-") as folder:
            file = Path(folder) / "draft.md"
            file.write_text(text, encoding="utf-8", errors="replace")
            with self.app.suspend():
                # Where the screen is drawn; the process's own stdout may be the log.
                subprocess.run(
                    [*shlex.split(editor), str(file)],
                    stdout=sys.__stdout__,
                    stderr=sys.__stdout__,
                    check=False,
                )
            return file.read_text(encoding="utf-8", errors="replace")
