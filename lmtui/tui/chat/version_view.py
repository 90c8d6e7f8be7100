"""Versions of an answer side by side while they grow, to choose one.

Columns on a wide screen; else one below the other, the marked one with the most room.
Knows no engine.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from rich.segment import Segment
from textual import events
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Container, Vertical, VerticalScroll
from textual.message import Message
from textual.reactive import reactive
from textual.widget import Widget

from lmtui import notation
from lmtui.chat.message import ChatMessage
from lmtui.chat.thinking import ReasoningInfo
from lmtui.engine.types import FinishReason
from lmtui.tui.widgets.cells import Forms, fit_best
from lmtui.tui.widgets.markdown import StreamingMarkdown
from lmtui.tui.widgets.markdown_blocks import CLASSES, SHEET
from lmtui.tui.widgets.styled_lines import Line, StyledLines

_WIDE = 100  # cells of the screen from which versions are columns
_COLUMN = 24  # least cells of a column
_SHORT_ENDS = {
    FinishReason.STOP.words: "ended",
    FinishReason.LENGTH.words: "max tokens",
    FinishReason.CONTEXT.words: "context full",
}


def _forms(name: str, node: ChatMessage) -> Forms:
    """Return the numbers of one version, in forms of decreasing length."""
    is_scored = all(step.logprob is not None for step in node.steps)
    sum_ = notation.log_prob(node.logprob if is_scored else None)
    log_prob, count = f"{notation.LOG_PROB.short} {sum_}", len(node.steps)
    tokens, end = notation.counted(count, "token"), _end_of(node)
    short = _SHORT_ENDS.get(end, end)
    return (
        (name, f"{log_prob} nats", tokens, end),
        (name, f"{log_prob} nats", tokens, short),
        (name, log_prob, tokens, short),
        (name, log_prob, f"{count:,} tok", short),
    )


def _end_of(node: ChatMessage) -> str:
    if node.state == "growing":
        return "…"
    if node.state == "failed":
        return "broke off"
    return node.finish.reason.words if node.finish else "stopped"


class FittedText(StyledLines):
    """A text in the longest of its forms that fits, behind a mark."""

    mark: reactive[str] = reactive("")
    forms: reactive[Forms] = reactive([[""]])
    """The text, in forms of decreasing length."""

    def lines(self, width: int, height: int) -> list[Line]:
        room = width - len(self.mark)
        first, *others = fit_best(self.forms, room, lines=max(1, height))
        indent = " " * len(self.mark)
        return [[(self.mark + first, "")], *([(indent + line, "")] for line in others)]


class VersionText(StreamingMarkdown):
    """The text of one version; its thinking is one line."""

    # A text that is lower than its pane begins at the top of it.
    DEFAULT_CSS = "VersionText { min-height: 100%; }"
    LEFT, RIGHT = 2, 1

    def left_of_text(self) -> list[Segment]:
        return [Segment("  ", self.rich_style)]


class VersionScroll(VerticalScroll, can_focus=False):
    """The text of one version; follows its end while the reader is there."""

    COMPONENT_CLASSES: ClassVar[set[str]] = CLASSES
    DEFAULT_CSS = f"""
    VersionScroll {{
        {SHEET}
        height: 1fr;
        scrollbar-size-vertical: 1;
    }}
    """

    def __init__(self) -> None:
        super().__init__()
        self.text = VersionText()

    def compose(self) -> ComposeResult:
        yield self.text

    def on_mount(self) -> None:
        self.anchor()


class VersionPane(Vertical):
    """One version: its numbers and its text."""

    def __init__(self, index: int) -> None:
        super().__init__()
        self.index = index
        self.head = FittedText()
        self.body = VersionScroll()
        self.mark(False)

    def compose(self) -> ComposeResult:
        yield self.head
        yield self.body

    def mark(self, marked: bool) -> None:
        self.set_class(marked, "-marked")
        self.head.mark = "▸ " if marked else "  "


class VersionsView(Container, can_focus=True):
    """Panes of the versions, of which one is marked."""

    HELP_TITLE = "Versions"
    HELP = """\
The versions of an answer grow together. The arrows mark one, Page up and Page down
scroll it; Enter takes it once all have ended. The others stay as versions of the same
message: [ and ] switch to them, F8 draws them. Esc stops all; each keeps its text.
"""
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("left,up", "mark(-1)", "Previous version", id="versions.before",
                show=False, tooltip="Mark the previous version."),
        Binding("right,down", "mark(1)", "Next version", id="versions.after",
                show=False, tooltip="Mark the next version."),
        Binding("enter", "take", "Take it", id="versions.take",
                tooltip="Take the marked version, once all have ended."),
        Binding("pageup", "scroll(-1)", "Page up", id="versions.page-up", show=False,
                tooltip="Scroll the marked version up."),
        Binding("pagedown", "scroll(1)", "Page down", id="versions.page-down",
                show=False, tooltip="Scroll the marked version down."),
    ]  # fmt: skip
    DEFAULT_CSS = """
    VersionsView {
        display: none;
        height: 1fr;
        padding: 1 1 0 1;
        & > #panes { height: 1fr; overflow-y: auto; scrollbar-size-vertical: 1; }
        & > #hint { height: 1; color: $quiet; }
        & VersionPane { height: 3; }
        & VersionPane FittedText { height: 1; color: $text-muted; }
        & VersionPane.-marked { height: 1fr; min-height: 6; }
        & VersionPane.-marked FittedText { color: $accent; text-style: bold; }
        &.-columns > #hint { margin: 0 0 1 0; }
        &.-columns > #panes { layout: grid; grid-gutter: 1 1; }
        &.-columns VersionPane { height: 1fr; min-height: 6; }
        &.-columns VersionPane FittedText { height: 2; }
    }
    """

    @dataclass
    class VersionMarked(Message):
        """The mark is on another version."""

        index: int

    class VersionAccepted(Message):
        """The user wants the marked version."""

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self.marked = 0
        """Index of the marked version."""
        self._hint = FittedText(id="hint")
        self._grid = Container(id="panes")
        self._panes: list[VersionPane] = []

    def compose(self) -> ComposeResult:
        yield self._hint
        yield self._grid

    async def begin(self, count: int) -> None:
        self._panes = list(map(VersionPane, range(count)))
        self.marked = 0
        async with self.batch():
            await self._grid.remove_children()
            await self._grid.mount_all(self._panes)
            self._arrange()
        self._panes[0].mark(True)

    def on_resize(self) -> None:
        self._arrange()

    def _arrange(self) -> None:
        width, count = self.screen.size.width, len(self._panes)
        self.set_class(width >= _WIDE, "-columns")
        if count:
            rows = -(-count // max(1, width // _COLUMN))
            self._grid.styles.grid_size_columns = -(-count // rows)

    def show_numbers(self, versions: Sequence[ChatMessage], *, together: bool) -> None:
        """Show how far each version is; they are drawn `together`, or one after the
        other."""
        for pane, node in zip(self._panes, versions, strict=True):
            pane.head.forms = _forms(str(pane.index + 1), node)
        count = f"{len(versions)} versions"
        order = "together" if together else "one after the other"
        grow = any(node.state == "growing" for node in versions)
        keys = "Esc stops all" if grow else "Enter takes the marked one"
        marks = "arrows mark one"
        long = f"{count} {order}", marks, keys
        self._hint.forms = [long, (count, marks, keys), (count, keys)]

    def grow(self, index: int, piece: str, thought: ReasoningInfo | None) -> None:
        self._panes[index].body.text.grow(piece, thought)

    def complete(self) -> None:
        """Draw the texts again, so that every block is closed."""
        for pane in self._panes:
            pane.body.text.complete()

    def mark(self, index: int) -> None:
        index = min(max(0, index), len(self._panes) - 1)
        if index == self.marked:
            return
        self._panes[self.marked].mark(False)
        self.marked = index
        self._panes[index].mark(True)
        self._panes[index].scroll_visible(animate=False)
        self.post_message(self.VersionMarked(index))

    def on_click(self, event: events.Click) -> None:
        widget: Widget | None = event.widget
        while widget is not None and not isinstance(widget, VersionPane):
            widget = widget.parent if isinstance(widget.parent, Widget) else None
        if widget is not None:
            self.mark(widget.index)

    def action_mark(self, by: int) -> None:
        self.mark(self.marked + by)

    def action_take(self) -> None:
        self.post_message(self.VersionAccepted())

    def action_scroll(self, by: int) -> None:
        body = self._panes[self.marked].body
        if by < 0:
            body.scroll_page_up(animate=False)
        else:
            body.scroll_page_down(animate=False)
