"""The logit lens in the shell: what each layer predicts, as JSON lines."""

from __future__ import annotations

from lmtui import cancellation
from lmtui.cli.errors import cancel_on_interrupt
from lmtui.cli.inspect.json_output import JsonLensView
from lmtui.cli.inspect.score import ModelScores, Rules, Scored
from lmtui.cli.progress import meter
from lmtui.engine.protocol import Engine
from lmtui.files import TextSource


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
