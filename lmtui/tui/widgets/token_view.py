"""A text as tokens, shaded by surprisal, with what the model thought of one of them.

Owns the two lines below the text and the running sums. Knows no engine and no screen.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from rich.cells import cell_len
from textual.app import ComposeResult
from textual.message import Message
from textual.widget import Widget

from lmtui import notation, surprisal_scale
from lmtui.surprisal_scale import Shade
from lmtui.text import visible_token
from lmtui.tui.widgets.cells import clip, pack_best
from lmtui.tui.widgets.styled_lines import Line, Part, StyledLines
from lmtui.tui.widgets.surprisal_styles import (
    CLASSES,
    DIFFERENCE_CLASSES,
    difference_sheet,
    sheet,
)
from lmtui.tui.widgets.token_cursor import TokenText
from lmtui.tui.widgets.token_lines import Token, TokenGroup

_STEP = 1024  # tokens between two sums that are kept


class RunningSums:
    """The sums over the first tokens of a text."""

    def __init__(self, tokens: Sequence[Token]) -> None:
        self._tokens = tokens
        self._kept: list[float | None] = [0.0]
        """Of so many steps; None from the first that lacks a number."""

    def upto(self, index: int) -> float | None:
        """Σ log P up to and with a token; None until the first that has a number, and
        where not all are read up to there. A first token has none, nor any part."""
        while len(self._kept) <= index // _STEP:
            first = _STEP * (len(self._kept) - 1)
            self._kept.append(self._added(self._kept[-1], first, first + _STEP))
        first = index - index % _STEP
        total = self._added(self._kept[index // _STEP], first, index + 1)
        only_first = not index and self._tokens[0].logprob is None
        return None if only_first else total

    def _added(self, total: float | None, first: int, end: int) -> float | None:
        for place, token in enumerate(self._tokens[first:end], first):
            if token.logprob is not None and total is not None:
                total += token.logprob
            elif place:
                return None
        return total


class TokenLegend(StyledLines):
    """The measure, and its six steps."""

    COMPONENT_CLASSES: ClassVar[set[str]] = {
        "legend--quiet",
        *CLASSES,
        *DIFFERENCE_CLASSES,
    }
    DEFAULT_CSS = f"""
    TokenLegend {{ height: 1; color: $quiet; }}
    TokenLegend > .legend--quiet {{ color: $quiet; }}
    {sheet("TokenLegend")}
    {difference_sheet("TokenLegend")}
    """

    def __init__(self, hint: str = "m: next shading", *, id: str | None = None) -> None:
        super().__init__(id=id)
        self._hint = f"  {hint}"
        self._measure: Shade = "surprisal"

    def show(self, measure: Shade) -> None:
        """Explain this measure."""
        self._measure = measure
        self.refresh()

    def lines(self, width: int, height: int) -> list[Line]:
        """The longest form that fits."""
        measure, quiet = self._measure, "legend--quiet"
        kind = "difference" if measure == "difference" else "surprise"
        labels, unit = surprisal_scale.legend(measure), surprisal_scale.unit(measure)
        after = f" {unit}" if unit else ""
        explained = surprisal_scale.explained(measure)
        forms = (
            (explained, measure, after + self._hint),
            (explained, measure, after),
            (labels, measure, after + self._hint),
            (labels, measure, after),
            (labels, "", after),
            (labels, "", ""),
        )
        line: list[Part] = []
        for words, name, rest in forms:
            line = [(f"{name} " if name else "", quiet)]
            for step, label in enumerate(words):
                line += [(" ", quiet), (label, f"{kind}--{step}")]
            line.append((rest, quiet))
            if sum(cell_len(text) for text, _ in line) <= width:
                break
        return [line]


Forms = Sequence[Sequence[str]]
"""The same sentence, ever shorter, in parts."""


class TokenDetail(StyledLines):
    """Two lines about the token under the cursor, each as long as fits."""

    DEFAULT_CSS = """
    TokenDetail {
        height: 2;
        color: $quiet;
    }
    """

    def __init__(self) -> None:
        super().__init__()
        self._sentences: tuple[Forms, ...] = ()

    def show(self, *lines: Forms) -> None:
        """Say this."""
        self._sentences = lines
        self.refresh()

    def lines(self, width: int, height: int) -> list[Line]:
        """Each sentence in the longest form that fits."""
        return [[(pack_best(forms, width)[0], "")] for forms in self._sentences]


class TokenView(Widget):
    """A text as tokens, and below it what the model thought of one of them."""

    HELP = """\
Arrows and the mouse walk the tokens, with Shift they select; n and N jump to the next
and the previous surprise. Plain text was expected; the more colour, underline and
reverse, the less the model expected it: the line below the text says what each shade
means, and m shades by something else. Below that: log P of the token in nats, its
surprisal in bits, its probability and rank, and the sum of log P up to and with this
token. A first step of surprisal below 0.32 bits is a probability above 0.8. Where a row
goes on with a line, · is a space at its beginning.
"""

    DEFAULT_CSS = """
    TokenView { height: 1fr; layout: vertical; }
    """

    @dataclass
    class TokenSelected(Message):
        """The cursor stands on this token."""

        index: int

    @dataclass
    class SelectionChanged(Message):
        """Other tokens are selected, or none: the first, and the one behind the
        last."""

        selection: tuple[int, int] | None

    def __init__(self, *, id: str | None = None, classes: str = "") -> None:
        super().__init__(id=id, classes=classes)
        self._text = TokenText()
        self._legend = TokenLegend()
        self._detail = TokenDetail()
        self._tokens: tuple[Token, ...] = ()
        self._sums = RunningSums(())
        self._differences: tuple[float | None, ...] = ()

    def compose(self) -> ComposeResult:
        """The text above, the detail below."""
        yield self._text
        yield self._legend
        yield self._detail

    def focus(self, scroll_visible: bool = True) -> TokenView:
        """The text takes the keys."""
        self._text.focus(scroll_visible)
        return self

    def explain(self, words: str) -> None:
        """Say why there is no token."""
        self._text.empty = words
        self._text.refresh()

    @property
    def index(self) -> int:
        """The token under the cursor."""
        return self._text.index

    @property
    def first_seen(self) -> int:
        """The first token on the screen."""
        return self._text.first_seen

    @property
    def tokens(self) -> tuple[Token, ...]:
        """What is shown."""
        return self._tokens

    @property
    def selection(self) -> tuple[int, int] | None:
        """The first token that is selected, and the one behind the last."""
        return self._text.selection

    def show(
        self,
        tokens: Sequence[Token],
        *,
        index: int = 0,
        open_end: bool = False,
        own: int | None = None,
    ) -> None:
        """Show these tokens, with the cursor on one of them; with an open end it can
        stand behind the last, too. Those from `own` on are marked as not of the text
        itself."""
        self._tokens = tuple(tokens)
        self._sums = RunningSums(self._tokens)
        last = len(self._tokens) - (not open_end)
        index = max(0, min(index, last))
        self._text.show(self._tokens, index, open_end=open_end, own=own)
        self._tell()

    def show_text(self, text: str) -> None:
        """Show a text that is not cut into tokens yet, until it is."""
        self._text.show_text(text)

    def rescore(self, tokens: Sequence[Token]) -> None:
        """The same tokens have other numbers."""
        self._tokens = tuple(tokens)
        self._sums = RunningSums(self._tokens)
        self._text.rescore(self._tokens)
        self._tell()

    def compare(self, differences: Sequence[float | None]) -> None:
        """Show how many bits more another model expected each of the first tokens; none
        where nothing is compared."""
        self._differences = tuple(differences)
        self._text.compare(self._differences)
        self._tell()

    def select(self, index: int) -> None:
        """Walk to a token; posts `TokenSelected` where that is another one."""
        self._text.move(index)

    def select_all(self, first: int, end: int) -> None:
        """Select the tokens from `first` to before `end`."""
        self._text.select(first, end)

    def on_token_text_moved(self, event: TokenText.Moved) -> None:
        """Say it below, and tell the screen."""
        event.stop()
        self._tell()
        self.post_message(self.TokenSelected(event.index))

    def on_token_text_selected(self, event: TokenText.Selected) -> None:
        """Tell the screen."""
        event.stop()
        self.post_message(self.SelectionChanged(event.selection))

    def on_token_text_remeasured(self, event: TokenText.Remeasured) -> None:
        """Explain the new shades."""
        event.stop()
        self._legend.show(event.measure)

    def _tell(self) -> None:
        piece = self._text.piece
        index, count = self._text.index, len(self._tokens)
        if piece is None:
            total = self._sums.upto(count - 1) if count else None
            self._detail.show(*end_lines(count, total))
            return
        token, total = self._tokens[index], self._sums.upto(index)
        above, below = detail_lines(token, index, count, total, piece)
        if self._differences:
            known = index < min(self._text.own, len(self._differences))
            told = notation.difference(self._differences[index] if known else None)
            below = tuple((f"other model {told} bits", *form) for form in below)
        self._detail.show(above, below)


def end_lines(count: int, total: float | None) -> tuple[Forms, ...]:
    """What is said behind the last token; nothing where there is none."""
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


def detail_lines(
    token: Token, index: int, count: int, total: float | None, piece: TokenGroup
) -> tuple[Forms, Forms]:
    """What is said about a token, on two lines, each ever shorter."""
    place, name = f"{index + 1:,}/{count:,}", visible_token(token.text)
    part = ""
    if piece.count > 1:
        part = f" part {index - piece.first + 1} of {piece.count}"
    nats = notation.log_prob(token.logprob)
    in_bits = notation.surprisal(token.logprob)
    above = (
        (
            f"{place} “{clip(name, 20)}”{part}",
            f"log P {nats} nats",
            f"surprisal {in_bits} bits",
        ),
        (f"{place} “{clip(name, 20)}”{part}", f"log P {nats}", f"{in_bits} bits"),
        (f"{place} “{clip(name, 8)}”", f"log P {nats}", f"{in_bits} bits"),
        (place, f"log P {nats}", f"{in_bits} bits"),
        (place, f"log P {nats}"),
    )
    prob = None if token.logprob is None else math.exp(min(0.0, token.logprob))
    likely = (f"p {notation.percent(prob)}", f"rank {notation.count(token.rank)}")
    sums = _sum_forms("Σ to here", total)
    below = (*((*likely, *form) for form in sums), *sums[-1:])
    return above, below
