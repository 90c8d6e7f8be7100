"""The request for a pretraining, and the texts that are too small for it.

Imports no torch.
"""

from __future__ import annotations

from dataclasses import dataclass

from lmtui.errors import LmtuiError

LEAST_BYTES = 2_000
"""Bytes of the smallest text that can be trained on."""
SMALL_BYTES = 30_000
"""Bytes below which the held-out loss may stay above the bigram's."""


@dataclass(frozen=True, slots=True)
class PretrainRequest:
    """A text to train on, the length of the training, and the shape of the model.

    The defaults are chosen for one minute on two cores of a CPU.
    """

    text: str
    seconds: float = 60.0
    """Time from the first step to the last, evaluations included."""
    steps: int | None = None
    """Number of optimiser steps; if it is given, the time does not count."""
    seed: int = 0
    """Of the weights, of the order of the text and of the samples."""
    prompt: str = ""
    """Text that every snapshot continues; if empty, the first words of the held-out
    text."""
    layers: int = 3
    width: int = 64
    """Size of a hidden state; a multiple of twice the heads."""
    heads: int = 4
    context: int = 64
    """Bytes of a training sequence, and most bytes that the model sees."""
    batch: int = 16
    """Sequences of an optimiser step."""
    lr: float = 5e-3
    """Peak learning rate."""
    sample_bytes: int = 80

    @property
    def data(self) -> bytes:
        """The text's bytes, each of which is a token."""
        return self.text.encode("utf-8", "surrogatepass")


def require_enough(data: bytes) -> None:
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
