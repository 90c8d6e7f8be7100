"""Columns of the logit lens: those that are known, and requests for the others.

Knows no widget and no torch.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from lmtui.engine.lens import LensColumn
from lmtui.engine.scoring.passages import DocumentSpan
from lmtui.errors import LmtuiError
from lmtui.tui.engine.client import EngineClient
from lmtui.worker.partial_answers import lens_parts
from lmtui.worker.requests import Slot

_MOST = 512
"""Columns in memory: those of a model with 30 layers take some 10 MB."""


class LensColumns:
    def __init__(
        self, client: EngineClient, text: DocumentSpan, *, changed: Callable[[], object]
    ) -> None:
        """`text` is the whole text; `changed` is called when more is known."""
        self._client, self._text, self._on_change = client, text, changed
        self._cursor, self._visible = 0, range(0)
        self._requested: range | None = None  # what the request under way is for
        self.known: dict[int, LensColumn] = {}
        """By the index of the predicted token."""
        self.error: LmtuiError | None = None
        """Why there are no more."""

    @property
    def layers(self) -> int:
        """Number of rows of a column; 0 while none is known."""
        return max((len(column.rows) for column in self.known.values()), default=0)

    @property
    def missing(self) -> int:
        return sum(index not in self.known for index in self._visible)

    @property
    def is_asking(self) -> bool:
        return self._requested is not None

    def show(self, cursor: int, visible: range) -> None:
        """Ask for what is missing: the column at the cursor first, then the others that
        are seen."""
        self._cursor, self._visible = cursor, visible
        self._drop_far()
        self._ask()

    def close(self) -> None:
        self._client.cancel()
        self._requested = None

    def _ask(self) -> None:
        missing, slot = self._next()
        if missing == self._requested:
            return
        self._client.cancel()
        self._requested = missing
        if missing is None or self.error is not None:
            return
        self._client.ask(
            slot,
            lens_parts(replace(self._text, start=missing.start, end=missing.stop)),
            lambda _: self._finish(),
            self._fail,
            dropped=self._clear_request,
            batch=self._add_columns,
        )

    def _next(self) -> tuple[range | None, Slot]:
        if self._cursor not in self.known:
            return range(self._cursor, self._cursor + 1), Slot.LOOK
        missing = [index for index in self._visible if index not in self.known]
        if not missing:
            return None, Slot.SUGGEST
        if self._requested is not None and self._requested[-1] == missing[-1]:
            return self._requested, Slot.SUGGEST  # what is under way reaches the end
        end = next(
            (
                index
                for index in range(missing[0], self._visible.stop)
                if index in self.known
            ),
            self._visible.stop,
        )
        return range(missing[0], end), Slot.SUGGEST

    def _add_columns(self, columns: tuple[LensColumn, ...]) -> None:
        self.known.update((column.index, column) for column in columns)
        self._on_change()

    def _finish(self) -> None:
        self._requested = None
        self._ask()
        self._on_change()

    def _fail(self, error: LmtuiError) -> None:
        self.error, self._requested = error, None
        self._on_change()

    def _clear_request(self) -> None:
        self._requested = None

    def _drop_far(self) -> None:
        if len(self.known) > _MOST:
            first, end = self._visible.start, self._visible.stop
            near = range(first - _MOST // 4, end + _MOST // 4)
            self.known = {n: column for n, column in self.known.items() if n in near}
