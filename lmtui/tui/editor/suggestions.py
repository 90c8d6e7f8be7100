"""Suggestions in the editor: when one is asked for, and when it is shown.

A suggestion is shown as ghost text; it belongs to one text and one cursor. The model
writes it at once, and it is shown once the user pauses. Knows no torch.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Literal

from lmtui.engine.document.suggest import suggest
from lmtui.engine.document.suggestion import Suggestion, SuggestionEnd, SuggestionRules
from lmtui.engine.types import Capabilities
from lmtui.engine.windows import DEFAULT_WINDOW
from lmtui.errors import LmtuiError
from lmtui.models import catalogue
from lmtui.text import visible_line
from lmtui.tui.controller import Controller
from lmtui.tui.editor.document import is_code
from lmtui.tui.editor.options import Writing
from lmtui.tui.editor.predictions import PredictionController
from lmtui.tui.editor.suggestion_status import ghost_words, mode_words
from lmtui.tui.editor.text_area import GhostEditor
from lmtui.tui.engine.batches import longest_text
from lmtui.tui.engine.client import EngineClient
from lmtui.tui.model_state import ModelState
from lmtui.tui.one_shot import call_after
from lmtui.tui.screen import ModelScreen
from lmtui.tui.widgets.status import HintLine
from lmtui.worker.requests import Slot

Mode = Literal["single", "multi", "off"]
"""Whether a suggestion ends with its line, or there is none at all."""

_MODES: tuple[Mode, ...] = ("single", "multi", "off")
_COUNT = 5  # alternatives
_DRAWN_IN = 0.01  # seconds until ghost text is drawn, which belong to the pause


@dataclass(frozen=True, slots=True)
class _Request:
    """What a suggestion was asked for: text revision, cursor and rules."""

    revision: int
    cursor: int
    rules: SuggestionRules
    by_user: bool = False
    """Whether the user asked for it, so that there has to be one."""


class SuggestionController(Controller):
    """Asks for suggestions, and shows them as the editor's ghost text."""

    def __init__(
        self,
        client: EngineClient,
        screen: ModelScreen,
        editor: GhostEditor,
        predictions: PredictionController,
        writing: Writing,
    ) -> None:
        self._client, self._screen, self._editor = client, screen, editor
        self._activity, self._predictions = screen.activity, predictions
        self._rules, self._delay = writing.rules, writing.settings.ghost_delay
        self._mode: Mode = "single" if writing.rules.single_line else "multi"
        self.code_hint = HintLine(
            "infill", _infill_words(), lead="Code:", at_once=False
        )
        """A model for programs, where this one reads only what is before the cursor."""
        self._pause: asyncio.TimerHandle | None = None  # while nothing is shown yet
        self._latest: Callable[[], object] | None = None  # to be done after it
        self._has_model = False
        self._capabilities = Capabilities()
        self._alternatives: tuple[Suggestion, ...] = ()
        self._alternative = 0  # index of the one that is shown
        self._asks_for_alternatives = False  # and not for one suggestion

    # When to ask.

    def follow_model(self, state: ModelState) -> None:
        """Forget the suggestions of the model before, and ask for a new one."""
        self._has_model = state.info is not None
        self._capabilities = state.capabilities
        self.cancel()
        if self._has_model:
            if is_code(self._editor.language) and not state.capabilities.infill:
                self.code_hint.wonder()
            self._editor.forget_ghosts()
            self._alternatives = ()
            self._suggest()

    def follow_edit(self, event: GhostEditor.Edited) -> None:
        """Ask for a new suggestion, unless the user typed along the ghost text."""
        self._alternatives = ()
        if not event.ghost_stays:
            self.cancel()
            self._suggest()

    def follow_cursor(self) -> None:
        """Ask for a suggestion only where the cursor comes to the end of a line."""
        self._alternatives = ()
        self.cancel()
        line, column = self._editor.cursor_location
        if not self._editor.document[line][column:].strip():
            self._suggest()

    def dismiss(self) -> None:
        """Suggest nothing at this cursor: the user dismissed the suggestion."""
        self.cancel()
        self._say("dismissed")

    @property
    def status_text(self) -> str:
        """Writing a suggestion, once it is late; an early one is not shown yet."""
        if self._pause is not None or not self._client.is_pending(Slot.SUGGEST):
            return ""
        alternatives = self._asks_for_alternatives
        return f"writing {'alternatives' if alternatives else 'a suggestion'}"

    def stop(self) -> bool:
        """Stop the suggestion that is being written."""
        return self.cancel()

    def cancel(self) -> bool:
        """Drop what was asked for, or waits to be shown; return whether the model was
        at work."""
        if self._pause is not None:
            self._pause.cancel()
        self._pause = self._latest = None
        return self._client.cancel()

    def _suggest(self) -> None:
        """Ask for a suggestion at once, and begin the pause before it is shown."""
        editor = self._editor
        free = editor.has_focus and not editor.ghost and editor.selection.is_empty
        if self._mode == "off" or not self._has_model or not free:
            return
        if self._delay > 0:
            wait = max(0.001, self._delay - _DRAWN_IN)
            self._pause = call_after(self._screen, wait, self._end_pause)
        self._ask(self._request(self._rules))

    def _end_pause(self) -> None:
        latest, self._pause, self._latest = self._latest, None, None
        if latest is not None:
            latest()
        self._activity.update()

    def _after_pause(self, call: Callable[[], object]) -> None:
        """Do something now, or when the pause ends unless something later takes its
        place."""
        if self._pause is None:
            call()
        else:
            self._latest = call

    def suggest_now(self) -> None:
        """Ask for a suggestion, however unsure the model is."""
        if not self._has_model:
            self._screen.notify("No model is loaded yet.")
            return
        self.cancel()
        rules = replace(self._rules, min_prob=None, seconds=None)
        self._ask(replace(self._request(rules), by_user=True))

    def _request(self, rules: SuggestionRules) -> _Request:
        rules = replace(rules, single_line=self._mode != "multi")
        return _Request(self._editor.revision, self._editor.cursor_index, rules)

    def _ask(self, request: _Request) -> None:
        self._asks_for_alternatives = False
        text = self._editor.text
        self._client.ask(
            Slot.SUGGEST,
            lambda engine, context: suggest(
                engine, text, request.cursor, request.rules, on_text=context.emit
            ),
            lambda end: self._after_pause(partial(self._show_end, request, end)),
            lambda error: self._after_pause(
                partial(self._show_why_not, request, error)
            ),
            batch=longest_text(
                lambda text: self._after_pause(partial(self._show, request, text))
            ),
        )
        if request.by_user:
            self._activity.clear_notice()

    # What comes.

    def _show(self, request: _Request, text: str) -> None:
        self._editor.show_ghost(text, revision=request.revision, cursor=request.cursor)

    def _show_end(self, request: _Request, suggestion: Suggestion) -> None:
        nothing = not suggestion.text
        if nothing and request.by_user:
            self._insist(request, suggestion)
            return
        if not nothing:
            self._show(request, suggestion.text)
        seen = self._predictions.prediction
        total = seen.tokens if seen else 0
        self._activity.notice(
            ghost_words(
                suggestion.end,
                rules=request.rules,
                shown=not nothing,
                multi_line=not request.rules.single_line,
                infill=self._capabilities.infill,
                window=seen.window if seen and total > DEFAULT_WINDOW else None,
                total=total,
            )
        )

    def _insist(self, request: _Request, suggestion: Suggestion) -> None:
        """Find something to show where the user asked: more lines, or the most probable
        beginning that neither ends the text nor is left out for what follows."""
        rules = replace(request.rules, single_line=False)
        if suggestion.end is SuggestionEnd.NEWLINE:
            self._ask(replace(request, rules=rules))
            return
        rules = replace(rules, spare_following=False)

        def show(found: tuple[Suggestion, ...]) -> None:
            known = found[0] if found else suggestion
            self._show_end(replace(request, rules=rules, by_user=False), known)

        self._ask_for_alternatives(replace(request, rules=rules), show)

    def _show_why_not(self, request: _Request, error: LmtuiError) -> None:
        """Show why there is no suggestion, except where no text is before a cursor at
        which nobody asked for one."""
        if request.by_user or request.cursor > 0:
            self._show_failed(error)

    def _show_failed(self, error: LmtuiError) -> None:
        self._say(error.title)

    def _say(self, words: str) -> None:
        self._activity.notice(f"ghost: {visible_line(words)}")

    # Alternatives.

    def show_alternative(self, by: int) -> None:
        """Show another alternative; the first time they have to be generated."""
        if self._alternatives:
            self._turn(self._request(self._rules), by)
            return
        waits = self._asks_for_alternatives and self._client.is_pending(Slot.SUGGEST)
        if not self._has_model or waits:
            return
        self.cancel()
        request = self._request(self._rules)
        self._asks_for_alternatives = True
        take = partial(self._take_alternatives, request, by)
        self._ask_for_alternatives(request, take)
        self._activity.clear_notice()

    def _ask_for_alternatives(
        self, request: _Request, then: Callable[[tuple[Suggestion, ...]], object]
    ) -> None:
        text = self._editor.text
        self._client.ask(
            Slot.SUGGEST,
            lambda engine, _: tuple(
                engine.document.alternatives(
                    text, request.cursor, request.rules, count=_COUNT
                )
            ),
            then,
            self._show_failed,
        )

    def _take_alternatives(
        self, request: _Request, by: int, found: tuple[Suggestion, ...]
    ) -> None:
        self._alternatives = found
        if not found:
            self._say("there is no alternative")
            return
        shown = self._editor.ghost
        is_first = shown and found[0].text.startswith(shown)
        self._alternative = 0 if is_first else -by
        self._turn(request, by)

    def _turn(self, request: _Request, by: int) -> None:
        count = len(self._alternatives)
        self._alternative = (self._alternative + by) % count
        self._show(request, self._alternatives[self._alternative].text)
        self._say(f"alternative {self._alternative + 1} of {count}")

    # The mode.

    @property
    def mode(self) -> Mode:
        """How far suggestions go."""
        return self._mode

    def next_mode(self) -> None:
        """Suggest to the end of the line, several lines, or nothing."""
        self._mode = _MODES[(_MODES.index(self._mode) + 1) % len(_MODES)]
        self.cancel()
        self._editor.forget_ghosts()
        self._alternatives = ()
        self._say(mode_words(self._mode))
        self._screen.refresh_bindings()
        self._suggest()


def _infill_words() -> str:
    return (
        "this model reads only what is before the cursor; "
        f"{catalogue.smallest_infill().name} also reads what follows it. F5 lists "
        "models."
    )
