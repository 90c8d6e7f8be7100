"""`lmtui inspect`: score texts, and show them on a screen, as text, JSON or HTML."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lmtui import cancellation, state
from lmtui.cli import completion, options
from lmtui.cli.engine import engine_for, engines_for
from lmtui.cli.errors import DONE, USER, cancel_on_interrupt, note, print_error
from lmtui.cli.inspect.chat_message import StoredMessageText, stored_message
from lmtui.cli.inspect.json_output import (
    HtmlView,
    JsonLensView,
    JsonRows,
    JsonScoreView,
    headings,
    require_writable_file,
)
from lmtui.cli.inspect.score import (
    Engines,
    ModelScores,
    Rules,
    Scored,
    ScoreView,
    score_all,
)
from lmtui.cli.inspect.table import AGAINST, ALONE, RowsView, SortKey, Table, sort_key
from lmtui.cli.ngram import HIGHEST_ORDER, ComparedRef, NgramRef, ngram_ref
from lmtui.cli.output import STDIN, Output, read_document, stdin_is_terminal
from lmtui.cli.progress import meter
from lmtui.cli.screen import is_interactive, open_screen
from lmtui.config.settings import Settings, bits
from lmtui.engine.protocol import Engine
from lmtui.engine.types import BosRule
from lmtui.errors import Cancelled, LmtuiError
from lmtui.files import TextSource
from lmtui.models.source import ModelRef
from lmtui.text import visible_line

if TYPE_CHECKING:
    from lmtui.tui.inspect_source import InspectSource

PAGE_TOP = 5
"""Default number of alternatives for each token of a page."""

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
        help="Print one row per file, and one for all together; ece is the expected "
        "calibration error.",
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


def _subject(document: TextSource, rules: Rules) -> InspectSource:
    if isinstance(document, StoredMessageText):
        return document.subject(rules)
    from lmtui.tui.inspect_source import InspectSource

    return InspectSource(
        Path(document.name).name,
        read=lambda: document.text,
        bos=rules.bos,
        window=rules.window,
        stride=rules.stride,
    )


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

    \b
    Examples:
      lmtui inspect README.md
      lmtui inspect draft.txt --top 3
      lmtui inspect draft.txt --against-adapter notes
      lmtui inspect draft.txt --against ngram:3 --ngram-text notes.txt
      lmtui inspect draft.txt --html draft.html
      lmtui inspect notes/*.md --summary --sort perplexity
      lmtui inspect draft.txt --lens --top 3
      lmtui inspect --chat last --message 2
      git log -1 --format=%B | lmtui inspect
      lmtui inspect notes/*.md --json --window 1024 --stride 256
    """
    form = Form(json=json, plain=plain, rows=summary, html=html, lens=lens)
    form.require_one()
    page = None if html is None else require_writable_file(html)
    settings = options.settings(ctx)
    watched = is_interactive()  # asked before stdin is read to its end
    if not files and chat is None and not stdin_is_terminal():
        files = [STDIN]
    other = _other(against, against_adapter, settings, ngram_text or [])
    form.require_alone(other)
    key = _key(sort, form, compares=other is not None)
    settings = replace(settings, quantize=bits(settings, exact=True))
    documents = _texts(files or [], chat, message, skip=summary)
    if watched and chat is None:
        state.remember(each.name for each in documents if each.name != STDIN)
    _warn_counted(documents, other)
    rules = Rules(window=window, stride=stride, bos=bos, top=form.alternatives(top))
    alone = len(documents) == 1 and form == Form() and top is None
    if watched and alone:
        open_screen(
            settings,
            first="inspect",
            subject=_subject(documents[0], rules),
            against=other,
            no_color=no_color,
            open_engine=ctx.obj,
        )
        return
    _tell_empty(documents)
    engines = _engines(ctx, settings, other)
    if summary:
        unread = len(files or documents) - len(documents)
        writer = _writer(form, compares=other is not None, unread=unread)
        score_rows(engines, documents, rules, view=RowsView(writer, key=key))
        raise typer.Exit(USER if unread else DONE)
    if lens:
        lens_view = JsonLensView(Output(), top_n=rules.top)
        for document in documents:
            write_layers(engines.own, document, rules, view=lens_view)
        return
    if page:
        score_page(engines, documents, rules, target=page)
        return
    if json:
        view: ScoreView = JsonScoreView(Output(), top_n=rules.top)
    else:
        view = _plain_view(
            no_color, rules, many=len(documents) > 1, compares=bool(other)
        )
    score_all(engines, documents, rules, view=view)


def _shown(document: TextSource) -> str:
    return "stdin" if document.name == STDIN else visible_line(document.name)


@dataclass(frozen=True, slots=True)
class Form:
    """Output format that the flags ask for."""

    json: bool = False
    plain: bool = False
    rows: bool = False
    html: str | None = None
    lens: bool = False

    def require_one(self) -> None:
        """Check that the flags do not exclude each other."""
        asked = {
            "--json": self.json,
            "--plain": self.plain,
            "--summary": self.rows,
            "--html": self.html is not None,
        }
        flags = [flag for flag, wanted in asked.items() if wanted]
        if len(flags) > 1 and flags != ["--json", "--summary"]:
            title = f"{flags[0]} and {flags[1]} exclude each other"
            raise LmtuiError(title, "", "Give one.")
        if self.lens and (others := [flag for flag in flags if flag != "--json"]):
            title = f"--lens and {others[0]} exclude each other"
            raise LmtuiError(title, "", "Give --lens alone; it prints JSON.")

    def require_alone(self, other: ComparedRef | None) -> None:
        """Check that no model is to be compared with, where one is looked into."""
        if self.lens and other is not None:
            hint = "Leave out --against, or run it once for each model."
            raise LmtuiError("--lens looks into one model", "", hint)

    def alternatives(self, top: int | None) -> int:
        """Return the number of alternatives per token: `top`, or the format's
        default."""
        if top is not None:
            return top
        if self.lens:
            return 1
        return 0 if self.html is None else PAGE_TOP


def _other(
    model: str | None, adapter: str | None, settings: Settings, counted: Sequence[str]
) -> ComparedRef | None:
    """Return the model to compare with, if any; `counted` are files for n-grams."""
    if model and adapter:
        title = "--against and --against-adapter exclude each other"
        raise LmtuiError(title, "", "Give one; --adapter goes with both.")
    if ngrams := ngram_ref(model, counted):
        return ngrams
    if adapter:
        return ModelRef(settings.model, adapter)
    return ModelRef(model) if model else None


def _key(sort: str | None, form: Form, *, compares: bool) -> SortKey | None:
    if sort and not form.rows:
        raise LmtuiError("--sort orders the rows of --summary", sort, "Add --summary.")
    return sort_key(sort, AGAINST if compares else ALONE)


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
    if files:
        raise LmtuiError("--chat and FILE exclude each other", "", "Give one.")
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
    told = errors if documents else errors[:-1]
    for each in told:
        print_error(each)
    if not documents:
        raise errors[-1]
    return documents


def _tell_empty(documents: Sequence[TextSource]) -> None:
    for each in documents:
        if not each.text:
            note(f"note: {_shown(each)} is empty; nothing is scored\n")


def _warn_counted(documents: Sequence[TextSource], other: ComparedRef | None) -> None:
    """Say which texts the n-gram model that they are compared with has counted."""
    for each in documents:
        if isinstance(other, NgramRef) and each.text and other.counts(each.text):
            note(
                f"note: {other.name} has counted {_shown(each)} itself and knows it by "
                "heart; a text that it has not counted is a fair test\n"
            )


def _engines(
    context: typer.Context, settings: Settings, other: ComparedRef | None
) -> Engines:
    if other is None:
        engines = Engines(engine_for(context, settings, needs="scores"))
    else:
        engines = Engines(*engines_for(context, settings, other))
    for engine in filter(None, (engines.own, engines.other)):
        if engine.capabilities.why_not:
            note(f"note: {engine.capabilities.why_not}\n")
    return engines


def _writer(form: Form, *, compares: bool, unread: int) -> JsonRows | Table:
    if form.json:
        return JsonRows(Output(), unread=unread)
    return Table(Output(), AGAINST if compares else ALONE)


def score_rows(
    engines: Engines, documents: Sequence[TextSource], rules: Rules, *, view: RowsView
) -> None:
    """Score each document into a row.

    Raises:
        LmtuiError: the rules can't be applied with this model.
        Cancelled: Ctrl-C was pressed; the rows of complete texts were written.
    """
    try:
        score_all(engines, documents, rules, view=view)
    except Cancelled:
        view.close(whole=False)
        raise
    view.close(whole=True)


def write_layers(
    engine: Engine, document: TextSource, rules: Rules, *, view: JsonLensView
) -> None:
    """Write what each layer predicts for every token of a document.

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
                view.column(placed, column)
        view.end(Scored(document, scores.summary()))


def score_page(
    engines: Engines, documents: Sequence[TextSource], rules: Rules, *, target: Path
) -> None:
    """Score each document into one page.

    Raises:
        LmtuiError: the rules can't be applied, or the page can't be written.
        Cancelled: Ctrl-C was pressed; nothing was written.
    """
    view = HtmlView(target, headings(documents), top_n=rules.top)
    score_all(engines, documents, rules, view=view)
    view.write()
    note(f"wrote {visible_line(str(target))}\n")


def _plain_view(
    no_color: bool, rules: Rules, *, many: bool, compares: bool
) -> ScoreView:
    from lmtui.cli.inspect.plain import PlainView, terminal_console

    console = terminal_console(no_color=no_color)
    return PlainView(
        console, headings=many, alternatives=rules.top > 0, compares=compares
    )
