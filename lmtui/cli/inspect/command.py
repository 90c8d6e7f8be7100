"""`lmtui inspect`: score texts, and show them on a screen, as text, JSON or HTML."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lmtui import cancellation, state
from lmtui.analysis.attribution import Granularity
from lmtui.cli import completion, options
from lmtui.cli.engine import engine_for, engines_for
from lmtui.cli.errors import DONE, USER, cancel_on_interrupt, note, print_error
from lmtui.cli.inspect.chat_message import StoredMessageText, stored_message
from lmtui.cli.inspect.html_output import HtmlPage, require_writable_file
from lmtui.cli.inspect.json_output import JsonRows, lens_event, write_tokens
from lmtui.cli.inspect.pairs import read_pairs, write_pairs
from lmtui.cli.inspect.score import (
    ModelScores,
    Rules,
    ScoredRow,
    TextScores,
    merged,
    score_each,
    score_together,
)
from lmtui.cli.inspect.table import AGAINST, ALONE, SortKey, Table, sort_key
from lmtui.cli.inspect.why import target_span, write_why
from lmtui.cli.inspect.words import word_writer
from lmtui.cli.ngram import HIGHEST_ORDER, CountedTexts, counted_texts, ngram_name
from lmtui.cli.output import STDIN, Output, read_document, stdin_is_terminal
from lmtui.cli.progress import meter
from lmtui.cli.screen import is_interactive, open_screen
from lmtui.config.settings import Settings, bits
from lmtui.engine.protocol import Engine
from lmtui.engine.types import BosRule
from lmtui.errors import LmtuiError
from lmtui.files import TextSource
from lmtui.models.source import ModelRef
from lmtui.text import visible_line

if TYPE_CHECKING:
    from lmtui.tui.inspect_source import InspectSource

PAGE_TOP = 5
"""Default number of alternatives for each token of a page."""

_FORMS, _ROWS = "--json --plain --tsv --html", "--why --pairs --lens --words --summary"
_EXCLUDING = (
    (_FORMS, _FORMS, "Each is a form of the output; run it once for each."),
    ("--summary --lens", "--plain --tsv --html", "It prints as it is, or as --json."),
    (_ROWS, _ROWS, "Each has rows of its own; run it once for each."),
    ("--words --pairs", "--html", "A page has no rows; write the table or --tsv."),
    (
        "--why",
        "--plain --window --stride",
        "A table, of the usual window; leave it out.",
    ),
    ("--why", "--top", "A page has five alternatives a token; a row has none."),
    ("--words --pairs", "--top", "Tokens have alternatives; --json lists them."),
    ("--pairs", "FILE --chat --message", "Pairs are texts of their own; give one."),
    ("--pairs", "--window --stride", "Each sentence is read whole; leave it out."),
    ("--lens --pairs", "--against --against-adapter", "Run it once for each model."),
    ("--against", "--against-adapter", "Two models are compared; give one of them."),
    ("--chat", "FILE", "A message is read in its conversation; give one of them."),
)
"""Flags, those that each of them excludes, and why, or what to do instead."""

Files = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="FILE...",
        help="Text files; - is stdin, which is also read in a pipe without FILE.",
    ),
]
Chat = Annotated[
    str | None,
    typer.Option(
        metavar="ID|last",
        help="A message of this conversation, instead of a file.",
        autocompletion=completion.conversations,
    ),
]
Number = Annotated[
    int | None,
    typer.Option(
        "--message",
        min=1,
        metavar="N",
        help="Number of the message on the current branch; unset is the last one.",
    ),
]
Plain = Annotated[
    bool,
    typer.Option(
        "--plain", help="Print shaded text and a summary; the default in a pipe."
    ),
]
Rows = Annotated[
    bool,
    typer.Option(
        "--summary",
        help="Print one row per file, and one for all together.",
    ),
]
Sort = Annotated[
    str | None,
    typer.Option(
        metavar="COLUMN",
        help="Sort the rows by a column: the largest numbers first, or by name.",
    ),
]
Html = Annotated[
    str | None,
    typer.Option(
        metavar="OUT",
        help="Write a self-contained web page into this file.",
    ),
]
Top = Annotated[
    int | None,
    typer.Option(
        min=0,
        metavar="N",
        help=f"Alternatives for each token; unset is 0, {PAGE_TOP} with --html, and 1 "
        "for each layer with --lens.",
    ),
]
Lens = Annotated[
    bool,
    typer.Option(
        "--lens",
        help="Print what each layer of the model predicts (the logit lens), as JSON.",
    ),
]
Words = Annotated[
    bool,
    typer.Option(
        "--words",
        help="Print a row for each word: what stands between white space, with its "
        "punctuation.",
    ),
]
Pairs = Annotated[
    str | None,
    typer.Option(
        metavar="FILE",
        help="Score minimal pairs: two sentences a line, the good one first, with a "
        "tab between them, or JSON lines as BLiMP has; - is stdin.",
    ),
]
Tsv = Annotated[
    bool,
    typer.Option(
        "--tsv", help="Write the rows of --words, --pairs or --why, tab-separated."
    ),
]
Why = Annotated[
    str | None,
    typer.Option(
        metavar="LINE:COL[-LINE:COL]",
        help="Leave out each part of the text before a place, and print what that does "
        "to the probability of the token there.",
    ),
]
By = Annotated[
    Granularity | None,
    typer.Option(help="The parts that --why leaves out; unset is word."),
]
Window = Annotated[
    int | None,
    typer.Option(
        metavar="N",
        help="Tokens read together; unset is 2048, or the context if smaller.",
    ),
]
Stride = Annotated[
    int | None,
    typer.Option(
        metavar="N",
        help="Tokens between the starts of two windows; unset is half a window.",
    ),
]
Bos = Annotated[
    BosRule,
    typer.Option(help="Begin with the BOS token; auto follows the tokenizer."),
]
Against = Annotated[
    str | None,
    typer.Option(
        metavar="MODEL",
        help="Compare with another model on the same text; ngram:1 to "
        f"ngram:{HIGHEST_ORDER} count the tokens of --ngram-text, and for ngram:0 all "
        "tokens are equally probable.",
        autocompletion=completion.models,
    ),
]
AgainstAdapter = Annotated[
    str | None,
    typer.Option(
        metavar="NAME",
        help="Compare with the same model and this adapter on it.",
        autocompletion=completion.adapters,
    ),
]

NgramText = Annotated[
    list[str] | None,
    typer.Option(
        metavar="FILE",
        help="A text for --against ngram:N to count; may be repeated.",
    ),
]


@options.with_settings(*options.MODEL, "theme")
def inspect(
    ctx: typer.Context,
    *,
    files: Files = None,
    chat: Chat = None,
    message: Number = None,
    json: options.Json = False,
    plain: Plain = False,
    summary: Rows = False,
    html: Html = None,
    lens: Lens = False,
    words: Words = False,
    pairs: Pairs = None,
    why: Why = None,
    by: By = None,
    tsv: Tsv = False,
    sort: Sort = None,
    top: Top = None,
    window: Window = None,
    stride: Stride = None,
    bos: Bos = "auto",
    against: Against = None,
    against_adapter: AgainstAdapter = None,
    ngram_text: NgramText = None,
    no_color: options.NoColor = False,
) -> None:
    """Show how probable the model finds each token of a text.

    On a terminal, one text opens a screen (F1 there shows the keys). In a pipe, or with
    --plain, the text is printed, shaded, with a summary below it; without FILE it is
    read from stdin.

    Common tokens are faint, surprising tokens stand out, with colour and without. The
    summary gives the sum of the log-probabilities, the perplexity, and the bits per
    byte (the number to compare models by). A first token without context has no
    probability and is left out of these sums. The text is scored as it is in the file,
    a byte-order mark and CRLF line endings included. Where a tokenizer reads characters
    as others (é for e with an accent mark), the summary says how many.

    With --against or --against-adapter the text is shaded by how much more (+) or less
    (-) probable another model finds each token, in bits. With --against ngram:3 that
    model only counts which tokens followed each two tokens in the texts of
    --ngram-text. With --summary, a file that can't be read is reported at once, the
    others are still scored, and the exit code is 2.

    In JSON, bytes says what a token is. Its text is a view: bytes that are only part
    of a character stand there as ⟨E3 81⟩.

    With --lens, each token is one JSON line with a row for each layer: the final norm
    and the head are applied to the state after that layer. Layer 0 is the embedding;
    the last layer is the model itself.

    --words has a row for each word, --pairs one for each minimal pair, and --why one
    for each part of the text before a place. With --against, those of --words and --why
    have the other model's numbers beside. How they are counted, and what they can't
    say, stands in `lmtui help inspect` and `lmtui help numbers`.

    \b
    Examples:
      lmtui inspect README.md
      lmtui inspect draft.txt --top 3
      lmtui inspect draft.txt --against-adapter notes
      lmtui inspect draft.txt --against ngram:3 --ngram-text notes.txt
      lmtui inspect draft.txt --html draft.html
      lmtui inspect notes/*.md --summary --sort perplexity
      lmtui inspect draft.txt --lens --top 3
      lmtui inspect items.txt --words --bos yes --tsv > words.tsv
      lmtui inspect --pairs adjunct_island.jsonl --bos yes
      lmtui inspect draft.txt --why 3:14 --by sentence
      lmtui inspect --chat last --message 2
      git log -1 --format=%B | lmtui inspect
      lmtui inspect notes/*.md --json --window 1024 --stride 256
    """
    _require_fit(ctx.params)
    target = None if html is None else require_writable_file(html)
    settings = options.settings(ctx)
    settings = replace(settings, quantize=bits(settings, exact=True))
    watched = is_interactive()  # asked before stdin is read to its end
    counted = counted_texts(against, ngram_text or [])
    other = None if counted else _other(against, against_adapter, settings)
    if pairs is not None:
        listed = read_pairs(pairs)
        (engine,) = _engines(ctx, settings, other)
        write_pairs(engine, pairs, listed, bos, as_json=json, tsv=tsv)
        return
    if not files and chat is None and not stdin_is_terminal():
        files = [STDIN]
    if sort and not summary:
        raise LmtuiError("--sort orders the rows of --summary", sort, "Add --summary.")
    columns = AGAINST if other or counted else ALONE
    key = sort_key(sort, columns)
    documents = _texts(files or [], chat, message, skip=summary)
    if watched and chat is None:
        state.remember(each.name for each in documents if each.name != STDIN)
    place = None if why is None else target_span(_only(documents).text, why)
    if counted:
        _warn_counted(documents, counted)
    prints = json or plain or tsv or summary or html or lens or words or why or counted
    if watched and len(documents) == 1 and top is None and not prints:
        open_screen(
            settings,
            first="inspect",
            subject=_subject(documents[0], window, stride, bos),
            against=other,
            no_color=no_color,
            open_engine=ctx.obj,
        )
        return
    if top is None:
        top = PAGE_TOP if html else int(lens)
    page = None if target is None else HtmlPage(documents, target, top_n=top)
    _note_empty(documents)
    engines = _engines(ctx, settings, other)
    ngrams = counted.count(engines[0]) if counted else None
    rules = Rules(window=window, stride=stride, bos=bos, top=top, ngrams=ngrams)
    if summary:
        unread = len(files or documents) - len(documents)
        output = Output()
        writer = JsonRows(output, unread=unread) if json else Table(output, columns)
        write_rows(engines, documents, rules, writer, key)
        raise typer.Exit(USER if unread else DONE)
    if place is not None:
        by = by or "word"
        write_why(
            engines, documents[0], place, rules, by, json=json, tsv=tsv, page=page
        )
        if not page:
            return
    if words:
        many, two = len(documents) > 1, len(engines) > 1
        write = word_writer(json=json, tsv=tsv, many=many, two=two)
        score_each(engines, documents, rules, write)
        return
    _score(
        engines, documents, rules, json=json, lens=lens, page=page, no_color=no_color
    )


def _score(
    engines: Sequence[Engine],
    documents: Sequence[TextSource],
    rules: Rules,
    *,
    json: bool,
    lens: bool,
    page: HtmlPage | None,
    no_color: bool,
) -> None:
    if lens:
        for document in documents:
            write_layers(engines[0], document, rules, Output())
    elif page:
        score_together(engines, documents, rules, page.add)
        page.write()
        note(f"wrote {visible_line(str(page.target))}\n")
    elif json:
        write = partial(write_tokens, Output(), rules.top)
        score_each(engines, documents, rules, write)
    else:
        from lmtui.cli.inspect.plain import terminal_console, write_plain

        console = terminal_console(no_color=no_color)
        many, alternatives = len(documents) > 1, rules.top > 0
        plain = partial(write_plain, console, heading=many, alternatives=alternatives)
        if alternatives:  # of two, one is another token than the text's
            rules = replace(rules, top=max(2, rules.top))
        score_each(engines, documents, rules, plain)


def _subject(
    document: TextSource, window: int | None, stride: int | None, bos: BosRule
) -> InspectSource:
    from lmtui.tui.inspect_source import InspectSource, KnownTokens

    after = None
    if isinstance(document, StoredMessageText):
        after = document.messages(None)
        if document.steps:
            model = document.model or ""
            known = KnownTokens(document.steps, document.before, model)
            return InspectSource(document.name, known=known, after=after)
    return InspectSource(
        document.name if after is not None else Path(document.name).name,
        read=lambda: document.text,
        after=after,
        bos=bos if after is None else "auto",
        window=window,
        stride=stride,
    )


def _shown(document: TextSource) -> str:
    return "stdin" if document.name == STDIN else visible_line(document.name)


def _only(documents: Sequence[TextSource]) -> TextSource:
    if len(documents) != 1:
        raise LmtuiError("--why asks about one text", "", "Name one file.")
    return documents[0]


def _note_empty(documents: Sequence[TextSource]) -> None:
    for document in documents:
        if not document.text:
            note(f"note: {_shown(document)} is empty; nothing is scored\n")


def _require_fit(given: Mapping[str, object]) -> None:
    """Refuse flags that exclude each other."""
    flags = {
        "FILE" if name == "files" else f"--{name.replace('_', '-')}"
        for name, value in given.items()
        if value not in (None, (), []) and value is not False
    }
    for some, others, hint in _EXCLUDING:
        for flag, other in product(some.split(), others.split()):
            if flag != other and {flag, other} <= flags:
                raise LmtuiError(f"{flag} and {other} exclude each other", "", hint)
    if {"--why", "--html"} <= flags and flags & {"--against", "--against-adapter"}:
        hint = "Leave --html out: the table has both."
        raise LmtuiError("a page has the effects on one model", "", hint)
    if flags & {"--why", "--words"} and str(given["against"]).startswith("ngram:"):
        hint = "Name another model, or leave it out."
        raise LmtuiError("counting gives tokens alone", f"{given['against']}", hint)
    if "--tsv" in flags and flags.isdisjoint(["--words", "--pairs", "--why"]):
        hint = "Add --words, --pairs FILE or --why LINE:COL."
        raise LmtuiError("--tsv writes rows of words, pairs or parts", "", hint)
    if "--by" in flags and "--why" not in flags:
        hint = "Add --why LINE:COL."
        raise LmtuiError("--by names the parts that --why leaves out", "", hint)
    if given["by"] == "turn" and "--chat" not in flags:
        hint = "Add --chat ID, or name other parts."
        raise LmtuiError("only a conversation has turns", "", hint)


def _other(
    model: str | None, adapter: str | None, settings: Settings
) -> ModelRef | None:
    """Return the model to compare with, if any."""
    if adapter:
        return ModelRef(settings.model, adapter)
    return ModelRef(model) if model else None


def _texts(
    files: Sequence[str], chat: str | None, message: int | None, *, skip: bool
) -> Sequence[TextSource]:
    """Return the texts to inspect: files, or a message."""
    if chat is None:
        if message is not None:
            raise LmtuiError("--message needs a conversation", "", "Add --chat ID.")
        if not files:
            hint = (
                "Name a text file, or pipe a text: `git log -1 | lmtui inspect`. See "
                "`lmtui inspect --help`."
            )
            raise LmtuiError("Missing argument 'FILE'", "", hint)
        if files.count(STDIN) > 1:
            hint = "Give - once, or save the text in a file."
            raise LmtuiError("stdin can be read only once", "", hint)
        return read_documents(files, skip=skip)
    return [stored_message(chat, message)]


def read_documents(names: Sequence[str], *, skip: bool) -> list[TextSource]:
    """Read the texts of files.

    With `skip`, files that can't be read are reported and left out, unless all are.

    Raises:
        LmtuiError: one can't be read; with `skip`, all can't.
    """
    documents, errors = [], []
    for name in names:
        try:
            documents.append(read_document(name))
        except LmtuiError as error:
            errors.append(error)
            if not skip:
                raise
    reported = errors if documents else errors[:-1]
    for each in reported:
        print_error(each)
    if not documents:
        raise errors[-1]
    return documents


def _warn_counted(documents: Sequence[TextSource], counted: CountedTexts) -> None:
    """Say which texts the n-gram model that they are compared with has counted."""
    for document in documents:
        if document.text and counted.have(document.text):
            name = ngram_name(counted.order)
            note(
                f"note: {name} has counted {_shown(document)} itself and knows it by "
                "heart; a text that it has not counted is a fair test\n"
            )


def _engines(
    context: typer.Context, settings: Settings, other: ModelRef | None
) -> Sequence[Engine]:
    engines: Sequence[Engine] = (
        engines_for(context, settings, other)
        if other
        else (engine_for(context, settings, needs="scores"),)
    )
    for engine in engines:
        if engine.capabilities.why_not:
            note(f"note: {engine.capabilities.why_not}\n")
    return engines


def write_rows(
    engines: Sequence[Engine],
    documents: Sequence[TextSource],
    rules: Rules,
    writer: JsonRows | Table,
    key: SortKey | None,
) -> None:
    """Score each document into a row, and all into a total.

    Raises:
        LmtuiError: the rules can't be applied with this model.
        Cancelled: Ctrl-C was pressed; the rows of complete texts were written.
    """
    unsorted: list[ScoredRow] = []
    total: ScoredRow | None = None

    def add(scores: TextScores) -> None:
        nonlocal total
        for _ in scores.pieces():
            pass  # its totals are counted
        row = scores.row()
        total = merged(total, row)
        if key:
            unsorted.append(row)
        else:
            writer.row(row)

    try:
        score_together(engines, documents, rules, add)
    finally:
        for row in sorted(unsorted, key=key) if key else ():
            writer.row(row)
    if total:
        writer.total(total, len(documents))


def write_layers(
    engine: Engine, document: TextSource, rules: Rules, output: Output
) -> None:
    """Write what each layer predicts for every token of a document, then the summary.

    Raises:
        LmtuiError: the rules can't be applied with this model, or its layers can't be
            looked into.
        Cancelled: Ctrl-C was pressed; the output so far is complete.
    """
    with cancel_on_interrupt(), meter("looking into the layers") as shown:
        scores = ModelScores(engine, document, rules)
        whole = len(scores.encoding.ids)
        with cancellation.polling(lambda: shown(scores.totals.tokens, whole)):
            for placed, column in scores.columns():
                shown.pause()
                output.event(lens_event(placed, column, rules.top))
        JsonRows(output).row(ScoredRow(document, scores.summary()))
