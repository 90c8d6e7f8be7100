"""`lmtui inspect --html`: all texts on one self-contained page."""

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
from lmtui.cli.inspect.score import ScoredRow, TextScores, merged
from lmtui.errors import LmtuiError
from lmtui.files import TextSource
from lmtui.text import visible_flow, visible_line


class HtmlPage:
    """The page of texts, each of which `add` reads."""

    def __init__(
        self, documents: Sequence[TextSource], target: Path, *, top_n: int
    ) -> None:
        self.target = target
        """The file that it is written into."""
        self._names = [visible_line(name) for name in headings(documents)]
        self._top = top_n
        self._texts: list[str] = []
        self._total: ScoredRow | None = None
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
        facts: dict[str, Any] = {"file": self._names[len(self._texts)]}
        facts |= dict(zip(("own", "other"), models, strict=False))
        if row.comparison:
            facts["comparison"] = {"unit": row.comparison.unit}
        if self._why:
            facts["why"] = self._why
        self._texts.append(text_data(drawn, facts))
        self._total = merged(self._total, row)

    def write(self) -> None:
        """Write the page into its file.

        Raises:
            LmtuiError: it can't be written; an existing file is unchanged.
        """
        title, total = self._names[0], list[dict[str, Any]]()
        if len(self._texts) > 1 and self._total:
            title = f"{len(self._texts)} texts"
            total = _page_models(self._total.summaries, self._total.comparison)
        data = page(title, self._texts, total).encode()
        like = self.target if self.target.exists() else None
        try:
            paths.write_atomically(self.target, data, like=like, private=False)
        except OSError as error:
            hint = "Free some space, or name another file."
            why = error.strerror or str(error)
            raise _unwritten(str(self.target), why, hint) from error


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


def headings(documents: Sequence[TextSource]) -> list[str]:
    """Return the name of each text on the page.

    It is the file's name with as many parent folders as make the names distinct. The
    rest of the path is private, since pages are shared.
    """
    names = [document.name for document in documents]
    parts = [Path(name).parts or (name,) for name in names]
    for count in range(1, max(map(len, parts), default=0) + 1):
        shown = ["/".join(part[-count:]) for part in parts]
        if len(set(shown)) == len(set(names)):
            return shown
    return names


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
