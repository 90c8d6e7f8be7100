"""The screen to choose a model: the catalogue, local models, adapters, and a field.

The app loads the chosen model; the screen can be closed meanwhile. The list comes from
a function that reads the disk and runs on a thread.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from operator import add
from typing import ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.screen import Screen
from textual.widgets import Input, OptionList

from lmtui.errors import LmtuiError
from lmtui.models import catalogue, source
from lmtui.models.adapters import folders
from lmtui.models.list_rows import HEADINGS, ListedModel, no_adapter_row
from lmtui.models.remote.address import is_address, parse
from lmtui.models.source import ModelRef
from lmtui.text import visible_line
from lmtui.tui.app_messages import ModelChosen
from lmtui.tui.app_options import ListModels
from lmtui.tui.background import run_in_thread
from lmtui.tui.model_state import ModelState
from lmtui.tui.start import ModelLine
from lmtui.tui.widgets.cells import aligned
from lmtui.tui.widgets.dialog_list import DialogList
from lmtui.tui.widgets.line_prompt import SearchField
from lmtui.tui.widgets.plain_text import PlainLine, PlainText

EMPTY = "Listing the models on this machine."
_WIDEST = 28  # cells of a name: a Hub id can be of any length
_RIGHT = (1, 2)  # columns of numbers

NOTHING = "The list could not be made; name a model below."
_AS_TYPED = "by this name, address or path"
ADAPTER = "An adapter on this machine: Enter loads it with the model it was made for."


def laid_out(
    rows: Sequence[ListedModel], in_use: ModelRef | None
) -> tuple[str, list[str]]:
    table = [HEADINGS, *(tuple(map(visible_line, row.cells)) for row in rows)]
    marks = ["  ", *("● " if _is_in_use(row, in_use) else "  " for row in rows)]
    lines = list(map(add, marks, aligned(table, right=_RIGHT, most=_WIDEST)))
    return (lines[0] if rows else EMPTY), lines[1:]


def _is_in_use(row: ListedModel, in_use: ModelRef | None) -> bool:
    ref = row.model_ref
    if in_use is None or ref.adapter != in_use.adapter:
        return False
    name = row.address or ref.model or ""
    return bool(ref.adapter) or same_model(name, in_use.model or "")


def same_model(name: str, other: str) -> bool:
    """Return whether two names mean the same model: the catalogue has two for each, and
    an address may leave the model to its server."""
    if is_address(name) and is_address(other):
        first, second = parse(name), parse(other)
        return first.url == second.url and first.model in ("", second.model)
    entry = catalogue.find(name)
    return name == other or (entry is not None and entry is catalogue.find(other))


class ModelsScreen(Screen[None]):
    HELP = """\
Type to search the names; Up and Down choose, Enter loads, and the list closes once the
model is there. The line below says what has to be downloaded. Fits says whether it fits
beside other programs: 1.05 times its download into the memory less 4 GiB, or a GPU's
less 1 GiB; the best of those that fit are marked. Esc ends a download; what is there of
it stays, and the next one goes on from there. ● is the model in use. + is an
adapter, trained on your notes: it is loaded with its base model; `no adapter` is that
model alone. A server of config.toml stands under its name: its model stays there, and
texts are sent to it. A folder, a .gguf file, a Hub id (owner/name, or owner/name:Q4_K_M
for one GGUF file), or the address of a server that is typed has a row of its own, the
last one.
"""
    CSS_PATH = "models.tcss"
    VERTICAL_BREAKPOINTS = [(0, "-low"), (18, "-high")]  # noqa: RUF012 (as the base's)
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "close", "Close", id="models.close",
                tooltip="Empty the field; else close the list, and loading goes on."),
    ]  # fmt: skip

    def __init__(
        self, list_models: ListModels, servers: Mapping[str, str] | None = None
    ) -> None:
        super().__init__()
        self._servers = servers or {}
        self._list_models = list_models
        self._state = ModelState()
        self._rows: tuple[ListedModel, ...] = ()  # all but that of a typed name
        self._listed: tuple[ListedModel, ...] = ()  # with the words of the field
        self._chosen: ModelRef | None = None

    def compose(self) -> ComposeResult:
        yield ModelLine(id="model")
        yield PlainLine(EMPTY, id="heads")
        yield DialogList(id="list")
        yield PlainText(id="detail")
        yield SearchField(
            id="name",
            placeholder="Type to search, or a folder, a file, a Hub id, an address",
        )

    def on_mount(self) -> None:
        self.watch(self.app, "model", self.show_model)
        self._list.can_focus = False
        self._field.focus()

    @property
    def _field(self) -> SearchField:
        return self.query_one(SearchField)

    @property
    def _list(self) -> DialogList:
        return self.query_one(DialogList)

    @property
    def _row(self) -> ListedModel | None:
        index = self._list.highlighted
        return self._listed[index] if self._listed and index is not None else None

    def show_model(self, state: ModelState) -> None:
        """Show the state of the model, and close once the one that was chosen is there;
        list again when a load may have added one."""
        if state.info is not None and state.model_ref == self._chosen:
            self.action_close()
            return
        if self._state.info != state.info or not self._rows:
            run_in_thread(
                self._list_models,
                self.call_later,
                self._show_list,
                failed=lambda _: self._show_list(()),
            )
        old_state, self._state = self._state, state
        self.query_one(ModelLine).show(state)
        if state.in_use != old_state.in_use:
            self._draw(self._row)

    def _show_list(self, rows: Sequence[ListedModel]) -> None:
        self._rows = (*rows, *self._base_model_rows())
        self._filter()
        if not rows:
            self._show_detail(NOTHING)

    def _base_model_rows(self) -> Iterator[ListedModel]:
        if (in_use := self._state.in_use) and in_use.adapter and in_use.model:
            yield no_adapter_row(in_use.model)

    @on(Input.Changed)
    def _filter(self) -> None:
        """List what has the words of the field in its name, and the name that it is by
        itself, unless that is listed."""
        typed = self._field.value.strip()
        words = typed.casefold().split()
        rows = [
            row
            for row in self._rows
            if all(word in row.name.casefold() for word in words)
        ]
        if typed and typed not in (row.name for row in rows):
            rows.append(ListedModel(typed, here="", note=_AS_TYPED))
        marked, self._listed = self._row, tuple(rows)
        self._draw(marked)

    def _draw(self, marked: ListedModel | None) -> None:
        """Draw the rows; the mark stays on its row, if that is among them."""
        heading, lines = laid_out(self._listed, self._state.in_use)
        self.query_one("#heads", PlainLine).update(heading)
        self._list.clear_options()
        self._list.add_options(lines)
        if marked in self._listed:
            self._list.highlighted = self._listed.index(marked)
        elif lines:
            self._list.highlighted = 0

    # Effect of Enter.

    @on(OptionList.OptionHighlighted)
    def _show_effect(self) -> None:
        row = self._row
        if row is not None and row not in self._rows:
            self._recognise(row)
        elif row is not None:
            self._show_detail(f"{what_enter_does(row)}\n{row.name}: {row.note}")

    def _show_detail(self, text: str) -> None:
        self.query_one("#detail", PlainText).update(text)

    def _recognise(self, row: ListedModel, *, chosen: bool = False) -> None:
        """Load what a typed name means if it was chosen, and show what that is.

        A text that names nothing loads nothing, and the model in use stays. An outdated
        answer is not shown.
        """

        def show_named(answer: tuple[str, ModelRef | None]) -> None:
            text, named = answer
            if chosen and named is not None:
                self._choose(named)
            if self._row == row:
                self._show_detail(text)

        run_in_thread(
            lambda: what_it_names(row.name, self._servers),
            self.call_later,
            show_named,
            failed=lambda error: show_named((str(error), None)),
            bug="the name can't be looked up",
        )

    # Choosing.

    @on(OptionList.OptionSelected)
    @on(Input.Submitted)
    def choose_row(self) -> None:
        row = self._row
        if row is not None and row not in self._rows:
            self._recognise(row, chosen=True)
        elif row is not None:
            self._choose(row.model_ref)

    def _choose(self, ref: ModelRef) -> None:
        self._chosen = ref
        self.post_message(ModelChosen(ref))

    def action_close(self) -> None:
        if self._field.value and self._chosen is None:
            self._field.value = ""
        elif self.is_current:
            self.app.pop_screen()


def what_enter_does(row: ListedModel) -> str:
    if row.address:
        effect = "Enter asks the server, which texts are then sent to."
    elif row.model_ref.adapter:
        effect = "Enter loads it with the model that it was made for."
    elif row.here:
        effect = "Enter loads it; it is on this machine."
    else:
        effect = f"Enter fetches {row.download} and loads it."
    if row.fits == "no":
        effect += " It does not fit into the memory."
    return effect


def what_it_names(text: str, servers: Mapping[str, str]) -> tuple[str, ModelRef | None]:
    """Describe what the text names, or why it names nothing; return the model, too.
    `servers` are addresses by name.

    Reads the disk.
    """
    if not (text := text.strip()):
        return "", None
    address = servers.get(text, text if is_address(text) else "")
    try:
        if address:
            host = parse(address).host
            return f"A server, {host}: Enter asks it.", ModelRef(text)
        if text in (adapter.name for adapter in folders.listed()):
            return ADAPTER, ModelRef(adapter=text)
        resolved = source.resolve(text, servers=servers)
    except LmtuiError as error:
        return f"{error.title}. {error.hint}", None
    match resolved:
        case source.FolderModel() if folders.looks_like_one(resolved.path):
            return ADAPTER, ModelRef(adapter=text)
        case source.FolderModel():
            words = "A folder on this machine: Enter loads it."
        case source.GgufModel():
            words = "A GGUF file on this machine: Enter loads it."
        case source.HubModel():
            words = f"{text} on the Hub: Enter fetches what is not here and loads it."
        case source.DefaultModel():
            words = "The default model: Enter loads it, fetched if it is not here."
    return words, ModelRef(text)
