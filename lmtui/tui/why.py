"""Why this token: which parts of what was read made a target likely.

Each part is left out in turn. The page shades the text by what that does, lists the
strongest parts, and draws the distribution with and without the one under the cursor.
Returns the part to go to.
"""

from __future__ import annotations

import math
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import accumulate
from typing import Any, ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical
from textual.content import Content
from textual.screen import ModalScreen
from textual.widgets import OptionList

from lmtui import notation
from lmtui.analysis.attribution import (
    AS_TOKENS,
    Attribution,
    Effect,
    Granularity,
    Source,
    pieces_of,
)
from lmtui.engine.protocol import Engine
from lmtui.engine.sampling_settings import SamplingSettings
from lmtui.engine.types import (
    Candidate,
    Distribution,
    ScoredToken,
)
from lmtui.errors import LmtuiError
from lmtui.text import visible_token
from lmtui.tui.controller import Controller
from lmtui.tui.dialogs import choose
from lmtui.tui.engine.client import EngineClient
from lmtui.tui.screen import ModelScreen, leave_with_model
from lmtui.tui.widgets.cells import clip, fit_best
from lmtui.tui.widgets.dialog_list import DialogList
from lmtui.tui.widgets.plain_text import PlainLine, PlainText, plain_line
from lmtui.tui.widgets.probability_panel import ProbabilityPanel
from lmtui.tui.widgets.token_cursor import TokenText
from lmtui.tui.widgets.token_view import TokenLegend
from lmtui.worker.requests import Context, Slot

Subject = Callable[[Engine], Attribution]
"""Made on the worker's thread, which alone may call its methods."""
Part = tuple[Source, Effect]

_FRAME = 4  # cells beside the text
_NAME = 40  # cells of a target
_UNITS: tuple[Granularity, ...] = ("turn", "sentence", "line", "word", "token")
_FOOT = "t other parts · Tab list · Enter goes there · Esc closes"
_AWAITED = "It is read first."
_CHOOSE = "Arrows choose a part."
NOTHING_BEFORE = "Nothing stands before it that could be left out."
NOTHING_LEFT = "Without what stands before it, nothing is left to predict it from."
_CAUTION = "Two parts that say the same can each have no effect: the other stays."


class WhyController(Controller):
    """Opens the page; a screen says what it asks about."""

    def __init__(self, client: EngineClient, screen: ModelScreen) -> None:
        self._client, self._screen = client, screen

    def open(self, subject: Subject, then: Callable[[Source, Effect], object]) -> None:
        """Show the page about what `subject` makes; `then` goes to a part. It may be a
        coroutine."""
        why_not = self.lacks("scores")
        if why_not or not self.has_model:
            no_model = "No model is loaded yet."
            self._screen.notify(why_not if self.has_model else no_model)
            return

        page = WhyScreen(self._client, subject)
        choose(self._screen, page, lambda part: self._screen.call_later(then, *part))


class PartsText(TokenText):
    """The text that was read, its parts shaded by their effects."""

    def __init__(self) -> None:
        super().__init__()
        self.empty = "The text appears here once it is tokenized."
        self._starts: list[int] = []

    @property
    def at(self) -> int:
        """Offset of what is under the cursor, in code points."""
        return self._starts[self.index] if self._starts else 0

    def show_parts(
        self, parts: Sequence[tuple[str, float | None]], at: int, cursor: int
    ) -> None:
        """Draw texts with the bits of each; what begins at offset `at` or later is the
        target. The cursor stands on the part that has the offset `cursor`."""
        starts = [0, *accumulate(len(text) for text, _ in parts)][: len(parts)]
        tokens = [
            ScoredToken(index, 0, text, text.encode(), None, None, None)
            for index, (text, _) in enumerate(parts)
        ]
        self._starts, self._measure = starts, "difference"
        self._differences = [bits for _, bits in parts]
        index = max(0, bisect_right(starts, cursor) - 1)
        self.show(tokens, index, own=bisect_left(starts, at))

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        selects = any(each is True for each in parameters)  # 1 is a step
        if selects or action in ("surprise", "measure", "spaces"):
            return False
        return super().check_action(action, parameters)

    def move_to(self, offset: int) -> None:
        self.move(max(0, bisect_right(self._starts, offset) - 1))


class WhyScreen(ModalScreen[Part | None]):
    """The parts of what was read with their effects. Returns the part to go to."""

    HELP = """\
Each part of what the model read is left out in turn, and its effect is by how many bits
that lowers log P of the target, which stands at the end in italics: + made it likelier,
− argued against it. More colour is more bits; without colours a sign stands there too.
The list has the strongest parts with their places (line:column), and says how many more
there are. In a conversation, what the answer itself says so far stands last, in grey:
it nearly always has the greatest effect. Below is the distribution of the target's
first token as it is, and as it would be without the part under the cursor.
An effect is no explanation of the network. Two parts that say the same can each have
none, since the other stays; and effects of parts do not add up to that of the whole.
A part is left out with the white space before it (at the beginning that behind it), and
the text is tokenized anew; where that would not give the tokens that were read, they
are left out as they are, as a single token is. What the template of a conversation
writes around a message stays, and messages that were not sent are no parts.
"""
    CSS_PATH = "why.tcss"
    HORIZONTAL_BREAKPOINTS = [(0, "-narrow"), (100, "-wide")]  # noqa: RUF012
    VERTICAL_BREAKPOINTS = [(0, "-low"), (30, "-high")]  # noqa: RUF012
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("t", "unit", "Other parts", id="why.unit",
                tooltip="Leave out turns, sentences, lines, words or tokens."),
        Binding("enter", "take", "Go there", id="why.take",
                tooltip="Close the page, with the cursor at this part."),
        Binding("escape", "dismiss", "Close", id="why.close",
                tooltip="Back, with the cursor where it was."),
    ]  # fmt: skip

    def __init__(self, client: EngineClient, subject: Subject) -> None:
        super().__init__()
        self._client, self._make = client, subject
        self._subject: Attribution | None = None  # only what is known is read here
        self._by: Granularity | None = None  # the coarsest
        self._effects: set[Effect] = set()
        self._error: LmtuiError | None = None
        self._current: Effect | None = None
        self._rows: list[Effect] = []
        self._is_done = self._has_moved = False
        self._text, self._list = PartsText(), DialogList(id="list")
        self._panels = (
            ProbabilityPanel(id="with", title="As it is"),
            ProbabilityPanel(id="without", title="Without the part"),
        )

    def compose(self) -> ComposeResult:
        with Vertical(id="dialog"):
            yield PlainLine(id="title")
            with Horizontal(id="parts"):
                with Vertical(id="left"):
                    yield self._text
                    yield TokenLegend("")
                with Vertical(id="right"):
                    yield PlainLine("The strongest parts", id="heading")
                    yield self._list
            with Horizontal(id="panels"):
                yield from self._panels
            yield PlainText(id="notes")
            yield PlainLine(_FOOT, id="foot")

    def on_mount(self) -> None:
        self.query_one(TokenLegend).measure = "difference"
        for panel in self._panels:
            panel.can_focus = False
            panel.clear(_AWAITED)
        self._text.focus()
        leave_with_model(self)
        self._ask()

    def on_unmount(self) -> None:
        self._client.cancel()

    # Asking.

    def _ask(self) -> None:
        self._effects, self._rows, self._current = set(), [], None
        self._is_done = self._has_moved = False
        self._error = None
        make, by, subject = self._make, self._by, self._subject

        def run(engine: Engine, context: Context) -> float | None:
            nonlocal subject
            if subject is None:
                subject = make(engine)
            is_predicted = subject.logprob is not None
            context.emit(subject)
            if is_predicted:
                for effect in subject.effects(by or subject.coarsest):
                    context.gather(effect)
            return subject.logprob_without_all

        self._client.ask(Slot.REPLACE, run, self._finish, self._fail, batch=self._take)
        self._show()

    def _take(self, values: tuple[Any, ...]) -> None:
        for value in values:
            if isinstance(value, Effect):
                self._effects.add(value)
            elif self._subject is None:
                self._subject = value
                self._look()
        self._show()

    def _finish(self, _: float | None) -> None:
        self._is_done = True
        if not self._has_moved:
            self._choose(self._rows[0] if self._rows else None)
        self._show()

    def _fail(self, error: LmtuiError) -> None:
        self._is_done, self._error = True, error
        self._show()

    # The distributions at one part.

    def _choose(self, effect: Effect | None) -> None:
        self._current = effect
        self._panels[1].outdate()
        self._look()

    def _look(self) -> None:
        subject, effect = self._subject, self._current
        if subject is None or subject.logprob is None:
            for panel in self._panels:
                panel.clear(NOTHING_BEFORE)
            return

        def run(engine: Engine, _: object) -> list[tuple[Distribution, ScoredToken]]:
            contexts = [(subject.ids, subject.logprob)]
            if effect is not None and effect.logprob_without is not None:
                without = subject.ids_without(effect), effect.logprob_without
                contexts.append(without)
            token = engine.describe_tokens(subject.target[:1])[0]
            shown = []
            for ids, logprob in contexts:
                if len(subject.target) > 1:
                    logprob = engine.target_logprob(ids, [token.id])
                token = replace(token, logprob=logprob)
                found = engine.next_distribution(ids, SamplingSettings())
                shown.append((_as_listed(found, token), token))
            return shown

        self._client.ask(Slot.LOOK, run, self._show_panels, self._show_no_panels)

    def _show_panels(self, shown: list[tuple[Distribution, ScoredToken]]) -> None:
        for panel, (distribution, token) in zip(self._panels, shown, strict=False):
            panel.show(distribution, chosen=token)
        title, effect = "Without the part", self._current
        if len(shown) < len(self._panels):
            self._panels[1].clear(self._missing or _CHOOSE)
        elif effect is not None:
            bits = notation.surprisal(effect.logprob_without)
            title = f"{bits} bits without “{clip(effect.shown, _NAME)}”"
        self._panels[1].title = title

    def _show_no_panels(self, error: LmtuiError) -> None:
        for panel in self._panels:
            panel.clear(f"{error}. {error.hint}")

    # Drawing.

    def _show(self) -> None:
        if (subject := self._subject) is not None:
            cursor = self._text.at + self._base
            if not self._has_moved:
                current = self._current
                cursor = subject.span_of(current)[0] if current else subject.at
            base = self._base
            bits = {subject.span_of(effect): effect.bits for effect in self._effects}
            pieces = pieces_of(subject.text, base, subject.at, bits)
            self._text.show_parts(pieces, subject.at - base, cursor - base)
            self._show_list(subject)
        self._show_words()

    @property
    def _base(self) -> int:
        """Where what is read begins: of a long text, only the end is."""
        sources = self._subject.sources if self._subject else []
        return sources[0].start if len(sources) == 1 else 0

    def _show_list(self, subject: Attribution) -> None:
        rows, hidden = subject.listed(self._effects)
        forms = [["The strongest parts", hidden], ["The strongest parts"]]
        self._update("heading", fit_best(forms[not hidden :], self._list.size.width)[0])
        with self.prevent(OptionList.OptionHighlighted):
            if rows != self._rows:
                self._rows = rows
                self._list.set_options(self._row(subject, e) for e in rows)
            current = self._current
            self._list.highlighted = rows.index(current) if current in rows else None

    def _row(self, subject: Attribution, effect: Effect) -> Content:
        source = subject.sources[effect.source]
        kind = _kind(source, effect)
        place = subject.location_of(effect)
        colour = "$prob-raw" if (effect.bits or 0.0) > 0 else "$cut"
        name = f"{source.name}: " if source.name else ""
        return plain_line(
            (f"{notation.difference(effect.bits):>6} ", colour),
            (f"{kind if effect.by == 'turn' else place:<7}", "$quiet"),
            f"{name}{clip(effect.shown, _NAME)}",
        ).stylize("$quiet" if kind == "text" else "")

    def _show_words(self) -> None:
        self._update("title", fit_best(self._titles(), self.size.width - _FRAME)[0])
        self._update("notes", self._notes())

    def _titles(self) -> list[list[str]]:
        """Return forms of the title, from the longest to the shortest."""
        if (subject := self._subject) is None:
            return [["Why?"]]
        text, is_token = subject.text[subject.at :], len(subject.target) == 1
        name = visible_token(text) if is_token else text.strip()
        parts = [f"Why “{clip(name, _NAME)}”?"]
        if subject.logprob is not None:
            parts.append(f"{notation.surprisal(subject.logprob)} bits")
            if is_token:
                parts.append(f"p {notation.chance(math.exp(subject.logprob))}")
            if self._is_done and not self._error and subject.logprob_without_all:
                alone = notation.surprisal(subject.logprob_without_all)
                parts.append(f"{alone} bits without any of this")
        return [parts[:count] for count in range(len(parts), 0, -1)]

    def _update(self, id_: str, words: str) -> None:
        self.query_one(f"#{id_}", PlainText).update(words)

    @property
    def _missing(self) -> str:
        """Why no part has an effect; empty where one has, or may have."""
        if any(effect.bits is not None for effect in self._effects):
            return ""
        missing = NOTHING_LEFT if self._effects else NOTHING_BEFORE
        return missing if self._is_done else ""

    def _notes(self) -> str:
        if self._error is not None:
            return f"{self._error}. {self._error.hint}"
        if not self._is_done:
            planned = self._subject.planned if self._subject else 0
            return f"{len(self._effects):,} of {planned:,} parts were left out so far."
        if self._missing:
            return self._missing
        if any(effect.as_tokens and effect.token is None for effect in self._effects):
            return f"{AS_TOKENS.capitalize()}."
        return _CAUTION

    # Keys, and what the widgets post.

    @on(TokenText.CursorMoved)
    def follow_cursor(self) -> None:
        if (subject := self._subject) is None:
            return
        self._has_moved = True
        at = self._text.at + self._base
        spans = {subject.span_of(effect): effect for effect in self._effects}
        over = [span for span in spans if span[0] <= at < span[1]]
        self._choose(spans[max(over)] if over else None)
        self._show_list(subject)
        self._show_words()

    @on(OptionList.OptionHighlighted)
    def follow_list(self, event: OptionList.OptionHighlighted) -> None:
        subject, at = self._subject, event.option_index
        if subject and self._list.has_focus and at < len(self._rows):
            self._has_moved = True
            self._choose(self._rows[at])
            with self.prevent(TokenText.CursorMoved):
                start, _ = subject.span_of(self._rows[at])
                self._text.move_to(start - self._base)
            self._show_words()

    @on(OptionList.OptionSelected)
    def action_take(self) -> None:
        subject, effect = self._subject, self._current
        if subject is None or effect is None:
            self.notify(_CHOOSE)
            return
        self.dismiss((subject.sources[effect.source], effect))

    def action_unit(self) -> None:
        if self._subject is None:
            return
        coarsest = self._subject.coarsest
        units = _UNITS[_UNITS.index(coarsest) :]
        self._by = units[(units.index(self._by or coarsest) + 1) % len(units)]
        self._ask()


def _as_listed(distribution: Distribution, token: ScoredToken) -> Distribution:
    """Return a distribution without what a sampler would do, as nothing is drawn, and
    with the probability of a token that is listed beside it: another pass may have
    rounded it otherwise."""
    rows = [
        row._replace(sampled_prob=None, cut=None, changed=None)
        if row.id != token.id or token.logprob is None
        else Candidate(row.id, row.text, row.bytes, token.logprob)
        for row in distribution.candidates
    ]
    return replace(distribution, candidates=tuple(rows))


def _kind(source: Source, effect: Effect) -> str:
    """Return what a part is: a file and the target's own text are no turns."""
    if effect.by != "turn":
        return effect.by
    return "file" if source.is_file else "turn" if source.name else "text"
