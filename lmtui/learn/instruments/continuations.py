"""Instrument: three ways to continue a text as a tree, loops, and what filters cut."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import ClassVar, Literal

from lmtui import notation
from lmtui.engine.protocol import Engine
from lmtui.engine.sampling_settings import SamplingSettings
from lmtui.engine.types import (
    Distribution,
    FinishReason,
    Prompt,
    Step,
)
from lmtui.errors import Cancelled
from lmtui.learn.beam import beam_search
from lmtui.learn.figure import (
    Cell,
    Column,
    Figure,
    Part,
    ShadedText,
    Words,
    bars,
    numbers,
    table,
)
from lmtui.learn.instrument import Material, Measurement, Options
from lmtui.learn.instruments.branch_tree import Tokens, tree_lines
from lmtui.learn.instruments.texts import (
    TextInstrument,
    encoded,
    excerpt,
    total_logprob,
)
from lmtui.learn.loops import find_loop
from lmtui.worker.requests import Context

TOP_P = (0.1, 0.3, 0.5, 0.7, 0.8, 0.9, 0.95, 1.0)
"""Steps of the slider."""

Way = Literal["greedy", "sampled", "beam", "long"]
_WAYS: tuple[Way, ...] = ("greedy", "sampled", "beam")
"""Those of the tree."""


@dataclass(frozen=True, slots=True)
class _Branch:
    way: Way
    tokens: Tokens = ()
    is_whole: bool = False
    """Whether nothing is added to it any more."""

    @property
    def ids(self) -> tuple[int, ...]:
        return tuple(token.id for token in self.tokens)


class DecodingInstrument(TextInstrument):
    """Greedy, sampled and beam continuations side by side; a long greedy one and its
    loop; the first distribution with what top-k and top-p cut from it."""

    NAME = "decoding"
    OPTIONS: ClassVar[Options] = {
        "text": "",  # the text at the beginning
        "tokens": 16,  # tokens of each continuation
        "long": 100,  # tokens of the long one
        "width": 4,  # hypotheses of the beam
        "top-k": 5,  # tokens that top-k keeps; 0 for all
        "rows": 7,  # number of bars
        "seed": 1,  # seed of the first sample; later ones count on
    }
    ACTIONS: ClassVar[Mapping[str, str]] = {"again": "sample again", "long": "go on"}
    ASKS = "Text"
    SLIDES = "top-p"

    def __init__(self, options: Options, material: Material) -> None:
        super().__init__(options, material)
        self._text = self._first_text = ""
        self._first_distribution: Distribution | None = None
        self._branches: dict[Way, _Branch] = {}
        self._top_p_index = len(TOP_P) - 1
        self._seed: int = options["seed"]
        self._first_settings = self._sample_settings = self._settings
        """Settings of the first distribution, and of the sampled branch."""
        self._top_part: Literal["tree", "bars", "long"] = "tree"
        """The part of the figure that is on top: what was asked for last."""
        self._was_entered = self._is_again = False

    @property
    def _settings(self) -> SamplingSettings:
        return SamplingSettings(
            temperature=1,
            top_k=self.options["top-k"],
            top_p=TOP_P[self._top_p_index],
            min_p=0,
            seed=self._seed,
            max_tokens=self.options["tokens"],
        )

    @property
    def measured(self) -> str | None:
        return self._text or None

    def begin(self) -> Measurement | None:
        measurement = super().begin()
        self._first_text = self._text
        return measurement

    def enter(self, text: str) -> Measurement | None:
        self._was_entered = text.strip() != self._first_text.strip()
        return self.look(text)

    def measure(self, text: str) -> Measurement:
        self._top_part, self._sample_settings = "tree", self._settings
        self._text, self._first_distribution = text, None
        self._branches = {way: _Branch(way) for way in _WAYS}
        self._is_again = False
        return self._measure_missing()

    def act(self, action: str) -> Measurement | None:
        if not self._text:
            return None
        if action == "long":
            self._top_part = "long"
            self._branches["long"] = _Branch("long")
        else:
            self._top_part, self._is_again = "tree", True
            self._seed += 1
            self._sample_settings = self._settings
            self._branches["sampled"] = replace(
                self._branches["sampled"], is_whole=False
            )
        return self._measure_missing()

    def slide(self, by: int) -> Measurement | None:
        before, self._top_part = self._top_p_index, "bars"
        self._top_p_index = min(len(TOP_P) - 1, max(0, before + by))
        if self._top_p_index == before:
            words = "least" if by < 0 else "greatest"
            self.message = f"This is the {words} top-p here."
        if self._top_p_index == before or not self._text:
            return None
        return self._measure_missing()

    def _measure_missing(self) -> Measurement:
        """Return the measurement of the first distribution, where it is not that of the
        settings, and of all branches that are not whole: it takes the place of what
        would have made them."""
        text, settings = self._text, self._settings
        needs_first = (
            self._first_distribution is None
            or self._first_settings.top_p != settings.top_p
        )
        jobs = [
            (branch.way, self._settings_of(branch.way))
            for branch in self._branches.values()
            if not branch.is_whole
        ]
        jobs.sort(key=lambda job: (job[0] == "long") != (self._top_part == "long"))
        rows, width = self.options["rows"], self.options["width"]

        def run(engine: Engine, context: Context) -> None:
            encoding = encoded(engine, text)
            prompt = Prompt((*encoding.prefix, *encoding.ids), text)
            if needs_first:
                first = engine.next_distribution(prompt.ids, settings, top_n=rows)
                context.gather(first)
            for way, own in jobs:
                steps = (
                    _search(engine, prompt, width, own.max_tokens)
                    if way == "beam"
                    else _write(engine, prompt, own)
                )
                tokens: Tokens = ()
                for tokens in steps:
                    context.gather(_Branch(way, tokens))
                context.gather(_Branch(way, tokens, is_whole=True))

        def hear(result: Distribution | _Branch) -> None:
            self.message = ""
            if isinstance(result, _Branch):
                self._add(result)
                return
            self._first_distribution, self._first_settings = result, settings
            if any(candidate.cut == "p" for candidate in result.candidates):
                self.done.add("cut")

        return Measurement(run, lambda _: None, hear, words="continuing", yields=True)

    def _settings_of(self, way: Way) -> SamplingSettings:
        settings = self._sample_settings
        if way == "long":
            settings = replace(settings, max_tokens=self.options["long"])
        return settings if way == "sampled" else replace(settings, temperature=0)

    def _add(self, branch: _Branch) -> None:
        self._branches[branch.way] = branch
        if not branch.is_whole:
            return
        if self._was_entered and all(self._branches[way].is_whole for way in _WAYS):
            self.done.add("three")
        if branch.way == "sampled" and self._is_again:
            self.done.add("again")
        if branch.way == "long":
            self.done |= {"long", "loop"} if find_loop(branch.ids) else {"long"}

    @property
    def figure(self) -> Figure:
        """The tree, the long continuation and the bars; on top is what was asked for
        last."""
        parts = {"tree": self._tree(), "long": self._long(), "bars": self._bars()}
        front = parts.pop(self._top_part)
        return [*front, *(part for rest in parts.values() for part in rest)]

    def _tree(self) -> Iterator[Part]:
        leaves = [
            (way, branch.tokens)
            for way in _WAYS
            if (branch := self._branches.get(way)) and branch.tokens
        ]
        if not leaves:
            return
        rows = (
            (text, *(_sums(self._branches[way]) if way else [""] * 3))
            for text, way in tree_lines(leaves)
        )
        heads = numbers(notation.LOG_PROB.short, "a token")
        used = self._sample_settings
        note = (
            f"{self._comparison()}"
            f"sampled: T = 1, {_filters(used)}, seed {used.seed}. "
            f"beam: width {self.options['width']}. Numbers in nats."
        )
        title = f"After “{excerpt(self._text)}”"
        yield table(
            (Column("", grows=True), "by", *heads), rows, title=title, note=note
        )

    def _comparison(self) -> str:
        """Return how probable the beam's text is beside that of greedy decoding;
        nothing while one of them is written."""
        greedy, beam = self._branches.get("greedy"), self._branches.get("beam")
        if greedy is None or beam is None or not (greedy.is_whole and beam.is_whole):
            return ""
        ours, theirs = total_logprob(beam.tokens), total_logprob(greedy.tokens)
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
        count = notation.counted(len(branch.tokens), "token")
        yield ShadedText(f"Greedy, {count}, shaded by surprisal", tuple(branch.tokens))

    def _bars(self) -> Iterator[Part]:
        first = self._first_distribution
        if first is None:
            return
        removed = notation.percent(max(0.0, 1 - first.remaining_prob))
        yield bars(
            f"First token: {_filters(self._first_settings)} leaves "
            f"{first.remaining:,} of {first.vocabulary:,}",
            first.candidates,
            first.rest_prob,
            rest_sampled=first.rest_sampled_prob if first.is_certain else None,
            note=f"p: the model’s; drawn: what is drawn from. Cut in all: {removed}.",
        )


def _filters(settings: SamplingSettings) -> str:
    top_k = f"top-k {settings.top_k}, " if settings.top_k else ""
    return f"{top_k}top-p {settings.top_p:g}"


def _write(
    engine: Engine, prompt: Prompt, settings: SamplingSettings
) -> Iterator[Tokens]:
    tokens: Tokens = ()
    for item in engine.generate(prompt, settings, top_n=1):
        if isinstance(item, Step):
            tokens = (*tokens, item)
            yield tokens
        elif item.reason is FinishReason.CANCELLED:
            raise Cancelled


def _search(engine: Engine, prompt: Prompt, width: int, count: int) -> Iterator[Tokens]:
    for beam in beam_search(engine, prompt.ids, width=width, count=count):
        tokens = engine.describe_tokens(beam[0].ids)
        scored = zip(tokens, beam[0].logprobs, strict=True)
        yield tuple(replace(token, logprob=logprob) for token, logprob in scored)


def _sums(branch: _Branch) -> Sequence[str | Cell]:
    name = Cell(branch.way, "strong")
    if not branch.is_whole:
        return name, "…", "…"
    total = total_logprob(branch.tokens)
    mean = None if total is None else total / len(branch.tokens)
    return name, notation.log_prob(total), notation.log_prob(mean)


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
