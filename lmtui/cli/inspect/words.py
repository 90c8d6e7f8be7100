"""`lmtui inspect --words`: a row for each word of a text, and their totals.

A table is in bits; JSON and TSV have log-probabilities and entropy in nats, too.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from operator import attrgetter

from lmtui import notation
from lmtui.analysis.words import Word
from lmtui.cli.inspect.json_output import JsonRows
from lmtui.cli.inspect.rows import RowWriter
from lmtui.cli.inspect.score import TextScores, WriteScores
from lmtui.cli.inspect.table import Column, Table
from lmtui.cli.output import Output
from lmtui.text import visible_line

_COLUMNS = (
    Column("sentence", 8, notation.count, attrgetter("sentence")),
    Column("start", 8, notation.count, attrgetter("start")),
    Column("end", 8, notation.count, attrgetter("end")),
    Column("tokens", 7, notation.count, attrgetter("tokens")),
    Column("bits", 8, notation.surprisal, attrgetter("logprob")),
    Column("naive", 8, notation.surprisal, attrgetter("naive_logprob")),
    Column("entropy", 8, notation.entropy, attrgetter("entropy")),
)


def word_writer(*, json: bool, tsv: bool, many: bool) -> WriteScores:
    """Return what writes the words of a text while it is scored, and then their totals,
    in JSON those of its tokens; of `many` texts, a table names each."""
    output = Output()
    rows = RowWriter("word", Table(output, _COLUMNS, "word"), json=json, tsv=tsv)

    def write(scores: TextScores) -> None:
        is_table, name = not (json or tsv), scores.document.name
        if is_table and many:
            output.text(f"{visible_line(name)}\n")
        written = []
        for word in scores.words():
            rows.write(word, word.word, file=name)
            written.append(word)
        if json:
            JsonRows(output).row(scores.row())
        if is_table:
            from lmtui.cli.inspect.plain import model_name  # few outputs need Rich

            own = scores.row().own
            model = f"{model_name(own.info)}, {'with' if own.bos else 'without'} BOS"
            output.text(f"\n{_totals(written)}\n{model}\n" + "\n" * many)

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
