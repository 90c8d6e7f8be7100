"""A file as tokens, shaded by how much each surprised the model.

Owns the text that is read and its tokens as they come. The file is read aside, the
tokens are scored by the engine; both answer by messages. Knows no torch.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical
from textual.message import Message

from lmtui.engine.types import Distribution, ScoredToken
from lmtui.errors import LmtuiError
from lmtui.reading import Document, read_file
from lmtui.text import visible_line
from lmtui.tui import messages as facts
from lmtui.tui.aside import aside
from lmtui.tui.batches import Post
from lmtui.tui.questions import DocumentAlone
from lmtui.tui.runner import Runner
from lmtui.tui.screens.live import LiveScreen
from lmtui.tui.widgets.likelihood_strip import LikelihoodStrip
from lmtui.tui.widgets.probability_panel import ProbabilityPanel
from lmtui.tui.widgets.status import Status
from lmtui.tui.widgets.token_view import TokenView

_LONGEST = 100_000  # characters: every token keeps its alternatives in memory
_SHARE = 10  # a drawing of all tokens takes at most this part of the time
_NO_CONTEXT = "A first token without context has no probability."


class TextScreen(LiveScreen):
    """The tokens, and beside them what the model expected at the one in focus."""

    HELP = """\
The text as tokens: plain ones were expected, the more colour and underline the less.
The panel shows what the model expected in place of the token under the cursor, which
is marked with ●; the strip adds the whole text up.
"""
    CSS_PATH = "text.tcss"
    VERTICAL_BREAKPOINTS = [(0, "-low"), (16, "-high")]  # noqa: RUF012 (as the base's)
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "leave", "Close", id="text.close",
                tooltip="Stop scoring; else close the text."),
    ]  # fmt: skip

    class Read(Message):
        """The file was read."""

        def __init__(self, document: Document) -> None:
            self.document = document
            super().__init__()

    class Refused(Message):
        """The file can't be shown."""

        def __init__(self, error: LmtuiError) -> None:
            self.error = error
            super().__init__()

    def __init__(self, make_runner: Callable[[Post], Runner], path: Path) -> None:
        super().__init__(make_runner)
        self._path = path
        self._document: Document | None = None
        self._refusal: LmtuiError | None = None
        self._job = 0  # of the scoring under way, 0 for none
        self._tokens: list[ScoredToken] = []
        self._total = 0
        self._due = 0.0  # when the tokens may be drawn again

    def compose(self) -> ComposeResult:
        """Everything is there from the first frame."""
        with Horizontal(id="main"):
            yield TokenView(id="tokens")
            with Vertical(id="side"):
                yield ProbabilityPanel(id="panel", title="Expected here")
                yield LikelihoodStrip(id="strip")
        yield Status(id="status")

    def on_mount(self) -> None:
        """Begin to read."""
        self.to_text()
        bug = LmtuiError("the file can't be shown", str(self._path), "See the log.")
        aside(self._read, self.post_message, otherwise=self.Refused(bug))

    def on_unmount(self) -> None:
        """Nobody waits for the rest."""
        self.stop_work()

    def _read(self) -> Message:
        try:
            document = read_file(str(self._path))
        except LmtuiError as error:
            return self.Refused(error)
        if len(document.text) > _LONGEST:
            facts_ = (
                f"{len(document.text):,} characters, at most {_LONGEST:,} are shown"
            )
            hint = "`lmtui inspect FILE` reads a text of any length."
            return self.Refused(LmtuiError("the text is too long", facts_, hint))
        return self.Read(document)

    @on(Read)
    def keep_document(self, event: Read) -> None:
        """There is a text now."""
        self._document = event.document
        self._score()

    @on(Refused)
    def show_refused(self, event: Refused) -> None:
        """There is none."""
        self._refusal = event.error
        self._explain(event.error)

    def _explain(self, error: LmtuiError) -> None:
        self._status.state = visible_line(error.title)
        self._panel.clear(f"{error}. {error.hint}")

    # The model.

    def model_ready(self) -> None:
        """Score the text, or score it anew with another model."""
        self._score()

    def model_missing(self) -> None:
        """What was scored stays."""

    def stop_work(self) -> bool:
        """Stop scoring."""
        if self._job:
            self.runner.stop(self._job)
        return bool(self._job)

    def to_text(self) -> None:
        """Focus the tokens."""
        self.query_one(TokenView).focus()

    # The tokens.

    def _score(self) -> None:
        if self._refusal is not None:
            self._explain(self._refusal)
            return
        if self._document is None:
            self._status.state = f"reading {self._file_name}"
            return
        if self._info is None:
            return
        self._job = self.runner.number()
        self._status.state = "waiting for the model"
        self.runner.score(self._job, DocumentAlone(self._document.text))

    @on(facts.ScoringStarted)
    def begin_tokens(self, event: facts.ScoringStarted) -> None:
        """So many tokens will come."""
        if event.job != self._job:
            return
        self._tokens, self._total = [], event.total
        self._due = 0.0
        self._strip.reset(info=self._info)
        self._tell()

    @on(facts.ScoresArrived)
    def add_tokens(self, event: facts.ScoresArrived) -> None:
        """Some have come."""
        if event.job != self._job:
            return
        self._tokens += event.tokens
        self._strip.extend(event.tokens)
        self._tell()
        begin = time.monotonic()
        if begin >= self._due:
            self._draw()
            end = time.monotonic()
            self._due = end + _SHARE * (end - begin)

    @on(facts.TokensScored)
    def end_tokens(self, event: facts.TokensScored) -> None:
        """All have come."""
        if event.job == self._job:
            self._end("ready" if event.tokens else "the file is empty")

    @on(facts.JobDropped)
    def end_dropped(self, event: facts.JobDropped) -> None:
        """It was stopped, or another model came."""
        if event.job == self._job:
            done, total = len(self._tokens), self._total
            self._end(f"stopped at {done:,} of {total:,} tokens")

    @on(facts.ScoreFailed)
    def show_failed(self, event: facts.ScoreFailed) -> None:
        """What came before stays."""
        if event.job == self._job:
            self._end(visible_line(event.error.title))
            self._show_error(event.error)

    def _end(self, state: str) -> None:
        self._job = 0
        self._status.state = f"{state} · {self._file_name}"
        self._draw()

    def _tell(self) -> None:
        done, total = len(self._tokens), self._total
        self._status.state = f"scoring {done:,}/{total:,} tokens · {self._file_name}"

    @property
    def _file_name(self) -> str:
        return visible_line(self._path.name)

    def _draw(self) -> None:
        view = self.query_one(TokenView)
        view.show(self._tokens, index=view.index)
        self._show_expected(view.index)

    @on(TokenView.TokenSelected)
    def show_token(self, event: TokenView.TokenSelected) -> None:
        """Another token is under the cursor."""
        self._show_expected(event.index)

    def _show_expected(self, index: int) -> None:
        if index >= len(self._tokens) or self._info is None:
            return
        token = self._tokens[index]
        if token.entropy is None:
            self._panel.clear(_NO_CONTEXT)
            return
        shown = expected(token, token.entropy, vocabulary=self._info.vocabulary)
        self._panel.title = f"Expected at token {index + 1}"
        self._panel.show(shown, chosen=token.id)

    def action_leave(self) -> None:
        """Stop, or close."""
        if not self.stop_work():
            self.app.pop_screen()


def expected(token: ScoredToken, entropy: float, *, vocabulary: int) -> Distribution:
    """What the model expected in place of a scored token, for the panel. Nothing was
    drawn there, so nothing was cut; and it can't be drawn again."""
    listed = sum(candidate.prob for candidate in token.top)
    return Distribution(
        candidates=token.top,
        start=0,
        vocabulary=vocabulary,
        rest_prob=max(0.0, 1.0 - listed),
        rest_sampled_prob=0.0,
        kept=vocabulary,
        kept_prob=1.0,
        entropy=entropy,
        handle=-1 - token.index,
    )
