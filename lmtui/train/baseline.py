"""What the model thought and said before its training, kept for the comparison.

Owns the file in the run folder. A training that is resumed has the weights of its
checkpoint and can't ask the model it began with. Imports no torch.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace

from lmtui import paths
from lmtui.engine.types import Prompt
from lmtui.errors import LmtuiError
from lmtui.train.dataset import Example
from lmtui.train.report import Answers
from lmtui.train.run_folder import RunFolder

_NAME = "before.json"


@dataclass(frozen=True, slots=True)
class Baseline:
    """What was asked of which model, and the answers."""

    sha256: tuple[str, ...]
    """Of the model's files of weights."""
    prompts: tuple[Prompt, ...]
    answers: Answers

    def about(self, held_out: Sequence[Example]) -> Baseline:
        """What it says of these documents, which have to be the very ones or fewer."""
        scores = {score.path: score for score in self.answers.held_out}
        kept = tuple(scores[example.path] for example in held_out)
        return replace(self, answers=replace(self.answers, held_out=kept))

    def known(self, held_out: Sequence[Example]) -> tuple[Example, ...]:
        """The documents that it has scored, as they are now."""
        lengths = {score.path: len(score.logprobs) for score in self.answers.held_out}
        return tuple(x for x in held_out if lengths.get(x.path) == len(x.ids))


def write_beginning(run: RunFolder, beginning: Baseline) -> None:
    """Keep it in the run folder.

    Raises:
        LmtuiError: it can't be written.
    """
    prompts = [{"ids": p.ids, "text": p.text} for p in beginning.prompts]
    answers = json.loads(beginning.answers.to_json())
    values = {"sha256": beginning.sha256, "prompts": prompts, "answers": answers}
    text = json.dumps(values, allow_nan=False)
    try:
        paths.write_atomically(run.path / _NAME, text.encode("ascii"))
    except OSError as error:
        raise paths.unwritable(run.path, error) from error


def read_beginning(run: RunFolder) -> Baseline:
    """The beginning of a training that is resumed.

    Raises:
        LmtuiError: it can't be read.
    """
    file = run.path / _NAME
    try:
        values = json.loads(file.read_bytes())
        prompts = (Prompt(tuple(p["ids"]), p["text"]) for p in values["prompts"])
        answers = Answers.from_json(json.dumps(values["answers"]))
        return Baseline(tuple(values["sha256"]), tuple(prompts), answers)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise LmtuiError(
            "this training can't be resumed",
            f"{file}: {error}",
            "Start again with --overwrite.",
        ) from error
