"""A dialog with the code blocks of a conversation, to copy or save them.

Files are written outside the event loop. Knows no engine.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical, VerticalScroll
from textual.screen import ModalScreen
from textual.widgets import OptionList

from lmtui.chat.excerpts import CodeBlock
from lmtui.chat.export import write_new
from lmtui.tui.background import run_in_thread
from lmtui.tui.dialogs import notify_error
from lmtui.tui.terminal import copy_text
from lmtui.tui.widgets.dialog_list import DialogList
from lmtui.tui.widgets.line_prompt import LinePrompt
from lmtui.tui.widgets.plain_text import PlainLine, PlainText


class CodeScreen(ModalScreen[None]):
    """A list of code blocks, and a preview of the one under the cursor."""

    HELP = """\
Enter or c copies the block under the cursor, s saves it as a new file.
"""
    CSS_PATH = "code_blocks.tcss"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "dismiss", "Close", id="code.close",
                tooltip="Back to the conversation."),
        Binding("c", "copy", "Copy", id="code.copy", tooltip="Copy the block."),
        Binding("s", "save", "Save", id="code.save",
                tooltip="Save the block as a new file."),
    ]  # fmt: skip

    def __init__(self, blocks: Sequence[CodeBlock]) -> None:
        super().__init__()
        self._blocks = tuple(blocks)

    def compose(self) -> ComposeResult:
        with Vertical(id="dialog"):
            yield DialogList(id="list")
            with VerticalScroll(id="code", can_focus=False):
                yield PlainText(id="text")
            yield LinePrompt(id="ask")
            yield PlainLine("Enter copies · s saves · Esc closes", id="foot")

    def on_mount(self) -> None:
        options = self.query_one(DialogList)
        for number, block in enumerate(self._blocks, 1):
            first = (block.text.strip() or " ").splitlines()[0]
            options.add_option(f"{number:>3}  {block.language:<10}  {first}")
        options.highlighted = len(self._blocks) - 1
        options.focus()

    @property
    def _block(self) -> CodeBlock:
        return self._blocks[self.query_one(DialogList).highlighted or 0]

    @on(OptionList.OptionHighlighted)
    def show(self) -> None:
        self.query_one("#text", PlainText).update(self._block.text)

    @on(OptionList.OptionSelected)
    def action_copy(self) -> None:
        copy_text(self.app, self._block.text)
        self.notify("Copied the block.")

    def action_save(self) -> None:
        self.query_one(LinePrompt).ask_path(self._block.file)

    @on(LinePrompt.Answered)
    def save(self, event: LinePrompt.Answered) -> None:
        """Save the block as a new file; an existing file is not overwritten."""
        # The app's, not the dialog's: it can be closed before the end.
        app, block, path = self.app, self._block, Path(event.text).expanduser()
        self.query_one(DialogList).focus()

        run_in_thread(
            lambda: write_new(path, [block.text]),
            app.call_later,
            lambda _: app.notify(f"Saved {path.absolute()}"),
            failed=partial(notify_error, app),
            bug="It could not be saved.",
        )

    @on(LinePrompt.PromptClosed)
    def focus_list(self) -> None:
        self.query_one(DialogList).focus()
