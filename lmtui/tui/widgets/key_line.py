"""The last line of a screen: the keys that count most where the focus is.

Reads them from the bindings in force, the user's own keys included. Knows no screen.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from rich.cells import cell_len
from textual.binding import Binding
from textual.content import Content
from textual.geometry import Size
from textual.screen import Screen
from textual.widgets import Static

from lmtui.tui.keys import bound_to

COUNT: Final = 5
_HELP: Final = "app.help"
_LOWEST = 16  # height in cells of a screen with room for this line
_GAP = " · "


def keys_at_focus(screen: Screen[object]) -> list[tuple[str, Binding]]:
    """Return at most `COUNT` keys as text, each with its binding: those with `show` of
    the focused widget, of what it lies in, and of the screen, in the order in which
    their classes declare them; the last is that of the help."""
    active = {
        (binding.node, binding.binding.id): binding.binding
        for binding in reversed(screen.active_bindings.values())
        if binding.enabled and binding.binding.id
    }
    by_id: dict[str, Binding] = {}
    for node in (screen.focused or screen).ancestors_with_self:
        for item in bound_to(type(node)):
            if (binding := active.get((node, item.id))) is not None:
                by_id.setdefault(item.id, binding)
    shown = [binding for id_, binding in by_id.items() if binding.show and id_ != _HELP]
    shown = [*shown[: COUNT - 1], *([by_id[_HELP]] if _HELP in by_id else [])]
    return [(screen.app.get_key_display(binding), binding) for binding in shown]


class KeyLine(Static):
    """One line with the keys of the focus; left out on a low screen."""

    DEFAULT_CSS = """
    KeyLine { height: auto; padding: 0 1; color: $quiet; }
    """

    def __init__(self, name_of: Callable[[Binding], str]) -> None:
        super().__init__(id="keys", markup=False)
        self._name_of = name_of

    def on_mount(self) -> None:
        self.screen.bindings_updated_signal.subscribe(self, lambda _: self.refresh())

    def get_content_height(self, container: Size, viewport: Size, width: int) -> int:
        return 1 if viewport.height >= _LOWEST else 0

    def render(self) -> Content:
        keys = [
            (key, self._name_of(binding)) for key, binding in keys_at_focus(self.screen)
        ]
        lead = getattr(self.screen.focused, "FOCUS_NAME", "")
        room = self.content_size.width - (cell_len(lead) + 2 if lead else 0)
        while len(keys) > 1 and _width(keys) > room:
            del keys[-2]
        parts: list[tuple[str, str] | str] = [f"{lead}: "] if lead else []
        for index, (key, name) in enumerate(keys):
            parts += [_GAP if index else "", (key, "$foreground"), f" {name}"]
        return Content.assemble(*parts)


def _width(named: list[tuple[str, str]]) -> int:
    return sum(cell_len(key) + cell_len(name) + 1 for key, name in named) + cell_len(
        _GAP
    ) * (len(named) - 1)
