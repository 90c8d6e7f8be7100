"""The sampler's controls: the confidence slider, and a row for each other setting.

Holds one immutable `SamplingSettings` and posts the next one on every change. Owns
the cursor, the value being typed and the drag of the mouse. Knows no engine: what a
setting does to the distribution is shown elsewhere.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from rich.cells import cell_len
from textual import events
from textual.binding import Binding, BindingType
from textual.geometry import Offset, Size
from textual.message import Message

from lmtui.engine.types import SamplingSettings
from lmtui.errors import LmtuiError
from lmtui.text import visible_line
from lmtui.tui.widgets.cells import clip
from lmtui.tui.widgets.confidence import cell_of, temperature_in
from lmtui.tui.widgets.sampler_fields import FIELDS, TEMPERATURE, Field
from lmtui.tui.widgets.styled_lines import Line, Part, StyledLines

ROWS: tuple[Field, ...] = (TEMPERATURE, *FIELDS)
_TWO_COLUMNS = 44  # cells from which the rows stand side by side
_GAP = 4
_TYPED = 24  # characters that can be typed


class SamplerControls(StyledLines, can_focus=True):
    """Confidence, and everything else that decides how a token is drawn."""

    HELP = """\
Left and right (or - and +) change the setting under the cursor, up and down choose
another, Enter types a value, Delete brings the default back. The slider runs from flat
(every token alike) to sharp (only the likeliest); its end stop is greedy decoding.
"""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("up", "move(-1)", "Setting up", id="sampler.up", show=False,
                tooltip="The setting above"),
        Binding("down", "move(1)", "Setting down", id="sampler.down", show=False,
                tooltip="The setting below"),
        Binding("left,minus", "step(-1)", "Less", id="sampler.less", show=False,
                tooltip="A step less; on the slider: flatter"),
        Binding("right,plus", "step(1)", "More", id="sampler.more", show=False,
                tooltip="A step more; on the slider: sharper"),
        Binding("enter", "type", "Type a value", id="sampler.type",
                tooltip="Type the value; Enter takes it, Esc leaves it"),
        Binding("delete,backspace", "reset", "Default", id="sampler.reset",
                tooltip="Bring back the default"),
    ]  # fmt: skip

    PREFIX = "sampler--"
    COMPONENT_CLASSES: ClassVar[set[str]] = {
        f"sampler--{name}"
        for name in ("label", "value", "changed", "track", "filled", "knob", "cursor",
                     "quiet", "error")
    }  # fmt: skip

    DEFAULT_CSS = """
    SamplerControls {
        height: auto;
        color: $foreground;
    }
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
    """

    class Moved(Message):
        """It is drawn in another place, or no longer."""

    @dataclass
    class SettingsChanged(Message):
        """The next token shall be drawn like this."""

        settings: SamplingSettings

    def __init__(
        self,
        settings: SamplingSettings | None = None,
        *,
        id: str | None = None,
        classes: str = "",
    ) -> None:
        super().__init__(id=id, classes=classes)
        self._settings = settings or SamplingSettings()
        self._row = 0
        self._typing: str | None = None
        self._error = ""
        self._dragging = False

    @property
    def settings(self) -> SamplingSettings:
        """What the controls say now."""
        return self._settings

    @settings.setter
    def settings(self, settings: SamplingSettings) -> None:
        """Show other settings, without a message."""
        self._settings = settings
        self.refresh()

    # Keys.

    def action_move(self, by: int) -> None:
        """Choose another setting; a value being typed is given up."""
        self._stop_typing()
        self._row = (self._row + by) % len(ROWS)
        self.refresh()

    def action_step(self, by: int) -> None:
        """Change the setting by a step."""
        self._change(ROWS[self._row].stepped(self._settings, by))

    def action_reset(self) -> None:
        """Bring the setting's default back."""
        self._change(ROWS[self._row].reset(self._settings))

    def action_type(self) -> None:
        """Begin to type a value."""
        self._typing, self._error = "", ""
        self.refresh()

    def on_key(self, event: events.Key) -> None:
        """While a value is typed, the keys belong to it."""
        if self._typing is None:
            return
        if event.key in ("up", "down", "tab", "shift+tab"):
            self._stop_typing()
            return
        if event.key == "enter":
            self._take_typed()
        elif event.key == "escape":
            self._stop_typing()
        elif event.key in ("backspace", "delete"):
            self._typing = self._typing[:-1]
        elif event.is_printable and event.character:
            self._typing = (self._typing + event.character)[:_TYPED]
        elif event.key not in ("left", "right"):
            return
        event.stop()
        event.prevent_default()
        self.refresh()

    def on_paste(self, event: events.Paste) -> None:
        """A pasted value is typed."""
        if self._typing is not None:
            self._typing = (self._typing + visible_line(event.text.strip()))[:_TYPED]
            event.stop()
            self.refresh()

    def on_resize(self) -> None:
        """It came, or there is other room."""
        self.post_message(self.Moved())

    def on_hide(self) -> None:
        """It went."""
        self.post_message(self.Moved())

    def on_focus(self) -> None:
        """Show the cursor."""
        self.refresh()

    def on_blur(self) -> None:
        """Hide the cursor; give up a value being typed."""
        self._stop_typing()

    def _take_typed(self) -> None:
        assert self._typing is not None
        try:
            settings = ROWS[self._row].typed(self._settings, self._typing)
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
        if settings != self._settings:
            self._settings = settings
            self.post_message(self.SettingsChanged(settings))
        self.refresh()

    # Mouse.

    def on_mouse_down(self, event: events.MouseDown) -> None:
        """On the track, take the knob; elsewhere, choose the row."""
        place = event.get_content_offset(self)
        if place is None:
            return
        self._stop_typing()
        if place.y <= 1:
            self._row = 0
            self._dragging = True
            self.capture_mouse()
            self._drag(place)
        else:
            self._row = self._row_at(place)

    def on_mouse_move(self, event: events.MouseMove) -> None:
        """Drag the knob, also beyond the ends of the track."""
        if self._dragging:
            self._drag(event.offset - self.content_offset_in_widget)

    def on_mouse_up(self) -> None:
        """Let the knob go."""
        if self._dragging:
            self._dragging = False
            self.release_mouse()

    def on_mouse_scroll_up(self, event: events.MouseScrollUp) -> None:
        """A step more."""
        if self.has_focus:
            event.stop()
            self.action_step(1)

    def on_mouse_scroll_down(self, event: events.MouseScrollDown) -> None:
        """A step less."""
        if self.has_focus:
            event.stop()
            self.action_step(-1)

    @property
    def content_offset_in_widget(self) -> Offset:
        """Where the content begins inside the widget."""
        gutter = self.gutter
        return Offset(gutter.left, gutter.top)

    def _drag(self, place: Offset) -> None:
        start, width = _track(self.content_size.width)
        temperature = temperature_in(place.x - start, width)
        self._change(TEMPERATURE.set(self._settings, temperature))

    def _row_at(self, place: Offset) -> int:
        width = self.content_size.width
        row = 1 + (place.y - 2)
        if _columns(width) == 2:
            half = (len(FIELDS) + 1) // 2
            row += half if place.x >= (width - _GAP) // 2 + _GAP // 2 else 0
        return min(len(ROWS) - 1, max(1, row))

    # Drawing.

    def get_content_height(self, container: Size, viewport: Size, width: int) -> int:
        """Two lines of slider, the settings, a line of help."""
        return 3 + -(-len(FIELDS) // _columns(width))

    def lines(self, width: int, height: int) -> list[Line]:
        """The slider, the settings below it, and a sentence about the chosen one."""
        lines: list[Line] = [self._heading(width), self._slider(width)]
        return [*lines, *self._grid(width), self._foot(width)]

    def _heading(self, width: int) -> list[Part]:
        return self._field(TEMPERATURE, width)

    def _slider(self, width: int) -> list[Part]:
        start, cells = _track(width)
        knob = cell_of(self._settings.temperature, cells)
        left, right = ("flat ◄", "► sharp") if start > 1 else ("◄", "►")
        return [
            (left, "quiet"),
            ("━" * knob, "filled"),
            ("●", "knob"),
            ("─" * (cells - knob - 1), "track"),
            (right, "filled" if self._settings.temperature == 0 else "quiet"),
        ]

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
        value, style = self._value(field)
        label = field.label
        if field is TEMPERATURE:
            value, label = f"T {value}", "confidence"
        value = clip(value, max(1, width - 8))
        on = self._is_current(field)
        arrows = ("‹ ", " ›") if on and self._typing is None else ("  ", "  ")
        room = width - cell_len(value) - 4
        # Only the words are marked, not the space behind them.
        label = clip(label, room)
        return [
            (label, self._label_style(field)),
            (" " * (room - cell_len(label)) + arrows[0], "quiet"),
            (value, style),
            (arrows[1], "quiet"),
        ]

    def _value(self, field: Field) -> Part:
        if self._is_current(field) and self._typing is not None:
            return self._typing + "▏", "changed"
        default = field.value(SamplingSettings()) == field.value(self._settings)
        style = "value" if default else "changed"
        shown = field.shown(self._settings)
        if field is TEMPERATURE and self._settings.temperature == 0:
            shown = "0 greedy"
        return shown, style

    def _label_style(self, field: Field) -> str:
        return "cursor" if self._is_current(field) else "label"

    def _is_current(self, field: Field) -> bool:
        return self.has_focus and field is ROWS[self._row]

    def _foot(self, width: int) -> list[Part]:
        if self._error:
            return [(clip(self._error, width), "error")]
        if not self.has_focus:
            return [("", "quiet")]
        return [(clip(ROWS[self._row].meaning, width), "quiet")]


def _columns(width: int) -> int:
    return 2 if width >= _TWO_COLUMNS else 1


def _track(width: int) -> tuple[int, int]:
    """First cell and number of cells of the slider's track."""
    start, end = (6, 7) if width >= 28 else (1, 1)
    return start, max(3, width - start - end)
