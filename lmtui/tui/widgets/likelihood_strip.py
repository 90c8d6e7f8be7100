"""The strip below an answer: surprisal of each token, sums, speed and context use.

Takes tokens while they stream and times them; `GenerationResult` then replaces these
times by those the engine measured. Knows no engine and no screen.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Sequence
from itertools import groupby, pairwise
from operator import itemgetter

from textual.geometry import Size

from lmtui import notation
from lmtui import surprisal_scale as scale
from lmtui.engine.scoring.totals import mean_nll, perplexity
from lmtui.engine.types import EngineInfo, GenerationResult, ScoredToken, Step
from lmtui.notation import bits
from lmtui.tui.widgets.cells import Forms, clip, fit_best
from lmtui.tui.widgets.styled_lines import Line, Part, StyledLines
from lmtui.tui.widgets.surprisal_styles import sheet

CAPACITY = 512
"""Most columns that are kept; terminals are rarely wider."""

BLOCKS = " ▁▂▃▄▅▆▇█"
"""Column heights from empty to full, in eighths of a cell."""

EMPTY = "The surprise of each token appears here."
_BITS_PER_ROW = 8.0  # an eighth of a cell is one bit
_BARS = 2  # rows
_WIDE = 72  # width in cells from which two sentences share a line


class History:
    """Surprisal of each token, and sums. Beyond `CAPACITY` columns, neighbours are
    merged into their maximum: a column then stands for twice as many tokens."""

    def __init__(self) -> None:
        self.tokens = 0
        self.scored = 0
        self.logprob = 0.0
        """Sum over the scored tokens, in nats."""
        self._tokens_per_column = 1
        self._columns: list[float] = []

    def add(self, logprob: float | None) -> None:
        """Add the next token. One without a finite logprob has height 0 and no part in
        the totals."""
        is_known = logprob is not None and math.isfinite(logprob)
        height = bits(logprob) if logprob is not None and is_known else 0.0
        if self.tokens // self._tokens_per_column < len(self._columns):
            self._columns[-1] = max(self._columns[-1], height)
        else:
            self._columns.append(height)
        self.tokens += 1
        if logprob is not None and is_known:
            self.scored += 1
            self.logprob += logprob
        if len(self._columns) > CAPACITY:
            self._merge_columns()

    def _merge_columns(self) -> None:
        pairs = zip(self._columns[::2], [*self._columns[1::2], 0.0], strict=False)
        self._columns = [max(pair) for pair in pairs]
        self._tokens_per_column *= 2

    def columns(self, width: int) -> list[float]:
        """Return the whole history in at most `width` columns, in bits."""
        return squeeze(self._columns, width)

    @property
    def perplexity(self) -> float | None:
        """None without scored tokens, or where it is too large for a float."""
        return perplexity(mean_nll(self.logprob, self.scored))


def squeeze(values: Sequence[float], width: int) -> list[float]:
    """Return at most `width` columns, each the maximum of the values it stands for."""
    if len(values) <= width or width <= 0:
        return list(values) if width > 0 else []
    starts = [-(-index * len(values) // width) for index in range(width + 1)]
    return [max(values[start:end]) for start, end in pairwise(starts)]


def block(value: float, row: int, *, per_row: float) -> str:
    """Return the character of a column in one row, counted from below. The bottom row
    shows at least an eighth."""
    eighths = math.ceil((value - row * per_row) / per_row * 8)
    return BLOCKS[min(8, max(0, eighths, 1 if row == 0 else 0))]


class LikelihoodStrip(StyledLines):
    HELP = """\
Each column is a token, or the most surprising of its neighbours: an eighth of a cell is
one bit. Σ log P is the log-likelihood of everything shown, negative and in nats;
perplexity (ppl) is the exponential of its mean without the sign. "first token" is the
time from sending to the first token. Numbers that are not known yet are left out. With
a message in focus, all of this is about that message.
"""

    DEFAULT_CSS = f"""
    LikelihoodStrip {{
        height: auto;
        color: $foreground;
    }}
    LikelihoodStrip > .strip--number {{ color: $foreground; }}
    LikelihoodStrip > .strip--quiet {{ color: $quiet; }}
    {sheet("LikelihoodStrip", attributes=False)}
    """

    def __init__(
        self,
        *,
        clock: Callable[[], float] = time.monotonic,
        id: str | None = None,
    ) -> None:
        super().__init__(id=id)
        self.clock = clock
        self.history = History()
        self._info: EngineInfo | None = None
        self._prompt_tokens: int | None = None
        self._old_tokens = 0
        self._finish: GenerationResult | None = None
        self._timed = False
        self._started_at = self._last_at = clock()
        self._first_at: float | None = None
        self._first_batch = 0

    def reset(
        self,
        *,
        info: EngineInfo | None = None,
        prompt_tokens: int | None = None,
        before: Iterable[Step | ScoredToken] = (),
    ) -> None:
        """Clear the history and start the clock of a new answer. `before` are the
        tokens an answer that continues already has; `prompt_tokens`, None while it is
        unknown, includes them."""
        self.history = History()
        for step in before:
            self.history.add(step.logprob)
        self._old_tokens = self.history.tokens
        self._info, self._prompt_tokens = info, prompt_tokens
        self._finish, self._timed = None, False
        self._started_at = self._last_at = self.clock()
        self._first_at, self._first_batch = None, 0
        self.renew()
        self.refresh()

    def show(
        self,
        tokens: Sequence[Step | ScoredToken],
        *,
        info: EngineInfo | None,
        finish: GenerationResult | None = None,
        context: int | None = None,
    ) -> None:
        """Show a message as it was stored. `context` is the number of tokens up to its
        end, None where it is unknown."""
        self.reset(info=info)
        for token in tokens:
            self.history.add(token.logprob)
        if context is not None:
            self._prompt_tokens = max(0, context - len(tokens))
        self._finish = finish

    def read(self, prompt_tokens: int) -> None:
        self._prompt_tokens = prompt_tokens
        self.refresh()

    def extend(self, steps: Iterable[Step | ScoredToken]) -> None:
        """Add tokens as they arrive. Those that are a `Step` were generated now and
        count for the timing."""
        old_count = self.history.tokens
        for step in steps:
            self.history.add(step.logprob)
            if isinstance(step, Step):
                self._timed = True
        if self.history.tokens > old_count:
            self._last_at = self.clock()
            if self._first_at is None:
                self._first_at, self._first_batch = self._last_at, self.history.tokens
            self.refresh()

    def finish(self, finish: GenerationResult) -> None:
        self._finish = finish
        self._prompt_tokens = finish.prompt_tokens or None
        self.refresh()

    # Values and sentences.

    @property
    def seconds(self) -> float:
        """Seconds since `reset`."""
        return self.clock() - self._started_at

    @property
    def first_token_seconds(self) -> float | None:
        """Seconds from `reset` to the first token; those that were stored with an
        answer that was not streamed here."""
        if self._timed and self._first_at is not None:
            return self._first_at - self._started_at
        return self._finish.first_token_seconds if self._finish else None

    @property
    def tokens_per_second(self) -> float | None:
        """The engine's speed once known; before that, the speed measured here."""
        if self._finish is not None:
            return self._finish.tokens_per_second
        if not self._timed or self._first_at is None or self._last_at <= self._first_at:
            return None
        if not self._counts_tokens:
            return None
        # The time at which the first batch began is unknown: leave its tokens out.
        counted = self.history.tokens - self._first_batch
        return counted / (self._last_at - self._first_at)

    def sentences(self) -> tuple[Forms, Forms, Forms]:
        """Return sums, speed and context use, each in forms of decreasing length,
        without what is not known."""
        room, precision = self._context_use()
        context = f"context {room}"
        spaces: Forms = ((context, precision), (context, precision), (context,))
        return self._sums(), self._times(), spaces

    def _sums(self) -> Forms:
        history = self.history
        if not history.scored:
            return ((),) if history.tokens else ((EMPTY,),)
        name = notation.LOG_PROB.short
        if history.scored < history.tokens:
            name = notation.part_of_tokens(history.scored, history.tokens)
        nats = notation.log_prob(history.logprob)
        ppl = notation.perplexity(history.perplexity)
        return (
            (f"{name} {nats} nats", f"perplexity {ppl}"),
            (f"{name} {nats} nats", f"ppl {ppl}"),
            (f"{name} {nats}", f"ppl {ppl}"),
            (f"{name} {nats}",),
        )

    def _times(self) -> Forms:
        long, short = [], []
        if (first := self.first_token_seconds) is not None:
            long.append(f"first token {notation.seconds(first)}")
            short.append(f"first {notation.seconds(first)}")
        if (speed := self.tokens_per_second) is not None:
            long.append(f"{notation.speed(speed)} tokens/s")
            short.append(f"{notation.speed(speed)} tok/s")
        return long, short, short[-1:]

    @property
    def _counts_tokens(self) -> bool:
        """Whether what arrives are tokens: from a server that sends no numbers, they
        are texts of any length."""
        is_remote = self._info is not None and self._info.precision == "remote"
        return bool(self.history.scored or not is_remote or not self.history.tokens)

    def _context_use(self) -> tuple[str, str]:
        used: int | None = None
        if self._prompt_tokens is not None:
            used = self._prompt_tokens + self.history.tokens - self._old_tokens
        context, precision = None, notation.NONE
        if self._info is not None:
            context, precision = self._info.context or None, self._info.precision
        if precision == "remote" and not (self._prompt_tokens and self._counts_tokens):
            used = None  # perhaps never told
        return f"{notation.count(used)} / {notation.count(context)}", precision

    # Drawing.

    def get_content_height(self, container: Size, viewport: Size, width: int) -> int:
        return _BARS + _lines(width)

    def _numbers(self, width: int) -> list[str]:
        if self.history.tokens == 0 and self._info is None:
            return [clip(EMPTY, width)]
        sums, times, room = self.sentences()
        lines: list[Forms] = [sums, times, room]
        if _lines(width) == 2:
            lines = [sums, _join_forms(times, room)]
        return ["".join(fit_best(forms, width)) for forms in lines]

    def lines(self, width: int, height: int) -> list[Line]:
        sentences = self._numbers(width)
        bar_rows = max(1, min(_BARS, height - len(sentences)))
        columns = self.history.columns(width)
        styles = [f"surprise--{scale.step(value, 'surprisal')}" for value in columns]
        lines: list[Line] = [
            _bar_line(columns, styles, row) for row in reversed(range(bar_rows))
        ]
        return [*lines, *([(line, "strip--quiet")] for line in sentences)]


def _bar_line(columns: list[float], styles: list[str], row: int) -> list[Part]:
    blocks = [block(value, row, per_row=_BITS_PER_ROW) for value in columns]
    runs = groupby(zip(styles, blocks, strict=True), key=itemgetter(0))
    return [("".join(text for _, text in run), style) for style, run in runs]


def _lines(width: int) -> int:
    return 2 if width >= _WIDE else 3


def _join_forms(left: Forms, right: Forms) -> Forms:
    """Join two sentences on one line; the one with fewer forms repeats its last."""
    count = max(len(left), len(right))
    left_forms, right_forms = ([*forms, *[forms[-1]] * (count - len(forms))]
                   for forms in (left, right))  # fmt: skip
    return [
        (*first, *second) for first, second in zip(left_forms, right_forms, strict=True)
    ]
