"""`lmtui inspect --html`: the scored texts as a page in a file.

Owns the file: it appears whole at the end, or not at all.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from lmtui import paths
from lmtui.cli.inspect_json import comparison_fields, summary_fields
from lmtui.cli.inspect_rows import Total
from lmtui.cli.scoring import Scored, Summary
from lmtui.errors import LmtuiError
from lmtui.inspect.difference import Piece
from lmtui.inspect.page.writer import Cells, page, text_data
from lmtui.inspect.summary import figures
from lmtui.reading import Document
from lmtui.text import visible_line


def require_place(name: str) -> Path:
    """The file for a page, if it can be written.

    Raises:
        LmtuiError: it can't; a model need not be loaded to learn that.
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


def headings(documents: Sequence[Document]) -> list[str]:
    """What the page calls each text: the name of its file, with as much of its folders
    as tells it from the others. A page is sent to others, whom the rest of the path
    does not concern."""
    names = [each.name for each in documents]
    paths = [Path(name).parts or (name,) for name in names]
    for count in range(1, max(map(len, paths), default=0) + 1):
        shown = ["/".join(parts[-count:]) for parts in paths]
        if len(set(shown)) == len(set(names)):
            return shown
    return names


class HtmlView:
    """Each text as a part of one page."""

    grows = False

    def __init__(self, target: Path, names: Sequence[str], *, top: int) -> None:
        self._target = target
        self._names = [visible_line(name) for name in names]
        self._top = top
        self._texts: list[str] = []
        self._total = Total()

    def start(self, document: Document) -> None:
        """Begin a text."""
        self._cells = Cells(document.text, top=self._top)

    def piece(self, piece: Piece) -> None:
        """Take a part of it."""
        self._cells.add(piece)

    def end(self, scored: Scored) -> None:
        """Sum it up."""
        name = self._names[len(self._texts)]
        facts = {"file": name, "own": _fields(scored.summary)}
        if scored.other and scored.comparison:
            facts["other"] = _fields(scored.other)
            facts["comparison"] = comparison_fields(scored)
        self._texts.append(text_data(self._cells.finish(), facts))
        self._total.add(scored)

    def write(self) -> None:
        """Put the page into its file.

        Raises:
            LmtuiError: it can't be written; what was there is as it was.
        """
        several = len(self._texts) > 1
        models = [_fields(each) for each in self._total.summaries()]
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


def _fields(summary: Summary) -> dict[str, Any]:
    """Fields of a summary for the page: its numbers, and the totals as written."""
    return {**summary_fields(summary), "figures": figures(summary.totals)}
