"""The editor screen: write, and see the model's predictions, scores and suggestions.

Lays out the widgets, holds the controllers, and gives them the keys and what the text
area posts.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical

from lmtui.editing.find import Span, replaced
from lmtui.editing.positions import offset_named
from lmtui.tui.app_messages import SubjectChosen
from lmtui.tui.editor.context import ContextController
from lmtui.tui.editor.file import FileController
from lmtui.tui.editor.options import Writing
from lmtui.tui.editor.predictions import TITLE, PredictionController
from lmtui.tui.editor.proofread import ProofreadController
from lmtui.tui.editor.replacements import ReplacementController
from lmtui.tui.editor.rewrite import QUESTION as REWRITE
from lmtui.tui.editor.rewrite import RewriteController
from lmtui.tui.editor.scores import ScoreController
from lmtui.tui.editor.suggestions import SuggestionController
from lmtui.tui.editor.text_area import GhostEditor
from lmtui.tui.editor.why import EditorWhyController
from lmtui.tui.engine.client import MakeClient
from lmtui.tui.inspect_source import InspectSource
from lmtui.tui.model_state import ModelState
from lmtui.tui.screen import ModelScreen
from lmtui.tui.widgets.find_bar import FindBar
from lmtui.tui.widgets.line_prompt import LinePrompt
from lmtui.tui.widgets.status import HintLine, MainPart

HINT = (
    "Write and wait: Tab takes the grey text. F3 shades what surprised the model; "
    "F1 has every key."
)


class EditorScreen(ModelScreen):
    CSS_PATH = "screen.tcss"
    NEEDS = "edits"
    HELP = """\
Ctrl+Z undoes and Ctrl+Y redoes; Ctrl+X, Ctrl+C and Ctrl+V cut, copy and paste; Shift
with a movement key selects. Only Ctrl+S writes the file. Esc closes what lies over the
text; Ctrl+C also stops the scoring, until you write, or F3 or Ctrl+L ask for the
scores.
"""
    VERTICAL_BREAKPOINTS = [(0, "-low"), (22, "-high")]  # noqa: RUF012 (as the base's)
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("ctrl+s", "save", "Save", id="file.save", priority=True,
                tooltip="Write the text into its file."),
        Binding("f3", "heat", "Heat", id="watch.heat", priority=True,
                tooltip="Shade the text by surprisal, or no longer."),
        Binding("f4", "mode", "Ghost", id="ghost.mode",
                tooltip="Suggest text as you write, or no longer."),
        Binding("ctrl+f", "find", "Find", id="complete.find", priority=True,
                tooltip="Find words in the text, and replace them."),
        Binding("ctrl+z", "undo", "Undo", id="complete.undo", show=False,
                tooltip="Undo the last edit; in a field, what was typed there."),
        Binding("alt+k", "proofread", "Proofread", id="complete.proofread",
                show=False,
                tooltip="Corrections of the text, or of the selection, to choose."),
        Binding("alt+r", "rewrite", "Rewrite", id="complete.rewrite", show=False,
                tooltip="Have the selection or the paragraph rewritten, as you say."),
        Binding("ctrl+l", "surprises", "Surprises", id="watch.list", show=False,
                tooltip="The most surprising words of the text, to go to."),
        Binding("alt+o", "open", "Open", id="file.open", show=False,
                tooltip="Edit another file; unsaved text is asked about first."),
        Binding("ctrl+g", "go_to_line", "Go to line", id="complete.line",
                priority=True, tooltip="To a line, or to LINE:COL."),
        Binding("f7", "replace", "Replace word", id="complete.replace",
                priority=True,
                tooltip="Words that could replace the one under the cursor."),
        Binding("ctrl+o", "save_as", "Save as", id="file.save-as", priority=True,
                show=False,
                tooltip="Write the text into another file, and go on with that one."),
        Binding("alt+w", "why", "Why", id="complete.why", show=False,
                tooltip="What made the suggestion, or the word under the cursor,"
                " likely."),
        Binding("ctrl+t", "inspect", "Inspect", id="complete.inspect", priority=True,
                show=False, tooltip="Inspect the text, or the selection."),
        Binding("alt+z", "wrap", "Wrap lines", id="complete.wrap", show=False,
                tooltip="Break long lines at the edge, or let them run on."),
        Binding("escape", "stop", "Back", id="complete.stop", show=False,
                tooltip="Close what lies over the text, and back to it."),
    ]  # fmt: skip
    PASSED_ON: ClassVar[frozenset[str]] = frozenset({"complete.undo"})

    def __init__(self, make_client: MakeClient, writing: Writing) -> None:
        self.editor = editor = GhostEditor(id="editor")
        """Where the text is, also when the screen is being taken down."""
        super().__init__(panel_title=TITLE, context=lambda: editor.here)
        new_client = partial(make_client, self._deliver)
        self._find_bar = FindBar(id="find", replace_spans=self._replace_spans)
        self._prompt = LinePrompt(id="line")
        self._hint = HintLine("complete", HINT)
        self.file = FileController(
            self,
            editor,
            self._prompt,
            writing,
            opened=self._follow_file,
            changed=lambda: self.scores.outdate_totals(),
        )
        self.context = ContextController(new_client(), self, self.file, writing.context)
        self.scores = ScoreController(new_client(), self, editor, self.file, writing)
        self.predictions = PredictionController(
            new_client(), self, editor, answered=self.scores.follow_prediction
        )
        self.suggestions = SuggestionController(new_client(), self, editor, writing)
        ghost = self.suggestions
        self.replacements = ReplacementController(new_client(), self, editor, ghost)
        self.proofread = ProofreadController(new_client(), self, editor, ghost)
        self.rewrite = RewriteController(new_client(), self, editor, ghost, writing)
        self.why = EditorWhyController(new_client(), self, editor, self.context)
        self.controllers = (
            self.context,
            self.file,
            self.replacements,
            self.proofread,
            self.rewrite,
            self.predictions,
            self.suggestions,
            self.scores,
            self.why,
        )
        self.activity.controllers = self.controllers
        self._is_loading = True
        self._wish: tuple[Callable[[], object], object] | None = None
        """Call that waits for the model, and the place that it was asked at."""

    def compose(self) -> ComposeResult:
        with MainPart(id="main"):
            yield self.editor
            with Vertical(id="side"):
                yield self.panel
                yield self.scores.totals
        yield self._find_bar
        yield self._prompt
        yield self._hint
        yield self.suggestions.code_hint
        yield self.scores.file_line
        yield self.status
        yield self.key_line

    def on_unmount(self) -> None:
        """Find unsaved text again, however the program ends."""
        self.file.close()

    def focus_text(self) -> None:
        self.editor.focus()

    def key_name(self, binding: Binding) -> str:
        name = super().key_name(binding)
        if binding.id != "ghost.mode":
            return name
        return f"{name}: {'on' if self.suggestions.is_on else 'off'}"

    def _deliver(self, call: Callable[[], object]) -> bool:
        def run() -> object:
            result = call()
            self.activity.update()
            return result

        return self.call_later(run)

    def action_stop(self) -> None:
        self.suggestions.stop()
        for bar in (self._find_bar, self._prompt):
            if bar.is_open:
                bar.action_close()
        self._hint.hide()
        self._wish = None
        self.suggestions.code_hint.hide()
        self.focus_text()

    def follow_model(self, state: ModelState) -> None:
        super().follow_model(state)
        self._is_loading = state.loading
        if self._wish is None or self._is_loading:
            return
        (call, place), self._wish = self._wish, None
        if state.info is not None and place == self.editor.here and self.is_active:
            call()

    def _with_model(self, call: Callable[[], object]) -> None:
        """Do something with the model; if it is loading, once it is ready, unless the
        user has gone on."""
        if self._is_loading:
            if self._wish is None:
                self.notify("This comes when the model is loaded, if you stay here.")
            self._wish = call, self.editor.here
        else:
            call()

    def _follow_file(self) -> None:
        self.follow_edit(GhostEditor.Edited(ghost_stays=False))

    # What the text area posts.

    @on(GhostEditor.Edited)
    def follow_edit(self, event: GhostEditor.Edited) -> None:
        self._search_again()
        self.predictions.ask()  # before a suggestion, which it would interrupt
        self.suggestions.follow_edit(event)
        self.scores.follow_edit()
        self.activity.clear_outdated_notice(still_holds=event.ghost_stays)

    @on(GhostEditor.CursorMoved)
    def follow_cursor(self) -> None:
        self._search_again()
        self.predictions.ask()
        self.suggestions.follow_cursor()
        self.scores.outdate_totals()
        self.activity.clear_outdated_notice()

    @on(GhostEditor.GhostDismissed)
    def dismiss_suggestion(self) -> None:
        self.suggestions.dismiss()

    @on(GhostEditor.SuggestionRequested)
    def suggest_now(self) -> None:
        self._with_model(self.suggestions.suggest_now)

    @on(GhostEditor.AlternativeRequested)
    def show_alternative(self) -> None:
        self.suggestions.show_alternative()

    # Keys of the controllers.

    def action_open(self) -> None:
        self.file.open_other()

    def action_save(self) -> None:
        self.file.save()

    def action_save_as(self) -> None:
        self.file.save_as()

    def action_heat(self) -> None:
        self.scores.switch_heat()

    def action_surprises(self) -> None:
        self.scores.list_surprises()

    def action_mode(self) -> None:
        self.suggestions.switch()

    def action_rewrite(self) -> None:
        self._with_model(partial(self.rewrite.ask, self._prompt))

    def action_replace(self) -> None:
        self._with_model(self.replacements.ask)

    def action_why(self) -> None:
        self.why.ask()

    def action_proofread(self) -> None:
        self._with_model(self.proofread.ask)

    def action_undo(self) -> None:
        self.editor.action_undo()

    # Finding, and going to a line.

    def action_find(self) -> None:
        editor = self.editor
        selected = editor.selected_text
        query = selected if "\n" not in selected else ""
        self._find_bar.open(editor.text, editor.cursor_index, query)

    def _search_again(self) -> None:
        if self._find_bar.is_open:
            editor = self.editor
            self._find_bar.update(editor.text, editor.selection_indexes[0])

    @on(FindBar.MatchesChanged)
    def mark_matches(self, event: FindBar.MatchesChanged) -> None:
        self.editor.matches = event.matches

    @on(FindBar.MatchSelected)
    def show_match(self, event: FindBar.MatchSelected) -> None:
        self.editor.go_to(event.start, event.end)

    def _replace_spans(self, spans: Sequence[Span], texts: Sequence[str]) -> str:
        start, end = spans[0][0], spans[-1][1]
        inner = [(a - start, b - start) for a, b in spans]
        part = self.editor.text[start:end]
        self.editor.replace_span(start, end, replaced(part, inner, texts))
        return self.editor.text

    def action_go_to_line(self) -> None:
        self._prompt.ask_location(self.editor.text)

    @on(LinePrompt.Answered)
    def answer_question(self, event: LinePrompt.Answered) -> None:
        self.focus_text()
        editor = self.editor
        handlers: dict[str, Callable[[str], object]] = {
            "path": self.file.save_under,
            "open": self.file.open_named,
            "place": lambda place: editor.go_to(offset_named(editor.text, place)),
            REWRITE.id: self.rewrite.write,
        }
        handlers[event.question](event.text)

    @on(LinePrompt.PromptClosed)
    @on(FindBar.FindBarClosed)
    def close_bar(self) -> None:
        self.focus_text()

    # Looking into it.

    def action_inspect(self) -> None:
        editor = self.editor
        text, selected = editor.text, editor.selection_indexes
        name = self.file.current.name
        subject = InspectSource(name, read=lambda: text, selected=selected)
        self.post_message(SubjectChosen(subject))

    # How the text is shown.

    def action_wrap(self) -> None:
        self.editor.soft_wrap = not self.editor.soft_wrap
