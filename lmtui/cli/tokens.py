"""`lmtui tokens`: how one tokenizer or two cut a text; loads no weights, no torch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

import typer

from lmtui import notation
from lmtui.analysis.compare import PlacedToken, pieces
from lmtui.cli import completion, options
from lmtui.cli.inspect.json_output import identity
from lmtui.cli.output import STDIN, Output, read_stdin, require_text, table
from lmtui.cli.progress import loading_progress
from lmtui.engine.text.detokenizer import Vocabulary
from lmtui.engine.text.prompt import PromptBuilder
from lmtui.engine.types import ScoredToken
from lmtui.models.remote.tokenizer import named_tokenizer
from lmtui.models.source import resolve, short_labels
from lmtui.text import visible_token


@options.with_settings("model")
def tokens(
    ctx: typer.Context,
    text: Annotated[str, typer.Argument(metavar="TEXT|-", help="- is stdin.")],
    *,
    against: Annotated[
        str | None,
        typer.Option(
            metavar="MODEL",
            help="Show the tokens of this model's tokenizer beside them.",
            autocompletion=completion.models,
        ),
    ] = None,
    json: options.Json = False,
) -> None:
    """Show the tokens of a text, with their ids and bytes.

    No weights are loaded. Special-token strings are ordinary text, and no BOS is added,
    as `lmtui inspect` reads a text. With --against, each row is the smallest part of
    the text that both tokenizers cut at the same places.

    \b
    Examples:
      lmtui tokens "The naïve cat"
      lmtui tokens - < draft.txt
      lmtui tokens "The naïve cat" --against Qwen/Qwen3-0.6B
      lmtui tokens "The naïve cat" --json | jq .id
    """
    text = read_stdin() if text == STDIN else require_text(text, "TEXT")
    names = [options.settings(ctx).model, *([against] if against else [])]
    both = [_tokens_of(name, text) for name in names]
    labels = short_labels(*(resolve(name).name for name in names))
    output, width = Output(), len(text.encode())
    if json:
        for label, placed in zip(labels, both, strict=True):
            for token in placed:
                output.event({"event": "token", "model": label, **identity(token)})
            counts = {"tokens": len(placed), "characters": len(text), "bytes": width}
            output.event({"event": "summary", "model": label, **counts})
        return
    if against:
        parts = [(p.tokens, p.others) for p in pieces(both[0], both[1], "span")]
        heads = [head for label in labels for head in (label, "ids")]
        rows = [[*_cells(own), *_cells(other)] for own, other in parts]
    else:
        heads = [labels[0], "ids", "bytes"]
        rows = [[*_cells([placed]), placed[0].bytes.hex(" ")] for placed in both[0]]
    output.text(table(heads, rows, terminal=output.is_terminal))
    for label, placed in zip(labels, both, strict=True):
        rate = notation.number(width / len(placed) if placed else None)
        output.text(
            f"{label}: {notation.counted(len(placed), 'token')}, {len(text):,} "
            f"characters, {notation.counted(width, 'byte')}; {rate} bytes a token\n"
        )


def _tokens_of(name: str | None, text: str) -> list[PlacedToken]:
    with loading_progress() as show:
        tokenizer = named_tokenizer(name or "", show).tokenizer
    vocabulary = Vocabulary(tokenizer)
    encoding = PromptBuilder(tokenizer).document(text, "no")
    spelled = (
        ScoredToken(i, id, vocabulary.text(id), vocabulary.bytes(id), None, None, None)
        for i, id in enumerate(encoding.ids)
    )
    return list(zip(spelled, encoding.spans, strict=True))


def _cells(placed: Sequence[PlacedToken]) -> tuple[str, str]:
    texts = (visible_token(token.text) for token, _ in placed)
    return "|".join(texts), " ".join(str(token.id) for token, _ in placed)
