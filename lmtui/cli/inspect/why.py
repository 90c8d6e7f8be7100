"""`lmtui inspect --why`: which parts of a text made a token of it likely.

Effects are in bits, probabilities in JSON and TSV in nats.
"""

from __future__ import annotations

from operator import attrgetter

from lmtui import cancellation, notation
from lmtui.analysis.attribution import Attribution, Effect, Granularity
from lmtui.cli.errors import cancel_on_interrupt
from lmtui.cli.inspect.rows import RowWriter
from lmtui.cli.inspect.score import ModelScores, Rules
from lmtui.cli.inspect.table import Column, Table
from lmtui.cli.output import Output, adapter_field
from lmtui.cli.progress import meter
from lmtui.editing.positions import offset_of, parsed
from lmtui.engine.protocol import Engine
from lmtui.errors import LmtuiError
from lmtui.files import TextSource
from lmtui.text import visible_token

STRONGEST = 10
"""Rows of the table."""
_SHOWN = 50  # cells of a unit in the table


def target_span(text: str, named: str) -> tuple[int, int]:
    """Return where a target begins and ends, named as LINE:COL or LINE:COL-LINE:COL,
    the last character included.

    Raises:
        LmtuiError: it is not named so, or the text has no such place.
    """
    first, _, last = named.partition("-")
    start = offset_of(text, *parsed(first))
    end = offset_of(text, *parsed(last or first)) + 1
    if end <= start:
        hint = "Name the first place first."
        raise LmtuiError("--why ends before it begins", named, hint)
    return start, end


def write_why(
    engine: Engine,
    document: TextSource,
    place: tuple[int, int],
    rules: Rules,
    by: Granularity,
    *,
    json: bool,
    tsv: bool,
) -> None:
    """Write the effects of the units before a place, then the target's probability:
    all, as they are computed, or in a table the strongest.

    Raises:
        LmtuiError: there is no token, or nothing before it.
        Cancelled: Ctrl-C was pressed; complete rows were written.
    """
    from lmtui.cli.inspect.plain import position  # few outputs need Rich

    text, output, effects = document.text, Output(), list[Effect]()
    columns = (
        Column("bits", 9, notation.difference, attrgetter("bits")),
        Column("line:col", 10, lambda start: position(text, start), _first_letter),
    )
    writer = RowWriter("unit", Table(output, columns, by), json=json, tsv=tsv)
    with cancel_on_interrupt(), meter("leaving out", unit=f"{by}s") as shown:
        encoding = ModelScores(engine, document, rules).encoding
        subject = Attribution(engine, text, encoding, *place)
        count = len(subject.units(by))
        if not count or subject.logprob is None:
            hint = "Name a later place, or give it a context by --bos yes."
            raise LmtuiError("there is nothing before the target", "", hint)
        with cancellation.polling(lambda: shown(len(effects), count)):
            for effect in subject.effects(by):
                effects.append(effect)
                if json or tsv:
                    shown.pause()
                    writer.write(effect, "")
        if json:
            output.event(_summary(engine, document, subject, by))
        elif not tsv:
            about = _about(text, subject, by, count)
            shown.pause()
            for effect in sorted(effects, key=_strength)[:STRONGEST]:
                writer.write(effect, _short(effect.text))
            output.text(f"\n{about}\n")


def _strength(effect: Effect) -> float:
    return -abs(effect.bits or 0.0)


def _first_letter(effect: Effect) -> int:
    return effect.end - len(effect.text.lstrip())


def _short(text: str) -> str:
    from rich.cells import chop_cells  # imported here: not needed by JSON

    first, *more = chop_cells(visible_token(text), _SHOWN)
    return f"{first}…" if more else first


def _summary(
    engine: Engine, document: TextSource, subject: Attribution, by: Granularity
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
        "logprob_without_all": subject.logprob_without_all,
    }


def _about(text: str, subject: Attribution, by: Granularity, count: int) -> str:
    """Return what was asked, with its probability, and what the effects are."""
    target = _short(text[slice(*subject.span)])
    said = f"“{target}”: {notation.surprisal(subject.logprob)} bits"
    if subject.logprob_without_all is not None:
        alone = notation.surprisal(subject.logprob_without_all)
        said += f"; {alone} without any text before it"
    shown = f"the strongest of {count:,}" if count > STRONGEST else "all"
    return (
        f"{said}\neach {by} was left out in turn; {shown} are shown\n"
        "+ made it likelier, − less likely; two that say the same can each have none"
    )
