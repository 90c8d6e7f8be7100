"""Suggestions in the editor: when one is asked for, and when it is shown.

A suggestion is shown as ghost text; it belongs to one text and one cursor. The model
writes it at once, and it is shown once the user pauses.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial

from lmtui.cache_dir import size
from lmtui.engine.document.suggest import suggest
from lmtui.engine.document.suggestion import SuggestionRules
from lmtui.errors import LmtuiError
from lmtui.models import catalogue
from lmtui.tui.controller import Controller
from lmtui.tui.editor.document import is_code
from lmtui.tui.editor.options import Writing
from lmtui.tui.editor.text_area import GhostEditor
from lmtui.tui.engine.client import EngineClient
from lmtui.tui.one_shot import call_after
from lmtui.tui.screen import ModelScreen
from lmtui.tui.widgets.status import HintLine
from lmtui.worker.requests import Slot

_COUNT = 5  # alternatives
_MOST = 1024  # tokens of the longest suggestion that a user can ask for
_DRAWN_IN = 0.01  # seconds until ghost text is drawn, which belong to the pause


@dataclass(frozen=True, slots=True)
class _Request:
    """Text revision, cursor and rules that a suggestion was asked for."""

    revision: int
    cursor: int
    rules: SuggestionRules
    by_user: bool = False
    """Whether the user asked for it, so that there has to be one."""

    @property
    def place(self) -> tuple[int, int]:
        return self.revision, self.cursor


class SuggestionController(Controller):
    def __init__(
        self,
        client: EngineClient,
        screen: ModelScreen,
        editor: GhostEditor,
        writing: Writing,
    ) -> None:
        self._client, self._screen, self._editor = client, screen, editor
        self._activity = screen.activity
        self._rules, self._delay = writing.rules, writing.rules.delay
        self.is_on = True
        coder = catalogue.smallest_infill()
        infill = (
            f"this model reads only what is before the cursor; {coder.name} "
            f"({size(coder.download)}) also reads what follows it. F5 lists models."
        )
        self.code_hint = HintLine("infill", infill, lead="Code:", at_once=False)
        """A model for programs, where this one reads only what is before the cursor."""
        # Runs while nothing is shown yet; the call is made after it.
        self._pause_timer: asyncio.TimerHandle | None = None
        self._after_pause_call: Callable[[], object] | None = None
        self._last_request: _Request | None = None
        self._alternatives: tuple[str, ...] = ()
        self._alternative_index = 0  # index of the one that is shown
        self._wants_alternatives = False  # and not for one suggestion

    # When to ask.

    def follow_model(self) -> None:
        self.cancel()
        if self.has_model:
            if is_code(self._editor.language) and not self.model.capabilities.infill:
                self.code_hint.show_if_new()
            self._editor.forget_ghosts()
            self._alternatives = ()
            self._suggest()

    def follow_edit(self, event: GhostEditor.Edited) -> None:
        self._alternatives = ()
        if not event.ghost_stays:
            self.cancel()
            self._suggest()

    def follow_cursor(self) -> None:
        self._alternatives = ()
        self.cancel()
        line, column = self._editor.cursor_location
        if not self._editor.document[line][column:].strip():
            self._suggest()

    def dismiss(self) -> None:
        self.cancel()
        self._notice("dismissed")

    @property
    def status_text(self) -> str:
        if self._pause_timer is not None or not self._client.is_pending(Slot.SUGGEST):
            return ""
        alternatives = self._wants_alternatives
        return f"writing {'alternatives' if alternatives else 'a suggestion'}"

    def stop(self) -> bool:
        return self.cancel()

    def cancel(self) -> bool:
        """Return whether the model was at work."""
        if self._pause_timer is not None:
            self._pause_timer.cancel()
        self._pause_timer = self._after_pause_call = None
        return self._client.cancel()

    def _suggest(self) -> None:
        editor = self._editor
        can_suggest = (
            editor.has_focus and not editor.ghost and editor.selection.is_empty
        )
        if not self.is_on or not self.has_model or not can_suggest:
            return
        if self._delay > 0:
            seconds = max(0.001, self._delay - _DRAWN_IN)
            self._pause_timer = call_after(self._screen, seconds, self._end_pause)
        self._ask(self._request(self._rules))

    def _end_pause(self) -> None:
        call, self._after_pause_call = self._after_pause_call, None
        self._pause_timer = None
        if call is not None:
            call()
        self._activity.update()

    def _after_pause(self, call: Callable[[], object]) -> None:
        """Do something now, or after the pause unless something later replaces it."""
        if self._pause_timer is None:
            call()
        else:
            self._after_pause_call = call

    def suggest_now(self) -> None:
        if not self.has_model:
            self._screen.notify("No model is loaded yet.")
            return
        self.cancel()
        rules = replace(self._rules, min_prob=None, seconds=None)
        request, last = self._request(rules), self._last_request
        if last is not None and last.place == request.place and self._editor.ghost:
            tokens = min(2 * last.rules.max_tokens, _MOST)
            request = replace(request, rules=replace(rules, max_tokens=tokens))
        self._ask(replace(request, by_user=True))

    def _request(self, rules: SuggestionRules) -> _Request:
        return _Request(self._editor.revision, self._editor.cursor_index, rules)

    def _ask(self, request: _Request) -> None:
        self._wants_alternatives, self._last_request = False, request
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
            batch=lambda texts: self._after_pause(
                partial(self._show_part, request, texts[-1])
            ),
        )
        if request.by_user:
            self._activity.clear_notice()

    # What comes.

    def _show_part(self, request: _Request, text: str) -> None:
        """Show what is written so far, where it is more than is shown already."""
        if not self._editor.ghost.startswith(text):
            self._show(request, text)

    def _show(self, request: _Request, text: str) -> None:
        self._editor.show_ghost(text, revision=request.revision, cursor=request.cursor)

    def _show_end(self, request: _Request, suggestion: str) -> None:
        if suggestion:
            self._show(request, suggestion)
        elif request.by_user:
            self._force(request)

    def _force(self, request: _Request) -> None:
        """Show, where the user asked, the most probable beginning that neither ends the
        text nor is left out for what follows."""
        rules = replace(request.rules, spare_following=False)

        def show(alternatives: tuple[str, ...]) -> None:
            if alternatives:
                self._show(request, alternatives[0])
            else:
                self._notice("the model has none here")

        self._ask_for_alternatives(replace(request, rules=rules), show)

    def _show_why_not(self, request: _Request, error: LmtuiError) -> None:
        """Show why there is no suggestion, except where no text is before a cursor at
        which nobody asked for one."""
        if request.by_user or request.cursor > 0:
            self._show_failed(error)

    def _show_failed(self, error: LmtuiError) -> None:
        self._notice(error.title)

    def _notice(self, text: str) -> None:
        self._activity.notice(f"ghost: {text}")

    # Alternatives.

    def show_alternative(self) -> None:
        if self._alternatives:
            self._show_next(self._request(self._rules))
            return
        is_asking = self._wants_alternatives and self._client.is_pending(Slot.SUGGEST)
        if not self.has_model or is_asking:
            return
        self.cancel()
        request = self._request(self._rules)
        self._wants_alternatives = True
        self._ask_for_alternatives(request, partial(self._show_alternatives, request))
        self._activity.clear_notice()

    def _ask_for_alternatives(
        self, request: _Request, then: Callable[[tuple[str, ...]], object]
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

    def _show_alternatives(
        self, request: _Request, alternatives: tuple[str, ...]
    ) -> None:
        self._alternatives = alternatives
        if not alternatives:
            self._notice("there is no alternative")
            return
        ghost = self._editor.ghost
        is_first = ghost and alternatives[0].startswith(ghost)
        self._alternative_index = 0 if is_first else -1
        self._show_next(request)

    def _show_next(self, request: _Request) -> None:
        count = len(self._alternatives)
        self._alternative_index = (self._alternative_index + 1) % count
        self._show(request, self._alternatives[self._alternative_index])
        self._notice(f"alternative {self._alternative_index + 1} of {count}")

    def switch(self) -> None:
        self.is_on = not self.is_on
        self.cancel()
        self._editor.forget_ghosts()
        self._alternatives = ()
        self._notice("on" if self.is_on else "off")
        self._screen.refresh_bindings()
        self._suggest()
