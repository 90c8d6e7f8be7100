"""Scores as values: the text and the bytes of each token beside its numbers."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from lmtui.engine.scoring.score import TokenScore
from lmtui.engine.text.detokenizer import Vocabulary
from lmtui.engine.types import Candidate, ScoredToken


def scored_tokens(
    vocabulary: Vocabulary,
    ids: Iterable[int],
    rows: Iterable[TokenScore],
    *,
    first: int = 0,
) -> Iterator[ScoredToken]:
    """Yield each of `ids` with its score; `first` is the index of the first one."""
    for index, (token, row) in enumerate(zip(ids, rows, strict=True), first):
        yield ScoredToken(
            index=index,
            id=token,
            text=vocabulary.text(token),
            bytes=vocabulary.bytes(token),
            logprob=row.logprob,
            rank=row.rank,
            entropy=row.entropy,
            top=candidates(vocabulary, row),
            is_control=token in vocabulary.specials,
            word_end=row.word_end,
            varentropy=row.varentropy,
        )


def candidates(vocabulary: Vocabulary, row: TokenScore) -> tuple[Candidate, ...]:
    """Return the most probable tokens of a row."""
    return tuple(
        Candidate(token, vocabulary.text(token), vocabulary.bytes(token), logprob)
        for token, logprob in row.top
    )
