"""Predictions of the model at the editor's cursor, at every key and every move."""

from __future__ import annotations

from collections.abc import Callable

from lmtui.engine.document.types import CursorPrediction
from lmtui.errors import LmtuiError
from lmtui.notation import percent
from lmtui.text import visible_token
from lmtui.tui.controller import Controller
from lmtui.tui.editor.text_area import GhostEditor
from lmtui.tui.engine.client import EngineClient
from lmtui.tui.screen import ModelScreen
from lmtui.worker.requests import Slot

TITLE = "Next at the cursor"
_EMPTY = "Write, and what the model expects next appears here. F1 shows the keys."

_ROWS = 40  # of the distribution at the cursor
_LITTLE = 1e-3  # share of the continuations that the search may leave, untold


class PredictionController(Controller):
    def __init__(
        self,
        client: EngineClient,
        screen: ModelScreen,
        editor: GhostEditor,
        *,
        answered: Callable[[CursorPrediction | None], object],
    ) -> None:
        """`answered` takes every answer; None is an error."""
        self._client, self._screen, self._editor = client, screen, editor
        self._panel, self._activity = screen.panel, screen.activity
        self._on_answer = answered
        self.prediction: CursorPrediction | None = None

    @property
    def is_asking(self) -> bool:
        return self._client.is_pending(Slot.LOOK)

    @property
    def status_text(self) -> str:
        is_current = self._panel.distribution is not None and not self._panel.stale
        return "reading the text" if self.is_asking and not is_current else ""

    def follow_model(self) -> None:
        if self.has_model:
            self.ask()
            return
        self._client.cancel()
        self.prediction = None
        self._panel.title = TITLE

    def ask(self) -> None:
        if not self.has_model:
            return
        self._panel.outdate()
        text, cursor = self._editor.text, self._editor.cursor_index
        self._client.ask(
            Slot.LOOK,
            lambda engine, _: engine.document.predict_at(text, cursor, top_n=_ROWS),
            self._editor.while_same(self._show),
            self._editor.while_same(self._show_failed),
        )

    def _show(self, prediction: CursorPrediction) -> None:
        self.prediction = prediction
        typed = prediction.typed.strip()
        place = f"after “{typed}”" if typed else "at the cursor"
        share = prediction.unexplored
        # Before the place, since a long word is cut.
        left = f" ({percent(share)} not searched)" if share > _LITTLE else ""
        self._panel.title = f"Next{left} {place}"
        if prediction.distribution is None:
            self._panel.clear(_EMPTY)
        elif prediction.is_mostly_unlisted:
            self._panel.clear(
                f"The server lists {prediction.distribution.top_logprobs:,} tokens, "
                f"and what goes on after “{visible_token(prediction.typed)}” is "
                "hardly among them. After the word there will be rows again."
            )
        else:
            self._panel.show(prediction.distribution, chosen=prediction.following)
        self._on_answer(prediction)
        self._activity.update()

    def _show_failed(self, error: LmtuiError) -> None:
        self.prediction = None
        self._panel.title = TITLE
        self._panel.clear(str(error))
        self._on_answer(None)
        self._activity.notice(error.title)
