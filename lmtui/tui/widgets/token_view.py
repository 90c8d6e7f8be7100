"""A text as tokens, shaded by surprisal, with details of the token under the cursor.

Knows no engine and no screen.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from rich.cells import cell_len
from textual import on
from textual.app import ComposeResult
from textual.reactive import reactive
from textual.widget import Widget

from lmtui import notation, surprisal_scale
from lmtui.analysis.compare import ComparedSpan
from lmtui.engine.scoring.totals import typicality
from lmtui.surprisal_scale import Shade
from lmtui.text import bytes_text, visible_token
from lmtui.tui.widgets.cells import Forms, clip, fit_best
from lmtui.tui.widgets.styled_lines import Line, Part, StyledLines
from lmtui.tui.widgets.surprisal_styles import (
    difference_sheet,
    sheet,
)
from lmtui.tui.widgets.token_cursor import TokenText
from lmtui.tui.widgets.token_lines import Token, TokenGroup, is_forced

_STEP = 1024  # tokens between two cached sums


class RunningSums:
    """Prefix sums of the log probabilities of a text's tokens."""

    def __init__(self, tokens: Sequence[Token]) -> None:
        self._tokens = tokens
        self._checkpoints: list[float | None] = [0.0]
        """Sum before each multiple of `_STEP` tokens; None from the first unscored
        token on."""

    def upto(self, index: int) -> float | None:
        """Return Σ log P up to and including token `index`; None where a token before
        or at it is not scored yet. The first token of a text has no logprob and does
        not count; its own sum is None."""
        while len(self._checkpoints) <= index // _STEP:
            first = _STEP * (len(self._checkpoints) - 1)
            total = self._add_logprobs(self._checkpoints[-1], first, first + _STEP)
            self._checkpoints.append(total)
        first = index - index % _STEP
        total = self._add_logprobs(self._checkpoints[index // _STEP], first, index + 1)
        only_first = not index and self._tokens[0].logprob is None
        return None if only_first else total

    def _add_logprobs(self, total: float | None, first: int, end: int) -> float | None:
        for index, token in enumerate(self._tokens[first:end], first):
            if token.logprob is not None and total is not None:
                total += token.logprob
            elif index:
                return None
        return total


class TokenLegend(StyledLines):
    DEFAULT_CSS = f"""
    TokenLegend {{ height: 1; color: $quiet; }}
    TokenLegend > .legend--quiet {{ color: $quiet; }}
    {sheet("TokenLegend")}
    {difference_sheet("TokenLegend")}
    """

    measure: reactive[Shade] = reactive[Shade]("surprisal")

    def __init__(self, hint: str = "m: next shading", *, id: str | None = None) -> None:
        super().__init__(id=id)
        self._hint = f"  {hint}"

    def lines(self, width: int, height: int) -> list[Line]:
        measure, quiet = self.measure, "legend--quiet"
        kind = "difference" if measure == "difference" else "surprise"
        labels, unit = surprisal_scale.legend(measure), surprisal_scale.unit(measure)
        unit_text = f" {unit}" if unit else ""
        explained = surprisal_scale.explained(measure)
        forms = (
            (explained, measure, unit_text + self._hint),
            (explained, measure, unit_text),
            (labels, measure, unit_text + self._hint),
            (labels, measure, unit_text),
            (labels, "", unit_text),
            (labels, "", ""),
        )
        line: list[Part] = []
        for texts, name, rest in forms:
            line = [(f"{name} " if name else "", quiet)]
            for step, label in enumerate(texts):
                line += [(" ", quiet), (label, f"{kind}--{step}")]
            line.append((rest, quiet))
            if sum(cell_len(text) for text, _ in line) <= width:
                break
        return [line]


class TokenDetail(StyledLines):
    DEFAULT_CSS = """
    TokenDetail {
        height: 2;
        color: $quiet;
    }
    """

    sentences: reactive[tuple[Forms, ...]] = reactive(())

    def lines(self, width: int, height: int) -> list[Line]:
        return [[(fit_best(forms, width)[0], "")] for forms in self.sentences]


class TokenView(Widget):
    HELP = """\
Arrows and the mouse move by token, Shift selects; n and N jump to the next and the
previous surprise. Plain text was expected; more colour, underline and reverse mean less
expected: the legend below the text says what each shade means, and m switches the
measure. Below that: log P of the token in nats, its surprisal in bits, its probability
and rank, and the sum of log P up to this token. The first step, below 0.32 bits, is a
probability above 0.8. Slanted text, called forced below, is what a grammar left no
choice of; its surprisal is what the model thought of that. Where a row continues a
line, · is a space at its beginning.
"""

    DEFAULT_CSS = """
    TokenView { height: 1fr; layout: vertical; }
    """

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self._text = TokenText()
        self._legend = TokenLegend()
        self._detail = TokenDetail()
        self._tokens: tuple[Token, ...] = ()
        self._sums = RunningSums(())
        self.differences: tuple[float | None, ...] = ()
        self._spans: Mapping[int, ComparedSpan] = {}

    def compose(self) -> ComposeResult:
        yield self._text
        yield self._legend
        yield self._detail

    def focus(self, scroll_visible: bool = True) -> TokenView:
        self._text.focus(scroll_visible)
        return self

    def explain(self, message: str) -> None:
        self._text.empty = message
        self._text.refresh()

    @property
    def index(self) -> int:
        return self._text.index

    @property
    def first_seen(self) -> int:
        return self._text.first_seen

    @property
    def tokens(self) -> tuple[Token, ...]:
        return self._tokens

    @property
    def selection(self) -> tuple[int, int] | None:
        return self._text.selection

    def show(
        self,
        tokens: Sequence[Token],
        *,
        index: int = 0,
        open_end: bool = False,
        own: int | None = None,
    ) -> None:
        """Show these tokens with the cursor at `index`. With `open_end` the cursor can
        stand behind the last token. Tokens from `own` on are drawn as not part of the
        text itself."""
        self._tokens = tuple(tokens)
        self._sums = RunningSums(self._tokens)
        last = len(self._tokens) - (not open_end)
        index = max(0, min(index, last))
        self._text.show(self._tokens, index, open_end=open_end, own=own)
        self._show_detail()

    def show_text(self, text: str) -> None:
        self._text.show_text(text)

    def rescore(self, tokens: Sequence[Token]) -> None:
        self._tokens = tuple(tokens)
        self._sums = RunningSums(self._tokens)
        self._text.rescore(self._tokens)
        self._show_detail()

    def compare(
        self, differences: Sequence[float | None], spans: Mapping[int, ComparedSpan]
    ) -> None:
        """Show how many bits more another model expected each of the first tokens, and
        its numbers at the cursor: of the span that the token is in. An empty sequence
        ends the comparison."""
        self.differences, self._spans = tuple(differences), spans
        self._text.compare(self.differences)
        self._detail.styles.height = 3 if differences else 2
        self._show_detail()

    def select(self, index: int) -> None:
        self._text.move(index)

    def select_all(self, first: int, end: int) -> None:
        self._text.select(first, end)

    def on_token_text_remeasured(self, event: TokenText.Remeasured) -> None:
        self._legend.measure = event.measure

    @on(TokenText.CursorMoved)
    def _show_detail(self) -> None:
        piece = self._text.piece
        index, count = self._text.index, len(self._tokens)
        if piece is None:
            total = self._sums.upto(count - 1) if count else None
            self._detail.sentences = end_lines(count, total)
            return
        token, total = self._tokens[index], self._sums.upto(index)
        lines: tuple[Forms, ...] = detail_lines(token, index, count, total, piece)
        if self.differences:
            span = self._spans.get(index) if index < self._text.own else None
            lines = (*lines, other_line(span))
        self._detail.sentences = lines


def end_lines(count: int, total: float | None) -> tuple[Forms, ...]:
    if not count:
        return ()
    above = ((notation.counted(count, "token"), "here the text ends"), ("the end",))
    return above, _sum_forms(notation.LOG_PROB.short, total)


def _sum_forms(name: str, total: float | None) -> Forms:
    nats, in_bits = notation.log_prob(total), notation.surprisal(total)
    return (
        (f"{name} {nats} nats", f"surprisal {in_bits} bits"),
        (f"{name} {nats} nats", f"{in_bits} bits"),
        (f"{name} {nats} nats",),
        (f"{name} {nats}",),
    )


def other_line(span: ComparedSpan | None) -> Forms:
    """Return the line of the other model's own numbers for a span, and by how much they
    differ from the first's."""
    name = "other model"
    if span is None:
        return ((f"{name}: scored on the text only",),)
    tokens = [token for token, _ in span.others]
    if not tokens:
        return ((f"{name}: no token here",),)
    if span.other_logprob is None:
        return ((f"{name}: no context here",),)
    if len(tokens) > 1 or len(span.tokens) > 1:  # where each cuts the text otherwise
        words = b"".join(token.bytes for token in tokens)
        name += f" “{clip(visible_token(bytes_text(words)), 20)}”"
    numbers = [f"{notation.surprisal(span.other_logprob)} bits"]
    numbers.append(f"p {notation.chance(math.exp(min(0.0, span.other_logprob)))}")
    if len(tokens) == 1:
        numbers.append(f"rank {notation.rank(tokens[0].rank)}")
    short = (name, *numbers)
    log_prob = f"log P {notation.log_prob(span.other_logprob)} nats"
    long = (name, log_prob, *numbers)
    if span.bits is None:
        return long, short, short[1:]
    apart = f"difference {notation.difference(span.bits)} bits"
    return (*long, apart), (*short, apart), short, (name, *numbers[:1])


def detail_lines(
    token: Token, index: int, count: int, total: float | None, piece: TokenGroup
) -> tuple[Forms, Forms]:
    position, name = f"{index + 1:,}/{count:,}", visible_token(token.text)
    part = ""
    if piece.count > 1:
        part = f" part {index - piece.first + 1} of {piece.count}"
    if is_forced(token):
        part += ", forced"
    sums = _sum_forms("Σ to here", total)
    if index and token.logprob is None and token.rank is None:
        unscored = (f"{position} “{clip(name, 20)}”{part}", "not scored")
        return (unscored, (position,)), sums
    nats = notation.log_prob(token.logprob)
    in_bits = notation.surprisal(token.logprob)
    above = (
        (
            f"{position} “{clip(name, 20)}”{part}",
            f"log P {nats} nats",
            f"surprisal {in_bits} bits",
        ),
        (f"{position} “{clip(name, 20)}”{part}", f"log P {nats}", f"{in_bits} bits"),
        (f"{position} “{clip(name, 8)}”", f"log P {nats}", f"{in_bits} bits"),
        (position, f"log P {nats}", f"{in_bits} bits"),
        (position, f"log P {nats}"),
    )
    prob = None if token.logprob is None else math.exp(min(0.0, token.logprob))
    likely = (
        f"p {notation.chance(prob)}",
        f"rank {notation.rank(token.rank)}",
    )
    z = typicality(token)
    typical = () if z is None else (f"typicality {notation.number(z, '.1f')}",)
    below = (
        (*likely, *typical, *sums[0]),
        *((*likely, *form) for form in sums),
        *sums[-1:],
    )
    return above, below
