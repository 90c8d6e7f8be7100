"""The bar to find and replace words in a text.

The bar is given the text, and a function that replaces parts of it; it posts which
match is selected. Matching is done by `lmtui.editing.find`, at once. Knows no editor
and no screen.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from re import escape
from typing import Any, ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical
from textual.message import Message
from textual.reactive import reactive
from textual.widgets import Input

from lmtui.editing.find import Matches, Query, Span, find
from lmtui.errors import LmtuiError
from lmtui.tui.widgets.cells import clip, fit_best
from lmtui.tui.widgets.entry_history import EntryHistory
from lmtui.tui.widgets.line_prompt import TextField
from lmtui.tui.widgets.plain_text import PlainLine
from lmtui.tui.widgets.styled_lines import Line, StyledLines

NOTHING = "nothing found"
CUT_OFF = "The search came to its time limit: later matches are missing."
_KEYS = "Enter next · Alt+P previous · ↑ earlier"
_REPLACE_KEYS = "Enter one · Alt+A all"

Replace = Callable[[Sequence[Span], Sequence[str]], str]
"""Replace each span of the text by its own text, in one step; return the new text."""


class SearchOptions(StyledLines):
    """One line: the options with their keys, or why a search is not complete."""

    PREFIX = "search--"
    DEFAULT_CSS = """
    SearchOptions { height: 1; color: $quiet; background: $panel; }
    SearchOptions > .search--wrong { color: $error; text-style: bold; }
    """

    options: reactive[Query] = reactive(Query())
    wrong: reactive[str] = reactive("")

    def lines(self, width: int, height: int) -> list[Line]:
        if self.wrong:
            return [[(clip(self.wrong, width), "wrong")]]
        return [[(fit_best(option_forms(self.options), width)[0], "")]]


def option_forms(query: Query) -> tuple[tuple[str, ...], ...]:
    case = "exact" if query.match_case else "smart"
    counts = "matters" if query.case_matters else "ignored"
    words = "whole only" if query.whole_words else "also parts"
    regex = "on" if query.regex else "off"
    return (
        (
            f"Alt+C case: {case} ({counts})" if query.words else f"Alt+C case: {case}",
            f"Alt+W words: {words}",
            f"Alt+R regex: {regex}",
        ),
        (f"Alt+C {case}", f"Alt+W {words}", f"Alt+R regex {regex}"),
    )


class FindBar(Vertical):
    HELP = """\
Matches are found while you type. Enter goes to the next match; in the lower field it
replaces this match and goes to the next. Replacing all is one step to undo. Ctrl+Z
undoes what was typed in a field; after Enter, what was replaced. Case is smart: it is
ignored until you type a capital letter. In a regular expression ^ and $ match at every
line; \\1 or \\g<name> in the replacement is a group of the match.
"""
    DEFAULT_CSS = """
    FindBar {
        height: 3;
        padding: 0 1;
        background: $panel;
        display: none;
        &.-open { display: block; }
        &.-only-finds { height: 2; }
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
        Binding("alt+n", "go(1)", "Next", id="find.next",
                tooltip="To the next match, as Enter in the upper field."),
        Binding("alt+p", "go(-1)", "Previous", id="find.previous",
                tooltip="To the previous match."),
        Binding("alt+a", "replace_all", "Replace all", id="find.all",
                tooltip="Replace every match; one step to undo."),
        Binding("alt+c", "switch('match_case')", "Exact case", id="find.case",
                tooltip="Distinguish case always, or only after a capital letter."),
        Binding("alt+w", "switch('whole_words')", "Whole words", id="find.words",
                tooltip="Find whole words only, or also parts of words."),
        Binding("alt+r", "switch('regex')", "Regex", id="find.regex",
                tooltip="Search for a regular expression, or for the text as it is."),
        Binding("up", "recall(-1)", "Earlier", id="find.earlier", show=False,
                tooltip="The entry before in this field."),
        Binding("down", "recall(1)", "Later", id="find.later", show=False,
                tooltip="The entry after it in this field."),
        Binding("tab,shift+tab", "other", "Other field", id="find.other", show=False,
                tooltip="Go to the replacement, or back."),
        Binding("escape", "close", "Close", id="find.close",
                tooltip="Close the bar; the match stays selected."),
    ]  # fmt: skip

    @dataclass
    class MatchesChanged(Message):
        matches: Matches

    @dataclass
    class MatchSelected(Message):
        """The selection moves to this match."""

        start: int
        end: int

    class FindBarClosed(Message):
        """The user has closed the bar."""

    def __init__(
        self, *, id: str | None = None, replace_spans: Replace | None = None
    ) -> None:
        super().__init__(id=id)
        self._replace_spans = replace_spans
        self.set_class(replace_spans is None, "-only-finds")
        self._text = ""
        self._options = Query()
        self._matches = Matches()
        self._wrong = ""  # why the regular expression is not valid
        self._current: int | None = None
        self._search_from = 0  # offset at which a search for other words begins
        self._note = ""
        self._histories = {"words": EntryHistory(), "by": EntryHistory()}

    def compose(self) -> ComposeResult:
        with Horizontal():
            yield PlainLine("Find", classes="label")
            yield TextField(id="words", placeholder=_KEYS)
            yield PlainLine(id="count", classes="told")
        with Horizontal(id="replace"):
            yield PlainLine("Replace", classes="label")
            yield TextField(id="by")
            yield PlainLine(_REPLACE_KEYS, classes="told")
        yield SearchOptions(id="options")

    @property
    def is_open(self) -> bool:
        return self.has_class("-open")

    def open(self, text: str, cursor: int, query: str = "") -> None:
        """Show the bar for a text. `query` is searched for at once; if empty, the
        words of the last search. `cursor` is the offset of either end of the selection,
        in code points, here and in `update`."""
        self.add_class("-open")
        field = self._find_field
        if query:
            with field.prevent(Input.Changed):
                field.value = escape(query) if self._options.regex else query
            field.forget_edits()
        self._text, self._note = text, ""
        self._search()
        self._select_at(cursor)
        if query and self._current is None:
            self._select(self._matches.at_or_after(cursor))
        self.screen.set_focus(field)  # at once: what is typed next is meant for it
        field.action_select_all()

    def update(self, text: str, cursor: int) -> None:
        """Take another text or cursor."""
        if text != self._text:
            self._text = text
            self._search()
        self._select_at(cursor)

    @property
    def _find_field(self) -> TextField:
        return self.query_one("#words", TextField)

    @property
    def _replace_field(self) -> TextField:
        return self.query_one("#by", TextField)

    @property
    def _query(self) -> Query:
        return replace(self._options, words=self._find_field.value)

    # Finding.

    @on(Input.Changed, "#words")
    def search_again(self) -> None:
        self._note = ""
        self._search()
        self._select(self._matches.at_or_after(self._search_from))

    def _search(self) -> None:
        self._matches, self._current, self._wrong = Matches(), None, ""
        try:
            self._matches = find(self._text, self._query)
        except LmtuiError as error:
            self._wrong = f"Not valid: {error.title}."
        self.post_message(self.MatchesChanged(self._matches))

    def _select_at(self, cursor: int) -> None:
        current = self._current
        if current is None or cursor not in self._matches.spans[current]:
            self._current, self._search_from = self._matches.at(cursor), cursor
        self._show_count()

    def _select(self, number: int | None) -> None:
        self._current = number
        if number is not None:
            self.post_message(self.MatchSelected(*self._matches.spans[number]))
        self._show_count()

    def action_go(self, by: int) -> None:
        self._remember()
        matches, current = self._matches, self._current
        self._note = ""
        if current is not None:
            offset, number = matches.spans[current][0], (current + by) % len(matches)
            wraps = (number - current) * by <= 0 and len(matches) > 1
        else:
            offset = self._search_from
            first = matches.before(offset) if by < 0 else matches.at_or_after(offset)
            if first is None:
                self._select(None)
                return
            number = first
            wraps = (matches.spans[first][0] - offset) * by < 0
        self._search_from = matches.spans[number][0]
        if wraps:
            self._note = "from the top" if by > 0 else "from the end"
        self._select(number)

    def _show_count(self) -> None:
        count, current = len(self._matches), self._current
        has_query = bool(self._find_field.value)
        self.set_class(has_query and not count, "-nothing")
        if self._note.endswith("replaced") or self._wrong:
            count_text = ""
        elif not count:
            count_text = NOTHING if has_query else ""
        elif current is None:
            count_text = f"{count:,} found"
        else:
            count_text = f"{current + 1:,} of {count:,}"
        parts = (part for part in (count_text, self._note) if part)
        self.query_one("#count", PlainLine).update(" ".join(parts))
        self._show_options()

    def _show_options(self) -> None:
        wrong = self._wrong or self._wrong_template()
        if not wrong and self._matches.cut_off:
            wrong = CUT_OFF
        line = self.query_one(SearchOptions)
        line.options, line.wrong = self._query, wrong

    # Replacing.

    def _wrong_template(self) -> str:
        try:
            self._replacements(range(min(1, len(self._matches))))
        except LmtuiError as error:
            return f"Replacement not valid: {error.title}."
        return ""

    def _replacements(self, numbers: Sequence[int]) -> list[str]:
        return self._matches.replacements(self._replace_field.value, numbers)

    @on(Input.Changed, "#by")
    def check_template(self) -> None:
        self._show_count()

    @on(Input.Submitted)
    def submit(self, event: Input.Submitted) -> None:
        event.stop()
        if event.input is self._find_field or self._current is None:
            self.action_go(1)
        elif not self._wrong_template():
            self._replace_one(self._current)

    def _replace_one(self, number: int) -> None:
        """Replace one match, and go on behind it; behind an empty one, at the next
        character."""
        (start, end), (text,) = (
            self._matches.spans[number],
            self._replacements([number]),
        )
        if text == self._text[start:end]:
            self.action_go(1)
            return
        self._replace([(start, end)], [text])
        self._note, self._search_from = "", start + len(text) + (start == end)
        self._select(self._matches.at_or_after(self._search_from))

    def _replace(self, spans: Sequence[Span], texts: Sequence[str]) -> None:
        assert self._replace_spans is not None
        self._remember()
        self._text = self._replace_spans(spans, texts)
        self._search()

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        return self._replace_spans is not None or action not in ("replace_all", "other")

    def action_replace_all(self) -> None:
        spans = self._matches.spans
        if spans and not self._wrong_template():
            self._replace(spans, self._replacements(range(len(spans))))
            self._note = f"{len(spans):,} replaced"
            self._show_count()

    # The bar.

    def action_switch(self, option: str) -> None:
        options = self._options
        changed: dict[str, Any] = {option: not getattr(options, option)}
        self._options = replace(options, **changed)
        self.search_again()
        self._show_options()

    def _remember(self) -> None:
        for field in (self._find_field, self._replace_field):
            self._histories[field.id or ""].add(field.value)
            field.forget_edits()

    def action_recall(self, by: int) -> None:
        field = self._find_field if self._find_field.has_focus else self._replace_field
        field.value = self._histories[field.id or ""].recall(by, field.value)
        field.cursor_position = len(field.value)

    def action_other(self) -> None:
        self.screen.set_focus(
            self._replace_field if self._find_field.has_focus else self._find_field
        )

    def action_close(self) -> None:
        self._remember()
        self.remove_class("-open")
        self.post_message(self.MatchesChanged(Matches()))
        self.post_message(self.FindBarClosed())
