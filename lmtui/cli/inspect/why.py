"""`lmtui inspect --why`: which parts of a text made a token of it likely.

Numbers of probability are in nats in JSON and TSV, effects in bits everywhere.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from operator import attrgetter

from lmtui import cancellation, notation
from lmtui.analysis.attribution import Attribution, Effect, Target, Unit
from lmtui.cli.errors import cancel_on_interrupt
from lmtui.cli.inspect.rows import RowWriter
from lmtui.cli.inspect.score import ModelScores, Rules
from lmtui.cli.inspect.table import Column, Table
from lmtui.cli.output import Output, adapter_field
from lmtui.cli.progress import meter
from lmtui.engine.protocol import Engine
from lmtui.errors import LmtuiError
from lmtui.files import TextSource
from lmtui.text import visible_token

STRONGEST = 10
"""Rows of the table."""
_SHOWN = 50  # characters of a unit in the table
_PLACE = re.compile(r"(\d+):(\d+)(?:-(\d+):(\d+))?")
_HINT = "Give the line and the column of a character, as 3:14, or of two, as 3:14-3:20."


@dataclass(frozen=True, slots=True)
class UnitRow:
    """A unit of the text before the target, in the order of the fields of its row."""

    start: int
    end: int
    text: str
    logprob: float | None
    """log P of the target without the unit."""
    bits: float | None
    """Its effect."""


def write_why(
    engine: Engine,
    document: TextSource,
    place: str,
    rules: Rules,
    by: Unit,
    *,
    as_json: bool,
    tsv: bool,
) -> None:
    """Write the effects of the units before a place, then the target's probability:
    all, as they are computed, or in a table the strongest.

    Raises:
        LmtuiError: nothing is at the place, or before it.
        Cancelled: Ctrl-C was pressed; complete rows were written.
    """
    text, output = document.text, Output()
    start, end = _offsets(text, place)
    with cancel_on_interrupt(), meter("leaving out", unit=f"{by}s") as shown:
        encoding = ModelScores(engine, document, rules).encoding
        subject = Attribution(engine, text, encoding, Target.at(encoding, start, end))
        units, rows = subject.units(by), list[UnitRow]()
        if not units or subject.logprob is None:
            hint = "Name a later place: the units before it are left out in turn."
            raise LmtuiError("there is nothing before the target", place, hint)
        table = Table(output, _columns(text), by)
        writer = RowWriter("unit", table, json=as_json, tsv=tsv)
        with cancellation.polling(lambda: shown(len(rows), len(units))):
            for effect in subject.effects(units, tokens=by == "token"):
                row = _row(text, effect)
                rows.append(row)
                if as_json or tsv:
                    shown.pause()
                    writer.write(row, "")
    if as_json:
        output.event(_summary(engine, document, subject, by))
    elif not tsv:
        strongest = sorted(rows, key=lambda row: -abs(row.bits or 0.0))[:STRONGEST]
        for row in strongest:
            writer.write(row, _short(visible_token(row.text)))
        output.text(f"\n{_about(text, subject, by, len(rows))}\n")


def _row(text: str, effect: Effect) -> UnitRow:
    bits = None if effect.effect is None else effect.effect / notation.LN2
    start, end = effect.start, effect.end
    return UnitRow(start, end, text[start:end], effect.logprob, bits)


def _short(text: str) -> str:
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…"


def _columns(text: str) -> tuple[Column, ...]:
    def line(row: UnitRow) -> int:
        start = row.end - len(row.text.lstrip())
        return text.count("\n", 0, start) + 1

    def column(row: UnitRow) -> int:
        start = row.end - len(row.text.lstrip())
        return start - text.rfind("\n", 0, start)

    return (
        Column("bits", 9, notation.difference, attrgetter("bits")),
        Column("line", 6, notation.count, line),
        Column("column", 7, notation.count, column),
    )


def _summary(
    engine: Engine, document: TextSource, subject: Attribution, by: Unit
) -> dict[str, object]:
    start, end = subject.span
    about = {"event": "summary", "file": document.name, "model": engine.info.model}
    about |= {**adapter_field(engine.info), "precision": engine.info.precision}
    return about | {
        "dtype": engine.info.dtype,
        "by": by,
        "start": start,
        "end": end,
        "text": document.text[start:end],
        "logprob": subject.logprob,
        "logprob_without_all": subject.without_all,
    }


def _about(text: str, subject: Attribution, by: Unit, count: int) -> str:
    """Return what was asked, with its probability, and what the effects are."""
    target = visible_token(text[slice(*subject.span)])
    said = f"“{target}”: {notation.surprisal(subject.logprob)} bits of surprisal"
    if subject.without_all is not None:
        said += (
            f"; {notation.surprisal(subject.without_all)} without any text before it"
        )
    more = f"; the strongest of {count:,} are shown" if count > STRONGEST else ""
    left_out = "tokens of each" if by == "token" else "text of each"
    return (
        f"{said}\nleft out in turn was the {left_out} {by}{more}\n"
        "+ made it likelier, − less likely; two that say the same can each have none"
    )


def _offsets(text: str, place: str) -> tuple[int, int]:
    """Return where the target begins and ends, given LINE:COL or LINE:COL-LINE:COL."""
    match = _PLACE.fullmatch(place)
    if match is None:
        raise LmtuiError("--why takes a place", place, _HINT)
    line, column, last_line, last_column = match.groups()
    start = _offset(text, int(line), int(column))
    if last_line is None:
        return start, start + 1
    end = _offset(text, int(last_line), int(last_column)) + 1
    if end <= start:
        raise LmtuiError("--why ends before it begins", place, _HINT)
    return start, end


def _offset(text: str, line: int, column: int) -> int:
    lines = text.split("\n")
    if not 1 <= line <= len(lines):
        raise LmtuiError("there is no such line", f"{line} of {len(lines):,}", _HINT)
    width = len(lines[line - 1])
    if not 1 <= column <= width:
        raise LmtuiError(
            "there is no such column", f"{column} of line {line}: it has {width}", _HINT
        )
    return sum(len(each) + 1 for each in lines[: line - 1]) + column - 1
