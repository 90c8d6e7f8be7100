"""What the model expects at the editor's cursor, at every key and every move.

Knows no torch.
"""

from __future__ import annotations

from collections.abc import Callable

from lmtui.engine.document.types import CursorPrediction
from lmtui.engine.grammar.text import SHORT_NAMES, grammar_of
from lmtui.engine.types import Candidate
from lmtui.errors import LmtuiError
from lmtui.text import visible_line, visible_token
from lmtui.tui.controller import Controller
from lmtui.tui.editor.options import Writing
from lmtui.tui.editor.status import ExpectedLines
from lmtui.tui.editor.text_area import GhostEditor
from lmtui.tui.engine.client import EngineClient
from lmtui.tui.model_state import ModelState
from lmtui.tui.screen import ModelScreen
from lmtui.worker.requests import Slot

TITLE = "Next at the cursor"
_EMPTY = "Write, and what the model expects next appears here. F1 shows the keys."

_ROWS = 40  # of the distribution at the cursor


class PredictionController(Controller):
    """Shows the prediction at the cursor in the panel and the lines under it."""

    def __init__(
        self,
        client: EngineClient,
        screen: ModelScreen,
        editor: GhostEditor,
        writing: Writing,
        *,
        answered: Callable[[CursorPrediction | None], object],
    ) -> None:
        """`answered` takes every answer; None is an error."""
        self._client, self._screen, self._editor = client, screen, editor
        self._panel, self._activity = screen.panel, screen.activity
        self._answered = answered
        self._grammar = grammar = writing.rules.grammar
        """Rows that it forbids are marked."""
        self._under = f" · {SHORT_NAMES[grammar_of(grammar).kind]}" if grammar else ""
        self.lines = ExpectedLines(id="expected")
        """What is half typed, and what the model thinks of what follows."""
        self._has_model = False
        self.prediction: CursorPrediction | None = None
        """The last answer."""
        self._asked: tuple[int, int] | None = None  # revision and cursor of a request
        self._answered_for: tuple[int, int] | None = None  # and of the last answer

    @property
    def status_text(self) -> str:
        """Reading, unless the answer is there so soon that the panel is not dimmed."""
        seen = self._panel.distribution is not None and not self._panel.stale
        waits = self._client.is_pending(Slot.LOOK)
        return "reading the text" if waits and not seen else ""

    def follow_model(self, state: ModelState) -> None:
        """Remove what the model before expected, and ask the new one."""
        self._has_model = state.info is not None
        if self._has_model:
            self.ask()
            return
        self._client.cancel()
        self.prediction = None
        self._panel.title = TITLE + self._under
        self.lines.show(None)

    def resume(self) -> None:
        """Ask anew where what is shown is outdated."""
        outdated = self._panel.stale or self._panel.distribution is None
        if outdated and not self._client.is_pending(Slot.LOOK):
            self.ask()

    def ask(self) -> None:
        """Ask for the prediction at the cursor."""
        if not self._has_model:
            return
        self._panel.outdate()
        self.lines.outdate()
        self._asked = self._editor.here
        text, cursor = self._editor.text, self._editor.cursor_index
        grammar = self._grammar
        self._client.ask(
            Slot.LOOK,
            lambda engine, _: engine.document.predict_at(
                text, cursor, top_n=_ROWS, grammar=grammar
            ),
            self._show,
            self._show_failed,
            dropped=self._ask_again,
        )

    def _ask_again(self) -> None:
        """Ask anew, unless the request of a screen in front of this one came between:
        then once this one is in front again."""
        if self._screen.is_current:
            self.ask()

    def _show(self, prediction: CursorPrediction) -> None:
        self.prediction, self._answered_for = prediction, self._asked
        typed = visible_line(prediction.typed.strip())
        title = f"Next after “{typed}”" if typed else TITLE
        self._panel.title = title + self._under
        if prediction.distribution is None:
            self._panel.clear(_EMPTY)
            self.lines.show(None)
        elif prediction.is_mostly_unlisted:
            self._panel.clear(
                f"The server lists {prediction.distribution.listed:,} tokens, and what "
                f"goes on after “{visible_token(prediction.typed)}” is hardly among "
                "them. After the word there will be rows again."
            )
            self.lines.show(prediction)
        else:
            at_end = self._editor.cursor_index >= self._editor.characters
            self.lines.show(prediction, at_end=at_end)
            following = prediction.following
            self._panel.show(
                prediction.distribution,
                chosen=following.candidate if following else None,
            )
        self._answered(prediction)
        self._activity.update()

    def insert(self, candidate: Candidate) -> None:
        """Insert the text of a row of the panel at the cursor."""
        editor, shown = self._editor, self.prediction
        if shown is None or self._answered_for != editor.here:
            self._screen.notify("The rows are out of date; wait for the new ones.")
        elif candidate.id in shown.control_ids:
            self._screen.notify("This token ends the text; it has no letters.")
        elif (text := whole_text(candidate.bytes)) is None:
            self._screen.notify("This token is a part of a character.")
        else:
            editor.replace_span(editor.cursor_index, editor.cursor_index, text)

    def _show_failed(self, error: LmtuiError) -> None:
        self.prediction = None
        self._panel.title = TITLE + self._under
        self._panel.clear(str(error))
        self.lines.show(None)
        self._answered(None)
        self._activity.notice(visible_line(error.title))


def whole_text(data: bytes) -> str | None:
    """Return the text of a token's bytes; None where they are not whole characters."""
    try:
        return data.decode()
    except UnicodeDecodeError:
        return None
