"""Scored texts as JSON lines: every token with its numbers, or the summaries alone.

Owns the names of the fields. Log-probabilities and entropies are in nats; what has
bits in its name is in bits.
"""

from __future__ import annotations

from dataclasses import replace

from lmtui.cli.inspect_rows import Total
from lmtui.cli.jsonl import Event, adapter_field, scored_rows
from lmtui.cli.output import Output
from lmtui.cli.scoring import Scored, Summary
from lmtui.inspect.calibration import RANKS as WITHIN
from lmtui.inspect.calibration import Bin
from lmtui.inspect.difference import Piece, Placed
from lmtui.inspect.summary import RANKS, Totals
from lmtui.reading import Document


class JsonView:
    """Every token, then the summary."""

    grows = True

    def __init__(self, output: Output, *, top: int = 0) -> None:
        self._output = output
        self._top = top

    def start(self, document: Document) -> None:
        """Nothing: the summary names the file."""

    def piece(self, piece: Piece) -> None:
        """Write the tokens, and what two models' tokens have together."""
        if len(piece.tokens) == len(piece.others) == 1:
            other = _other(piece.others[0], self._top)
            self._output.event({**_token(piece.tokens[0], self._top), **other})
            return
        for placed in piece.tokens:
            self._output.event(_token(placed, self._top))
        if piece.others:
            self._output.event(_span(piece))

    def end(self, scored: Scored) -> None:
        """Write the totals."""
        JsonRows(self._output).row(scored)


class JsonRows:
    """The summaries of texts, and one of all."""

    def __init__(self, output: Output, *, unread: int = 0) -> None:
        self._output = output
        self._unread = unread

    def begin(self) -> None:
        """Nothing: each line says what it is."""

    def row(self, scored: Scored) -> None:
        """Write what one text adds up to, by one model or two."""
        file = scored.document.name
        for summary in (scored.summary, scored.other):
            if summary:
                event = {"event": "summary", "file": file}
                self._output.event({**event, **summary_fields(summary)})
        if scored.comparison:
            event = {"event": "comparison", "file": file}
            self._output.event({**event, **comparison_fields(scored)})

    def total(self, total: Total) -> None:
        """Write what all texts add up to."""
        event = {"event": "total", "files": total.files, "unread": self._unread}
        for summary in total.summaries():
            self._output.event({**event, **summary_fields(summary)})
        if total.comparison and total.last:
            whole = replace(total.last, comparison=total.comparison)
            event = {"event": "comparison", "files": total.files}
            self._output.event({**event, **comparison_fields(whole)})


def _token(placed: Placed, top: int) -> Event:
    token, span = placed
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
    rows = token.top[:top]
    return {**event, "top": scored_rows(rows)} if rows else event


def _other(placed: Placed, top: int) -> Event:
    token, _ = placed
    event = {
        "other_logprob": token.logprob,
        "other_rank": token.rank,
        "other_entropy": token.entropy,
    }
    rows = token.top[:top]
    return {**event, "other_top": scored_rows(rows)} if rows else event


def _span(piece: Piece) -> Event:
    start, end = piece.span
    return {
        "event": "span",
        "start": start,
        "end": end,
        "tokens": len(piece.tokens),
        "other_tokens": len(piece.others),
        "logprob": piece.logprob,
        "other_logprob": piece.other_logprob,
    }


def summary_fields(summary: Summary) -> Event:
    """What a model makes of a text."""
    totals, info = summary.totals, summary.info
    return {
        "model": info.model,
        **adapter_field(info),
        "precision": info.precision,
        "dtype": info.dtype,
        "tokens": totals.tokens,
        "scored": totals.scored,
        "logprob": totals.logprob,
        "mean_nll": totals.mean_nll,
        "perplexity": totals.perplexity,
        "bits_per_byte": totals.bits_per_byte,
        "window": summary.windows.window,
        "stride": summary.windows.stride,
        "bos": summary.bos,
        "bits_per_character": totals.bits_per_character,
        "characters": totals.characters,
        "bytes": totals.bytes,
        **_counts(totals),
        **_place(summary),
    }


def _place(summary: Summary) -> Event:
    if summary.kept is None:
        return {}
    ids = "kept" if summary.kept else "retokenised"
    return {"before": summary.before, "ids": ids}


def _counts(totals: Totals) -> Event:
    calibration = totals.calibration
    return {
        "ranks": dict(zip((*map(str, RANKS), "rest"), totals.ranks, strict=True)),
        "entropy_bits": list(totals.entropies),
        "accuracy": {str(k): calibration.accuracy(k) for k in WITHIN},
        "expected_calibration_error": calibration.expected_error,
        "confidence": [_bin(each) for each in calibration.confidence],
        "claims": [_bin(each) for each in calibration.claims],
    }


def _bin(each: Bin) -> Event:
    return {name: getattr(each, name) for name in Bin.__slots__}


def comparison_fields(scored: Scored) -> Event:
    """Where two models differ on a text."""
    assert scored.other and scored.comparison
    own, other = scored.summary.info, scored.other.info
    named = {f"other_{name}": value for name, value in adapter_field(other).items()}
    comparison = scored.comparison
    return {
        "model": own.model,
        **adapter_field(own),
        "other_model": other.model,
        **named,
        "unit": comparison.unit,
        "compared": comparison.compared,
        "logprob": comparison.logprob,
        "other_logprob": comparison.other_logprob,
        "bits": comparison.bits,
        "more": comparison.more,
        "less": comparison.less,
    }
