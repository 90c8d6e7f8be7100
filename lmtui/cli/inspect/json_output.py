"""Events of scored texts, as JSON lines.

Log-probabilities and entropies are in nats; fields with bits in their names are in
bits.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from lmtui.analysis.compare import ComparedSpan, PlacedToken
from lmtui.analysis.summary import model_names, summary_fields
from lmtui.cli.inspect.text_scores import ScoredRow, TextScores
from lmtui.cli.output import JsonEvent, Output, score_fields, scored_rows
from lmtui.engine.lens import LensColumn
from lmtui.engine.types import Candidate


def write_tokens(output: Output, top_n: int, scores: TextScores) -> None:
    """Write every token of a text while it is scored, then the summary."""
    for piece in scores.pieces():
        for event in _piece_events(piece, top_n):
            output.event(event)
    write_totals(output, scores.row())


def write_totals(
    output: Output, row: ScoredRow, event: str = "summary", **about: object
) -> None:
    """Write the totals of a text by each model, and their difference; `about` says what
    the totals are of, where that is no text."""
    about = about or {"file": row.document.name}
    for summary in row.summaries:
        output.event({"event": event, **about, **summary_fields(summary)})
    if row.comparison:
        about.pop("unread", None)
        output.event({"event": "comparison", **about, **comparison_fields(row)})


def lens_event(placed: PlacedToken, column: LensColumn, top_n: int) -> JsonEvent:
    """Return a token with what each layer predicted there."""
    layers = [
        {
            "layer": row.layer,
            **score_fields(row),
            "top": scored_rows(row.top[:top_n]),
        }
        for row in column.rows
    ]
    return {"event": "lens", **identity(placed), "layers": layers}


def _piece_events(piece: ComparedSpan, top_n: int) -> Iterator[JsonEvent]:
    """Yield the tokens of a span, and the two models' values: with a common token, or
    after those that differ."""
    if len(piece.tokens) == len(piece.others) == 1:
        other = _scores(piece.others[0], top_n)
        others = {f"other_{name}": value for name, value in other.items()}
        yield {**_token(piece.tokens[0], top_n), **others}
        return
    for placed in piece.tokens:
        yield _token(placed, top_n)
    if piece.others:
        start, end = piece.span
        yield {
            "event": "span",
            "start": start,
            "end": end,
            "tokens": len(piece.tokens),
            "other_tokens": len(piece.others),
            "logprob": piece.logprob,
            "other_logprob": piece.other_logprob,
        }


def _token(placed: PlacedToken, top_n: int) -> JsonEvent:
    return {"event": "token", **identity(placed), **_scores(placed, top_n)}


def identity(placed: PlacedToken) -> JsonEvent:
    """Return the fields that say which token of a text it is."""
    token, (start, end) = placed
    return {
        "index": token.index,
        "start": start,
        "end": end,
        "id": token.id,
        "text": token.text,
        "bytes": token.bytes.hex(),
    }


def _scores(placed: PlacedToken, top_n: int) -> JsonEvent:
    token, _ = placed
    rows: Sequence[Candidate] = token.top[:top_n]
    return {
        **score_fields(token),
        **({"top": scored_rows(rows)} if rows else {}),
    }


def comparison_fields(row: ScoredRow) -> JsonEvent:
    assert row.other and row.comparison
    own, other = row.own.info, row.other.info
    comparison = row.comparison
    own_sums, other_sums = comparison.sums()
    return {
        **model_names(own),
        **{f"other_{name}": value for name, value in model_names(other).items()},
        "unit": comparison.unit,
        "compared": comparison.compared,
        "logprob": comparison.logprob,
        "other_logprob": comparison.other_logprob,
        "bits": comparison.bits,
        "more": comparison.more,
        "less": comparison.less,
        "bytes": comparison.bytes,
        "bits_per_byte": own_sums.bits_per_byte,
        "other_bits_per_byte": other_sums.bits_per_byte,
    }
