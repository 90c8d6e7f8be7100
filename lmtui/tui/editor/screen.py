"""The editor screen: write, and see the model's predictions, scores and suggestions.

Lays out the widgets, and holds finding, going to a line and replacing a word. Scoring,
suggestions and the file are the parent classes'. Knows no torch.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical

from lmtui.editing.find import replaced
from lmtui.editing.positions import offset_named
from lmtui.engine.suggestion import Suggestion, SuggestionRules
from lmtui.engine.types import Replacement
from lmtui.engine.windows import DEFAULT_WINDOW
from lmtui.engine.words import word_at
from lmtui.text import visible_line
from lmtui.tui.editor.dialogs import ReplacementsScreen
from lmtui.tui.editor.ghosting import GhostingScreen
from lmtui.tui.editor.options import Writing
from lmtui.tui.editor.status import ExpectedLines, FileLine
from lmtui.tui.editor.suggestion_status import ghost_words
from lmtui.tui.editor.text_area import GhostEditor
from lmtui.tui.engine import messages as facts
from lmtui.tui.engine.client import EngineClient
from lmtui.tui.engine.messages import Post
from lmtui.tui.inspector.source import InspectSource
from lmtui.tui.widgets.find_bar import FindBar
from lmtui.tui.widgets.line_prompt import LinePrompt
from lmtui.tui.widgets.probability_panel import ProbabilityPanel
from lmtui.tui.widgets.status import HintLine, MainPart, Status
from lmtui.tui.widgets.text_totals import TextTotals
from lmtui.tui.widgets.token_view import TokenLegend

HINT = "Write and wait: Tab takes the grey text, Ctrl+Right a word; F1 has every key."


class CompleteScreen(GhostingScreen):
    """Editor and panel, the lines about the text, bars and status."""

    CSS_PATH = "screen.tcss"
    HELP = """\
Ctrl+Z undoes and Ctrl+Y redoes; Ctrl+X, Ctrl+C and Ctrl+V cut, copy and paste; Shift
with a movement key selects. Only Ctrl+S writes the file.
"""
    VERTICAL_BREAKPOINTS = [(0, "-low"), (22, "-high")]  # noqa: RUF012 (as the base's)
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "stop", "Back", id="complete.stop", show=False,
                tooltip="Stop what the model does, and back to the text."),
        Binding("ctrl+f", "find", "Find", id="complete.find", priority=True,
                tooltip="Find words in the text, and replace them."),
        Binding("ctrl+g", "go_to_line", "Go to line", id="complete.line",
                priority=True, tooltip="To a line, or to LINE:COL."),
        Binding("f7", "replace", "Replace word", id="complete.replace",
                priority=True,
                tooltip="Words that could replace the one under the cursor."),
        Binding("ctrl+t", "inspect", "Inspect", id="complete.inspect", priority=True,
                show=False, tooltip="Inspect the text, or the selection."),
        Binding("alt+z", "wrap", "Wrap lines", id="complete.wrap", show=False,
                tooltip="Break long lines at the edge, or let them run on."),
        Binding("alt+l", "numbers", "Line numbers", id="complete.numbers", show=False,
                tooltip="Show or hide the numbers of the lines."),
    ]  # fmt: skip

    def __init__(
        self, make_client: Callable[[Post], EngineClient], writing: Writing
    ) -> None:
        super().__init__(make_client, writing)
        self._replacing = 0
        self._asked_word = (0, 0, 0)
        self._list = ReplacementsScreen("")

    def compose(self) -> ComposeResult:
        with MainPart(id="main"):
            yield self.editor
            with Vertical(id="side"):
                yield ProbabilityPanel(id="panel", title="Next at the cursor")
                yield ExpectedLines(id="expected")
                yield TextTotals(id="totals")
        yield TokenLegend("F3: next shading", id="legend")
        yield FindBar(id="find")
        yield LinePrompt(id="line")
        yield HintLine("complete", HINT)
        yield FileLine(id="place")
        yield Status(id="status")

    def on_mount(self) -> None:
        """The user can write at once."""
        self.to_text()

    def to_text(self) -> None:
        """Focus the text."""
        self.editor.focus()

    def action_stop(self) -> None:
        """Stop what the model does, and back to the text."""
        self.stop_work()
        self.query_one(HintLine).hide()
        self.to_text()

    # What is said about the ghost.

    def _tell_ghost(self, ghost: Suggestion, rules: SuggestionRules) -> None:
        seen = self._expectation
        total = seen.tokens if seen else 0
        window = seen.window if seen and total > DEFAULT_WINDOW else None
        words = ghost_words(
            ghost.end,
            rules=rules,
            shown=bool(ghost.text),
            multi_line=not rules.single_line,
            infill=self._capabilities.infill,
            window=window,
            total=total,
        )
        self.say(words)

    def _say(self, words: str) -> None:
        self.say(f"ghost: {visible_line(words)}")

    # Finding, and going to a line.

    def action_find(self) -> None:
        """Open the bar; what is selected is looked for."""
        editor = self.editor
        selected = editor.selected_text
        words = selected if "\n" not in selected else ""
        self.query_one(FindBar).open(editor.text, editor.cursor_index, words)

    @on(GhostEditor.Edited)
    @on(GhostEditor.CursorMoved)
    def tell_find_bar(self) -> None:
        """Search again: the text or the cursor has changed."""
        bar = self.query_one(FindBar)
        if bar.is_open:
            bar.update(self.editor.text, self.editor.selection_indexes[0])

    @on(FindBar.MatchesChanged)
    def mark_matches(self, event: FindBar.MatchesChanged) -> None:
        self.editor.matches = event.matches

    @on(FindBar.Moved)
    def show_match(self, event: FindBar.Moved) -> None:
        self.editor.go_to(event.start, event.end)

    @on(FindBar.Replaced)
    def replace_match(self, event: FindBar.Replaced) -> None:
        self.editor.replace_span(event.start, event.end, event.text)

    @on(FindBar.ReplacedAll)
    def replace_matches(self, event: FindBar.ReplacedAll) -> None:
        """Replace all matches in one step of the history."""
        start, end = event.spans[0][0], event.spans[-1][1]
        spans = [(a - start, b - start) for a, b in event.spans]
        part = self.editor.text[start:end]
        self.editor.replace_span(start, end, replaced(part, spans, event.text))

    def action_go_to_line(self) -> None:
        """Ask for a location."""
        self.query_one(LinePrompt).ask_location(self.editor.text)

    @on(LinePrompt.Answered)
    def take_line(self, event: LinePrompt.Answered) -> None:
        """Go to a location, or save under a name."""
        self.to_text()
        if event.question == "path":
            self.take_name(event.text)
        else:
            self.editor.go_to(offset_named(self.editor.text, event.text))

    @on(LinePrompt.Closed)
    @on(FindBar.Closed)
    def close_bar(self) -> None:
        self.to_text()

    # Replacing a word.

    def action_replace(self) -> None:
        """Ask the model for other words."""
        editor = self.editor
        if self._info is None:
            self.notify("No model is loaded yet.")
            return
        start, end = word_at(editor.text, editor.cursor_index)
        if start == end:
            self.notify("There is no word under the cursor.")
            return
        self.stop_work()
        self._replacing = self.client.number()
        self._asked_word = (editor.revision, start, end)
        self._list = ReplacementsScreen(editor.text[start:end])
        self.app.push_screen(self._list, self._answer_replacement)
        self.client.replacements(self._replacing, editor.text, start, end)

    @on(facts.ReplacementsProgressed)
    def show_progress(self, event: facts.ReplacementsProgressed) -> None:
        if event.job == self._replacing:
            self._list.show_progress(event.done, event.total)

    @on(facts.ReplacementsReady)
    def show_replacements(self, event: facts.ReplacementsReady) -> None:
        if event.job == self._replacing:
            self._list.show(event.replacements)

    @on(facts.EditorRequestFailed)
    def show_replace_failed(self, event: facts.EditorRequestFailed) -> None:
        if event.job == self._replacing:
            self._list.show_error(event.error)

    def _answer_replacement(self, chosen: Replacement | None) -> None:
        self.client.stop(self._replacing)
        self._replacing = 0
        revision, start, end = self._asked_word
        if chosen is not None and revision == self.editor.revision:
            self.editor.replace_span(start, end, chosen.text)
        self.unsay()
        self._wait_for_idle()

    # Looking into it.

    def action_inspect(self) -> None:
        """Look into the text, with the selection selected there too."""
        editor = self.editor
        text, selected = editor.text, editor.selection_indexes
        name = self._file.path.name
        subject = InspectSource(name, read=lambda: text, selected=selected)
        self.post_message(facts.SubjectChosen(subject))

    # How the text is shown.

    def action_wrap(self) -> None:
        """Break long lines, or not."""
        self.editor.soft_wrap = not self.editor.soft_wrap

    def action_numbers(self) -> None:
        """Show the numbers of the lines, or not."""
        self.editor.show_line_numbers = not self.editor.show_line_numbers
