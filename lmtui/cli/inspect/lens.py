"""`lmtui lens`: what each layer of the model predicts, as JSON."""

from __future__ import annotations

from typing import Annotated

import typer

from lmtui import cancellation
from lmtui.cli import options
from lmtui.cli.errors import cancel_on_interrupt
from lmtui.cli.inspect import texts
from lmtui.cli.inspect.json_output import lens_event, write_totals
from lmtui.cli.inspect.text_scores import ModelScores, Rules, ScoredRow
from lmtui.cli.output import Output
from lmtui.cli.progress import meter
from lmtui.engine.protocol import Engine
from lmtui.files import TextSource

Top = Annotated[int, typer.Option(min=0, metavar="N", help="Candidates of each layer.")]


@options.with_settings(*options.MODEL)
def lens(
    ctx: typer.Context,
    *,
    file: texts.File = None,
    chat: texts.Chat = None,
    message: texts.Number = None,
    top: Top = 1,
    window: texts.Window = None,
    stride: texts.Stride = None,
    bos: texts.Bos = "auto",
) -> None:
    """Print what each layer predicts, as JSON.

    Each token is one line with a row for each layer (the logit lens): the final norm
    and the head are applied to the state after that layer. Layer 0 is the embedding;
    the last layer is the model itself. The screen of `lmtui inspect` draws the same.

    \b
    Examples:
      lmtui lens draft.txt --top 3
      git log -1 --format=%B | lmtui lens | jq '.layers[-1]'
    """
    settings = texts.exact_settings(ctx)
    document = texts.one_text(file, chat, message)
    (engine,), _ = texts.open_models(ctx, settings, [document])
    rules = Rules(window=window, stride=stride, bos=bos, top=top)
    write_layers(engine, document, rules, Output())


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
        write_totals(output, ScoredRow(document, scores.summary()))
