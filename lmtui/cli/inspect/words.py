"""`lmtui inspect --words`: a row for each word of a text.

A table is in bits; JSON and TSV have log-probabilities and entropy in nats, too.
"""

from __future__ import annotations

from operator import attrgetter

from lmtui import notation
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
    """Return what writes the words of a text while it is scored, and then its numbers;
    of `many` texts, a table names each."""
    output = Output()
    rows = RowWriter("word", Table(output, _COLUMNS, "word"), json=json, tsv=tsv)

    def write(scores: TextScores) -> None:
        is_table, name = not (json or tsv), scores.document.name
        if is_table and many:
            output.text(f"{visible_line(name)}\n")
        for word in scores.words():
            rows.write(word, word.word, file=name)
        if json:
            JsonRows(output).row(scores.row())
        if is_table:
            from lmtui.cli.inspect.plain import numbers  # few outputs need Rich

            output.text(f"\n{numbers(scores.row().own).plain}\n" + "\n" * many)

    return write
