"""Evaluation of a model in training: scores, greedy continuations, memorisation.

All numbers come from the engine: `score` in windows of a block's length with a stride
of half of it, and greedy `generate`. Knows no trainer; after a change of weights the
caller brings a new engine.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from importlib.resources import files
from typing import Any

import numpy as np

from lmtui.engine.engine import LocalEngine
from lmtui.engine.sampling_settings import SamplingSettings
from lmtui.engine.types import (
    Encoding,
    FinishReason,
    GenerationResult,
    Prompt,
)
from lmtui.errors import Cancelled
from lmtui.train.dataset import Example
from lmtui.train.metrics import Answers, DocumentScore, Memorized

PROMPTS = 3
CONTINUED = 24  # tokens of a sample
_PROMPT = range(8, 17)  # tokens of a prompt from the beginning of a text
_LONGEST_PROMPT = 256  # tokens of a conversation before its answer

RECALLED = 8  # documents whose beginnings are continued to test memorisation
_CUE = 32  # tokens of such a beginning
_RECALL = 48  # tokens of a continuation that are compared
_QUOTED = 12  # tokens of context before a quoted token

_COST = 8  # scored tokens that take about as long as a generated one


@dataclass(frozen=True, slots=True)
class Baseline:
    """The model's evaluation before training, and the digests of its weights.

    Kept in the run folder, since a resumed training holds its checkpoint's weights.
    """

    sha256: tuple[str, ...]
    """Digests of the model's weight files."""
    prompts: tuple[Prompt, ...]
    answers: Answers

    def about(self, held_out: Sequence[Example]) -> Baseline:
        """Return the baseline for these held-out documents only, each of them in it."""
        scores = {score.path: score for score in self.answers.held_out}
        chosen = tuple(scores[example.path] for example in held_out)
        return replace(self, answers=replace(self.answers, held_out=chosen))

    def known(self, held_out: Sequence[Example]) -> tuple[Example, ...]:
        """Return the documents that are scored here and still have as many tokens."""
        lengths = {score.path: len(score.logprobs) for score in self.answers.held_out}
        return tuple(x for x in held_out if lengths.get(x.path) == len(x.ids))


@dataclass(frozen=True)
class Evaluator:
    """The evaluation of a model, with settings that stay the same for a whole
    training."""

    tokenizer: Any
    block: int
    """The window in which documents are scored, in tokens."""
    advance: Callable[[int], None] = lambda _: None
    """Called with the work that was done, in scored tokens."""

    def ask(
        self,
        engine: LocalEngine,
        *,
        held_out: Sequence[Example],
        training: Sequence[Example],
        prompts: Sequence[Prompt],
        on_share: Callable[[int, int], None] = lambda done, total: None,
    ) -> Answers:
        """Return the results of a full evaluation, made before and after a training.
        `on_share` is told how much of it is done.
        """
        neutral = _as_example("neutral text", engine.encode(neutral_text()))
        scored = sum(len(example.ids) for example in (*held_out, neutral))
        generated = len(prompts) * CONTINUED + min(len(training), RECALLED) * _RECALL
        total, done = scored + _COST * generated, 0

        def advance(work: int) -> None:
            nonlocal done
            done = min(total, done + work)
            on_share(done, total)

        counted = replace(self, advance=advance)
        answers = Answers(
            held_out=counted.score(engine, held_out),
            neutral=counted.score(engine, [neutral])[0],
            continued=counted.continued(engine, prompts),
            recalled=counted.recalled(engine, training),
        )
        on_share(total, total)
        return answers

    def score(
        self, engine: LocalEngine, examples: Sequence[Example]
    ) -> tuple[DocumentScore, ...]:
        return tuple(self._score(engine, example) for example in examples)

    def continued(
        self, engine: LocalEngine, prompts: Sequence[Prompt]
    ) -> tuple[str, ...]:
        return tuple(
            "".join(self._greedy(engine, prompt, CONTINUED)[1]) for prompt in prompts
        )

    def _greedy(
        self, engine: LocalEngine, prompt: Prompt, tokens: int
    ) -> tuple[list[int], list[str]]:
        """Return the ids and the pieces of text of a greedy continuation."""
        ids: list[int] = []
        pieces: list[str] = []
        settings = SamplingSettings(temperature=0, max_tokens=tokens)
        for step in engine.generate(prompt, settings, top_n=1):
            pieces.append(step.piece)
            if isinstance(step, GenerationResult):
                if step.reason is FinishReason.CANCELLED:
                    raise Cancelled
            else:
                ids.append(step.id)
        self.advance(_COST * tokens)
        return ids, pieces

    def prompts(
        self, held_out: Sequence[Example], training: Sequence[Example]
    ) -> tuple[Prompt, ...]:
        """Choose the prompts whose continuations a person will read.

        They are beginnings of held-out documents, and of training documents where those
        are too few.
        """
        long_enough = [x for x in (*held_out, *training) if len(x.ids) > _PROMPT.stop]
        paths = {x.path for x in held_out}
        first = [x for x in long_enough if x.path in paths]
        rest = [x for x in long_enough if x.path not in paths]
        chosen = (_spread(first, PROMPTS) + _spread(rest, PROMPTS))[:PROMPTS]
        return tuple(map(self._prompt, chosen))

    def recalled(
        self, engine: LocalEngine, training: Sequence[Example]
    ) -> Memorized | None:
        """Return the longest run of training text that the model repeats word for word.

        The model gets beginnings of training documents. None where all documents are
        too short.
        """
        long_enough = [x for x in training if len(x.ids) >= _CUE + _PROMPT.stop]
        stream = np.array([i for x in training for i in x.ids], dtype=np.int64)
        best: Memorized | None = None
        for example in _spread(long_enough, RECALLED):
            ids, _ = self._greedy(engine, Prompt(example.ids[:_CUE], ""), _RECALL)
            start, length = longest_run(np.array(ids, dtype=np.int64), stream)
            if best is None or length > best.tokens:
                text = self._text(ids[start : start + length])
                best = Memorized(length, len(text), example.path, text)
        return best

    def quote(self, example: Example, index: int) -> tuple[str, str]:
        """Return the text before a position in a document's ids, and that of its
        token."""
        before = example.ids[max(0, index - _QUOTED) : index]
        return self._text(before), self._text(example.ids[index : index + 1])

    def _score(self, engine: LocalEngine, example: Example) -> DocumentScore:
        before = 1 if self._begins(example) else 0
        ids = example.ids[before:]
        window = self.window(engine, example)
        scored = engine.score(
            ids, prefix=example.ids[:before], window=window, stride=max(1, window // 2)
        )
        logprobs: list[float | None] = [None] * before
        size = 0
        for token, counts in zip(scored, self.counted(example)[before:], strict=True):
            logprobs.append(token.logprob if counts else None)
            size += len(token.bytes) if logprobs[-1] is not None else 0
            self.advance(1)
        known = [logprob for logprob in logprobs if logprob is not None]
        return DocumentScore(
            path=example.path,
            tokens=len(known),
            bytes=size,
            nll=-sum(known),
            logprobs=tuple(logprobs),
        )

    def counted(self, example: Example) -> list[bool]:
        """Return which tokens of a document count: those that are trained on, but no
        control token, and not the first one, which has no context."""
        controls = frozenset(self.tokenizer.all_special_ids)
        pairs = list(zip(example.ids, example.trained, strict=True))[1:]
        return [False, *(trained and i not in controls for i, trained in pairs)]

    def window(self, engine: LocalEngine, example: Example) -> int:
        """Return the tokens of a window in which a document is scored, without BOS."""
        return min(self.block, engine.info.context - self._begins(example))

    def _begins(self, example: Example) -> bool:
        """Return whether a document begins with BOS, which then begins every window."""
        bos = self.tokenizer.bos_token_id
        return bool(example.ids and example.ids[0] == bos and not example.trained[0])

    def _prompt(self, example: Example) -> Prompt:
        given = example.trained.index(True) if True in example.trained else 0
        if given > 1:  # a question or a prompt comes before the trained tokens
            ids = example.ids[max(0, given - _LONGEST_PROMPT) : given]
        else:
            ids = example.ids[: self._word_end(example)]
        return Prompt(ids, self._text(ids))

    def _word_end(self, example: Example) -> int:
        """Return the number of ids after which a word begins, if there is one."""
        for end in _PROMPT:
            if self._text(example.ids[end : end + 1])[:1].isspace():
                return end
        return _PROMPT.stop - 1

    def _text(self, ids: Sequence[int]) -> str:
        return str(self.tokenizer.decode(list(ids), skip_special_tokens=True))


def neutral_text() -> str:
    return files("lmtui.train").joinpath("neutral.txt").read_text("utf-8")


def longest_run(ids: Any, stream: Any) -> tuple[int, int]:
    """Find the longest run of `ids` that is in `stream`: its start and length.

    `ids` [n] and `stream` [m] are arrays of ids, the start is a position in `ids`.
    The longest common substring, by dynamic programming with a row of m + 1 lengths.
    """
    runs = np.zeros(len(stream) + 1, dtype=np.int32)
    best = (0, 0)
    for end, token in enumerate(ids, 1):
        runs[1:] = np.where(stream == token, runs[:-1] + 1, 0)
        runs[0] = 0
        length = int(runs.max())
        if length > best[1]:
            best = (end - length, length)
    return best


def _as_example(path: str, encoding: Encoding) -> Example:
    given = len(encoding.prefix)
    ids = (*encoding.prefix, *encoding.ids)
    return Example(path, ids, tuple(index >= given for index in range(len(ids))))


def _spread(examples: Sequence[Example], count: int) -> list[Example]:
    step = max(1.0, len(examples) / count)
    indices = (int(step * n) for n in range(count))
    return [examples[index] for index in indices if index < len(examples)]
