"""The logit lens over a text: what the model would predict after each of its layers.

Returns the token to go to.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical
from textual.screen import ModalScreen

from lmtui.analysis.branches import Token
from lmtui.engine.lens import LensColumn
from lmtui.engine.scoring.passages import DocumentSpan
from lmtui.tui.controller import Controller
from lmtui.tui.dialogs import choose
from lmtui.tui.engine.client import EngineClient
from lmtui.tui.inspector.document import DocumentController
from lmtui.tui.inspector.lens_columns import LensColumns
from lmtui.tui.inspector.lens_grid import LensGrid, LensTable, LensView, cell_lines
from lmtui.tui.screen import ModelScreen, leave_with_model
from lmtui.tui.widgets.cells import progress_bar
from lmtui.tui.widgets.plain_text import PlainLine, PlainText

TOP = 3
"""How many candidates of each layer are asked for."""
_FOOT = "Arrows move · Enter goes to the token · Esc closes"
_NARROW_FOOT = "Arrows move · c {} · Enter goes to the token · Esc closes"
_POLL_INTERVAL = 0.25  # seconds between two looks at how far the model is


class LensController(Controller):
    def __init__(
        self, client: EngineClient, screen: ModelScreen, document: DocumentController
    ) -> None:
        self._client, self._screen, self._document = client, screen, document

    def open(self) -> None:
        document = self._document
        windows = document.scored.windows
        if document.why_not or windows is None:
            self._screen.notify(document.why_not)
            return
        if why_not := self.model.capabilities.why_no_lens:
            self._screen.notify(f"There is no logit lens: {why_not}.")
            return
        tokens = document.path
        ids = tuple(token.id for token in tokens)
        text = DocumentSpan(ids, document.scored.before, windows, 0, len(ids) + 1, TOP)
        index = document.view.index
        screen = LensScreen(document.name, tokens, self._client, text, index=index)
        choose(self._screen, screen, document.view.select)


class LensPane(Horizontal, can_focus=True):
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("left", "screen.move(-1)", "Previous token", id="lens.left", show=False,
                tooltip="To the previous token."),
        Binding("right", "screen.move(1)", "Next token", id="lens.right", show=False,
                tooltip="To the next token."),
        Binding("up", "screen.layer(1)", "Layer up", id="lens.up", show=False,
                tooltip="The layer above."),
        Binding("down", "screen.layer(-1)", "Layer down", id="lens.down", show=False,
                tooltip="The layer below."),
        Binding("pageup", "screen.page(-1)", "Previous page", id="lens.page-back",
                show=False, tooltip="One page of tokens back."),
        Binding("pagedown", "screen.page(1)", "Next page", id="lens.page-on",
                show=False, tooltip="One page of tokens on."),
        Binding("home", "screen.to(0)", "First", id="lens.home", show=False,
                tooltip="The first token."),
        Binding("end", "screen.to(-1)", "Last", id="lens.end", show=False,
                tooltip="The end of the text."),
    ]  # fmt: skip


class LensScreen(ModalScreen[int | None]):
    """A grid of layers × tokens, and the column of one token. Returns the token to go
    to."""

    HELP = """\
The logit lens reads the model's own head after every layer, as if no layer came after
it: each cell has the token that is likeliest there, the more probable the fuller its
bar and the stronger its shade. The top row is the model itself, layer 0 is the
embedding. ● marks a prediction that is the token that really comes next. The column
has, for the token under the cursor, each layer's likeliest token with its probability,
then the probability and the rank of the real next token, and the entropy.
"""
    CSS_PATH = "lens.tcss"
    HORIZONTAL_BREAKPOINTS = [(0, "-narrow"), (100, "-wide")]  # noqa: RUF012
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("c", "column", "Column", id="lens.column",
                tooltip="On a narrow screen: the column, or the grid."),
        Binding("enter", "take", "Go there", id="lens.take",
                tooltip="Close the lens, with the text's cursor on this token."),
        Binding("escape", "dismiss", "Close", id="lens.close",
                tooltip="Back to the text, with its cursor where it was."),
    ]  # fmt: skip

    def __init__(
        self,
        name: str,
        tokens: Sequence[Token],
        client: EngineClient,
        text: DocumentSpan,
        *,
        index: int,
    ) -> None:
        """`text` is what is looked into, up to the end behind its last token."""
        super().__init__()
        self._name, self._tokens = name, tokens
        self._columns = LensColumns(client, text, changed=self._show)
        self._index = index
        self._first: int | None = None  # None until it is known how many there are
        self._layer: int | None = None  # None is the last one
        self._foot = ""  # what stands there
        self._grid, self._table = LensGrid(), LensTable()

    def compose(self) -> ComposeResult:
        with Vertical(id="dialog"):
            yield PlainLine(f"Logit lens of {self._name}", id="title")
            with LensPane(id="lens"):
                with Vertical(id="left"):
                    yield self._grid
                    yield PlainText(id="cell")
                yield self._table
            yield PlainText(id="error")
            yield PlainLine(id="foot")

    def on_mount(self) -> None:
        self.query_one(LensPane).focus()
        leave_with_model(self)
        self.set_interval(_POLL_INTERVAL, self._show_foot)

    def on_unmount(self) -> None:
        self._columns.close()

    # What is seen.

    @property
    def column(self) -> LensColumn | None:
        return self._columns.known.get(self._index)

    @property
    def _is_column(self) -> bool:
        return self.has_class("-column") and self.has_class("-narrow")

    @on(LensGrid.Resized)
    def update_view(self) -> None:
        if self._is_column:
            shown = range(self._index, self._index + 1)
        else:
            self._first = self._first_shown(self._grid.capacity)
            shown = self._shown_range
        self._columns.show(self._index, shown)
        self._show()

    def _first_shown(self, count: int) -> int:
        first = self._index - count // 2 if self._first is None else self._first
        if self._index < first:
            first = self._index - count + 1
        elif self._index >= first + count:
            first = self._index
        return max(0, min(first, len(self._tokens) + 1 - count))

    @property
    def _shown_range(self) -> range:
        first = self._first or 0
        return range(first, min(first + self._grid.capacity, len(self._tokens) + 1))

    @property
    def _view(self) -> LensView:
        layers, shown = self._columns.layers, self._shown_range
        last = max(0, layers - 1)
        return LensView(
            tokens=self._tokens,
            columns=dict(self._columns.known),
            layers=layers,
            index=self._index,
            layer=last if self._layer is None else min(self._layer, last),
            first=shown.start,
            end=shown.stop,
        )

    def _show(self) -> None:
        if not self.is_mounted:
            return
        view, error = self._view, self._columns.error
        self._grid.view = self._table.view = view
        cell = self.query_one("#cell", PlainText)
        cell.update("\n".join(cell_lines(view, self._grid.size.width)))
        self.set_class(error is not None, "-failed")
        if error is not None:
            message = f"{error}. {error.hint}"
            self.query_one("#error", PlainText).update(message)
        self._show_foot()

    def _show_foot(self) -> None:
        missing, count = self._columns.missing, len(self._shown_range)
        toggled = "grid" if self.has_class("-column") else "column"
        foot = _NARROW_FOOT.format(toggled) if self.has_class("-narrow") else _FOOT
        if self._columns.is_asking and missing and not self._is_column:
            foot = f"{progress_bar(1 - missing / count)} {count - missing} of {count}"
            foot += " tokens looked into · Esc closes"
        if foot != self._foot:
            self._foot = foot
            self.query_one("#foot", PlainLine).update(foot)

    # Keys.

    def _move_to(self, index: int) -> None:
        self._index = max(0, min(index, len(self._tokens)))
        self.update_view()

    def action_move(self, by: int) -> None:
        self._move_to(self._index + by)

    def action_page(self, by: int) -> None:
        self._move_to(self._index + by * self._grid.capacity)

    def action_to(self, index: int) -> None:
        self._move_to(index % (len(self._tokens) + 1))

    def action_layer(self, by: int) -> None:
        last = max(0, self._columns.layers - 1)
        layer = last if self._layer is None else self._layer
        self._layer = max(0, min(layer + by, last))
        self._move_to(self._index)

    @on(LensGrid.CellPicked)
    def show_cell(self, event: LensGrid.CellPicked) -> None:
        self._layer = event.layer
        self._move_to(event.index)

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        return action != "column" or self.has_class("-narrow")

    def action_column(self) -> None:
        self.toggle_class("-column")
        self.call_after_refresh(self.update_view)

    def action_take(self) -> None:
        self.dismiss(self._index)
