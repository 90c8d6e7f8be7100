"""The reference lines: held-out losses of n-gram models over bytes."""

from __future__ import annotations

import math

from lmtui.engine.ngram import NgramModel
from lmtui.learn.pretrain.events import ReferenceLines
from lmtui.learn.pretrain.text_split import TextSplit


def reference_lines(split: TextSplit) -> ReferenceLines:
    """Count the training part and score the held-out part, all but its first byte."""
    unigram, bigram, trigram = (_loss(split, order) for order in (1, 2, 3))
    return ReferenceLines(math.log(256), unigram, bigram, trigram)


def _loss(split: TextSplit, order: int) -> float:
    # Lists, since numpy takes bytes for text.
    training, held_out = list(split.training), list(split.held_out)
    model = NgramModel.count([training], order=order, vocabulary=256)
    return -float(model.score(held_out)[1:].mean())
