"""The options of a pretraining, and the texts that are too small for it.

Imports no torch.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from lmtui.errors import LmtuiError

LEAST_BYTES = 2_000
"""Bytes of the smallest text that can be trained on."""
SMALL_BYTES = 30_000
"""Bytes below which the held-out loss may stay above the bigram's."""
MOST_CONTEXT = LEAST_BYTES // 2
"""Bytes of the longest context: every text has room for it."""
PROMPTS = 2
"""Most prompts whose next bytes are shown."""


@dataclass(frozen=True, slots=True)
class PretrainOptions:
    """The options of a pretraining: its length, the model's shape, the optimiser's.

    The defaults are chosen for one minute on two cores of a CPU.
    """

    seconds: float = 60.0
    """Time from the first step to the last, evaluations included."""
    steps: int | None = None
    """Number of optimiser steps; if it is given, the time does not count."""
    seed: int = 0
    """Of the weights, of the order of the text and of the samples."""
    threads: int | None = None
    """Threads of torch; None is one for each physical core."""
    layers: int = 3
    width: int = 64
    """Size of a hidden state; a multiple of `heads`."""
    heads: int = 4
    context: int = 64
    """Bytes of a training sequence, and most bytes that the model sees."""
    batch: int = 16
    """Sequences of an optimiser step."""
    lr: float = 5e-3
    """Peak learning rate."""
    prompts: tuple[str, ...] = ()
    """One or two texts whose next bytes every snapshot shows; if empty, the first words
    of the held-out text, and the same with one byte more."""
    sample_prompt: str = ""
    """Text that every snapshot continues; if empty, the first words of the held-out
    text."""
    sample_bytes: int = 80

    def __post_init__(self) -> None:
        """Refuse values that can't be used."""
        sizes = (self.layers, self.width, self.heads, self.batch, self.sample_bytes)
        lengths = self.seconds > 0 and (self.steps is None or self.steps >= 1)
        right = (
            lengths
            and min(sizes) >= 1
            and (self.threads is None or self.threads >= 1)
            and self.width % (2 * self.heads) == 0  # rotary positions come in pairs
            and 2 <= self.context <= MOST_CONTEXT
            and 0 < self.lr < 1
            and len(self.prompts) <= PROMPTS
            and all(self.prompts)
        )
        if not right:
            raise LmtuiError(
                "these options of a pretraining can't be used",
                to_json(self),
                "Give positive numbers, a width that is a multiple of twice the heads, "
                f"a context of 2 to {MOST_CONTEXT} bytes and at most {PROMPTS} prompts "
                "with text.",
            )


def to_json(options: PretrainOptions) -> str:
    """Return options as one line of JSON, in ASCII."""
    return json.dumps(asdict(options))


def from_fields(values: Mapping[str, Any]) -> PretrainOptions:
    """Return the options that `to_json` wrote."""
    return PretrainOptions(**{**values, "prompts": tuple(values["prompts"])})


def require_enough(data: bytes) -> None:
    """Refuse a text that is too small to train on."""
    if len(data) < LEAST_BYTES:
        raise LmtuiError(
            "the text is too small to train on",
            f"{len(data):,} bytes",
            f"Give a text of at least {LEAST_BYTES:,} bytes; {SMALL_BYTES:,} or more "
            "show more.",
        )


def small_text_remark(size: int) -> str:
    """Return why the held-out loss of a text of `size` bytes may stay above the
    bigram's line; empty for one that is large enough."""
    if size >= SMALL_BYTES:
        return ""
    return (
        f"This text has {size:,} bytes, which is little: the held-out loss may not get "
        "below the bigram's line, or not stay there. A bigram needs few examples of "
        "each pair of bytes; a transformer needs many steps on many different ones to "
        "find more than the pairs. Trained over and over on so small a text, it learns "
        "the text by heart: the training loss goes on falling, and the held-out loss "
        "rises."
    )
