"""Controls for the sampler: a slider for the temperature, and the other settings.

Without the focus, the settings that are used most; with it, the whole chain from top to
bottom, with what each stage did at the position that is looked at. The widget has one
immutable `SamplingSettings` and posts the next one on every change. Knows no engine.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import ClassVar

from rich.cells import cell_len
from textual import events
from textual.binding import Binding, BindingType
from textual.geometry import Offset, Size
from textual.message import Message
from textual.reactive import reactive

from lmtui.engine.sampling_settings import SamplingSettings
from lmtui.engine.types import StageEffect
from lmtui.errors import LmtuiError
from lmtui.text import visible_line
from lmtui.tui.widgets import sampler_chain
from lmtui.tui.widgets.cells import clip, fit_best
from lmtui.tui.widgets.panel_lines import message_lines
from lmtui.tui.widgets.sampler_chain import ChainRow
from lmtui.tui.widgets.sampler_fields import (
    FIELDS,
    TEMPERATURE,
    Field,
    cell_of,
    temperature_in,
)
from lmtui.tui.widgets.styled_lines import Line, Part, StyledLines

_TWO_COLUMNS = 44  # width in cells from which there are two columns
_GAP = 4
_MAX_NUMBER = 24  # characters of a number that can be typed
_MAX_LIST = 100_000  # characters of a list
_TOP = 3  # lines above the rows of the chain
_FOOT = 3  # most lines about the row under the cursor


class SamplerControls(StyledLines, can_focus=True):
    FOCUS_NAME = "sampler"
    HELP = """\
Below the slider is the sampler's chain, from top to bottom: the mark that its tokens
get in the panel, its value, how many tokens it removed here, and which share of the
mass. The panel above shows the distribution as it stands after the stage under the
cursor.
Left and Right (or - and +) change a value, Enter types one, Delete restores the
default. Space switches a stage off and on again; Shift+Up and Shift+Down move it. A
stage with several settings shows the others while the cursor is there. The slider of
the temperature runs from flat (every token equally likely) to sharp (only the
likeliest); its right end is greedy decoding. What you have not set is as the model's
makers recommend, where its card or its files say so.
"""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("up", "move(-1)", "Previous setting", id="sampler.up", show=False,
                tooltip="To the setting above"),
        Binding("down", "move(1)", "Next setting", id="sampler.down", show=False,
                tooltip="To the setting below"),
        Binding("left,minus", "step(-1)", "Less", id="sampler.less", show=False,
                tooltip="A step less; on the slider: flatter"),
        Binding("right,plus", "step(1)", "More", id="sampler.more", show=False,
                tooltip="A step more; on the slider: sharper"),
        Binding("enter", "type", "Type", id="sampler.type",
                tooltip="Type the value; Enter takes it, Esc leaves it"),
        Binding("space", "switch", "On/off", id="sampler.switch",
                tooltip="Leave the stage out of the chain, or put it back"),
        Binding("shift+up,K", "order(-1)", "Earlier", id="sampler.earlier",
                tooltip="Run the stage before the one above"),
        Binding("shift+down,J", "order(1)", "Later", id="sampler.later",
                tooltip="Run the stage after the one below"),
        Binding("delete,backspace", "reset", "Default", id="sampler.reset",
                tooltip="Bring back the default"),
    ]  # fmt: skip

    PREFIX = "sampler--"

    DEFAULT_CSS = """
    SamplerControls {
        height: auto;
        color: $foreground;
    }
    SamplerControls:focus { max-height: 65%; }
    SamplerControls > .sampler--label { color: $quiet; }
    SamplerControls > .sampler--value { color: $foreground; }
    SamplerControls > .sampler--changed { color: $accent; text-style: bold; }
    SamplerControls > .sampler--track { color: $quiet; }
    SamplerControls > .sampler--filled { color: $prob-sampled; }
    SamplerControls > .sampler--knob { color: $prob-sampled; text-style: bold; }
    SamplerControls > .sampler--cursor {
        color: $background;
        background: $accent;
        text-style: bold;
    }
    SamplerControls > .sampler--quiet { color: $quiet; }
    SamplerControls > .sampler--error { color: $error; }
    SamplerControls > .sampler--mark { color: $cut; }
    SamplerControls > .sampler--effect { color: $cut; }
    """

    class AreaChanged(Message):
        """The widget was resized or hidden."""

    @dataclass
    class SettingsChanged(Message):
        settings: SamplingSettings

    @dataclass
    class RepeatSeen(Message):
        """The repeated passage that DRY sees is looked at, or no longer."""

        passage: str
        """Empty for none."""

    class StageChanged(Message):
        """The cursor came to another stage, or the focus came or went."""

    settings: reactive[SamplingSettings] = reactive(SamplingSettings(), init=False)
    """The current settings. Where others are put here, no message is posted."""

    def __init__(
        self, settings: SamplingSettings | None = None, *, id: str | None = None
    ) -> None:
        super().__init__(id=id)
        self.set_reactive(SamplerControls.settings, settings or SamplingSettings())
        self.defaults = SamplingSettings()
        """The settings that a reset brings back."""
        self.recommended: Collection[str] = ()
        """Names of those that the model's makers recommend."""
        self._effects: dict[str, StageEffect] = {}
        self._field_name = TEMPERATURE.name  # the field under the cursor
        self._stage = ""  # its stage; empty for the slider
        self._first = 0  # first row that is drawn
        self._shows_chain = False  # what is drawn now
        self._passage = ""  # that was told to be looked at
        self._order_indexes: dict[str, int] = {}  # in the order, of stages switched off
        self._typing: str | None = None
        self._error = ""
        self._dragging = False

    @property
    def stage(self) -> str | None:
        """The stage under the cursor; None without the focus, and for a setting of no
        stage."""
        return self._stage or None if self.has_focus else None

    def show_effects(self, effects: Sequence[StageEffect]) -> None:
        self._effects = {effect.stage: effect for effect in effects}
        self._post_repeat()
        self.refresh()

    def _post_repeat(self) -> None:
        effect = self._effects.get("dry") if self.stage == "dry" else None
        passage = effect.repeat.text if effect and effect.repeat else ""
        if passage != self._passage:
            self._passage = passage
            self.post_message(self.RepeatSeen(passage))

    # Keys.

    def _rows(self) -> list[ChainRow]:
        return sampler_chain.rows_of(self.settings, self._stage, self._order_indexes)

    def _row(self) -> ChainRow:
        key = self._field_name, self._stage
        return next(r for r in self._rows() if (r.field.name, r.stage) == key)

    def _move_to(self, row: ChainRow) -> None:
        """Move the cursor; a value being typed is discarded."""
        changed = row.stage != self._stage
        self._field_name, self._stage = row.field.name, row.stage
        self._stop_typing()
        if changed:
            self._post_repeat()
            self.refresh(layout=True)
            self.post_message(self.StageChanged())

    def action_move(self, by: int) -> None:
        rows = self._rows()
        self._move_to(rows[(rows.index(self._row()) + by) % len(rows)])

    def action_step(self, by: int) -> None:
        self._change(self._row().field.stepped(self.settings, by))

    def action_reset(self) -> None:
        self._change(self._row().field.reset(self.settings, self.defaults))

    def action_switch(self) -> None:
        indexes = self._order_indexes
        self._change(sampler_chain.switched(self.settings, self._stage, indexes))

    def action_order(self, by: int) -> None:
        self._change(sampler_chain.moved(self.settings, self._stage, by))

    def action_type(self) -> None:
        self._typing, self._error = self._row().field.editable(self.settings), ""
        self.refresh()

    def on_key(self, event: events.Key) -> None:
        if self._typing is None:
            return
        if event.key in ("up", "down", "tab", "shift+tab"):
            self._stop_typing()
            return
        if event.key == "enter":
            self._apply_typed()
        elif event.key == "escape":
            self._stop_typing()
        elif event.key in ("backspace", "delete"):
            self._typing = self._typing[:-1]
        elif event.is_printable and event.character:
            self._add_typed(event.character)
        elif event.key not in ("left", "right"):
            return
        event.stop()
        event.prevent_default()
        self.refresh()

    def on_paste(self, event: events.Paste) -> None:
        if self._typing is not None:
            self._add_typed(visible_line(event.text.strip()))
            event.stop()
            self.refresh()

    def _add_typed(self, text: str) -> None:
        limit = _MAX_LIST if self._row().field.is_text else _MAX_NUMBER
        self._typing = ((self._typing or "") + text)[:limit]

    def on_resize(self) -> None:
        self.post_message(self.AreaChanged())

    def on_hide(self) -> None:
        self.post_message(self.AreaChanged())

    def on_focus(self) -> None:
        self._follow_focus()

    def on_blur(self) -> None:
        self._stop_typing()
        self._follow_focus()

    def _follow_focus(self) -> None:
        self._effects = {}
        self._post_repeat()
        self.refresh(layout=True)
        self.post_message(self.StageChanged())

    def _apply_typed(self) -> None:
        assert self._typing is not None
        try:
            settings = self._row().field.typed(self.settings, self._typing)
        except LmtuiError as error:
            self._error = visible_line(error.hint or str(error))
            return
        self._typing = None
        self._change(settings)

    def _stop_typing(self) -> None:
        self._typing, self._error = None, ""
        self.refresh()

    def _change(self, settings: SamplingSettings) -> None:
        self._error = ""
        if settings != self.settings:
            self.settings = settings
            self.post_message(self.SettingsChanged(settings))
        self.refresh()

    # Mouse.

    def on_mouse_down(self, event: events.MouseDown) -> None:
        offset = event.get_content_offset(self)
        if offset is None:
            return
        self._stop_typing()
        if offset.y <= 1:
            self._move_to(self._rows()[0])
            self._dragging = True
            self.capture_mouse()
            self._drag(offset)
        elif (row := self._row_at(offset)) is not None:
            self._move_to(row)

    def on_mouse_move(self, event: events.MouseMove) -> None:
        if self._dragging:
            self._drag(event.offset - self.content_offset_in_widget)

    def on_mouse_up(self) -> None:
        if self._dragging:
            self._dragging = False
            self.release_mouse()

    def on_mouse_scroll_up(self, event: events.MouseScrollUp) -> None:
        if self.has_focus:
            event.stop()
            self.action_step(1)

    def on_mouse_scroll_down(self, event: events.MouseScrollDown) -> None:
        if self.has_focus:
            event.stop()
            self.action_step(-1)

    @property
    def content_offset_in_widget(self) -> Offset:
        gutter = self.gutter
        return Offset(gutter.left, gutter.top)

    def _drag(self, offset: Offset) -> None:
        start, width = _track(self.content_size.width)
        temperature = temperature_in(offset.x - start, width)
        self._change(TEMPERATURE.set(self.settings, temperature))

    def _row_at(self, offset: Offset) -> ChainRow | None:
        rows = self._rows()[1:]
        if self._shows_chain:
            index = self._first + offset.y - _TOP
            is_chain = _TOP <= offset.y < _TOP + self._chain_height()
            return rows[index] if is_chain and index < len(rows) else None
        index, width = offset.y - 2, self.content_size.width
        if _columns(width) == 2:
            half = (len(FIELDS) + 1) // 2
            index += half if offset.x >= (width - _GAP) // 2 + _GAP // 2 else 0
        if not 0 <= index < len(FIELDS):
            return None
        candidates = (row for row in rows if row.field is FIELDS[index])
        return next(candidates, None)

    # Drawing.

    def get_content_height(self, container: Size, viewport: Size, width: int) -> int:
        if not self.has_focus:
            return 3 + -(-len(FIELDS) // _columns(width))
        return 2 + len(self._rows()) + _FOOT  # the slider has two lines, one is heads

    def lines(self, width: int, height: int) -> list[Line]:
        self._shows_chain = self.has_focus
        if self._shows_chain:
            return self._chain(width)
        heading = self._field(TEMPERATURE, width)
        return [heading, self._slider(width), *self._grid(width), self._others(width)]

    def _slider(self, width: int) -> list[Part]:
        start, cells = _track(width)
        knob = cell_of(self.settings.temperature, cells)
        left, right = ("flat ◄", "► sharp") if start > 1 else ("◄", "►")
        return [
            (left, "quiet"),
            ("━" * knob, "filled"),
            ("●", "knob"),
            ("─" * (cells - knob - 1), "track"),
            (right, "filled" if self.settings.temperature == 0 else "quiet"),
        ]

    # With the focus: the chain.

    def _chain_height(self) -> int:
        width, height = self.content_size
        return max(1, height - _TOP - len(self._foot(width)))

    def _chain(self, width: int) -> list[Line]:
        slider, *rows = self._rows()
        row, room = self._row(), self._chain_height()
        index = 0 if row == slider else rows.index(row)
        highest = min(self._first, index, len(rows) - room)
        self._first = max(highest, index - room + 1, 0)
        row_lines = [
            self._row_line(row, width) for row in rows[self._first : self._first + room]
        ]
        heading = self._heading(width, has_cursor=row == slider)
        heads = sampler_chain.head_parts(width)
        return [heading, self._slider(width), heads, *row_lines, *self._foot(width)]

    def _heading(self, width: int, *, has_cursor: bool) -> list[Part]:
        if not has_cursor:
            return self._field(TEMPERATURE, width)
        value_text = self._temperature() if self._typing is None else f"{self._typing}▏"
        arrows = ("‹ ", " ›") if self._typing is None else ("  ", "  ")
        room = width - cell_len(TEMPERATURE.label) - cell_len(value_text) - 4
        return [
            (TEMPERATURE.label, "cursor"),
            (" " * max(0, room) + arrows[0], "quiet"),
            (value_text, "changed"),
            (arrows[1], "quiet"),
        ]

    def _temperature(self) -> str:
        value = self.settings.temperature
        return f"T {value:g}" if value else "T 0 greedy"

    def _row_line(self, row: ChainRow, width: int) -> list[Part]:
        current = (row.field.name, row.stage) == (self._field_name, self._stage)
        typed = self._typing is not None and current
        return sampler_chain.row_parts(
            row,
            self.settings,
            self._effects.get(row.stage),
            defaults=self.defaults,
            width=width,
            value=(f"{self._typing}▏", "changed") if typed else None,
            cursor=current,
        )

    def _foot(self, width: int) -> list[Line]:
        if self._error:
            return _wrapped(self._error, "error", width)
        row = self._row()
        effect = self._effects.get(row.stage) if row.is_stage else None
        effect_text = sampler_chain.effect_words(effect, self.settings)
        origin = "As the model's makers recommend." if self._by_model(row.field) else ""
        return _wrapped(f"{row.field.meaning} {origin} {effect_text}", "quiet", width)

    # Without the focus: the settings that are used most.

    def _grid(self, width: int) -> list[list[Part]]:
        if _columns(width) == 1:
            return [self._field(field, width) for field in FIELDS]
        half, wide = (len(FIELDS) + 1) // 2, (width - _GAP) // 2
        return [
            [*self._field(FIELDS[row], wide), (" " * _GAP, "quiet"),
             *self._field(FIELDS[row + half], wide)]
            for row in range(half)
        ]  # fmt: skip

    def _field(self, field: Field, width: int) -> list[Part]:
        value_text = field.shown(self.settings)
        if field is TEMPERATURE:
            value_text = self._temperature()
        value_text = clip(value_text, max(1, width - 8))
        is_default = field.value(self.defaults) == field.value(self.settings)
        room = width - cell_len(value_text) - 4
        fits = cell_len(field.full_label) <= room
        label = clip(field.full_label if fits else field.label, room)
        return [
            (label, "label"),
            (" " * (room - cell_len(label) + 2), "quiet"),
            (value_text, "value" if is_default else "changed"),
            ("  ", "quiet"),
        ]

    def _others(self, width: int) -> list[Part]:
        """Name the stages that are on and not among the settings above, and the
        settings that are those of the model's makers."""
        others = sampler_chain.others_on(self.settings)
        names = ", ".join(f.label for f in (TEMPERATURE, *FIELDS) if self._by_model(f))
        also = [f"also {', '.join(others)}"] if others else []
        recommends = ("as the model's makers recommend", "as recommended")
        forms = [[*also, f"{names}: {words}"] for words in recommends if names]
        forms.append(also or [""])
        for count in range(len(others) - 1, 0, -1):
            first, more = ", ".join(others[:count]), len(others) - count
            forms.append([f"also {first} and {more} more"])
        return [(fit_best(forms, width)[0], "changed" if others else "quiet")]

    def _by_model(self, field: Field) -> bool:
        same = field.value(self.settings) == field.value(self.defaults)
        return same and field.name in self.recommended


def _wrapped(text: str, style: str, width: int) -> list[Line]:
    lines = [line for [(line, _)] in message_lines(text, width)[1:]]
    if len(lines) > _FOOT:
        lines = [*lines[: _FOOT - 1], clip(" ".join(lines[_FOOT - 1 :]), width)]
    return [[(line, style)] for line in lines]


def _columns(width: int) -> int:
    return 2 if width >= _TWO_COLUMNS else 1


def _track(width: int) -> tuple[int, int]:
    start, end = (6, 7) if width >= 28 else (1, 1)
    return start, max(3, width - start - end)
