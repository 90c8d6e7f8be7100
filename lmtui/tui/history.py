"""The screen of stored conversations: list, search, preview, rename, pin, resume.

The store is asked through `ConversationStore`; an answer to an earlier search text is
dropped. Knows no engine.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime
from functools import partial
from typing import ClassVar, TypeVar

from textual import events, on
from textual.binding import Binding, BindingType
from textual.content import Content
from textual.widgets import Input, OptionList

from lmtui.chat.search import Excerpt, Hit, search
from lmtui.chat.store import ConversationFlag, Store
from lmtui.chat.summary import ConversationSummary
from lmtui.engine.types import Role
from lmtui.notation import counted
from lmtui.tui.chat.message import highlighted
from lmtui.tui.chat.store import ConversationChosen, ConversationStore
from lmtui.tui.dialogs import notify_error
from lmtui.tui.model_state import shown_label
from lmtui.tui.search_screen import SearchScreen
from lmtui.tui.widgets.cells import pad_to
from lmtui.tui.widgets.line_prompt import LinePrompt, LineQuestion
from lmtui.tui.widgets.plain_text import plain_line, plain_text

EMPTY = "No conversations yet. What is said in the chat is stored and listed here."
NOTHING = "No message has all of these words."
_NAME, _BEFORE = 24, 16  # cells of a hit's title, code points before its first word
_OPEN, _CHANGE = "Enter open", "Alt+R rename · Alt+D delete"
_RENAMING = "Enter renames · Esc cancels"
_TITLE = LineQuestion(
    "title", "Title", "empty: taken from the first message", lambda _: ""
)

_SHOWN = 500  # most conversations or hits in a list; more are found by searching

T = TypeVar("T")
HistoryRow = ConversationSummary | Hit


class HistoryScreen(SearchScreen):
    """Search field, list of conversations or hits, and a preview of the marked row."""

    HELP = """\
Up and Down move in the list; Enter resumes the conversation under the cursor. What you
type searches all messages: a message must contain all words; the last one may be the
beginning of a word, and words in quotes must be next to each other. Enter on a hit
opens its conversation at that message.
"""
    CSS_PATH = ["search_screen.tcss", "history.tcss"]  # noqa: RUF012 (as the base's)
    PLACEHOLDER = "Type to search everything said"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "close", "Close", id="history.close",
                tooltip="Clear the field; if it is empty, close this screen."),
        # Alt+F is read as Ctrl+Right from terminals without the Kitty protocol.
        Binding("ctrl+f,alt+f", "find", "New search", id="history.find", priority=True,
                tooltip="Select the words of the search: what you type replaces them."),
        Binding("alt+r", "rename", "Rename", id="history.rename",
                tooltip="Give it another title."),
        Binding("alt+p", "pin", "Pin", id="history.pin",
                tooltip="Pin it to the top, or unpin it."),
        Binding("alt+d", "delete", "Delete", id="history.delete",
                tooltip="Delete it; Alt+U restores it within a day."),
        Binding("alt+u", "undelete", "Undo", id="history.undo",
                tooltip="Restore the conversation that was deleted last."),
    ]  # fmt: skip

    def __init__(self, chats: ConversationStore, words: str = "") -> None:
        super().__init__()
        self._store = chats
        self._initial_words = words
        self._rows: tuple[HistoryRow, ...] = ()
        self._deleted: list[int] = []
        self._renamed_id: int | None = None  # the conversation whose title is asked for

    def on_mount(self) -> None:
        if self._initial_words:
            self._field.value = self._initial_words
        else:
            self._load_rows()

    @property
    def _row(self) -> HistoryRow | None:
        index = self._list.highlighted
        return self._rows[index] if self._rows and index is not None else None

    @on(Input.Changed, "#words")
    def _load_rows(self) -> None:
        text = self._field.value
        is_search = bool(text.strip())

        def work(store: Store) -> tuple[HistoryRow, ...]:
            if is_search:
                return tuple(search(store, text, limit=_SHOWN))
            return tuple(store.listed(limit=_SHOWN))

        def show(rows: tuple[HistoryRow, ...]) -> None:
            if text == self._field.value:
                self._show(rows, NOTHING if is_search else EMPTY)

        self._ask(work, show)

    def _ask(self, work: Callable[[Store], T], then: Callable[[T], object]) -> None:
        self._store.ask(
            self.call_later, work, then, partial(notify_error, self.app), empty=()
        )

    # Search and preview.

    def _show(self, rows: tuple[HistoryRow, ...], if_empty: str) -> None:
        old_index, old_row = self._list.highlighted, self._row
        self._rows = rows
        self._list.clear_options()
        lines = map(line_of, rows, (None, *rows))
        self._list.add_options(lines)
        if rows:
            old_id = old_row.id if isinstance(old_row, ConversationSummary) else None
            ids = [getattr(row, "id", None) for row in rows]  # a hit has none
            index = ids.index(old_id) if old_id in ids else old_index or 0
            self._list.highlighted = min(index, len(rows) - 1)
        else:
            self.show_texts(about=if_empty)
        self._show_count()

    @on(OptionList.OptionHighlighted)
    def preview(self) -> None:
        if row := self._row:
            self.show_texts(about=about(row))
        if isinstance(row, ConversationSummary):
            id_ = row.id
            self._ask(
                lambda store: tuple(store.ending(id_)), partial(self._show_ending, id_)
            )

    def _show_ending(self, id_: int, messages: tuple[tuple[Role, str], ...]) -> None:
        row = self._row
        if isinstance(row, ConversationSummary) and row.id == id_:
            self.show_texts(about=about(row, messages))

    @on(events.DescendantFocus)
    @on(events.Resize)
    def _show_count(self) -> None:
        is_search = bool(self._field.value.strip())
        kind = "hit" if is_search else "conversation"
        pin = "" if is_search else " · Alt+P pin"
        leave = "Esc clear" if self._field.value else "Esc close"
        keys = f"{_OPEN} · {leave} · {_CHANGE}{pin} · F1 more"
        if self._prompt.is_open:
            keys = _RENAMING
        self.show_texts(count=counted(len(self._rows), kind), foot=keys)

    # Actions.

    @on(OptionList.OptionSelected)
    @on(Input.Submitted, "#words")
    def open(self) -> None:
        match self._row:
            case ConversationSummary() as row:
                self.post_message(ConversationChosen(row.id))
            case Hit() as hit:
                words = self._field.value
                self.post_message(
                    ConversationChosen(hit.conversation, hit.message, words)
                )

    def _mark(
        self, id_: int, mark: ConversationFlag, value: bool, notice: str = ""
    ) -> None:
        def end(_: object) -> None:
            if notice:
                self.notify(notice)
            self._load_rows()

        self._ask(lambda store: store.mark(id_, mark, value), end)

    @property
    def _conversation_id(self) -> int | None:
        row = self._row
        if isinstance(row, Hit):
            return row.conversation
        return None if row is None else row.id

    def action_pin(self) -> None:
        row = self._row
        if isinstance(row, ConversationSummary):
            self._mark(row.id, "pinned", not row.pinned)

    def action_delete(self) -> None:
        if (id_ := self._conversation_id) is not None:
            self._deleted.append(id_)
            self._mark(id_, "deleted", True, "Deleted. Alt+U restores it.")

    def action_undelete(self) -> None:
        if self._deleted:
            self._mark(self._deleted.pop(), "deleted", False)
        else:
            self.notify("There is nothing to restore.")

    def action_rename(self) -> None:
        row = self._row
        if row is not None:
            self._renamed_id = self._conversation_id
            self._prompt.ask(_TITLE, row.title)

    @on(LinePrompt.Answered)
    def rename(self, event: LinePrompt.Answered) -> None:
        self._field.focus()
        if (id_ := self._renamed_id) is not None:
            self._ask(
                lambda store: store.rename(id_, event.text),
                lambda _: self._load_rows(),
            )

    @on(LinePrompt.PromptClosed)
    def focus_field(self) -> None:
        self._field.focus()

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        return not self._prompt.is_open

    def action_find(self) -> None:
        self._field.select_all()


def line_of(row: HistoryRow, above: HistoryRow | None = None) -> Content:
    """Return a row of the list; of several hits in a conversation one has the title."""
    if isinstance(row, Hit):
        same = isinstance(above, Hit) and above.conversation == row.conversation
        title = "" if same else row.title
        return plain_line(
            (f"{pad_to(title, _NAME)}  ", "$quiet"),
            _one_line(row.passage),
        )
    return plain_line(
        (f"{_day(row.updated):>6}  ", "$quiet"),
        ("• " if row.pinned else "", "$accent"),
        row.title or row.preview or "Untitled",
        (f"  {row.preview}" if row.title else "", "$quiet"),
    )


_WRITERS = {"user": "You", "assistant": "Model"}


def about(row: HistoryRow, messages: Sequence[tuple[Role, str]] = ()) -> Content:
    if isinstance(row, Hit):
        writer = _WRITERS.get(row.role, row.role)
        head = f"{row.title}\n{writer}, message {row.message}\n\n"
        return plain_text(
            (head, "$quiet"), highlighted(row.passage.text, row.passage.places)
        )
    day = datetime.fromtimestamp(row.updated).strftime("%Y-%m-%d %H:%M")
    parts = day, counted(row.messages, "message"), shown_label(row.model or "")
    facts = " · ".join(filter(None, parts))
    top = plain_text((row.title, "bold"), (f"\n{facts}\n\n", "$quiet"))
    if not messages:
        return plain_text(top, row.preview)
    turns = [
        plain_text((f"{_WRITERS.get(role, role)}  ", "$accent"), text)
        for role, text in messages
    ]
    return top + Content("\n\n").join(turns)


def _one_line(passage: Excerpt) -> Content:
    flat = passage.text.replace("\n", " ").replace("\t", " ")
    first = passage.places[0][0] if passage.places else 0
    # Cut at a word's beginning; inside a long word, or without spaces, anywhere.
    cut = max(0, flat.rfind(" ", 0, max(0, first - _BEFORE)) + 1, first - 2 * _BEFORE)
    spans = tuple((start - cut, end - cut) for start, end in passage.places)
    return plain_line("…" if cut else "", highlighted(flat[cut:], spans))


def _day(seconds: float) -> str:
    """Return the time today, the day this year, or the year."""
    when, now = datetime.fromtimestamp(seconds), datetime.now()
    if when.date() == now.date():
        return when.strftime("%H:%M")
    return when.strftime("%d %b" if when.year == now.year else "%Y")
