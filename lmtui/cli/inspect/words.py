"""`lmtui inspect --words`: a row for each word of a text.

In a table and as tab-separated values, numbers are in bits; in JSON, in nats.
"""

from __future__ import annotations

from functools import partial
from operator import attrgetter

from lmtui import notation
from lmtui.analysis.words import Word
from lmtui.cli.inspect.json_output import JsonRows
from lmtui.cli.inspect.score import TextScores, WriteScores
from lmtui.cli.inspect.table import Column, Table
from lmtui.cli.output import JsonEvent, Output
from lmtui.text import visible_line

_COLUMNS = (
    Column("sentence", 8, notation.count, attrgetter("sentence")),
    Column("start", 8, notation.count, attrgetter("start")),
    Column("end", 8, notation.count, attrgetter("end")),
    Column("tokens", 7, notation.count, attrgetter("tokens")),
    Column("bits", 8, notation.surprisal, attrgetter("logprob")),
    Column("naive", 8, notation.surprisal, attrgetter("naive")),
    Column("entropy", 8, notation.entropy, attrgetter("entropy")),
)
_TSV = ("file", "word", "sentence", "start", "end", "tokens", "surprisal_bits",
        "naive_bits", "entropy_bits")  # fmt: skip


def word_writer(output: Output, *, json: bool, tsv: bool, heading: bool) -> WriteScores:
    """Return what writes the words of a text while it is scored; with `heading`, a
    table has the text's name above it."""
    if json:
        return partial(_write_events, output)
    if tsv:
        return _Tsv(output).write
    return partial(_write_table, output, heading=heading)


def _write_table(output: Output, scores: TextScores, *, heading: bool) -> None:
    """Write the words, and below them the numbers of the text."""
    from lmtui.cli.inspect.plain import numbers  # few outputs need Rich

    if heading:
        output.text(f"{visible_line(scores.document.name)}\n")
    table = Table(output, _COLUMNS, "word")
    for word in scores.words():
        table.write(word, word.text)
    output.text(f"\n{numbers(scores.row().own).plain}\n")
    if heading:
        output.text("\n")


def _write_events(output: Output, scores: TextScores) -> None:
    """Write the words, then the summary."""
    for word in scores.words():
        output.event(_event(word))
    JsonRows(output).row(scores.row())


def _event(word: Word) -> JsonEvent:
    return {
        "event": "word",
        "word": word.text,
        "sentence": word.sentence,
        "start": word.start,
        "end": word.end,
        "tokens": word.tokens,
        "logprob": word.logprob,
        "naive_logprob": word.naive,
        "entropy": word.entropy,
    }


class _Tsv:
    """Writer of the words of texts under one line of headings, once a text can be
    scored."""

    def __init__(self, output: Output) -> None:
        self._output = output
        self._begun = False

    def write(self, scores: TextScores) -> None:
        for word in scores.words():
            self._begin()
            numbers = (
                None if nats is None else abs(nats) / notation.LN2
                for nats in (word.logprob, word.naive, word.entropy)
            )
            counts = word.sentence, word.start, word.end, word.tokens
            self._output.tsv((scores.document.name, word.text, *counts, *numbers))
        self._begin()

    def _begin(self) -> None:
        if not self._begun:
            self._begun = True
            self._output.tsv(_TSV)
