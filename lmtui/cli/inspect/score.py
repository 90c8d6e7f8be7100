"""`lmtui score`: a row a text, a word or a minimal pair."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Annotated, Any

import typer

from lmtui import notation
from lmtui.analysis.summary import summary_fields
from lmtui.cli import options
from lmtui.cli.errors import DONE, USER, cancel_on_interrupt, print_error
from lmtui.cli.inspect import texts
from lmtui.cli.inspect.json_output import write_totals
from lmtui.cli.inspect.pairs import read_pairs, write_pairs
from lmtui.cli.inspect.rows import Column, Form, Rows
from lmtui.cli.inspect.text_scores import (
    Rules,
    ScoredRow,
    TextScores,
    merged,
    score_each,
)
from lmtui.cli.inspect.words import word_writer
from lmtui.cli.output import STDIN, Output
from lmtui.cli.progress import meter
from lmtui.config.settings import Settings
from lmtui.engine.protocol import Engine
from lmtui.engine.types import BosRule
from lmtui.errors import LmtuiError
from lmtui.files import TextSource

Files = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="FILE...",
        help="Text files; - is stdin, which is also read in a pipe without FILE.",
    ),
]
Words = Annotated[
    bool,
    typer.Option(
        "--words",
        help="A row for each word: what stands between white space, with its "
        "punctuation.",
    ),
]
Pairs = Annotated[
    bool,
    typer.Option(
        "--pairs",
        help="A row for each minimal pair: a line with two sentences, the good one "
        "first, with a tab between them, or JSON as BLiMP has.",
    ),
]
Sort = Annotated[
    str | None,
    typer.Option(
        metavar="COLUMN",
        help="Sort the rows by a column: the largest numbers first, or by name.",
    ),
]


@options.with_settings(*options.MODEL)
def score(
    ctx: typer.Context,
    *,
    files: Files = None,
    words: Words = False,
    pairs: Pairs = False,
    json: options.Json = False,
    tsv: texts.Tsv = False,
    sort: Sort = None,
    window: texts.Window = None,
    stride: texts.Stride = None,
    bos: texts.Bos = "auto",
    against: texts.Against = None,
    against_adapter: texts.AgainstAdapter = None,
    ngram_text: texts.NgramText = None,
) -> None:
    """Score texts, their words, or minimal pairs: a row each.

    Of texts there is a row for all together, too. The totals are the sum of the log-
    probabilities, the perplexity, and the bits per byte (the number to compare models
    by). A file that can't be read is reported at once, the others are still scored, and
    the exit code is 2. --json and --tsv have all numbers, Min-K% among them.

    With --against, the other model's numbers stand beside. How rows are counted, and
    what they can't say, stands in `lmtui help inspect` and `lmtui help numbers`.

    \b
    Examples:
      lmtui score notes/*.md --sort perplexity
      lmtui score draft.txt --against-adapter notes
      lmtui score items.txt --words --bos yes --tsv > words.tsv
      lmtui score adjunct_island.jsonl --pairs --bos yes
      lmtui score notes/*.md --json --window 1024 --stride 256
    """
    form = texts.form_of(json=json, tsv=tsv)
    texts.require_one(words=words, pairs=pairs, sort=sort)
    settings = texts.exact_settings(ctx)
    other = texts.other_model(settings, against, against_adapter, ngram_text)
    if pairs:
        for flag, value in {"against": against, "against_adapter": against_adapter,
                            "window": window, "stride": stride}.items():  # fmt: skip
            texts.require_one(pairs=True, **{flag: value})
        _write_pairs(ctx, settings, texts.read_texts(files or []), bos, form)
        return
    if words:
        texts.refuse_counted(other)
    columns = AGAINST if other else ALONE
    key = sort_key(sort, columns)
    documents, unread = _readable(files or [])
    engines, ngrams = texts.open_models(ctx, settings, documents, other)
    rules = Rules(window=window, stride=stride, bos=bos, ngrams=ngrams)
    if words:
        write = word_writer(form, many=len(documents) > 1, two=len(engines) > 1)
        score_each(engines, documents, rules, write)
    else:
        rows = Rows("text", columns, NAME, form)
        write_rows(engines, documents, rules, rows=rows, key=key, unread=unread)
    raise typer.Exit(USER if unread else DONE)


def _write_pairs(
    context: typer.Context,
    settings: Settings,
    documents: Sequence[TextSource],
    bos: BosRule,
    form: Form,
) -> None:
    listed = [(each.name, read_pairs(each)) for each in documents]
    (engine,), _ = texts.open_models(context, settings, [])
    for name, pairs in listed:
        write_pairs(engine, name, pairs, bos, form)


def _readable(names: Sequence[str]) -> tuple[list[TextSource], int]:
    """Return the texts of files that can be read, and how many can't, which are
    reported.

    Raises:
        LmtuiError: none can be read.
    """
    if not names or names.count(STDIN) > 1:
        return texts.read_texts(names), 0
    documents, errors = [], []
    for name in names:
        try:
            documents += texts.read_texts([name])
        except LmtuiError as error:
            errors.append(error)
    for each in errors if documents else errors[:-1]:
        print_error(each)
    if not documents:
        raise errors[-1]
    return documents, len(errors)


def _totals(name: str, *, other: bool = False) -> Callable[[ScoredRow], float | None]:
    def value(row: ScoredRow) -> float | None:
        summary = row.other if other else row.own
        return getattr(summary.totals, name) if summary else None

    return value


_TOKENS = Column("tokens", 8, notation.count, _totals("tokens"))
_PERPLEXITY = Column("perplexity", 11, notation.perplexity, _totals("perplexity"))
_PER_BYTE = Column("bits/byte", 10, notation.rate, _totals("bits_per_byte"))

ALONE = (
    _TOKENS,
    Column("logprob", 13, notation.log_prob, _totals("logprob")),
    _PERPLEXITY,
    _PER_BYTE,
    Column("bits/char", 10, notation.rate, _totals("bits_per_character")),
    Column("top-1", 7, notation.percent, lambda row: row.own.totals.accuracy(1)),
)
"""Columns for one model."""

AGAINST = (
    _TOKENS,
    _PERPLEXITY,
    Column("other-ppl", 12, notation.perplexity, _totals("perplexity", other=True)),
    _PER_BYTE,
    Column("other-b/b", 10, notation.rate, _totals("bits_per_byte", other=True)),
    Column(
        "gain",
        12,
        notation.difference,
        lambda row: row.comparison.bits if row.comparison else None,
    ),
)
"""Columns for two models; the gain is what the other model saves, in bits."""

NAME = "file"
SortKey = Callable[[ScoredRow], Any]


def sort_key(column: str | None, columns: Sequence[Column]) -> SortKey | None:
    """Return the sort key for a column; None without a column.

    Numbers are sorted from the largest, missing ones last; names ascend.
    """
    if column is None:
        return None
    if column == NAME:
        return lambda row: row.document.name
    values = {each.name: each.value for each in columns}
    if (value := values.get(column)) is None:
        names = ", ".join([*values, NAME])
        raise LmtuiError("there is no such column", column, f"Give one of {names}.")

    def key(row: ScoredRow) -> tuple[bool, float]:
        number = value(row)
        return number is None, -(number or 0.0)

    return key


def write_rows(
    engines: Sequence[Engine],
    documents: Sequence[TextSource],
    rules: Rules,
    *,
    rows: Rows,
    key: SortKey | None,
    unread: int,
) -> None:
    """Write the totals of each document, sorted by `key` or as they are scored, and of
    all together; `unread` files could not be read.

    Raises:
        LmtuiError: the rules can't be applied with this model.
        Cancelled: Ctrl-C was pressed; the rows of complete texts were written.
    """
    unsorted, total, before = list[ScoredRow](), None, 0
    whole = sum(len(document.text) for document in documents)

    def scored(document: TextSource) -> ScoredRow:
        size = len(document.text)

        def report(done: int, tokens: int) -> None:
            shown(before + size * done // max(tokens, 1), whole)

        scores = TextScores(engines, document, rules, report, lambda: None)
        for _ in scores.pieces():
            pass  # its totals are counted
        return scores.row()

    try:
        with cancel_on_interrupt(), meter("scoring", unit="characters") as shown:
            for document in documents:
                row = scored(document)
                total, before = merged(total, row), before + len(document.text)
                if key:
                    unsorted.append(row)
                else:
                    shown.clear()
                    _write(rows, row, document.name)
    finally:
        for row in sorted(unsorted, key=key) if key else ():
            _write(rows, row, row.document.name)
    files = len(documents)
    if total and (files > 1 or rows.form == "json"):
        about = {"files": files, "unread": unread}
        _write(rows, total, f"total of {files}", "total", **about)


def _write(
    rows: Rows, row: ScoredRow, name: str, event: str = "summary", **about: object
) -> None:
    if rows.form == "json":
        write_totals(Output(), row, event, **about)
    elif rows.form == "tsv":
        rows.fields(_fields(row, name))
    else:
        rows.write(row, name)


def _fields(row: ScoredRow, name: str) -> dict[str, Any]:
    fields: dict[str, Any] = {NAME: name}
    for summary, before in zip(row.summaries, ("", "other_"), strict=False):
        # JSON has these two only where they are not 0; here each row has a cell.
        numbers = {"rewritten": 0, "unlisted": 0, **summary_fields(summary)}
        fields |= {
            f"{before}{field}": value
            for field, value in numbers.items()
            if not isinstance(value, dict | list)
        }
    if row.comparison:
        fields["gain"] = row.comparison.bits
    return fields
