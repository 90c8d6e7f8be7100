"""`lmtui inspect --why`: which parts of a text made a token of it likely.

Effects are in bits, probabilities in JSON and TSV in nats.
"""

from __future__ import annotations

from collections.abc import Sequence
from operator import attrgetter

from lmtui import cancellation, notation
from lmtui.analysis.attribution import (
    AS_TOKENS,
    LISTED,
    Attribution,
    ContextTurn,
    Effect,
    Granularity,
    strength,
    without_effect,
)
from lmtui.chat.attachments import files_in
from lmtui.cli.errors import cancel_on_interrupt
from lmtui.cli.inspect.chat_message import StoredMessageText
from lmtui.cli.inspect.html_output import HtmlPage
from lmtui.cli.inspect.rows import RowWriter
from lmtui.cli.inspect.score import ModelScores, Rules
from lmtui.cli.inspect.table import Column, Table
from lmtui.cli.output import Output, adapter_field
from lmtui.cli.progress import meter
from lmtui.editing.positions import offset_of, parsed
from lmtui.engine.protocol import Engine
from lmtui.errors import LmtuiError
from lmtui.files import TextSource
from lmtui.text import visible_line, visible_token

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
    page: HtmlPage | None = None,
) -> None:
    """Write the effects of the units before a place, then the target's probability:
    all, as they are computed, or in a table the strongest; or put them on a page.

    Raises:
        LmtuiError: there is no token, or nothing before it.
        Cancelled: Ctrl-C was pressed; complete rows were written.
    """
    output, effects = Output(), list[Effect]()
    with cancel_on_interrupt(), meter("leaving out", unit="parts") as shown:
        subject = _subject(engine, document, place, rules)
        if not subject.sources or subject.logprob is None:
            hint = "Name a later place, or give it a context by --bos yes."
            raise LmtuiError("there is nothing before the target", "", hint)
        table = Table(output, _columns(subject), by)
        writer = RowWriter("unit", table, json=json, tsv=tsv)
        with cancellation.polling(lambda: shown(len(effects), subject.planned)):
            for effect in subject.effects(by):
                effects.append(effect)
                if json or tsv:
                    shown.pause()
                    writer.write(effect, "", **_origin(subject, effect))
        if page:
            page.explain(subject, effects, by)
        elif json:
            output.event(_summary(engine, document, subject, by))
        elif not tsv:
            about = _about(subject, effects, by)
            shown.pause()
            for effect in sorted(effects, key=strength)[:LISTED]:
                name = subject.sources[effect.source].name
                parts = [name, _short(effect.text)] if len(subject.sources) > 1 else []
                writer.write(
                    effect, ": ".join(filter(None, parts)) or _short(effect.text)
                )
            output.text(f"\n{about}\n")


def _subject(
    engine: Engine, document: TextSource, place: tuple[int, int], rules: Rules
) -> Attribution:
    scores = ModelScores(engine, document, rules)
    turns: tuple[ContextTurn, ...] = ()
    if isinstance(document, StoredMessageText):
        given = document.messages(engine.info.label)
        turns = tuple(ContextTurn(turn, files_in(turn.content)) for turn in given)
    windows = None if turns else scores.windows
    return Attribution(
        engine, document.text, scores.encoding, *place, turns=turns, windows=windows
    )


def _columns(subject: Attribution) -> tuple[Column, Column]:
    from lmtui.cli.inspect.plain import position  # few outputs need Rich

    def first_letter(effect: Effect) -> int:
        indent = len(effect.text) - len(effect.text.lstrip())
        return subject.sources[effect.source].offset + effect.start + indent

    def place(at: int) -> str:
        source = next(s for s in subject.sources if s.start <= at < s.end)
        return position(subject.text[source.offset :], at - source.offset)

    bits = Column("bits", 9, notation.difference, attrgetter("bits"))
    return bits, Column("line:col", 10, place, first_letter)


def _origin(subject: Attribution, effect: Effect) -> dict[str, object]:
    """Return which message and which file a unit is in."""
    source = subject.sources[effect.source]
    first = subject.sources[0].name == "system"
    number = None if source.turn is None else source.turn + 1 - first
    return {"message": number, "file": source.name if source.is_file else None}


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


def _about(subject: Attribution, effects: Sequence[Effect], by: Granularity) -> str:
    """Return what was asked, with its probability, and what the effects are."""
    target = _short(subject.text[subject.at :])
    said = f"“{target}”: {notation.surprisal(subject.logprob)} bits"
    if subject.logprob_without_all is not None:
        alone = notation.surprisal(subject.logprob_without_all)
        said += f"; {alone} without any text before it"
    count = len(effects)
    shown = f"the strongest of {count:,}" if count > LISTED else "all"
    lines = [said, f"each {by} was left out by itself; {shown} are shown"]
    if names := without_effect(subject.sources, effects):
        lines.append(f"nothing changed without {', '.join(map(visible_line, names))}")
    if any(effect.as_tokens and effect.token is None for effect in effects):
        lines.append(AS_TOKENS)
    meaning = (
        "+ made it likelier, − less likely; two that say the same can each have none"
    )
    return "\n".join([*lines, meaning])
