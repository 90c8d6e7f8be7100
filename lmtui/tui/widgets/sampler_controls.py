"""Controls for the sampler: a confidence slider and a row for each other setting.

The widget has one immutable `SamplingSettings` and posts the next one on every change.
Knows no engine; the effect on the distribution is shown elsewhere.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
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
from lmtui.tui.widgets.styled_lines import Line, Part, StyledLines

FLATTEST = 5.0
SHARPEST = 0.05
STEPS = 40
"""Steps between the two ends, equal in log T; each changes T by about a ninth."""
GREEDY = STEPS + 1
"""The step at the sharp end: greedy decoding (T = 0)."""

_TYPEABLE = 24  # longest number that is parsed, in characters
_TWO_COLUMNS = 44  # width in cells from which there are two columns
_GAP = 4
_TYPED = 24  # characters that can be typed


def temperature_at(step: int) -> float:
    """Return the temperature of a step from 0 (flattest) to GREEDY, to three digits."""
    if step >= GREEDY:
        return 0.0
    share = max(0, step) / STEPS
    return float(f"{FLATTEST * (SHARPEST / FLATTEST) ** share:.3g}")


def position_of(temperature: float) -> float:
    """Return the step of a temperature, fractional where it lies between two steps."""
    if temperature <= 0:
        return float(GREEDY)
    bounded = min(FLATTEST, max(SHARPEST, temperature))
    return STEPS * math.log(FLATTEST / bounded) / math.log(FLATTEST / SHARPEST)


def moved(temperature: float, by: int) -> float:
    """Return the temperature one step up or down from any temperature."""
    place = position_of(temperature)
    near = round(place)
    if abs(place - near) < 0.05:  # three digits are not exactly on the scale
        step = near + by
    else:
        step = math.ceil(place) if by > 0 else math.floor(place)
    return temperature_at(min(GREEDY, max(0, step)))


def cell_of(temperature: float, width: int) -> int:
    """Return the cell of the knob on a track; the last cell is for greedy alone."""
    if temperature <= 0:
        return width - 1
    return round(position_of(temperature) / STEPS * (width - 2))


def temperature_in(cell: int, width: int) -> float:
    """Return the temperature of a cell of the track."""
    if cell >= width - 1:
        return 0.0
    return temperature_at(round(max(0, cell) / max(1, width - 2) * STEPS))


Value = float | int | None


@dataclass(frozen=True, slots=True)
class Field:
    """One setting: its name, the rungs it steps through, and how a value is
    written and read."""

    name: str
    """The attribute of `SamplingSettings`."""
    label: str
    meaning: str
    """A few words for the help line, which has 27 cells at 80 columns."""
    rungs: tuple[float, ...]
    whole: bool = False
    off: tuple[Value, str] | None = None
    """The value that switches the setting off, and its name."""

    def value(self, settings: SamplingSettings) -> Value:
        """Return the value of this setting."""
        value: Value = getattr(settings, self.name)
        return value

    def shown(self, settings: SamplingSettings) -> str:
        """Return the value of this setting as text."""
        value = self.value(settings)
        if self.off is not None and value == self.off[0]:
            return self.off[1]
        return f"{value:,}" if self.whole else f"{value:g}"

    def stepped(self, settings: SamplingSettings, by: int) -> SamplingSettings:
        """Return the settings with this one a step up or down."""
        value = self.value(settings)
        if self.name == "temperature":
            return self.set(settings, moved(settings.temperature, by))
        if self.name == "seed":
            return self.set(settings, _next_seed(value, by))
        rung = next_rung(self.rungs, value or 0, by)
        return self.set(settings, int(rung) if self.whole else rung)

    def typed(self, settings: SamplingSettings, text: str) -> SamplingSettings:
        """Return the settings with the typed value.

        Raises:
            LmtuiError: `text` is not a number, or is out of range.
        """
        text = text.strip().lower()
        if self.off is not None and text in ("", self.off[1]):
            return self.set(settings, self.off[0])
        parse: Callable[[str], Value] = int if self.whole else float
        try:
            value = parse(text.replace(",", "")[:_TYPEABLE])
        except ValueError:
            kind = "a whole number" if self.whole else "a number"
            raise LmtuiError(
                f"{self.label} is not a number", text, f"Type {kind}."
            ) from None
        return self.set(settings, value)

    def reset(self, settings: SamplingSettings) -> SamplingSettings:
        """Return the settings with this one at its default."""
        return self.set(settings, self.value(SamplingSettings()))

    def set(self, settings: SamplingSettings, value: Value) -> SamplingSettings:
        """Return the settings with this value.

        Raises:
            LmtuiError: it is out of range.
        """
        changes: dict[str, Value] = {self.name: value}
        return dataclasses.replace(settings, **changes)  # type: ignore[arg-type]


def next_rung(rungs: tuple[float, ...], value: float, by: int) -> float:
    """Return the next rung above or below a value; beyond the ends, the value
    itself."""
    if by > 0:
        return min((rung for rung in rungs if rung > value), default=value)
    return max((rung for rung in rungs if rung < value), default=value)


def _next_seed(seed: Value, by: int) -> int | None:
    if seed is None:
        return 0 if by > 0 else None
    following = int(seed) + by
    return min(following, 2**63 - 1) if following >= 0 else None


TEMPERATURE = Field("temperature", "temperature", "0: greedy; higher: flatter.", ())

FIELDS = (
    Field(
        "top_k",
        "top-k",
        "Keep the k most probable.",
        (0, 1, 2, 3, 5, 10, 20, 40, 60, 100, 200, 500, 1000),
        whole=True,
        off=(0, "off"),
    ),
    Field(
        "top_p",
        "top-p",
        "Keep the set of this mass.",
        (0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.98, 0.99, 1.0),
        off=(1.0, "off"),
    ),
    Field(
        "min_p",
        "min-p",
        "Drop p under this × top p.",
        (0.0, 0.01, 0.02, 0.05, 0.1, 0.15, 0.2, 0.3, 0.5, 0.7, 1.0),
        off=(0.0, "off"),
    ),
    Field(
        "repetition_penalty",
        "penalty",
        "Weakens tokens used before.",
        (0.8, 0.9, 0.95, 1.0, 1.05, 1.1, 1.15, 1.2, 1.3, 1.5, 2.0),
        off=(1.0, "off"),
    ),
    Field("seed", "seed", "Same seed, same tokens.", (), whole=True,
          off=(None, "random")),
    Field(
        "max_tokens",
        "max tokens",
        "Stop after this many.",
        (1, 16, 32, 64, 128, 256, 512, 1024, 2048, 4096, 8192, 16384, 32768),
        whole=True,
    ),
)  # fmt: skip
"""The rows below the slider."""


ROWS: tuple[Field, ...] = (TEMPERATURE, *FIELDS)


class SamplerControls(StyledLines, can_focus=True):
    """The confidence slider (temperature) and all other settings of the sampler."""

    HELP = """\
Left and Right (or - and +) change the setting under the cursor, Up and Down choose
another, Enter types a value, Delete restores the default. The slider runs from flat
(every token equally likely) to sharp (only the likeliest); its right end is greedy
decoding.
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
        """The widget was resized or hidden."""

    @dataclass
    class SettingsChanged(Message):
        """The user changed a setting."""

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
        """The current settings."""
        return self._settings

    @settings.setter
    def settings(self, settings: SamplingSettings) -> None:
        """Show other settings without posting a message."""
        self._settings = settings
        self.refresh()

    # Keys.

    def action_move(self, by: int) -> None:
        """Move to another setting; a value being typed is discarded."""
        self._stop_typing()
        self._row = (self._row + by) % len(ROWS)
        self.refresh()

    def action_step(self, by: int) -> None:
        self._change(ROWS[self._row].stepped(self._settings, by))

    def action_reset(self) -> None:
        """Reset the setting under the cursor to its default."""
        self._change(ROWS[self._row].reset(self._settings))

    def action_type(self) -> None:
        self._typing, self._error = "", ""
        self.refresh()

    def on_key(self, event: events.Key) -> None:
        """Edit the value being typed, if any."""
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
        """Append pasted text to the value being typed."""
        if self._typing is not None:
            self._typing = (self._typing + visible_line(event.text.strip()))[:_TYPED]
            event.stop()
            self.refresh()

    def on_resize(self) -> None:
        self.post_message(self.Moved())

    def on_hide(self) -> None:
        self.post_message(self.Moved())

    def on_focus(self) -> None:
        self.refresh()

    def on_blur(self) -> None:
        """Discard a value being typed."""
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
        """Begin to drag the knob, or select the row under the mouse."""
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
        """Drag the knob; beyond the ends of the track, it stays at the end."""
        if self._dragging:
            self._drag(event.offset - self.content_offset_in_widget)

    def on_mouse_up(self) -> None:
        if self._dragging:
            self._dragging = False
            self.release_mouse()

    def on_mouse_scroll_up(self, event: events.MouseScrollUp) -> None:
        """Increase the value, if the widget has the focus."""
        if self.has_focus:
            event.stop()
            self.action_step(1)

    def on_mouse_scroll_down(self, event: events.MouseScrollDown) -> None:
        """Decrease the value, if the widget has the focus."""
        if self.has_focus:
            event.stop()
            self.action_step(-1)

    @property
    def content_offset_in_widget(self) -> Offset:
        """The offset of the content within the widget."""
        gutter = self.gutter
        return Offset(gutter.left, gutter.top)

    def _drag(self, offset: Offset) -> None:
        start, width = _track(self.content_size.width)
        temperature = temperature_in(offset.x - start, width)
        self._change(TEMPERATURE.set(self._settings, temperature))

    def _row_at(self, offset: Offset) -> int:
        width = self.content_size.width
        row = 1 + (offset.y - 2)
        if _columns(width) == 2:
            half = (len(FIELDS) + 1) // 2
            row += half if offset.x >= (width - _GAP) // 2 + _GAP // 2 else 0
        return min(len(ROWS) - 1, max(1, row))

    # Drawing.

    def get_content_height(self, container: Size, viewport: Size, width: int) -> int:
        return 3 + -(-len(FIELDS) // _columns(width))

    def lines(self, width: int, height: int) -> list[Line]:
        """Return heading and slider, the other settings, and one line about the setting
        under the cursor."""
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
        # The cursor style covers the label only, not the space behind it.
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
    """Return the first cell and the number of cells of the slider's track."""
    start, end = (6, 7) if width >= 28 else (1, 1)
    return start, max(3, width - start - end)
