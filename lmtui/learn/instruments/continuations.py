"""Instrument: three ways to continue a text as a tree, loops, and what filters cut."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import ClassVar, Literal

from lmtui import notation
from lmtui.engine.protocol import Engine
from lmtui.engine.types import (
    Distribution,
    FinishReason,
    Prompt,
    SamplingSettings,
    ScoredToken,
    Step,
)
from lmtui.errors import Cancelled
from lmtui.learn.beam import beam_search
from lmtui.learn.figure import (
    Bars,
    Cell,
    Column,
    Figure,
    Part,
    ShadedText,
    ShadedToken,
    Table,
    Words,
)
from lmtui.learn.instrument import (
    Action,
    Instrument,
    Material,
    Measurement,
    Option,
    Options,
)
from lmtui.learn.instruments.branch_tree import Leaf, tree_lines
from lmtui.learn.instruments.texts import encoded, excerpt, sample_of
from lmtui.learn.loops import find_loop
from lmtui.worker.requests import Context

TOP_P = (0.1, 0.3, 0.5, 0.7, 0.8, 0.9, 0.95, 1.0)
"""Steps of the slider."""

Way = Literal["greedy", "sampled", "beam", "long"]
_WAYS: tuple[Way, ...] = ("greedy", "sampled", "beam")


@dataclass(frozen=True, slots=True)
class _Branch:
    """A continuation, as far as it is there."""

    tokens: tuple[ScoredToken | Step, ...] = ()
    is_whole: bool = False
    """Whether nothing is added to it any more."""

    @property
    def ids(self) -> tuple[int, ...]:
        return tuple(token.id for token in self.tokens)

    @property
    def total(self) -> float | None:
        """Σ log P in nats; None where a server does not tell all."""
        logprobs = [token.logprob for token in self.tokens]
        known = [logprob for logprob in logprobs if logprob is not None]
        return math.fsum(known) if known and len(known) == len(logprobs) else None


@dataclass(frozen=True, slots=True)
class _News:
    """Result, or part of one: what is expected first, or one of the branches."""

    text: str
    first: Distribution | None = None
    settings: SamplingSettings | None = None
    """What `first` would be drawn from with."""
    way: Way | None = None
    branch: _Branch = _Branch()


Work = Callable[[Engine, Prompt], Iterator[_News]]
"""Part of a measurement, on the engine's thread."""


class DecodingInstrument(Instrument):
    """Greedy, sampled and beam continuations side by side; a long greedy one and its
    loop; the first distribution with what top-k and top-p cut from it."""

    NAME = "decoding"
    OPTIONS: ClassVar[Mapping[str, Option]] = {
        "text": Option("The text at the beginning."),
        "tokens": Option("Tokens of each continuation.", int, 16, low=1, high=40),
        "long": Option("Tokens of the long one.", int, 100, low=24, high=400),
        "width": Option("Hypotheses of the beam.", int, 4, low=1, high=16),
        "top-k": Option("Tokens that top-k keeps; 0 for all.", int, 5, low=0),
        "rows": Option("Number of bars.", int, 7, low=1, high=20),
        "seed": Option("Seed of the first sample; later ones count on.", int, 1, low=0),
    }
    EXERCISES: ClassVar[Mapping[str, str]] = {
        "three": "another text was entered and continued in three ways",
        "again": "another continuation was sampled",
        "long": "a long greedy continuation was made",
        "loop": "a long greedy continuation ended in a loop",
        "cut": "top-p was moved to where it cuts tokens",
    }
    ACTIONS = (
        Action("again", "sample again", "Sample another continuation."),
        Action("long", "go on", "Continue greedily for long, and look for a loop."),
    )
    ASKS = "Text"
    SLIDES = "top-p"
    HANDOUT: ClassVar[Sequence[tuple[str, str]]] = (("slide", "-2"), ("act", "long"))

    def __init__(self, options: Options, material: Material) -> None:
        super().__init__(options, material)
        self._text = self._given = ""
        self._first: Distribution | None = None
        self._cut_with: SamplingSettings | None = None
        self._branches: dict[Way, _Branch] = {}
        self._step = len(TOP_P) - 1
        self._seed: int = options["seed"]
        self._drawn_with = self._settings
        """Settings of the sampled branch."""
        self._front: Literal["tree", "bars", "long"] = "tree"
        """The part of the figure that is on top: what was asked for last."""
        self._open: set[Way] = set()
        """Branches that are not whole: whatever is measured next goes on with them,
        since it takes the place of what would have made them."""
        self._was_entered = self._is_again = False

    @property
    def _settings(self) -> SamplingSettings:
        return SamplingSettings(
            temperature=1,
            top_k=self.options["top-k"],
            top_p=TOP_P[self._step],
            min_p=0,
            seed=self._seed,
            max_tokens=self.options["tokens"],
        )

    def begin(self) -> Measurement | None:
        self._given = self.entered = sample_of(self.material, self.options["text"])
        return self._continue(self.entered)

    def enter(self, text: str) -> Measurement | None:
        self._was_entered = text.strip() != self._given.strip()
        return self._continue(text)

    def act(self, action: str) -> Measurement | None:
        if not self._text:
            return None
        if action == "long":
            self._front = "long"
            self._open.add("long")
            return self._measure()
        self._front, self._is_again = "tree", True
        self._seed += 1
        self._drawn_with = self._settings
        self._open.add("sampled")
        return self._measure()

    def slide(self, by: int) -> Measurement | None:
        before, self._front = self._step, "bars"
        self._step = min(len(TOP_P) - 1, max(0, before + by))
        if self._step == before:
            words = "least" if by < 0 else "greatest"
            self.message = f"This is the {words} top-p here."
        if self._step == before or not self._text:
            return None
        return self._measure()

    def _continue(self, text: str) -> Measurement | None:
        if not text.strip():
            self.message = "Write something: a model needs a text to go on from."
            return None
        self._front, self._drawn_with = "tree", self._settings
        self._text, self._first = text, None
        self._branches.clear()
        self._open, self._is_again = set(_WAYS), False
        return self._measure()

    def _measure(self) -> Measurement:
        """Return a measurement of all that is missing."""
        text, settings = self._text, self._settings
        used = None if self._first is None else self._cut_with
        works: list[Work] = []
        if used is None or used.top_p != settings.top_p:
            works.append(_looking(settings, self.options["rows"]))
        ways = ("long", *_WAYS) if self._front == "long" else (*_WAYS, "long")
        works += (self._work_for(way) for way in ways if way in self._open)

        def run(engine: Engine, context: Context) -> None:
            encoding = encoded(engine, text)
            prompt = Prompt((*encoding.prefix, *encoding.ids), text)
            for work in works:
                for news in work(engine, prompt):
                    context.gather(news)

        return Measurement(
            run, lambda _: None, self._hear, words="continuing", yields=True
        )

    def _work_for(self, way: Way) -> Work:
        settings = self._drawn_with
        if way == "long":
            settings = replace(settings, max_tokens=self.options["long"])
        if way == "beam":
            return _beam(self.options["width"], settings.max_tokens)
        if way != "sampled":
            settings = replace(settings, temperature=0)
        return _writing(way, settings)

    def _hear(self, news: _News) -> None:
        self.message = ""
        if news.text != self._text:
            return
        if news.first is not None:
            self._first, self._cut_with = news.first, news.settings
            if any(row.cut == "p" for row in news.first.candidates):
                self.done.add("cut")
        if news.way is None:
            return
        self._branches[news.way] = news.branch
        if news.branch.is_whole:
            self._finish(news.way, news.branch)

    def _finish(self, way: Way, branch: _Branch) -> None:
        """Note what is done with a branch that is whole."""
        self._open.discard(way)
        if self._was_entered and not self._open.intersection(_WAYS):
            self.done.add("three")
        if way == "sampled" and self._is_again:
            self.done.add("again")
        if way == "long":
            self.done.add("long")
            if find_loop(branch.ids):
                self.done.add("loop")

    @property
    def figure(self) -> Figure:
        """The tree, the long continuation and the bars; on top is what was asked for
        last."""
        parts = {"tree": self._tree(), "long": self._long(), "bars": self._bars()}
        front = parts.pop(self._front)
        return [*front, *(part for rest in parts.values() for part in rest)]

    @property
    def measured(self) -> str | None:
        """The text that is continued."""
        return self._text or None

    def _tree(self) -> Iterator[Part]:
        branches = {way: self._branches[way] for way in _WAYS if way in self._branches}
        if not branches:
            return
        leaves = [
            Leaf(way, branch.ids, tuple(token.bytes for token in branch.tokens))
            for way, branch in branches.items()
        ]
        rows = []
        for text, way in tree_lines(leaves):
            cells = [Cell(text), Cell(""), Cell(""), Cell("")]
            if way:
                cells[1:] = (Cell(way, tone="strong"), *_sums(branches[way]))
            rows.append(tuple(cells))
        columns = (
            Column("", grows=True),
            Column("by"),
            Column(notation.LOG_PROB.short, right=True),
            Column("a token", right=True),
        )
        used = self._drawn_with
        note = (
            f"{self._comparison()}"
            f"sampled: T = 1, {_filters(used)}, seed {used.seed}. "
            f"beam: width {self.options['width']}. Numbers in nats."
        )
        yield Table(f"After “{excerpt(self._text)}”", columns, tuple(rows), note)

    def _comparison(self) -> str:
        """Return how probable the beam's text is beside that of greedy decoding;
        nothing while one of them is written."""
        greedy, beam = self._branches.get("greedy"), self._branches.get("beam")
        if greedy is None or beam is None or not (greedy.is_whole and beam.is_whole):
            return ""
        ours, theirs = beam.total, greedy.total
        if ours is None or theirs is None:
            return ""
        if beam.ids == greedy.ids:
            return "Beam search found the same text as greedy decoding. "
        times = f"{notation.perplexity(math.exp(abs(ours - theirs)))} times as probable"
        if ours >= theirs:
            return f"The beam’s text is {times} as that of greedy decoding. "
        return f"The beam lost the text of greedy decoding, which is {times}. "

    def _long(self) -> Iterator[Part]:
        branch = self._branches.get("long")
        if branch is None:
            return
        if branch.is_whole:
            yield Words(_about_loop(branch.ids), "strong")
        shaded = tuple(
            ShadedToken(
                token.text,
                None if token.logprob is None else notation.bits(token.logprob),
            )
            for token in branch.tokens
        )
        count = notation.counted(len(shaded), "token")
        yield ShadedText(f"Greedy, {count}, shaded by surprisal", shaded)

    def _bars(self) -> Iterator[Part]:
        first, settings = self._first, self._cut_with
        if first is None or settings is None:
            return
        title = (
            f"First token: {_filters(settings)} leaves {first.remaining:,} of "
            f"{first.vocabulary:,}"
        )
        removed = notation.percent(max(0.0, 1 - first.remaining_prob))
        note = (
            "First number: the model’s; second: what is drawn from. "
            f"{'k: cut by top-k, p: by' if settings.top_k else 'p: cut by'} top-p. "
            f"Cut in all: {removed}."
        )
        yield Bars.of(title, first, drawn=first.is_certain, note=note)


def _filters(settings: SamplingSettings) -> str:
    top_k = f"top-k {settings.top_k}, " if settings.top_k else ""
    return f"{top_k}top-p {settings.top_p:g}"


def _looking(settings: SamplingSettings, rows: int) -> Work:
    """Return the work of finding what is expected first."""

    def work(engine: Engine, prompt: Prompt) -> Iterator[_News]:
        first = engine.next_distribution(prompt.ids, settings, top_n=rows)
        yield _News(prompt.text, first, settings)

    return work


def _writing(way: Way, settings: SamplingSettings) -> Work:
    def work(engine: Engine, prompt: Prompt) -> Iterator[_News]:
        news = _News(prompt.text, way=way)
        for item in engine.generate(prompt, settings, top_n=1):
            if isinstance(item, Step):
                news = replace(news, branch=_Branch((*news.branch.tokens, item)))
                yield news
            elif item.reason is FinishReason.CANCELLED:
                raise Cancelled
        yield replace(news, branch=replace(news.branch, is_whole=True))

    return work


def _beam(width: int, count: int) -> Work:
    def work(engine: Engine, prompt: Prompt) -> Iterator[_News]:
        news = _News(prompt.text, way="beam")
        for beam in beam_search(engine, prompt.ids, width=width, count=count):
            best = beam[0]
            tokens = engine.describe_tokens(best.ids)
            scored = zip(tokens, best.logprobs, strict=True)
            branch = _Branch(tuple(replace(t, logprob=each) for t, each in scored))
            news = replace(news, branch=branch)
            yield news
        yield replace(news, branch=replace(news.branch, is_whole=True))

    return work


def _sums(branch: _Branch) -> tuple[Cell, Cell]:
    """Return Σ log P and its mean of a branch that is whole."""
    if not branch.is_whole:
        return Cell("…"), Cell("…")
    total = branch.total
    mean = None if total is None else total / len(branch.tokens)
    return Cell(notation.log_prob(total)), Cell(notation.log_prob(mean))


def _about_loop(ids: Sequence[int]) -> str:
    loop = find_loop(ids)
    if loop is None:
        return f"No loop in these {notation.counted(len(ids), 'token')}."
    part = notation.counted(loop.period, "token")
    said = f"the last {part} stand" if loop.period > 1 else "the last token stands"
    share = notation.percent(loop.covered / len(ids))
    return (
        f"A loop: {said} there {loop.repeats} times in a row. The loop makes up "
        f"{loop.covered} of {len(ids)} tokens ({share})."
    )
