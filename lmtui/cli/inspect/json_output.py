"""Views for scored texts as JSON lines and as a web page, and their field names.

Log-probabilities and entropies are in nats; fields with bits in their names are in
bits.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from lmtui import paths
from lmtui.analysis.compare import (
    ComparedSpan,
    Comparison,
    PlacedToken,
    common_figures,
)
from lmtui.analysis.html.writer import Cells, page, text_data
from lmtui.analysis.summary import Summary, page_fields, summary_fields
from lmtui.cli.inspect.score import Scored
from lmtui.cli.inspect.table import Total
from lmtui.cli.output import JsonEvent, Output, adapter_field, bounds, scored_rows
from lmtui.engine.lens import LensColumn
from lmtui.errors import LmtuiError
from lmtui.files import TextSource
from lmtui.text import visible_line


class JsonScoreView:
    """View that writes every token, then the summary."""

    grows = True

    def __init__(self, output: Output, *, top_n: int = 0) -> None:
        self._output = output
        self._top = top_n

    def start(self, document: TextSource) -> None:
        """Do nothing: the summary names the file."""

    def piece(self, piece: ComparedSpan) -> None:
        """Write the tokens, or the two models' values for a common token or span."""
        if len(piece.tokens) == len(piece.others) == 1:
            other = _other(piece.others[0], self._top)
            self._output.event({**_token(piece.tokens[0], self._top), **other})
            return
        for placed in piece.tokens:
            self._output.event(_token(placed, self._top))
        if piece.others:
            self._output.event(_span(piece))

    def end(self, scored: Scored) -> None:
        JsonRows(self._output).row(scored)


class JsonLensView:
    """Writer of what each layer predicted for every token, then of the summary."""

    def __init__(self, output: Output, *, top_n: int) -> None:
        self._output = output
        self._top = top_n

    def column(self, placed: PlacedToken, column: LensColumn) -> None:
        """Write a token with the rows of all layers."""
        layers = [
            {
                "layer": row.layer,
                "logprob": row.logprob,
                "rank": row.rank,
                "entropy": row.entropy,
                "top": scored_rows(row.top[: self._top]),
            }
            for row in column.rows
        ]
        event = {"event": "lens", **_identity(placed), "layers": layers}
        self._output.event(event)

    def end(self, scored: Scored) -> None:
        JsonRows(self._output).row(scored)


class JsonRows:
    """Writer of the summary of each text, and of the total."""

    def __init__(self, output: Output, *, unread: int = 0) -> None:
        self._output = output
        self._unread = unread

    def begin(self) -> None:
        """Do nothing: JSON lines have no headings."""

    def row(self, scored: Scored) -> None:
        """Write the summary of one text by each model, and their comparison."""
        file = scored.document.name
        for summary in (scored.summary, scored.other):
            if summary:
                event = {"event": "summary", "file": file}
                self._output.event({**event, **summary_fields(summary)})
        if scored.comparison:
            event = {"event": "comparison", "file": file}
            self._output.event({**event, **comparison_fields(scored)})

    def total(self, total: Total) -> None:
        """Write the totals over all texts."""
        event = {"event": "total", "files": total.files, "unread": self._unread}
        for summary in total.summaries():
            self._output.event({**event, **summary_fields(summary)})
        if total.comparison and total.last:
            whole = replace(total.last, comparison=total.comparison)
            event = {"event": "comparison", "files": total.files}
            self._output.event({**event, **comparison_fields(whole)})


def _identity(placed: PlacedToken) -> JsonEvent:
    token, span = placed
    return {
        "index": token.index,
        "start": span[0],
        "end": span[1],
        "id": token.id,
        "text": token.text,
        "bytes": token.bytes.hex(),
    }


def _token(placed: PlacedToken, top_n: int) -> JsonEvent:
    token, _ = placed
    event = {
        "event": "token",
        **_identity(placed),
        "logprob": token.logprob,
        "rank": token.rank,
        "entropy": token.entropy,
        **bounds(token),
    }
    rows = token.top[:top_n]
    return {**event, "top": scored_rows(rows)} if rows else event


def _other(placed: PlacedToken, top_n: int) -> JsonEvent:
    token, _ = placed
    event = {
        "other_logprob": token.logprob,
        "other_rank": token.rank,
        "other_entropy": token.entropy,
        **{f"other_{name}": value for name, value in bounds(token).items()},
    }
    rows = token.top[:top_n]
    return {**event, "other_top": scored_rows(rows)} if rows else event


def _span(piece: ComparedSpan) -> JsonEvent:
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


def comparison_fields(scored: Scored) -> JsonEvent:
    """Return the fields of two models' differences on a text."""
    assert scored.other and scored.comparison
    own, other = scored.summary.info, scored.other.info
    named = {f"other_{name}": value for name, value in adapter_field(other).items()}
    comparison = scored.comparison
    own_sums, other_sums = comparison.sums()
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
        "bytes": comparison.bytes,
        "bits_per_byte": own_sums.bits_per_byte,
        "other_bits_per_byte": other_sums.bits_per_byte,
    }


def require_writable_file(name: str) -> Path:
    """Return the path of a page, if it can be written.

    Called before a model is loaded.
    """
    target = Path(os.path.realpath(name))
    if target.is_dir():
        raise _unwritten(name, "it is a folder", "Name a file, for example out.html.")
    if not target.parent.is_dir():
        raise _unwritten(name, "there is no such folder", "Create the folder first.")
    writable = target if target.exists() else target.parent
    if not os.access(writable, os.W_OK):
        raise _unwritten(name, "it is read-only", "Name a file that you can write to.")
    return target


def _unwritten(name: str, why: str, hint: str) -> LmtuiError:
    return LmtuiError("the page can't be written", f"{name}: {why}", hint)


def headings(documents: Sequence[TextSource]) -> list[str]:
    """Return the name of each text on the page.

    It is the file's name with as many parent folders as make the names distinct. The
    rest of the path is private, since pages are shared.
    """
    names = [each.name for each in documents]
    paths = [Path(name).parts or (name,) for name in names]
    for count in range(1, max(map(len, paths), default=0) + 1):
        shown = ["/".join(parts[-count:]) for parts in paths]
        if len(set(shown)) == len(set(names)):
            return shown
    return names


class HtmlView:
    """View that collects all texts into one page."""

    grows = False

    def __init__(self, target: Path, names: Sequence[str], *, top_n: int) -> None:
        self._target = target
        self._names = [visible_line(name) for name in names]
        self._top = top_n
        self._texts: list[str] = []
        self._total = Total()

    def start(self, document: TextSource) -> None:
        self._cells = Cells(document.text, top_n=self._top)

    def piece(self, piece: ComparedSpan) -> None:
        self._cells.add(piece)

    def end(self, scored: Scored) -> None:
        name = self._names[len(self._texts)]
        summaries = [scored.summary, *([scored.other] if scored.other else [])]
        models = _page_models(summaries, scored.comparison)
        facts = {"file": name, **dict(zip(("own", "other"), models, strict=False))}
        if scored.comparison:
            facts["comparison"] = {"unit": scored.comparison.unit}
        self._texts.append(text_data(self._cells.finish(), facts))
        self._total.add(scored)

    def write(self) -> None:
        """Write the page into its file.

        Raises:
            LmtuiError: it can't be written; an existing file is unchanged.
        """
        several = len(self._texts) > 1
        models = _page_models(self._total.summaries(), self._total.comparison)
        title = f"{len(self._texts)} texts" if several else self._names[0]
        whole = page(title, self._texts, models if several else [])
        like = self._target if self._target.exists() else None
        try:
            paths.write_atomically(
                self._target, whole.encode(), like=like, private=False
            )
        except OSError as error:
            hint = "Free some space, or name another file."
            why = error.strerror or str(error)
            raise _unwritten(str(self._target), why, hint) from error


def _page_models(
    summaries: Sequence[Summary], comparison: Comparison | None
) -> list[dict[str, Any]]:
    """Return the page's fields of one model or two; of two, the figures of the text
    that both scored come first."""
    models = page_fields(*summaries)
    if comparison:
        for name, *values in reversed(common_figures(comparison)):
            for model, value in zip(models, values, strict=True):
                model["figures"] = {name: value, **model["figures"]}
    return models
