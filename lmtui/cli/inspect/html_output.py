"""`lmtui inspect --html`: a text on a self-contained page."""

from __future__ import annotations

import os
from bisect import bisect_right
from collections.abc import Sequence
from itertools import accumulate, pairwise
from pathlib import Path
from typing import Any

from lmtui import paths
from lmtui.analysis.attribution import (
    Attribution,
    Effect,
    Granularity,
    Span,
    pieces_of,
)
from lmtui.analysis.compare import Comparison, common_figures
from lmtui.analysis.html.writer import cells, page, text_data
from lmtui.analysis.summary import Summary, page_fields
from lmtui.cli.errors import note
from lmtui.cli.inspect.text_scores import TextScores
from lmtui.errors import LmtuiError
from lmtui.files import TextSource
from lmtui.text import visible_flow, visible_line


class HtmlPage:
    """The page of a text, which `add` reads."""

    def __init__(self, document: TextSource, target: Path, *, top_n: int) -> None:
        # The rest of a path is private, and pages are shared.
        self._name = visible_line(Path(document.name).name)
        self._target, self._top = target, top_n
        self._text = ""
        self._parts: Sequence[Span] = ()
        self._why: dict[str, Any] | None = None

    def explain(
        self, subject: Attribution, effects: Sequence[Effect], by: Granularity
    ) -> None:
        """Shade the text by effects, and list the strongest, those of parts before it
        included. Called before it is added."""
        named = {i for i, source in enumerate(subject.sources) if source.name}
        own = {(e.start, e.end): e.bits for e in effects if e.source not in named}
        start, _ = subject.span
        pieces = pieces_of(subject.text[subject.at - start : subject.at], 0, start, own)
        bounds = [0, *accumulate(len(piece) for piece, _ in pieces)]
        self._parts = [*pairwise(bounds), subject.span]
        rows = []
        for effect in subject.listed(effects)[0]:
            is_own = effect.source not in named
            part = bisect_right(bounds, effect.start) - 1 if is_own else None
            name = subject.sources[effect.source].name
            words = f"{name}: {effect.text}" if name else effect.text
            rows.append([part, effect.bits, visible_flow(words)])
        self._why = {
            "by": by,
            "logprob": subject.logprob,
            "bits": [bits for _, bits in pieces],
            "rows": rows,
            "count": len(effects),
        }

    def add(self, scores: TextScores) -> None:
        text, pieces = scores.document.text, scores.pieces()
        drawn = cells(text, pieces, top_n=self._top, parts=self._parts)
        row = scores.row()
        models = _page_models(row.summaries, row.comparison)
        facts: dict[str, Any] = {"file": self._name}
        facts |= dict(zip(("own", "other"), models, strict=False))
        if row.comparison:
            facts["comparison"] = {"unit": row.comparison.unit}
        if self._why:
            facts["why"] = self._why
        self._text = text_data(drawn, facts)

    def write(self) -> None:
        """Write the page into its file.

        Raises:
            LmtuiError: it can't be written; an existing file is unchanged.
        """
        data, target = page(self._name, self._text).encode(), self._target
        like = target if target.exists() else None
        try:
            paths.write_atomically(target, data, like=like, private=False)
        except OSError as error:
            hint = "Free some space, or name another file."
            why = error.strerror or str(error)
            raise _unwritten(str(target), why, hint) from error
        note(f"wrote {visible_line(str(target))}\n")


def require_writable_file(name: str) -> Path:
    """Return the path of a page, if it can be written.

    Called before a model is loaded.
    """
    target = Path(os.path.realpath(name))
    if target.is_dir():
        raise _unwritten(name, "it is a folder", "Name a file, for example out.html.")
    if not target.parent.is_dir():
        raise _unwritten(name, "there is no such folder", "Create the folder first.")
    if not os.access(target if target.exists() else target.parent, os.W_OK):
        raise _unwritten(name, "it is read-only", "Name a file that you can write to.")
    return target


def _unwritten(name: str, why: str, hint: str) -> LmtuiError:
    return LmtuiError("the page can't be written", f"{name}: {why}", hint)


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
