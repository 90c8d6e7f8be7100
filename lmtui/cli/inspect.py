"""`lmtui inspect`: what the model thinks of a text, token by token.

Owns the verb and the walk from a text to a view's tokens and totals. Knows the
engine only through its port; how a view looks is its own affair.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Annotated, Protocol

import typer

from lmtui import recent
from lmtui.cli import options
from lmtui.cli.inspect_screen import open_inspector
from lmtui.cli.interrupt import stop_on_interrupt
from lmtui.cli.jsonl import adapter_field, scored_rows
from lmtui.cli.loading import engine_for
from lmtui.cli.meter import Meter, meter
from lmtui.cli.output import Output
from lmtui.cli.reading import STDIN, read_document
from lmtui.cli.screen import is_interactive
from lmtui.cli.totals import Span, Totals, scored_bytes
from lmtui.engine.port import Engine, Stop
from lmtui.engine.types import BosRule, EngineInfo, ScoredToken
from lmtui.engine.windows import Windows
from lmtui.errors import LmtuiError
from lmtui.reading import Document
from lmtui.settings import bits

_WORST = 10


@dataclass(frozen=True, slots=True)
class Rules:
    """How a text is scored."""

    window: int | None = None
    stride: int | None = None
    bos: BosRule = "auto"
    top: int = 0
    """Alternatives wanted at each token."""


@dataclass(frozen=True, slots=True)
class Summary:
    """A scored text in numbers, each None where it is undefined."""

    document: Document
    info: EngineInfo
    totals: Totals
    bits_per_byte: float | None
    windows: Windows
    bos: bool


class View(Protocol):
    """One way of writing a scored text."""

    def start(self, document: Document) -> None:
        """A text begins."""

    def token(self, token: ScoredToken, span: Span) -> None:
        """One token of it, at `span` in code points."""

    def end(self, summary: Summary) -> None:
        """All its tokens were seen."""


Files = Annotated[
    list[str], typer.Argument(metavar="FILE", help="Text files; - is stdin.")
]
Plain = Annotated[
    bool, typer.Option("--plain", help="Shaded text and a summary; the default.")
]
Top = Annotated[
    int,
    typer.Option(min=0, metavar="N", help="Alternatives to give for each token."),
]
Window = Annotated[
    int | None,
    typer.Option(
        metavar="N",
        help="Tokens read together; unset is 2048, or the context if smaller.",
        show_default=False,
    ),
]
Stride = Annotated[
    int | None,
    typer.Option(
        metavar="N",
        help="Tokens between the starts of two windows; unset is half a window.",
        show_default=False,
    ),
]
Bos = Annotated[
    BosRule,
    typer.Option(help="Begin with the BOS token; auto does what the model does."),
]


def inspect(
    ctx: typer.Context,
    *,
    files: Files,
    json: options.Json = False,
    plain: Plain = False,
    top: Top = 0,
    window: Window = None,
    stride: Stride = None,
    bos: Bos = "auto",
    model: options.Model = None,
    adapter: options.Adapter = None,
    device: options.Device = None,
    dtype: options.Dtype = None,
    quantize: options.Quantize = None,
    threads: options.Threads = None,
    context: options.Context = None,
    no_color: options.NoColor = False,
) -> None:
    """Show how probable the model finds each token of a text.

    Common tokens are faint, surprising ones stand out, by colour and without. The
    summary gives the sum of the log-probabilities, the perplexity, and the bits per
    byte (the one to compare models by). A first token without context has no
    probability and is left out of them. Everything in the file is scored as it is,
    a byte-order mark and CRLF line endings included.

    \b
    Examples:
      lmtui inspect README.md
      lmtui inspect draft.txt --top 3
      lmtui inspect draft.txt --adapter notes
      git log -1 --format=%B | lmtui inspect -
      lmtui inspect notes/*.md --json --window 1024 --stride 256
    """
    if json and plain:
        raise LmtuiError("--json and --plain exclude each other", "", "Give one.")
    settings = options.settings(ctx)
    settings = replace(settings, quantize=bits(settings, exact=True))
    watched = is_interactive()  # asked before stdin is read to its end
    documents = [read_document(name) for name in files]
    if watched:
        recent.remember(name for name in files if name != STDIN)
    if watched and len(documents) == 1 and not (json or plain):
        open_inspector(
            settings,
            documents[0],
            bos=bos,
            window=window,
            stride=stride,
            no_color=no_color,
            open_engine=ctx.obj,
        )
        return
    rules = Rules(window=window, stride=stride, bos=bos, top=top)
    engine = engine_for(ctx, settings)
    view = JsonView(Output()) if json else _plain_view(no_color, many=len(files) > 1)
    score_all(engine, documents, rules, view=view)


def _plain_view(no_color: bool, *, many: bool) -> View:
    from lmtui.cli.shading import PlainView, terminal_console  # Rich: only when drawn

    return PlainView(terminal_console(no_color=no_color), headings=many)


def score_all(
    engine: Engine, documents: Sequence[Document], rules: Rules, *, view: View
) -> None:
    """Score each document into `view`.

    Raises:
        LmtuiError: the rules can't be kept with this model.
        Cancelled: Ctrl-C was pressed; what was written so far is whole.
    """
    for document in documents:
        with stop_on_interrupt() as stop, meter("scoring") as progress:
            score(engine, document, rules, view=view, stop=stop, progress=progress)


def score(
    engine: Engine,
    document: Document,
    rules: Rules,
    *,
    view: View,
    stop: Stop,
    progress: Meter,
) -> None:
    """Score one document into `view`, a token at a time."""
    encoding = engine.encode(document.text, bos=rules.bos)
    totals = Totals(keep=_WORST)

    def stopped() -> bool:
        # Asked between layers too: the only sign of life within a window.
        progress(totals.tokens, len(encoding.ids))
        return stop()

    windows = engine.windows(len(encoding.prefix), rules.window, rules.stride)
    tokens = engine.score(
        encoding.ids,
        prefix=encoding.prefix,
        window=windows.window,
        stride=windows.stride,
        top=rules.top,
        stop=stopped,
    )
    unscored: list[ScoredToken] = []
    view.start(document)
    for token, span in zip(tokens, encoding.spans, strict=True):
        if not totals.scored and token.logprob is not None:
            progress.give_way()
        totals.add(token, span)
        if token.logprob is None:
            unscored.append(token)
        view.token(token, span)
    size = scored_bytes(document.text, encoding.spans, unscored)
    summary = Summary(
        document=document,
        info=engine.info,
        totals=totals,
        bits_per_byte=totals.bits_per_byte(size),
        windows=windows,
        bos=bool(encoding.prefix),
    )
    view.end(summary)


class JsonView:
    """Every token with its numbers, one JSON object a line."""

    def __init__(self, output: Output) -> None:
        self._output = output

    def start(self, document: Document) -> None:
        """Nothing: the summary names the file."""

    def token(self, token: ScoredToken, span: Span) -> None:
        """Write one token."""
        event = {
            "event": "token",
            "index": token.index,
            "start": span[0],
            "end": span[1],
            "id": token.id,
            "text": token.text,
            "bytes": token.bytes.hex(),
            "logprob": token.logprob,
            "rank": token.rank,
            "entropy": token.entropy,
        }
        if token.top:
            event["top"] = scored_rows(token.top)
        self._output.event(event)

    def end(self, summary: Summary) -> None:
        """Write the totals."""
        totals = summary.totals
        self._output.event(
            {
                "event": "summary",
                "file": summary.document.name,
                "model": summary.info.model,
                **adapter_field(summary.info),
                "precision": summary.info.precision,
                "dtype": summary.info.dtype,
                "tokens": totals.tokens,
                "scored": totals.scored,
                "logprob": totals.logprob,
                "mean_nll": totals.mean_nll,
                "perplexity": totals.perplexity,
                "bits_per_byte": summary.bits_per_byte,
                "window": summary.windows.window,
                "stride": summary.windows.stride,
                "bos": summary.bos,
            }
        )
