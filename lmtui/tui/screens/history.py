"""The conversations that were had: found, read, renamed, put away, and gone on with.

Owns what is listed and what each key does to it. The store is asked through `Chats` and
answers by messages; an answer to words that were typed before is dropped. Knows no
engine.
"""

from __future__ import annotations

from datetime import datetime
from typing import ClassVar

from textual import events, on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, VerticalScroll
from textual.content import Content
from textual.screen import Screen
from textual.widgets import Input, OptionList, Static
from textual.widgets.option_list import Option

from lmtui.chat.listed import Listed
from lmtui.chat.marking import Passage
from lmtui.chat.search import Hit
from lmtui.chat.store import Mark
from lmtui.text import visible, visible_line
from lmtui.tui import chat_facts as facts
from lmtui.tui.chats import Chats
from lmtui.tui.model_state import shown_label
from lmtui.tui.widgets.cells import fit
from lmtui.tui.widgets.dialog_list import DialogList
from lmtui.tui.widgets.line_prompt import LinePrompt, Question
from lmtui.tui.widgets.main_part import MainPart
from lmtui.tui.widgets.message_view import marked
from lmtui.tui.widgets.text_field import TextField

EMPTY = "Nothing yet: what is said in the chat is kept and listed here."
NOTHING = "No message holds all of these words."
_NAME, _BEFORE = 24, 16  # cells of a hit's title, code points before its first word
_KEYS = "Enter opens · Esc closes · f finds · r renames · d deletes"
_PIN, _MARKS = " · p pins", " · p pins · a archives"  # where there is room for it
_IN_FIELD = "Enter opens what is marked · ↓ to the list · Esc empties · F1 help"
_ASKED = "Enter takes it · Esc leaves it"
_TITLE = Question(
    "title", "Title", "empty for one from its first message", lambda _: ""
)

Row = Listed | Hit


class HistoryScreen(Screen[None]):
    """A field, a list, and what is under the cursor."""

    HELP = """\
Enter goes on with the conversation under the cursor. Write into the field to find
messages that hold all of these words; the last may be only begun, and words in quotes
stand together. Enter on one opens its conversation there.
"""
    CSS_PATH = "history.tcss"
    HORIZONTAL_BREAKPOINTS = [  # noqa: RUF012 (the base class declares it so)
        (0, "-narrow"),
        (100, "-wide"),
    ]
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "close", "Close", id="history.close",
                tooltip="Empty the field; else back to where you were."),
        Binding("f", "find", "Find", id="history.find",
                tooltip="To the field; Down leads to the list again."),
        Binding("r", "rename", "Rename", id="history.rename",
                tooltip="Give it another title."),
        Binding("p", "mark('pinned')", "Pin", id="history.pin",
                tooltip="Keep it at the top, or no longer."),
        Binding("a", "mark('archived')", "Archive", id="history.archive",
                tooltip="Put it away, or get it back."),
        Binding("v", "archived", "Archived too", id="history.archived",
                tooltip="List what was put away as well, or no longer."),
        Binding("d", "delete", "Delete", id="history.delete",
                tooltip="Delete it; for a day it can be had back with u."),
        Binding("u", "undelete", "Undo", id="history.undo",
                tooltip="Have back what was deleted last."),
    ]  # fmt: skip

    def __init__(self, chats: Chats, words: str = "") -> None:
        super().__init__()
        self._chats = chats
        self._words = words
        self._rows: tuple[Row, ...] = ()
        self._deleted: list[int] = []
        self._archived = False

    def compose(self) -> ComposeResult:
        """Everything is there from the first frame."""
        with Horizontal(id="search"):
            yield TextField(
                id="words", placeholder="f leads here: words of any conversation"
            )
            yield Static(id="count", markup=False)
        with MainPart(id="main"):
            yield DialogList(id="list")
            with VerticalScroll(id="preview", can_focus=False):
                yield Static(id="about", markup=False)
        yield LinePrompt(id="ask")
        yield Static(id="foot", markup=False)

    def on_mount(self) -> None:
        """List what there is, or what was asked for."""
        self._list.focus()
        if self._words:
            self._field.value = self._words
        else:
            self._ask()

    @property
    def _list(self) -> DialogList:
        return self.query_one(DialogList)

    @property
    def _field(self) -> TextField:
        return self.query_one("#words", TextField)

    @property
    def _row(self) -> Row | None:
        place = self._list.highlighted
        return self._rows[place] if self._rows and place is not None else None

    def _ask(self) -> None:
        text = self._field.value
        if text.strip():
            self._chats.search(self.post_message, text)
        else:
            self._chats.list(self.post_message, archived=self._archived)

    # What is found.

    @on(Input.Changed, "#words")
    def find(self) -> None:
        """Other words were written."""
        self._ask()

    @on(facts.ConversationsListed)
    def show_list(self, event: facts.ConversationsListed) -> None:
        """Show the conversations."""
        if not self._field.value.strip():
            self._show(event.rows, EMPTY)

    @on(facts.WordsFound)
    def show_hits(self, event: facts.WordsFound) -> None:
        """Show the messages, unless other words were written since."""
        if event.text == self._field.value:
            self._show(event.hits, NOTHING)

    def _show(self, rows: tuple[Row, ...], nothing: str) -> None:
        place = self._list.highlighted
        self._rows = rows
        self._list.clear_options()
        self._list.add_options([Option(line_of(row)) for row in rows])
        if rows:
            self._list.highlighted = min(place or 0, len(rows) - 1)
        else:
            self._tell(Content(nothing))
        self._say()

    @on(OptionList.OptionHighlighted)
    def preview(self) -> None:
        """Another one is under the cursor."""
        if row := self._row:
            self._tell(about(row))

    def _tell(self, words: Content) -> None:
        self.query_one("#about", Static).update(words)

    @on(events.DescendantFocus)
    @on(events.Resize)
    def _say(self) -> None:
        searched = bool(self._field.value.strip())
        what = "hit" if searched else "conversation"
        count = f"{len(self._rows):,} {what}{'' if len(self._rows) == 1 else 's'}"
        self.query_one("#count", Static).update(Content(count))
        marks = "" if searched else _MARKS if self.has_class("-wide") else _PIN
        keys = f"{_KEYS}{marks} · F1 more"
        if isinstance(self.focused, Input):
            keys = _IN_FIELD if self.focused is self._field else _ASKED
        self.query_one("#foot", Static).update(Content(keys))

    @on(facts.StoreFailed)
    def show_failure(self, event: facts.StoreFailed) -> None:
        """Nothing could be read, or changed."""
        error = event.error
        self.notify(visible(f"{error}\n{error.hint}"), severity="error", markup=False)

    # What is done.

    @on(OptionList.OptionSelected)
    def open(self) -> None:
        """Go on with it."""
        match self._row:
            case Listed() as row:
                self.post_message(facts.ConversationChosen(row.id))
            case Hit() as hit:
                words = self._field.value
                self.post_message(
                    facts.ConversationChosen(hit.conversation, hit.message, words)
                )

    @on(Input.Submitted, "#words")
    def open_first(self) -> None:
        """Enter in the field takes what is marked in the list."""
        self.open()

    @on(facts.ConversationChanged)
    def list_again(self) -> None:
        """Something was renamed, put away or deleted."""
        self._ask()

    @property
    def _chosen(self) -> int | None:
        match self._row:
            case Listed() as row:
                return row.id
            case Hit() as hit:
                return hit.conversation
        return None

    def action_mark(self, mark: Mark) -> None:
        """Pin or archive it, or undo that."""
        row = self._row
        if isinstance(row, Listed):
            value = not getattr(row, mark)
            self._chats.mark(self.post_message, row.id, mark, value)
            if mark == "archived" and value and not self._archived:
                self.notify("Archived; v lists what was put away.")

    def action_archived(self) -> None:
        """List what was put away as well, or no longer."""
        self._archived = not self._archived
        self._ask()

    def action_delete(self) -> None:
        """Delete it."""
        if (id_ := self._chosen) is not None:
            self._deleted.append(id_)
            self._chats.mark(self.post_message, id_, "deleted", True)
            self.notify("Deleted; u brings it back.")

    def action_undelete(self) -> None:
        """Have back what was deleted last."""
        if self._deleted:
            id_ = self._deleted.pop()
            self._chats.mark(self.post_message, id_, "deleted", False)
        else:
            self.notify("Nothing was deleted here.")

    def action_rename(self) -> None:
        """Ask for another title."""
        row = self._row
        if row is not None:
            self.query_one(LinePrompt).ask(_TITLE, row.title)

    @on(LinePrompt.Answered)
    def rename(self, event: LinePrompt.Answered) -> None:
        """Give it the title."""
        self._list.focus()
        if (id_ := self._chosen) is not None:
            self._chats.rename(self.post_message, id_, event.text)

    @on(LinePrompt.Closed)
    def to_list(self) -> None:
        """It keeps its title."""
        self._list.focus()

    def action_find(self) -> None:
        """To the field."""
        self._field.focus()

    def on_key(self, event: events.Key) -> None:
        """Down leads from the field to the list."""
        if event.key == "down" and self._field.has_focus:
            event.stop()
            self._list.focus()

    def action_close(self) -> None:
        """Empty the field, or close."""
        if self._field.value:
            self._field.value = ""
            self._list.focus()
        else:
            self.app.pop_screen()


def line_of(row: Row) -> Content:
    """A row of the list."""
    if isinstance(row, Hit):
        return Content.assemble(
            (f"{fit(visible_line(row.title), _NAME)}  ", "$quiet"),
            _on_a_line(row.passage),
        )
    marks = ("• " if row.pinned else "") + ("archived  " if row.archived else "")
    return Content.assemble(
        (f"{_day(row.updated):>6}  ", "$quiet"),
        (marks, "$accent"),
        visible_line(row.title or row.preview or "Untitled"),
    )


def about(row: Row) -> Content:
    """What is said of a row beside the list."""
    if isinstance(row, Hit):
        writer = {"user": "You", "assistant": "The model"}.get(row.role, row.role)
        head = f"{visible_line(row.title)}\n{writer}, message {row.message}\n\n"
        return Content.assemble(
            (head, "$quiet"), marked(row.passage.text, row.passage.places)
        )
    day = datetime.fromtimestamp(row.updated).strftime("%Y-%m-%d %H:%M")
    said = f"{row.messages:,} message{'' if row.messages == 1 else 's'}"
    facts_of = " · ".join(
        part for part in (day, said, shown_label(row.model or "")) if part
    )
    return Content.assemble(
        (visible_line(row.title), "bold"),
        (f"\n{facts_of}\n\n", "$quiet"),
        visible(row.preview),
    )


def _on_a_line(passage: Passage) -> Content:
    """A passage that begins shortly before the first of the words."""
    flat = passage.text.replace("\n", " ").replace("\t", " ")
    first = passage.places[0][0] if passage.places else 0
    # At a word, but where words are long or not apart at any character.
    cut = max(0, flat.rfind(" ", 0, max(0, first - _BEFORE)) + 1, first - 2 * _BEFORE)
    places = tuple((start - cut, end - cut) for start, end in passage.places)
    return Content.assemble("…" if cut else "", marked(flat[cut:], places))


def _day(seconds: float) -> str:
    """When, as short as it can be told."""
    when, now = datetime.fromtimestamp(seconds), datetime.now()
    if when.date() == now.date():
        return when.strftime("%H:%M")
    return when.strftime("%d %b" if when.year == now.year else "%Y")
