"""The line of the find bar with the options of a search. Knows no text."""

from __future__ import annotations

from typing import ClassVar

from lmtui.editing.find import Query
from lmtui.text import visible_line
from lmtui.tui.widgets.cells import clip, fit_best
from lmtui.tui.widgets.styled_lines import Line, StyledLines


class SearchOptions(StyledLines):
    """One line: the options with their keys, or why a search is not complete."""

    PREFIX = "search--"
    COMPONENT_CLASSES: ClassVar[set[str]] = {"search--wrong"}
    DEFAULT_CSS = """
    SearchOptions { height: 1; color: $quiet; background: $panel; }
    SearchOptions > .search--wrong { color: $error; text-style: bold; }
    """

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self._query, self._wrong = Query(), ""

    def show(self, query: Query, wrong: str = "") -> None:
        """Show the options of a search; with `wrong`, that in their place."""
        if (query, wrong) != (self._query, self._wrong):
            self._query, self._wrong = query, wrong
            self.refresh()

    def lines(self, width: int, height: int) -> list[Line]:
        """Return the line in the longest form that fits."""
        if self._wrong:
            return [[(clip(visible_line(self._wrong), width), "wrong")]]
        return [[(fit_best(option_forms(self._query), width)[0], "")]]


def option_forms(query: Query) -> tuple[tuple[str, ...], ...]:
    """Return the options of a search with their keys, in two lengths."""
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
