"""Controllers of a screen with a model, and the words of its status line."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

from lmtui.engine.types import Need
from lmtui.tui.model_state import ModelState, shown_name
from lmtui.tui.widgets.status import Status

_SLOW = 5.0
"""Seconds after which it is told how long the reading takes."""


class Controller:
    """One task of a screen, such as its file or its suggestions.

    It gets all that it needs by its constructor. What the screen's widgets post comes
    from the screen, what it asks the model comes back from its own client.
    """

    model = ModelState()
    """The state of the model: without one that is of no use for the screen."""

    @property
    def has_model(self) -> bool:
        return self.model.info is not None

    def lacks(self, need: Need) -> str:
        """Return why the model does not meet a need, in a sentence; "" where it
        does."""
        can = self.model.capabilities
        return "" if can.meets(need) else can.why_not

    def start(self) -> None:
        """Begin: the widgets of the screen are mounted."""

    def follow_model(self) -> None:
        """Follow the state of the `model`, which is ready where it has an `info`.

        Called for every report of a load too. What was asked before holds for the
        model before.
        """

    @property
    def status_text(self) -> str:
        """Work of the model for this controller now, in a few words; else empty."""
        return ""

    def stop(self) -> bool:
        """End that work for the user. Return whether there was any."""
        return False


class Activity:
    """The text of the status line, decided in one place.

    That is the first of: what was said to the user, until something else happens; the
    state of a model that is not ready; what the model does for the first controller
    that it works for; that it is ready.
    """

    def __init__(
        self,
        status: Status,
        *,
        context: Callable[[], object] = lambda: None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`context` returns what words to the user were said about, such as the cursor:
        `clear_outdated_notice` removes them once it has changed."""
        self.controllers: Sequence[Controller] = ()
        """Controllers whose work is told, the most important first."""
        self.ready = "ready"
        """The words for a model that has nothing to do."""
        self._status, self._context = status, context
        self._model_status = ""
        self._has_notice = False
        self._notice_context: object = None
        self._clock = clock
        self._last_work = "", 0.0  # what is told of the reading, and since when

    def follow_model(self, state: ModelState, *, goes_back: bool = False) -> None:
        """Tell how a load goes, and whether Esc `goes_back` to the model before; what
        was said to the user is outdated."""
        self._model_status = ""
        if state.info is None:
            self._model_status = "no model" if state.error else state.words
        if goes_back and (previous := state.goes_back_to):
            self._model_status += f"; Esc goes back to {shown_name(previous)}"
        self.clear_notice()

    def notice(self, text: str) -> None:
        """Say something to the user; "" ends what was said."""
        if not text:
            self.clear_notice()
            return
        self._status.state, self._has_notice = text, True
        self._notice_context = self._context()

    def clear_outdated_notice(self, *, still_holds: bool = False) -> None:
        """Remove what was said if its context has changed, unless it still holds."""
        if still_holds:
            self._notice_context = self._context()
        elif self._has_notice and self._notice_context != self._context():
            self.clear_notice()

    def clear_notice(self) -> None:
        self._has_notice = False
        self.update()

    def update(self) -> None:
        """Tell what the model does now, unless something is said to the user."""
        if not self._has_notice:
            self._status.state = self._model_status or self._work() or self.ready

    def _work(self) -> str:
        texts = (controller.status_text for controller in self.controllers)
        work = next(filter(None, texts), "")
        previous, since = self._last_work
        if previous != work:
            self._last_work = work, self._clock()
            return work
        # One part of a prompt can take long: without seconds, it seems to stand still.
        seconds = self._clock() - since
        is_slow = work.startswith("reading") and seconds >= _SLOW
        return f"{work} · {seconds:.0f} s" if is_slow else work
