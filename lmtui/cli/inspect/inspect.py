"""`lmtui inspect`: score a text, and show it on a screen, as text, JSON or a page."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lmtui import state
from lmtui.cli import options
from lmtui.cli.inspect import texts
from lmtui.cli.inspect.chat_message import StoredMessageText
from lmtui.cli.inspect.html_output import HtmlPage, require_writable_file
from lmtui.cli.inspect.json_output import write_tokens
from lmtui.cli.inspect.text_scores import Rules, WriteScores, score_each
from lmtui.cli.ngram import CountedTexts
from lmtui.cli.output import STDIN, Output
from lmtui.cli.screen import is_interactive, open_screen
from lmtui.engine.types import BosRule
from lmtui.files import TextSource

if TYPE_CHECKING:
    from lmtui.tui.inspect_source import InspectSource

PAGE_TOP = 5
"""Default number of alternatives for each token of a page."""

Plain = Annotated[
    bool,
    typer.Option(
        "--plain", help="Print shaded text and its totals; the default in a pipe."
    ),
]
Top = Annotated[
    int | None,
    typer.Option(
        min=0,
        metavar="N",
        help=f"Alternatives for each token of --json and --html; unset is 0, "
        f"{PAGE_TOP} for --html.",
    ),
]


@options.with_settings(*options.MODEL, "theme")
def inspect(
    ctx: typer.Context,
    *,
    file: texts.File = None,
    chat: texts.Chat = None,
    message: texts.Number = None,
    json: options.Json = False,
    plain: Plain = False,
    html: texts.Html = None,
    top: Top = None,
    window: texts.Window = None,
    stride: texts.Stride = None,
    bos: texts.Bos = "auto",
    against: texts.Against = None,
    against_adapter: texts.AgainstAdapter = None,
    ngram_text: texts.NgramText = None,
    no_color: options.NoColor = False,
) -> None:
    """Show how probable the model finds each token of a text.

    On a terminal this opens a screen (F1 there shows the keys). In a pipe, or with
    --plain, the text is printed, shaded, with its totals below: common tokens are
    faint, surprising tokens stand out, with colour and without. A first token without
    context has no probability and is left out. The text is scored as it is in the file,
    a byte-order mark and CRLF line endings included.

    With --against or --against-adapter the text is shaded by how much more (+) or less
    (-) probable another model finds each token, in bits. With --against ngram:3 that
    model only counts which tokens followed each two tokens in the texts of
    --ngram-text.

    In JSON, bytes says what a token is. Its text is a view: bytes that are only part
    of a character stand there as ⟨E3 81⟩.

    `lmtui score` has the totals of many texts, their words and minimal pairs, `lmtui
    why` what made a token likely, `lmtui lens` what each layer predicts; see `lmtui
    help inspect`.

    \b
    Examples:
      lmtui inspect README.md
      lmtui inspect draft.txt --json --top 3
      lmtui inspect draft.txt --against-adapter notes
      lmtui inspect draft.txt --against ngram:3 --ngram-text notes.txt
      lmtui inspect draft.txt --html draft.html
      lmtui inspect --chat last --message 2
      git log -1 --format=%B | lmtui inspect
    """
    texts.require_one(json=json, plain=plain, html=html)
    target = None if html is None else require_writable_file(html)
    settings = texts.exact_settings(ctx)
    watched = is_interactive()  # asked before stdin is read to its end
    other = texts.other_model(settings, against, against_adapter, ngram_text)
    document = texts.one_text(file, chat, message)
    if watched and chat is None and document.name != STDIN:
        state.remember([document.name])
    prints = json or plain or html or top is not None
    if watched and not prints and not isinstance(other, CountedTexts):
        subject = _subject(document, window, stride, bos)
        open_screen(settings, first="inspect", subject=subject, against=other,
                    no_color=no_color, open_engine=ctx.obj)  # fmt: skip
        return
    engines, ngrams = texts.open_models(ctx, settings, [document], other)
    top = PAGE_TOP * bool(target) if top is None else top
    rules = Rules(window=window, stride=stride, bos=bos, top=top, ngrams=ngrams)
    if target:
        page = HtmlPage(document, target, top_n=top)
        score_each(engines, [document], rules, page.add)
        page.write()
    else:
        write = partial(write_tokens, Output(), top) if json else _plain(no_color)
        score_each(engines, [document], rules, write)


def _plain(no_color: bool) -> WriteScores:
    from lmtui.cli.console import terminal_console
    from lmtui.cli.inspect.plain import write_plain

    return partial(write_plain, terminal_console(no_color=no_color))


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
