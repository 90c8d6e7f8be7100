"""Rewriting a part of the text by an instruction to a chat model.

The model's answer is shown beside what it would replace, with the surprisal of both, to
be taken or left. Its prompt is a conversation of its own: no token of it is one of the
file.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical, VerticalScroll
from textual.content import Content
from textual.screen import ModalScreen

from lmtui.editing.diff import word_diff
from lmtui.editing.positions import paragraph_at
from lmtui.engine.document.types import ScoredSpan
from lmtui.engine.text.thinking import thinking_in
from lmtui.engine.types import (
    ChatTurn,
    FinishReason,
    GenerationResult,
    Step,
)
from lmtui.errors import LmtuiError
from lmtui.notation import SURPRISAL, bits, counted, in_bits, number
from lmtui.tui.controller import Controller
from lmtui.tui.dialogs import uncover
from lmtui.tui.editor.offers import OfferController
from lmtui.tui.editor.options import Writing
from lmtui.tui.editor.text_area import GhostEditor
from lmtui.tui.engine.batches import generation_batch
from lmtui.tui.engine.client import EngineClient
from lmtui.tui.screen import ModelScreen
from lmtui.tui.widgets.cells import aligned
from lmtui.tui.widgets.line_prompt import LinePrompt, LineQuestion
from lmtui.tui.widgets.plain_text import PlainLine, PlainText, plain_text
from lmtui.worker.generation import run_generation
from lmtui.worker.partial_answers import emit_each
from lmtui.worker.requests import Slot

QUESTION = LineQuestion(
    "rewrite",
    "Rewrite",
    "shorter, plainer, in the past tense, …",
    lambda text: "" if text.strip() else "say how",
)
_PROMPT = (
    "Rewrite the following text: {instruction}. "
    "Answer with the rewritten text and nothing else.\n\n{text}"
)
_TRIES = 3  # more drafts where one is the same as before
_HOTTER = 0.3  # temperature that each of them adds
_STYLES = {"same": "", "removed": "$error strike", "added": "$success underline"}


@dataclass(frozen=True, slots=True)
class VersionBits:
    """Surprisal of a version of a part of the text, in bits."""

    own: float | None
    """None where a token has no score."""
    following: float | None
    """Of the rest of the paragraph; None where there is none."""

    @property
    def total(self) -> float | None:
        return None if self.own is None else self.own + (self.following or 0.0)


def version_bits(spans: Sequence[ScoredSpan], start: int, end: int) -> VersionBits:
    """Sum the surprisal of the tokens that begin from `start` up to `end`, and of those
    after them; a token counts once, though an interrupted run has scored it before. The
    first token of a text without context has none, and is left out."""
    own: dict[int, float | None] = {}
    following: dict[int, float | None] = {}
    for span in spans:
        for token, (first, _) in zip(span.tokens, span.spans, strict=True):
            cost = None if token.logprob is None else bits(token.logprob)
            if first >= start and (token.index or cost is not None):
                (own if first < end else following)[token.index] = cost
    return VersionBits(_total(own), _total(following) if following else None)


def _total(costs: Mapping[int, float | None]) -> float | None:
    scored = [cost for cost in costs.values() if cost is not None]
    return sum(scored) if len(scored) == len(costs) else None


class RewriteScreen(ModalScreen[str | None]):
    """A text and a rewritten version of it. Returns the version that is taken."""

    HELP = """\
What the new version leaves out is struck through, what it adds is underlined. The bits
are the surprisal of each version given the text before it, and of the rest of the
paragraph after it: fewer means that the model finds it likelier, not that it is better.
The first token of a text has no surprisal. First lines that only announce the new
version, and end in a colon, are left out. Where the model writes the same again, it is
asked up to three times more, at higher temperatures.
"""
    CSS_PATH = "rewrite.tcss"
    VERTICAL_BREAKPOINTS = [(0, "-low"), (36, "-high")]  # noqa: RUF012 (as the base's)
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("enter", "take", "Take", id="rewrite.take",
                tooltip="Put the new version in place of the text."),
        Binding("v", "marks", "Without marks", id="rewrite.version",
                tooltip="The new version alone, or with what it changes marked."),
        Binding("r", "again", "Again", id="rewrite.again",
                tooltip="Have another version written."),
        Binding("escape", "dismiss", "Leave", id="rewrite.leave",
                tooltip="Leave the text as it is."),
    ]  # fmt: skip

    def __init__(
        self, present: str, instruction: str, again: Callable[[], object]
    ) -> None:
        super().__init__()
        self._present, self._instruction, self._on_again = present, instruction, again
        self._version = ""
        self._ended = self._hides_marks = False
        self._note = "The model reads the text …"

    def compose(self) -> ComposeResult:
        with Vertical(id="dialog"):
            yield PlainLine(f"Rewritten: {self._instruction}", id="title")
            with VerticalScroll(id="page"):
                yield PlainText(id="words")
            yield PlainText(id="costs")
            yield PlainLine(id="foot")

    def on_mount(self) -> None:
        self.query_one("#page").focus()
        self._draw()

    def show(self, version: str) -> None:
        self._version, self._ended = version, False
        self._note = f"writing: {counted(len(version), 'character')}"
        self._update()

    def show_end(self, version: str, note: str) -> None:
        self._version, self._ended, self._note = version, bool(version), note
        self._update()

    def show_costs(self, costs: str) -> None:
        self._note = costs
        self._update()

    def show_error(self, error: LmtuiError) -> None:
        self._note = f"{error}. {error.hint}"
        self._update()

    def _update(self) -> None:
        if self.is_mounted:
            self._draw()

    def _draw(self) -> None:
        content: Content | str = self._version or self._present
        if self._ended and not self._hides_marks:
            parts = word_diff(self._present, self._version)
            content = plain_text(*((part.text, _STYLES[part.kind]) for part in parts))
        marks = "with" if self._hides_marks else "without"
        keys = f"Enter takes it · r writes another · v {marks} marks · "
        keys = keys if self._ended else ""
        self.query_one("#words", PlainText).update(content)
        self.query_one("#costs", PlainText).update(self._note)
        self.query_one("#foot", PlainLine).update(f"{keys}Esc leaves the text")

    def action_take(self) -> None:
        if self._ended:
            self.dismiss(self._version)

    def action_marks(self) -> None:
        self._hides_marks = not self._hides_marks
        self._draw()

    def action_again(self) -> None:
        if self._ended:
            self._on_again()


def cost_table(
    present: VersionBits, version: VersionBits, *, rough: bool = False
) -> str:
    """Return the bits of both versions, with those of what follows where there are any;
    `rough` ones, of fast weights, are rounded."""
    columns = [("text", present.own, version.own)]
    if present.following is not None or version.following is not None:
        columns += [
            ("what follows", present.following, version.following),
            ("sum", present.total, version.total),
        ]
    table: list[tuple[str, ...]] = [(SURPRISAL.full, "now", "rewritten")]
    for head, *costs in columns:
        cells = (
            f"≈{number(cost, ',.0f')}" if rough and cost is not None else in_bits(cost)
            for cost in costs
        )
        table.append((head, *cells))
    rows = list(zip(*table, strict=True))
    return "\n".join(aligned(rows, right=range(1, len(table))))


@dataclass(slots=True)
class _RewrittenPart:
    text: str
    start: int
    end: int
    revision: int
    instruction: str = ""
    version: str = ""
    earlier: set[str] = field(default_factory=set)
    """The versions that were shown before."""

    @property
    def present(self) -> str:
        return self.text[self.start : self.end]

    def with_version(self) -> str:
        return self.text[: self.start] + self.version + self.text[self.end :]


class RewriteController(OfferController):
    def __init__(
        self,
        client: EngineClient,
        screen: ModelScreen,
        editor: GhostEditor,
        ghost: Controller,
        writing: Writing,
    ) -> None:
        super().__init__(client, screen, editor, ghost)
        self._sampling, self._sampling_for = writing.sampling, writing.sampling_for
        self._part: _RewrittenPart | None = None

    def follow_model(self) -> None:
        if self.model.info is not None and self._sampling_for is not None:
            self._sampling = self._sampling_for(self.model.info)

    def ask(self, prompt: LinePrompt) -> None:
        editor = self._editor
        start, end = editor.selection_indexes
        if start == end:
            start, end = paragraph_at(editor.text, editor.cursor_index)
        if self.model.info is None:
            self._screen.notify("No model is loaded yet.")
        elif not self.model.info.has_template:
            self._screen.notify(
                "This model does not chat, so it takes no instruction; F5 has others."
            )
        elif not editor.text[start:end].strip():
            self._screen.notify("Select what is to be rewritten.")
        else:
            self._part = _RewrittenPart(editor.text, start, end, editor.revision)
            prompt.ask(QUESTION)

    def write(self, instruction: str) -> None:
        part = self._part
        if part is None or part.revision != self._editor.revision:
            self._screen.notify("The text has changed; ask again.")
            return
        part.instruction = instruction.strip()
        dialog = RewriteScreen(
            part.present, part.instruction, lambda: self._write(part, dialog)
        )
        uncover(dialog, self._editor.cursor_screen_offset.y)

        def replace_part(version: str) -> None:
            if part.revision == self._editor.revision:
                self._editor.replace_span(part.start, part.end, version)

        self._open(dialog, replace_part)
        self._write(part, dialog)

    def _write(
        self, part: _RewrittenPart, dialog: RewriteScreen, tries: int = 0
    ) -> None:
        self._client.cancel()  # the version before may still be scored
        prompt = _PROMPT.format(instruction=part.instruction, text=part.present.strip())
        pieces: list[str] = []

        def show_steps(steps: tuple[Step, ...]) -> None:
            pieces.extend(step.piece for step in steps)
            dialog.show("".join(pieces))

        def show_end(result: GenerationResult) -> None:
            written = "".join(pieces) + result.piece
            thought = thinking_in(written)
            part.version = version_of(
                part.present, written[thought.end if thought else 0 :]
            )
            is_same = part.version in part.earlier
            if is_same and tries < _TRIES:
                self._write(part, dialog, tries + 1)
                return
            is_cut = result.reason is FinishReason.LENGTH
            note = "cut at its longest length; " if is_cut else ""
            dialog.show_end(part.version, f"{note}both versions are scored …")
            if part.version:
                part.earlier.add(part.version)
                self._score(part, dialog, "The model writes no other." * is_same)
            else:
                dialog.show_end("", "The model has written nothing.")

        settings = replace(
            self._sampling,
            max_tokens=64 + len(part.present) // 2,
            seed=None,  # another one each time
            temperature=self._sampling.temperature + _HOTTER * tries,
        )
        turns, info = (ChatTurn("user", prompt),), self.model.info
        thinking = False if info and info.switches_thinking else None
        self._client.ask(
            Slot.GENERATE,
            lambda engine, context: run_generation(
                engine, context, turns, settings, top_n=1, thinking=thinking
            ),
            show_end,
            dialog.show_error,
            dropped=lambda: dialog.show_end("", "The model was interrupted."),
            batch=generation_batch(show_steps),
        )
        self._screen.activity.clear_notice()

    @property
    def status_text(self) -> str:
        if self._client.is_pending(Slot.GENERATE):
            return "rewriting"
        return "scoring both versions" if self._client.is_pending(Slot.SPAN) else ""

    def _score(self, part: _RewrittenPart, dialog: RewriteScreen, remark: str) -> None:
        if part.version == part.present:
            remark = "This version is the same text."

        def score_new(present: VersionBits) -> None:
            def show(version: VersionBits) -> None:
                costs = cost_table(present, version, rough=self.model.is_rough)
                dialog.show_costs(f"{costs}\n{remark}".rstrip())

            end = part.start + len(part.version)
            text = part.with_version()
            self._bits(text, part.start, end, show, dialog.show_error)

        self._bits(part.text, part.start, part.end, score_new, dialog.show_error)

    def _bits(
        self,
        text: str,
        start: int,
        end: int,
        then: Callable[[VersionBits], object],
        failed: Callable[[LmtuiError], object],
    ) -> None:
        spans: list[ScoredSpan] = []
        last = max(end, paragraph_at(text, max(start, end - 1))[1])
        self._client.ask(
            Slot.SPAN,
            emit_each(lambda engine: engine.document.score_span(text, start, last)),
            lambda _: then(version_bits(spans, start, end)),
            failed,
            batch=spans.extend,
        )


def version_of(present: str, written: str) -> str:
    """Return what a model wrote as a version of the present text: with the white space
    around that one, and without first lines that end in a colon, unless that one begins
    with such a line."""

    def is_preamble(text: str) -> bool:
        return text.partition("\n")[0].rstrip().endswith(":")

    inner = written.strip()
    while not is_preamble(present.lstrip()) and is_preamble(inner):
        inner = inner.partition("\n")[2].lstrip()
    if not inner:
        return ""
    lead = present[: len(present) - len(present.lstrip())]
    tail = present[len(present.rstrip()) :]
    return f"{lead}{inner}{tail}"
