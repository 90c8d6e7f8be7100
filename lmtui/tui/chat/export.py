"""Taking a conversation elsewhere: the clipboard, a file, $EDITOR.

Disks are waited for on another thread. What writes files is imported when it is used.
"""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
import tempfile
from pathlib import Path

from textual.app import SuspendNotSupported

from lmtui import paths
from lmtui.chat.conversation import Conversation
from lmtui.chat.excerpts import blocks_of
from lmtui.errors import LmtuiError
from lmtui.text import visible
from lmtui.tui.background import run_in_thread
from lmtui.tui.chat.parts import EMPTY, ChatParts
from lmtui.tui.terminal import copy_text


class ChatExporter:
    """Copies and exports what was said, and lets $EDITOR write what is to be said."""

    def __init__(self, parts: ChatParts) -> None:
        self._screen, self._session = parts.screen, parts.session
        self._prompt = parts.prompt

    def copy(self, text: str) -> None:
        copy_text(self._screen.app, text)
        self._screen.notify("Copied.")

    def show_code(self) -> None:
        from lmtui.tui.chat.code_blocks import CodeScreen

        path = self._session.conversation.path[1:]
        blocks = [block for node in path for block in blocks_of(node.content)]
        if blocks:
            self._screen.app.push_screen(CodeScreen(blocks))
        else:
            self._screen.notify("There is no block of code in this conversation.")

    def export(self, name: str) -> None:
        from lmtui.chat.export import format_of, name_for, write_new, written

        if not self._session.is_begun:
            self._screen.notify(EMPTY)
            return
        meta, original = self._session.meta, self._session.conversation
        # A copy: the one that is shown can grow meanwhile.
        copy = Conversation.restored(original.nodes, original.chosen)
        path = paths.expanded(name or f"{name_for(meta.title)}.md")

        def work() -> None:
            write_new(path, [written(format_of(path), copy, meta)])

        def show_written(_: None) -> None:
            self._screen.notify(visible(f"Written to {path}"), markup=False)

        run_in_thread(
            work,
            self._screen.call_later,
            then=show_written,
            failed=self._screen.show_error,
            bug=LmtuiError("it could not be written"),
        )

    def edit_draft(self) -> None:
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
