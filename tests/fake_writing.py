"""The scripted engine, for screens on which a text is written.

A token is a byte and nothing is half typed; suggestions come from the script. The
numbers are those of `FakeEngine`, so they are consistent with what it scores.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

from lmtui import cancellation
from lmtui.engine.document.suggestion import SuggestionRules
from lmtui.engine.document.types import (
    CompletionContext,
    ContextFile,
    ContextPart,
    Correction,
    CursorPrediction,
    ProofreadPart,
    Replacement,
    ReplacementList,
    ScoredSpan,
)
from lmtui.engine.protocol import ReportCount
from lmtui.engine.sampling_settings import SamplingSettings
from lmtui.engine.types import (
    Candidate,
    Capabilities,
    Distribution,
    GenerationResult,
    Prompt,
    Step,
)
from lmtui.errors import LmtuiError
from tests.fake_numbers import state_after
from tests.fakes import FakeEngine

_PART = 8  # characters of a stretch


@dataclass
class FakeWriter(FakeEngine):
    """A scripted `port.WritingEngine`; `answers` are its suggestions, in turn. Asked
    again at the same place with the same seed, it suggests the same again."""

    others: Sequence[str] = ()
    """The alternatives at any cursor."""
    words: Sequence[Replacement] = ()
    """The replacements of any word."""
    parts: Sequence[ProofreadPart] = ()
    """What proofreading yields of any text."""

    capabilities = Capabilities()

    def __post_init__(self) -> None:
        super().__post_init__()
        self._suggested: dict[tuple[str, int, int | None], list[int]] = {}
        self.prefix: tuple[int, ...] = ()
        """Of other files, one after the other."""

    def read_with(
        self, files: Sequence[ContextFile], *, name: str = ""
    ) -> tuple[ContextPart, ...]:
        """All of each, a token a byte."""
        self._begin("read_with", (tuple(files), name))
        sizes = [len(file.text.encode()) for file in files]
        self.prefix = tuple(b"".join(file.text.encode() for file in files))
        return tuple(
            ContextPart(file.name, size, size)
            for file, size in zip(files, sizes, strict=True)
        )

    def predict_at(
        self, text: str, cursor: int, *, top_n: int = 20
    ) -> CursorPrediction:
        """The distribution after the bytes before the cursor."""
        self._begin("expect", (text, cursor))
        cancellation.check()
        before, after = text[:cursor].encode(), text[cursor:].encode()
        shown = self._after(before, top_n) if before else None
        return CursorPrediction(
            distribution=shown,
            typed="",
            unexplored=0.0,
            following=self._following(before, after) if before and after else None,
            read=None,
        )

    def score_span(self, text: str, start: int, end: int) -> Iterator[ScoredSpan]:
        """The scores of the bytes of a part."""
        self._begin("heat", (text, start, end))
        spans = self.encode(text).spans
        tokens = list(self._scores(tuple(text.encode()), (), 0))
        wanted = [i for i, (a, b) in enumerate(spans) if a < end and b > start]
        begun = (n for n, i in enumerate(wanted) if not n or spans[i] != spans[i - 1])
        for first, beyond in pairwise([*list(begun)[::_PART], len(wanted)]):
            part = wanted[first:beyond]
            yield ScoredSpan(
                tuple(tokens[i] for i in part), tuple(spans[i] for i in part)
            )

    def completion_context(
        self, text: str, cursor: int, settings: SamplingSettings
    ) -> CompletionContext:
        """The bytes before the cursor."""
        if not cursor:
            raise LmtuiError("there is nothing to continue", "the text is empty")
        return CompletionContext(tuple(text[:cursor].encode()), b"")

    def complete(
        self,
        text: str,
        cursor: int,
        settings: SamplingSettings,
        *,
        top_n: int = 20,
        single_line: bool = False,
        progress: ReportCount | None = None,
    ) -> Iterator[Step | GenerationResult]:
        """The scripted answer of this place and an end token."""
        self.calls.append(("go_on", (text, cursor)))
        ids = self.completion_context(text, cursor, settings).ids
        place = text, cursor, settings.seed
        if place not in self._suggested:
            self._suggested[place] = self._next_script()
        prompt = Prompt(ids, text[:cursor])
        self._begin("generate", (prompt, settings))
        self._require_room(len(ids), spare=1)
        if progress:
            progress(len(ids), len(ids))
        script = self._suggested[place]
        return self._answer(prompt, settings, script, top_n, single_line)

    def alternatives(
        self, text: str, cursor: int, rules: SuggestionRules, *, count: int = 5
    ) -> list[str]:
        """As scripted."""
        self._begin("alternatives", (text, cursor))
        cancellation.check()
        return list(self.others[:count])

    def replacements(
        self, text: str, start: int, end: int, *, count: int = 8
    ) -> Iterator[ReplacementList]:
        """As scripted; of more than two, the first half comes before the others."""
        self._begin("replacements", (text, start, end))
        words, early = tuple(self.words[:count]), tuple[Replacement, ...]()
        for done, _ in enumerate(words):
            if len(words) > 2 and done == len(words) // 2:
                early = words[:done]
            yield ReplacementList(early, done, len(words))
            self.on_token(done)
        cancellation.check()
        yield ReplacementList(words, len(words), len(words))

    def proofread(
        self, text: str, start: int, end: int, known: Sequence[Correction] = ()
    ) -> Iterator[ProofreadPart]:
        """The scripted parts that begin at `start` or behind it."""
        self._begin("proofread", (text, start, end))
        for index, part in enumerate(each for each in self.parts if each.end > start):
            self.on_token(index)
            cancellation.check()
            yield part

    def _after(self, before: bytes, top: int) -> Distribution:
        handle = self._remember(state_after(before))
        shown = self._distribution(handle, SamplingSettings(), 0, top)
        rows = tuple(
            row._replace(sampled_prob=None, cut=None) for row in shown.candidates
        )
        return replace(
            shown, candidates=rows, remaining=shown.vocabulary, remaining_prob=1.0
        )

    def _following(self, before: bytes, after: bytes) -> Candidate:
        position = self._position(state_after(before))
        return self._candidate(after[0], position.logprob(after[0]))
