"""`lmtui score --words`: a row for each word of a text, and their totals.

A table is in bits; JSON and TSV have log-probabilities and entropy in nats, too.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from operator import attrgetter, itemgetter

from lmtui import notation
from lmtui.analysis.words import Word
from lmtui.cli.inspect.json_output import write_totals
from lmtui.cli.inspect.rows import Column, Form, Rows
from lmtui.cli.inspect.text_scores import TextScores, WriteScores
from lmtui.cli.output import Output
from lmtui.text import visible_line

_FIELDS = ("surprisal", "logprob", "naive_logprob", "entropy")
"""Those that another model has."""
_COLUMNS = (
    Column("sentence", 8, notation.count, attrgetter("sentence")),
    Column("start", 8, notation.count, attrgetter("start")),
    Column("end", 8, notation.count, attrgetter("end")),
    Column("tokens", 7, notation.count, attrgetter("tokens")),
    Column("bits", 8, notation.surprisal, attrgetter("logprob")),
    Column("naive", 8, notation.surprisal, attrgetter("naive_logprob")),
    Column("entropy", 8, notation.entropy, attrgetter("entropy")),
)
_OTHER = Column("other", 8, notation.surprisal, itemgetter("logprob"), is_other=True)


def word_writer(form: Form, *, many: bool, two: bool) -> WriteScores:
    """Return what writes the words of a text while it is scored, by `two` models side
    by side, and then their totals, in JSON those of its tokens; of `many` texts, a
    table names each."""
    output = Output()
    columns = (*_COLUMNS, _OTHER) if two else _COLUMNS
    rows = Rows("word", columns, "word", form)
    fields = _FIELDS if two else ()

    def write(scores: TextScores) -> None:
        name = scores.document.name
        if form == "table" and many:
            output.text(f"{visible_line(name)}\n")
        own_words, other_words = [], []
        for word, beside in scores.words():
            other = {field: getattr(beside, field, None) for field in fields}
            rows.write(word, word.word, other, file=name)
            own_words.append(word)
            if beside:
                other_words.append(beside)
        if form == "json":
            write_totals(output, scores.row())
        if form == "table":
            from lmtui.cli.inspect.plain import model_line  # few outputs need Rich

            written = own_words, other_words
            for words, summary in zip(written, scores.row().summaries, strict=False):
                output.text(f"\n{_totals(words)}\n{model_line(summary)}\n")
            output.text("\n" * many)

    return write


def _totals(words: Sequence[Word]) -> str:
    known = [word for word in words if word.logprob is not None]
    logprob = math.fsum(word.logprob or 0.0 for word in known)
    naive = math.fsum(word.naive_logprob or 0.0 for word in known)
    mean = logprob / len(known) if known else None
    return (
        f"{notation.counted(len(words), 'word')}, {len(known):,} scored: surprisal "
        f"{notation.surprisal(logprob)} bits (naive {notation.surprisal(naive)}), "
        f"{notation.surprisal(mean)} bits a word"
    )
