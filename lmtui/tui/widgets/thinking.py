"""What a model thought before its answer: one line, until the reader wants it all.

Owns that line and the words below it. A thinking that is folded is not drawn, however
long it is. Knows no engine and no conversation.
"""

from __future__ import annotations

from textual.app import ComposeResult
from textual.containers import Vertical
from textual.content import Content
from textual.widgets import Static

from lmtui.chat.thoughts import Thought
from lmtui.tui.widgets.words import Words

UNFOLDED = "-thoughts"
"""The class of a screen that shows all of them unfolded."""


class ThinkingView(Vertical):
    """The thinking of one message; a click folds and unfolds it."""

    DEFAULT_CSS = """
    ThinkingView {
        height: auto;
        min-height: 1;
        margin: 0 0 1 0;
        & > .line { color: $quiet; height: 1; }
        & > .line:hover { text-style: underline; }
        & > Words { color: $quiet; border-left: solid $quiet; padding: 0 0 0 1; }
    }
    """

    def __init__(self, text: str, thought: Thought) -> None:
        super().__init__()
        self._text, self._thought = text, thought
        self._folded = True

    def compose(self) -> ComposeResult:
        """The line alone."""
        yield Static(self._line(), classes="line")

    def on_mount(self) -> None:
        """As the others are; by now it may be further."""
        self.show(self._text, self._thought)
        self.fold(not self.screen.has_class(UNFOLDED))

    @property
    def folded(self) -> bool:
        """Whether only the line is shown."""
        return self._folded

    def fold(self, folded: bool) -> None:
        """Show the line alone, or all of it."""
        if folded == self._folded:
            return
        self._folded = folded
        if folded:
            self.query(Words).remove()
        else:
            self.mount(Words(self._words))
        self.query_one(".line", Static).update(self._line())

    def show(self, text: str, thought: Thought) -> None:
        """It is further, or at its end; `text` is that of the whole message."""
        self._text, self._thought = text, thought
        for line in self.query(".line").results(Static):
            line.update(self._line())
        for words in self.query(Words):
            follow(words, self._words)

    def on_click(self) -> None:
        """Fold or unfold it."""
        self.fold(not self._folded)

    @property
    def _words(self) -> str:
        place = self._thought.place
        return self._text[place.start : place.stop].strip("\n")

    def _line(self) -> Content:
        return Content(f"{'▸' if self._folded else '▾'} {self._thought.words}")


def follow(words: Words, text: str) -> None:
    """Show a text that mostly only grows."""
    if text.startswith(words.text):
        if piece := text[len(words.text) :]:
            words.grow(piece)
    else:
        words.update(text)
