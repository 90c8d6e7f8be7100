"""The bar to find and replace words in a text.

The bar is given the text and never changes it: it posts which match is selected and
what is to be replaced. Matching is done by `lmtui.editing.find`. Knows no editor and no
screen.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical
from textual.content import Content
from textual.message import Message
from textual.widgets import Input, Static

from lmtui.editing.find import Matches, Span, find
from lmtui.tui.widgets.line_prompt import TextField

NOTHING = "nothing found"
_KEYS = "Enter or ↓ next, ↑ previous"
_REPLACE_KEYS = "Enter one · Alt+A all"


class FindBar(Vertical):
    """A field to find, a field to replace with, and the number of the selected
    match."""

    HELP = """\
Matches are found while you type; a capital letter makes the search case-sensitive.
Enter goes to the next match; in the lower field it replaces this match and goes to the
next. Replacing all is one step to undo.
"""
    DEFAULT_CSS = """
    FindBar {
        height: 2;
        padding: 0 1;
        background: $panel;
        display: none;
        &.-open { display: block; }
        &.-only-finds { height: 1; }
        &.-only-finds #replace { display: none; }
        & > Horizontal { height: 1; color: $quiet; }
        & > Horizontal:focus-within { color: $foreground; }
        .label { width: 9; }
        .told { width: 24; padding: 0 0 0 2; color: $quiet; text-align: right; }
        #count { color: $foreground; }
        &.-nothing #count { color: $error; text-style: bold; }
    }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("down", "go(1)", "Next", id="find.next",
                tooltip="To the next match."),
        Binding("up", "go(-1)", "Previous", id="find.previous",
                tooltip="To the previous match."),
        Binding("alt+a", "replace_all", "Replace all", id="find.all",
                tooltip="Replace every match; one step to undo."),
        Binding("tab,shift+tab", "other", "Other field", id="find.other", show=False,
                tooltip="Go to the replacement, or back."),
        Binding("escape", "close", "Close", id="find.close",
                tooltip="Close the bar; the match stays selected."),
    ]  # fmt: skip

    class MatchesChanged(Message):
        """The matches in the text have changed; there may be none."""

        def __init__(self, matches: Matches) -> None:
            self.matches = matches
            super().__init__()

    class Moved(Message):
        """The selection moves to this match."""

        def __init__(self, start: int, end: int) -> None:
            self.start, self.end = start, end
            super().__init__()

    class Replaced(Message):
        """The selected match is to be replaced."""

        def __init__(self, start: int, end: int, text: str) -> None:
            self.start, self.end, self.text = start, end, text
            super().__init__()

    class ReplacedAll(Message):
        """Every match is to be replaced, in one step."""

        def __init__(self, spans: Sequence[Span], text: str) -> None:
            self.spans, self.text = tuple(spans), text
            super().__init__()

    class Closed(Message):
        """The user has closed the bar."""

    def __init__(self, *, id: str | None = None, replaces: bool = True) -> None:
        """Create the bar; without `replaces` it has only the field to find."""
        super().__init__(id=id)
        self._replaces = replaces
        self.set_class(not replaces, "-only-finds")
        self._text = ""
        self._matches = Matches()
        self._present: int | None = None
        self._from = 0  # offset at which a search for other words begins
        # Offset of the next search, once the replacement is in the text.
        self._go_on_from: int | None = None
        self._note = ""

    def compose(self) -> ComposeResult:
        with Horizontal():
            yield Static(Content("Find"), classes="label")
            yield TextField(id="words", placeholder=_KEYS)
            yield Static(id="count", classes="told", markup=False)
        with Horizontal(id="replace"):
            yield Static(Content("Replace"), classes="label")
            yield TextField(id="by")
            yield Static(Content(_REPLACE_KEYS), classes="told")

    @property
    def is_open(self) -> bool:
        """Whether the bar is shown."""
        return self.has_class("-open")

    def open(self, text: str, cursor: int, words: str = "") -> None:
        """Show the bar for a text. `words` are searched for at once; if empty, the
        words of the last search. `cursor` is the offset of either end of the selection,
        in code points, here and in `update`."""
        self.add_class("-open")
        field = self._words
        if words:
            with field.prevent(Input.Changed):
                field.value = words
        self._text, self._go_on_from, self._note = text, None, ""
        self._search()
        self._stand_at(cursor)
        if words and self._present is None:
            self._to(self._matches.at_or_after(cursor))
        self.screen.set_focus(field)  # at once: what is typed next is meant for it
        field.action_select_all()

    def update(self, text: str, cursor: int) -> None:
        """Take another text or cursor. After a replacement in this text, select the
        next match."""
        if text != self._text:
            self._text = text
            self._search()
            if self._go_on_from is not None:
                self._from, self._go_on_from = self._go_on_from, None
                self._to(self._matches.at_or_after(self._from))
                return
        self._stand_at(cursor)

    @property
    def _words(self) -> Input:
        return self.query_one("#words", Input)

    @property
    def _by(self) -> Input:
        return self.query_one("#by", Input)

    # Finding.

    @on(Input.Changed, "#words")
    def search_again(self) -> None:
        """Search for other words and select the first match from where the search
        began."""
        self._note, self._go_on_from = "", None
        self._search()
        self._to(self._matches.at_or_after(self._from))

    def _search(self) -> None:
        self._matches, self._present = find(self._text, self._words.value), None
        self.post_message(self.MatchesChanged(self._matches))

    def _stand_at(self, cursor: int) -> None:
        """Select the match that begins or ends at the cursor, if there is one."""
        present = self._present
        if present is None or cursor not in self._matches.span(present):
            self._present, self._from = self._match_at(cursor), cursor
        self._tell()

    def _match_at(self, cursor: int) -> int | None:
        """Return the match that begins at `cursor`, else the one that ends there, else
        None."""
        matches = self._matches
        here = matches.at_or_after(cursor)
        if here is None or matches.starts[here] == cursor:
            return here
        number = matches.at_or_after(cursor - matches.length)
        assert number is not None
        return number if cursor in matches.span(number) else None

    def _to(self, number: int | None) -> None:
        self._present = number
        if number is not None:
            self.post_message(self.Moved(*self._matches.span(number)))
        self._tell()

    def action_go(self, by: int) -> None:
        """Go to the next match (`by` 1) or the previous one (-1), around the ends of
        the text."""
        matches, present = self._matches, self._present
        at = self._from if present is None else matches.starts[present]
        self._note, self._go_on_from = "", None
        if by < 0:
            number = matches.before(at)
        else:
            number = matches.at_or_after(at if present is None else at + 1)
        if number is not None:
            self._from = matches.starts[number]
            if (self._from - at) * by < 0:
                self._note = "from the top" if by > 0 else "from the end"
        self._to(number)

    def _tell(self) -> None:
        count, present = len(self._matches), self._present
        written = bool(self._words.value)
        self.set_class(written and not count, "-nothing")
        if self._note.endswith("replaced"):
            words = ""
        elif not count:
            words = NOTHING if written else ""
        elif present is None:
            words = f"{count:,} found"
        else:
            words = f"{present + 1:,} of {count:,}"
        parts = (part for part in (words, self._note) if part)
        self.query_one("#count", Static).update(Content(" ".join(parts)))

    # Replacing.

    @on(Input.Submitted)
    def take_enter(self, event: Input.Submitted) -> None:
        """Go to the next match; in the replace field, replace this match first."""
        event.stop()
        if event.input is self._words or self._present is None:
            self.action_go(1)
        elif self._go_on_from is None:
            start, end = self._matches.span(self._present)
            self._go_on_from = start + len(event.value)
            self.post_message(self.Replaced(start, end, event.value))

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Disable what needs the replace field where there is none."""
        return self._replaces or action not in ("replace_all", "other")

    def action_replace_all(self) -> None:
        if spans := self._matches.spans():
            self._note = f"{len(spans):,} replaced"
            self.post_message(self.ReplacedAll(spans, self._by.value))
            self._tell()

    # The bar.

    def action_other(self) -> None:
        self.screen.set_focus(self._by if self._words.has_focus else self._words)

    def action_close(self) -> None:
        self.remove_class("-open")
        self.post_message(self.MatchesChanged(Matches()))
        self.post_message(self.Closed())
