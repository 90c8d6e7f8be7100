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
    """What each layer predicts along one text, as far as it was looked at."""

    def __init__(
        self, client: EngineClient, text: DocumentSpan, *, changed: Callable[[], object]
    ) -> None:
        """`text` is the whole text; `changed` is called when more is known."""
        self._client, self._text, self._changed = client, text, changed
        self._cursor, self._seen = 0, range(0)
        self._asked: range | None = None  # what the request under way is for
        self.known: dict[int, LensColumn] = {}
        """By the index of the predicted token."""
        self.error: LmtuiError | None = None
        """Why there are no more."""

    @property
    def layers(self) -> int:
        """Number of rows of a column; 0 while none is known."""
        return max((len(each.rows) for each in self.known.values()), default=0)

    @property
    def missing(self) -> int:
        """How many columns of those that are seen are still to come."""
        return sum(index not in self.known for index in self._seen)

    @property
    def is_asking(self) -> bool:
        """Whether the model works for a column."""
        return self._asked is not None

    def show(self, cursor: int, seen: range) -> None:
        """Ask for what is missing: the column at the cursor first, then the others that
        are seen."""
        self._cursor, self._seen = cursor, seen
        self._forget()
        self._ask()

    def close(self) -> None:
        """Ask no more."""
        self._client.cancel()
        self._asked = None

    def _ask(self) -> None:
        wanted, slot = self._next()
        if wanted == self._asked:
            return
        self._client.cancel()
        self._asked = wanted
        if wanted is None or self.error is not None:
            return
        self._client.ask(
            slot,
            lens_parts(replace(self._text, start=wanted.start, end=wanted.stop)),
            lambda _: self._end(),
            self._fail,
            dropped=self._drop,
            batch=self._take,
            bound=True,
        )

    def _next(self) -> tuple[range | None, Slot]:
        """Return the columns to ask for next, and how urgent they are."""
        if self._cursor not in self.known:
            return range(self._cursor, self._cursor + 1), Slot.LOOK
        missing = [index for index in self._seen if index not in self.known]
        if not missing:
            return None, Slot.SUGGEST
        if self._asked is not None and self._asked[-1] == missing[-1]:
            return self._asked, Slot.SUGGEST  # what is under way reaches the end
        end = next(
            (
                index
                for index in range(missing[0], self._seen.stop)
                if index in self.known
            ),
            self._seen.stop,
        )
        return range(missing[0], end), Slot.SUGGEST

    def _take(self, columns: tuple[LensColumn, ...]) -> None:
        self.known.update((each.index, each) for each in columns)
        self._changed()

    def _end(self) -> None:
        self._asked = None
        self._ask()
        self._changed()

    def _fail(self, error: LmtuiError) -> None:
        self.error, self._asked = error, None
        self._changed()

    def _drop(self) -> None:
        self._asked = None

    def _forget(self) -> None:
        """Drop the columns that are far from what is seen."""
        if len(self.known) > _MOST:
            near = range(self._seen.start - _MOST // 4, self._seen.stop + _MOST // 4)
            self.known = {at: each for at, each in self.known.items() if at in near}
