"""Suggestions in the editor: when one is asked for, and how it is shown.

Waits after a key, runs the jobs that write suggestions, and steps through the
alternatives. A suggestion belongs to one text and one cursor. Knows no torch.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import ClassVar, Literal

from textual import on
from textual.binding import Binding, BindingType
from textual.timer import Timer

from lmtui.engine.suggestion import Suggestion, SuggestionEnd, SuggestionRules
from lmtui.tui.editor.options import Writing
from lmtui.tui.editor.suggestion_status import key_hints, mode_words
from lmtui.tui.editor.text_area import GhostEditor
from lmtui.tui.editor.watching import WatchingScreen
from lmtui.tui.engine import messages as facts
from lmtui.tui.engine.client import EngineClient
from lmtui.tui.engine.messages import Post

Mode = Literal["single", "multi", "off"]
"""Whether a suggestion ends with its line, or there is none at all."""

_MODES: tuple[Mode, ...] = ("single", "multi", "off")
_COUNT = 5  # alternatives


@dataclass(frozen=True, slots=True)
class _Spot:
    """Text revision and cursor that a suggestion was asked for."""

    revision: int
    cursor: int


class GhostingScreen(WatchingScreen):
    """Editor that shows suggestions as ghost text."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("f4", "mode", "Ghost", id="ghost.mode",
                tooltip="Suggest to the end of the line, several lines, or nothing."),
    ]  # fmt: skip

    def __init__(
        self,
        make_client: Callable[[Post], EngineClient],
        writing: Writing,
    ) -> None:
        super().__init__(make_client, writing)
        self._rules, self._delay = writing.rules, writing.delay
        self._mode: Mode = "single" if writing.rules.single_line else "multi"
        self._pause: Timer | None = None
        self._ghost_job = self._others_job = 0
        self._forced = 0  # the job of a suggestion that the user asked for
        self._asked_rules = writing.rules
        self._spot = _Spot(-1, -1)
        self._shown = 0  # how long what the job has written so far was
        self._others: tuple[Suggestion, ...] = ()
        self._other = 0
        self._step = 1  # where to go once the alternatives are there

    def on_mount(self) -> None:
        """Name the keys for as long as there is room."""
        self._status.hints = key_hints(self._mode)

    # When to ask.

    @on(GhostEditor.Edited)
    def ask_after_edit(self, event: GhostEditor.Edited) -> None:
        """Ask for a new suggestion, unless the user typed along the ghost text."""
        self._others = ()
        if event.ghost_stays:
            return
        self._drop_job()
        self._wait()

    @on(GhostEditor.CursorMoved)
    def ask_after_move(self) -> None:
        """Ask for a suggestion only where the cursor comes to the end of a line."""
        self._others = ()
        self._drop_job()
        editor = self.editor
        line, column = editor.cursor_location
        if not editor.document[line][column:].strip():
            self._wait()

    @on(GhostEditor.GhostDismissed)
    def rest(self) -> None:
        """Suggest nothing at this cursor: the user dismissed the suggestion."""
        self._drop_job()
        self._say("dismissed")

    def model_ready(self) -> None:
        """Forget the suggestions of the model before, and ask for a new one."""
        super().model_ready()
        self.editor.forget_ghosts()
        self._others = ()
        self._drop_job()
        self._wait()

    def stop_work(self) -> bool:
        """Stop suggesting and scoring."""
        running = bool(self._ghost_job or self._others_job)
        self._drop_job()
        running = super().stop_work() or running
        if running:
            self.say("stopped")
        return running

    def _drop_job(self) -> None:
        if self._pause is not None:
            self._pause.stop()
        for job in (self._ghost_job, self._others_job):
            if job:
                self.client.stop(job)
        self._ghost_job = self._others_job = 0

    def _wait(self) -> None:
        if self._mode == "off" or self._info is None:
            return
        self._pause = self.set_timer(max(self._delay, 0.001), self._suggest)

    def _suggest(self) -> None:
        editor = self.editor
        if editor.has_focus and not editor.ghost and editor.selection.is_empty:
            self._ask(self._in_mode(self._rules))

    @on(GhostEditor.SuggestionRequested)
    def force(self) -> None:
        """Ask for a suggestion, however unsure the model is."""
        if self._info is None:
            self.notify("No model is loaded yet.")
            return
        self._drop_job()
        self._say("writing one")
        rules = replace(self._rules, min_prob=None, min_mean_prob=None, seconds=None)
        self._ask(self._in_mode(rules))
        self._forced = self._ghost_job

    def _ask(self, rules: SuggestionRules) -> None:
        if self._info is None:
            return
        editor = self.editor
        self._ghost_job = self.client.number()
        self._spot = _Spot(editor.revision, editor.cursor_index)
        self._shown, self._asked_rules = 0, rules
        self.client.suggest(self._ghost_job, editor.text, self._spot.cursor, rules)

    def _in_mode(self, rules: SuggestionRules) -> SuggestionRules:
        return replace(rules, single_line=self._mode != "multi")

    # What comes.

    @on(facts.SuggestionGrew)
    def grow_ghost(self, event: facts.SuggestionGrew) -> None:
        if event.job == self._ghost_job and len(event.text) > self._shown:
            self._shown = len(event.text)
            self._show(event.text)

    @on(facts.SuggestionEnded)
    def end_ghost(self, event: facts.SuggestionEnded) -> None:
        if event.job != self._ghost_job:
            return
        self._ghost_job = 0
        ghost, rules = event.suggestion, self._asked_rules
        if ghost.text:
            self._show(ghost.text)
        elif event.job == self._forced and ghost.end is SuggestionEnd.NEWLINE:
            self._ask(replace(rules, single_line=False))  # show what there is
            return
        self._tell_ghost(ghost, rules)

    def _show(self, text: str) -> None:
        spot = self._spot
        self.editor.show_ghost(text, revision=spot.revision, cursor=spot.cursor)

    def _tell_ghost(self, ghost: Suggestion, rules: SuggestionRules) -> None:
        raise NotImplementedError

    def _say(self, words: str) -> None:
        raise NotImplementedError

    @on(facts.JobDropped)
    def note_ghost_dropped(self, event: facts.JobDropped) -> None:
        if event.job == self._ghost_job:
            self._ghost_job = 0
        if event.job == self._others_job:
            self._others_job = 0

    @on(facts.EditorRequestFailed)
    def show_ghost_failed(self, event: facts.EditorRequestFailed) -> None:
        if event.job in (self._ghost_job, self._others_job):
            self._ghost_job = self._others_job = 0
            self._say(event.error.title)

    # Alternatives.

    @on(GhostEditor.AlternativeRequested)
    def show_other(self, event: GhostEditor.AlternativeRequested) -> None:
        """Show another alternative; the first time they have to be generated."""
        if self._others:
            self._turn(event.by)
            return
        if self._info is None or self._others_job:
            return
        editor = self.editor
        self._drop_job()
        self._step = event.by
        self._others_job = self.client.number()
        self._spot = _Spot(editor.revision, editor.cursor_index)
        self._say("writing alternatives")
        self.client.alternatives(
            self._others_job,
            editor.text,
            self._spot.cursor,
            self._in_mode(self._rules),
            count=_COUNT,
        )

    @on(facts.AlternativesReady)
    def keep_others(self, event: facts.AlternativesReady) -> None:
        if event.job != self._others_job:
            return
        self._others_job = 0
        self._others = event.suggestions
        if not self._others:
            self._say("there is no alternative")
            return
        shown = self.editor.ghost
        first = self._others[0].text
        self._other = 0 if shown and first.startswith(shown) else -self._step
        self._turn(self._step)

    def _turn(self, by: int) -> None:
        self._other = (self._other + by) % len(self._others)
        self._show(self._others[self._other].text)
        self._say(f"alternative {self._other + 1} of {len(self._others)}")

    # The mode.

    def action_mode(self) -> None:
        self._mode = _MODES[(_MODES.index(self._mode) + 1) % len(_MODES)]
        self._drop_job()
        self.editor.forget_ghosts()
        self._others = ()
        self._say(mode_words(self._mode))
        self._status.hints = key_hints(self._mode)
        self._wait()
