"""The model's evaluation before training, kept in the run folder for the report.

A resumed training holds its checkpoint's weights and can't evaluate the model it began
with. Imports no torch.
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
    """The model's evaluation before training, and the digests of its weights."""

    sha256: tuple[str, ...]
    """Digests of the model's weight files."""
    prompts: tuple[Prompt, ...]
    answers: Answers

    def about(self, held_out: Sequence[Example]) -> Baseline:
        """Return the baseline for these held-out documents only.

        Each of them must be in the baseline.
        """
        scores = {score.path: score for score in self.answers.held_out}
        kept = tuple(scores[example.path] for example in held_out)
        return replace(self, answers=replace(self.answers, held_out=kept))

    def known(self, held_out: Sequence[Example]) -> tuple[Example, ...]:
        """Return the documents that are scored here and still have as many tokens."""
        lengths = {score.path: len(score.logprobs) for score in self.answers.held_out}
        return tuple(x for x in held_out if lengths.get(x.path) == len(x.ids))


def write_beginning(run: RunFolder, beginning: Baseline) -> None:
    """Write the baseline into the run folder.

    Raises:
        LmtuiError: the file can't be written.
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
    """Read the baseline of a training that is resumed.

    Raises:
        LmtuiError: the file can't be read.
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
