"""All that a model was asked at one moment, and two such moments side by side.

Owns the value that outlives a process (the answers before a training are kept in its
run folder) and its comparison. Imports no torch.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from lmtui.engine.types import Prompt
from lmtui.train.events import Continuation
from lmtui.train.figures import DocumentScore, together
from lmtui.train.judging import Recalled, document_changes, judge
from lmtui.train.report import Report, token_changes

Quote = Callable[[int, int], tuple[str, str]]
"""Of the held-out document with a number, the text before a place in its ids, and the
text of the token there."""


@dataclass(frozen=True, slots=True)
class Answers:
    """What a model thought and said."""

    held_out: tuple[DocumentScore, ...]
    neutral: DocumentScore
    continued: tuple[str, ...]
    """After each of the prompts."""
    recalled: Recalled | None

    def to_json(self) -> str:
        """As one line of JSON."""
        return json.dumps(asdict(self), allow_nan=False)

    @classmethod
    def from_json(cls, text: str) -> Answers:
        """The other way round.

        Raises:
            ValueError: these are no answers.
        """
        try:
            values = json.loads(text)
            recalled = values["recalled"]
            return cls(
                held_out=tuple(map(_score, values["held_out"])),
                neutral=_score(values["neutral"]),
                continued=tuple(values["continued"]),
                recalled=None if recalled is None else Recalled(**recalled),
            )
        except (KeyError, TypeError) as error:
            raise ValueError(f"these are no answers: {error}") from error


@dataclass(frozen=True, slots=True)
class Course:
    """What was done between the two moments."""

    name: str
    base: str
    method: str
    steps: int
    best_step: int
    inspect: str = ""
    """As in `Report`."""


def compare(
    course: Course,
    before: Answers,
    after: Answers,
    *,
    prompts: Sequence[Prompt],
    quote: Quote,
) -> Report:
    """The report of a training."""
    gained, lost = token_changes(before.held_out, after.held_out, quote)
    neutral = together([before.neutral]), together([after.neutral])
    texts = zip(prompts, before.continued, after.continued, strict=True)
    return Report(
        name=course.name,
        base=course.base,
        method=course.method,
        steps=course.steps,
        best_step=course.best_step,
        inspect=course.inspect,
        before=together(before.held_out),
        after=together(after.held_out),
        neutral_before=neutral[0],
        neutral_after=neutral[1],
        verdict=judge(before.held_out, after.held_out, *neutral),
        samples=tuple(Continuation(p.text, old, new) for p, old, new in texts),
        documents=tuple(document_changes(before.held_out, after.held_out)),
        gained=gained,
        lost=lost,
        recalled_before=before.recalled,
        recalled=after.recalled,
    )


def _score(values: dict[str, Any]) -> DocumentScore:
    return DocumentScore(**{**values, "logprobs": tuple(values["logprobs"])})
