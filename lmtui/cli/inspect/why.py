"""`lmtui why`: which parts of a text made a token of it likely.

Effects are in bits, probabilities in JSON and TSV in nats.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from operator import attrgetter, itemgetter
from typing import Annotated

import typer

from lmtui import cancellation, notation
from lmtui.analysis.attribution import (
    AS_TOKENS,
    Attribution,
    Effect,
    Granularity,
)
from lmtui.analysis.summary import model_fields
from lmtui.chat.attachments import files_in
from lmtui.cli import options
from lmtui.cli.errors import cancel_on_interrupt
from lmtui.cli.inspect import texts
from lmtui.cli.inspect.chat_message import StoredMessageText
from lmtui.cli.inspect.html_output import HtmlPage, require_writable_file
from lmtui.cli.inspect.rows import Column, Form, Rows
from lmtui.cli.inspect.text_scores import ModelScores, Rules, score_each
from lmtui.cli.output import Output
from lmtui.cli.progress import meter
from lmtui.editing.positions import offset_of, parsed
from lmtui.engine.protocol import Engine
from lmtui.engine.types import ChatTurn
from lmtui.errors import LmtuiError
from lmtui.files import TextSource
from lmtui.models.source import short_label, short_labels
from lmtui.text import visible_line, visible_token

_SHOWN = 50  # characters of a part in the table
_PAGE_TOP = 5  # alternatives for each token of a page


Target = Annotated[
    list[str],
    typer.Argument(
        metavar="FILE LINE:COL[-LINE:COL]",
        help="The text, and the place in it, or its first and last one; with --chat, "
        "the place in the message alone.",
    ),
]
By = Annotated[Granularity, typer.Option(help="The parts that are left out.")]


@options.with_settings(*options.MODEL)
def why(
    ctx: typer.Context,
    *,
    place: Target,
    chat: texts.Chat = None,
    message: texts.Number = None,
    by: By = "word",
    json: options.Json = False,
    tsv: texts.Tsv = False,
    html: texts.Html = None,
    bos: texts.Bos = "auto",
    against: texts.Against = None,
    against_adapter: texts.AgainstAdapter = None,
) -> None:
    """Show which parts of a text made a token likely.

    Each part before the place is left out in turn, and what that does to the token's
    probability printed. The table has the ten strongest effects, in bits; --json and
    --tsv have all. With --against, those on the other model stand beside. How effects
    are computed, and what they can't say, stands in `lmtui help inspect` and `lmtui
    help numbers`.

    \b
    Examples:
      lmtui why draft.txt 3:14 --by sentence
      lmtui why draft.txt 3:14-3:20 --against-adapter notes
      lmtui why --chat last 1:1 --by turn
      lmtui why draft.txt 3:14 --html why.html
    """
    form = texts.form_of(json=json, tsv=tsv, html=html)
    texts.require_one(html=html, against=against)
    texts.require_one(html=html, against_adapter=against_adapter)
    if by == "turn" and chat is None:
        hint = "Add --chat ID, or name other parts."
        raise LmtuiError("only a conversation has turns", "", hint)
    *files, where = place
    if len(files) != (chat is None):
        hint = "Give FILE LINE:COL, or --chat ID LINE:COL."
        raise LmtuiError("one text and one place are needed", "", hint)
    target = None if html is None else require_writable_file(html)
    settings = texts.exact_settings(ctx)
    other = texts.other_model(settings, against, against_adapter)
    texts.refuse_counted(other)
    document = texts.one_text(files[0] if files else None, chat, message)
    span = target_span(document.text, where)
    page = HtmlPage(document, target, top_n=_PAGE_TOP) if target else None
    engines, _ = texts.open_models(ctx, settings, [document], other)
    rules = Rules(bos=bos, top=_PAGE_TOP * bool(page))
    write_why(engines, document, span, rules, by, form=form, page=page)
    if page:
        score_each(engines, [document], rules, page.add)
        page.write()


def target_span(text: str, named: str) -> tuple[int, int]:
    """Return where a target begins and ends, named as LINE:COL or LINE:COL-LINE:COL,
    the last character included.

    Raises:
        LmtuiError: it is not named so, or the text has no such place.
    """
    ends = [offset_of(text, *parsed(place)) for place in named.split("-", 1)]
    return min(ends), max(ends) + 1


def write_why(
    engines: Sequence[Engine],
    document: TextSource,
    place: tuple[int, int],
    rules: Rules,
    by: Granularity,
    *,
    form: Form,
    page: HtmlPage | None,
) -> None:
    """Write the effects of the parts before a place on one model, and on another beside
    it, then the target's probability: all, as they are computed, or in a table the
    strongest; or put them on a page.

    Raises:
        LmtuiError: there is no token, or nothing before it.
        Cancelled: Ctrl-C was pressed; complete rows were written.
    """
    output, effects = Output(), list[Effect]()
    others, both = dict[tuple[str, int, int], Effect](), dict[Effect, Effect]()
    with cancel_on_interrupt(), meter("leaving out", unit="parts") as shown:
        subject, *compared = subjects = _subjects(engines, document, place, rules)
        if not subject.sources or subject.logprob is None:
            hint = "Name a later place, or give it a context by --bos yes."
            raise LmtuiError("there is nothing before the target", "", hint)
        columns = _columns(subject, two=len(engines) > 1)
        writer = Rows("unit", columns, by, form)

        def report() -> None:
            shown(len(others) + len(effects), sum(each.planned for each in subjects))

        def beside(effect: Effect) -> dict[str, object]:
            fields = ("logprob_without", "bits") if compared else ()
            return {field: getattr(both.get(effect), field, None) for field in fields}

        with cancellation.polling(report):
            for other in compared:
                others |= {_named(other, e): e for e in other.effects(by)}
            for effect in subject.effects(by):
                effects.append(effect)
                if same := others.get(_named(subject, effect)):
                    both[effect] = same
                if form != "table":
                    shown.pause()
                    origin = _origin(subject, effect)
                    writer.write(effect, "", beside(effect), **origin)
        if page:
            page.explain(subject, effects, by)
        elif form == "json":
            output.event(_summary(document, subjects, by))
        elif form == "table":
            listed, hidden = subject.listed(effects, both)
            shown.pause()
            for effect in listed:
                name = subject.sources[effect.source].name
                words = f"{name}: " if name else ""
                writer.write(effect, words + _short(effect.shown), beside(effect))
            lines = _about(subjects, effects, by, hidden)
            output.text("\n" + "".join(f"{line}\n" for line in lines))


def _subjects(
    engines: Sequence[Engine],
    document: TextSource,
    place: tuple[int, int],
    rules: Rules,
) -> Sequence[Attribution]:
    """Return one for each model, of the smallest target at whose edges all begin a
    token."""
    subjects = [_subject(engine, document, place, rules) for engine in engines]
    spans = [subject.span for subject in subjects]
    if len(set(spans)) == 1:
        return subjects
    whole = min(start for start, _ in spans), max(end for _, end in spans)
    return _subjects(engines, document, whole, rules)


def _subject(
    engine: Engine, document: TextSource, place: tuple[int, int], rules: Rules
) -> Attribution:
    scores = ModelScores(engine, document, rules)
    given: Sequence[ChatTurn] = ()
    if isinstance(document, StoredMessageText):
        given = document.messages(engine.info.label)
    turns = [(turn, files_in(turn.content)) for turn in given]
    windows = None if turns else scores.windows
    return Attribution(
        engine, document.text, scores.encoding, *place, turns=turns, windows=windows
    )


def _named(subject: Attribution, effect: Effect) -> tuple[str, int, int]:
    """Return what a part is called on any model: its text, and where it is there."""
    return subject.sources[effect.source].name, effect.start, effect.end


def _columns(subject: Attribution, *, two: bool) -> Sequence[Column]:
    bits = Column("bits", 9, notation.difference, attrgetter("bits"))
    other = replace(bits, name="other", value=itemgetter("bits"), is_other=True)
    where = Column("line:col", 10, subject.location_of, lambda effect: effect)
    return (bits, other, where) if two else (bits, where)


def _origin(subject: Attribution, effect: Effect) -> dict[str, object]:
    """Return which message and which file a part is in."""
    source = subject.sources[effect.source]
    first = subject.sources[0].name == "system"
    number = None if source.turn is None else source.turn + 1 - first
    return {"message": number, "file": source.name if source.is_file else None}


def _short(shown: str) -> str:
    return f"{shown[:_SHOWN]}…" if len(shown) > _SHOWN else shown


def _summary(
    document: TextSource, subjects: Sequence[Attribution], by: Granularity
) -> dict[str, object]:
    about: dict[str, object] = {"event": "summary", "file": document.name}
    for subject, before in zip(subjects, ("", "other_"), strict=False):
        info = subject.engine.info
        fields = {
            **model_fields(info),
            "model": short_label(info.model),
            "logprob": subject.logprob,
            "logprob_without_all": subject.logprob_without_all,
        }
        about |= {f"{before}{name}": value for name, value in fields.items()}
    start, end = subjects[0].span
    target = document.text[start:end]
    return about | {"by": by, "start": start, "end": end, "text": target}


def _about(
    subjects: Sequence[Attribution],
    effects: Sequence[Effect],
    by: Granularity,
    hidden: str,
) -> Iterator[str]:
    """Yield how probable each model finds what was asked, and what the effects are."""
    names = short_labels(*(subject.engine.info.label for subject in subjects))
    for subject, name in zip(subjects, names, strict=True):
        target = _short(visible_token(subject.text[subject.at :]))
        said = f"“{target}” by {visible_line(name)}: "
        said += f"{notation.surprisal(subject.logprob)} bits"
        if subject.logprob_without_all is not None:
            alone = notation.surprisal(subject.logprob_without_all)
            said += f"; {alone} without any text before it"
        yield said
    yield f"each {by} was left out by itself" + (f"; {hidden}" if hidden else "")
    if any(effect.as_tokens and effect.token is None for effect in effects):
        yield AS_TOKENS
    yield "+ made it likelier, − less likely; two that say the same can each have none"
