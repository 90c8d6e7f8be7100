"""Base class of the screens that show the model at work: panel, status, controllers.

Knows no verb of the engine.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

from textual.binding import Binding, BindingType
from textual.screen import ModalScreen, Screen
from textual.widgets import Input, TextArea

from lmtui.engine.types import Need
from lmtui.errors import LmtuiError
from lmtui.models.source import ModelRef
from lmtui.tui.app_messages import ModelChosen
from lmtui.tui.controller import Activity, Controller
from lmtui.tui.dialogs import notify_error
from lmtui.tui.model_state import ModelState
from lmtui.tui.widgets.key_line import KeyLine
from lmtui.tui.widgets.probability_panel import ProbabilityPanel
from lmtui.tui.widgets.status import Status

LOADING = "The model is loading."
READING = "The model is reading; what it expects appears here."


def leave_with_model(page: ModalScreen[Any]) -> None:
    """Close a page about what a model computes as soon as another one is loaded."""

    def leave() -> None:
        if page.is_active:
            page.dismiss(None)

    page.watch(page.app, "model", leave, init=False)


class ModelScreen(Screen[None]):
    """A screen that shows the model at work: panel, status line, and the controllers
    that work with the model.

    Holds what all of them have in common: they follow the state of the model, and can
    be stopped.
    """

    HORIZONTAL_BREAKPOINTS = [  # noqa: RUF012 (the base class declares it so)
        (0, "-folded"),
        (70, "-narrow"),
        (100, "-wide"),
        (160, "-very-wide"),
    ]
    NEEDS: ClassVar[Need] = "scores"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("ctrl+c", "interrupt", "Copy or stop", id="live.interrupt",
                tooltip="Copy the selection, or stop what the model does.",
                priority=True, show=False),
        Binding("f2", "panel", "Panel", id="live.panel",
                tooltip="Show or hide the panel."),
    ]  # fmt: skip

    def __init__(
        self, *, panel_title: str, context: Callable[[], object] = lambda: None
    ) -> None:
        super().__init__()
        self.panel = ProbabilityPanel(id="panel", title=panel_title)
        self.status = Status(id="status")
        """The status line, whose state the `activity` decides."""
        self.key_line = KeyLine(self.key_name)
        self.activity = Activity(self.status, context=context)
        self.controllers: tuple[Controller, ...] = ()
        """The parts of this screen, in the order in which it starts and follows the
        model."""
        self._goes_back_to: ModelRef | None = None

    def on_mount(self) -> None:
        for controller in self.controllers:
            controller.start()
        self.watch(self.app, "model", self.follow_model)
        self.watch(self.panel, "stale", self.activity.update)
        self.set_interval(1.0, self.activity.update)
        self.focus_text()

    def on_screen_resume(self) -> None:
        self.activity.update()

    def focus_text(self) -> None:
        """Focus what the user writes in or reads."""

    def key_name(self, binding: Binding) -> str:
        name = binding.description
        return name[:1].lower() + name[1:]

    def follow_model(self, state: ModelState) -> None:
        """Show the state of the model; the screen stays usable while it loads, and
        with one that is of no use for it."""
        state = state.usable_with(self.NEEDS)
        self.status.show_info(state.info)
        if state.info is not None:
            self.panel.clear(READING)
        elif state.error is not None:
            parts = (f"{state.error}.", state.error.hint, "F5 lists the models.")
            self.panel.clear(" ".join(filter(None, parts)))
        else:
            self.panel.clear(LOADING)
        self._goes_back_to = state.goes_back_to
        self.activity.follow_model(state, goes_back=True)
        for controller in self.controllers:
            controller.model = state
        for controller in self.controllers:
            controller.follow_model()
        self.activity.update()

    def show_error(self, error: LmtuiError) -> None:
        notify_error(self.app, error)

    def stop_work(self) -> bool:
        stopped = [controller.stop() for controller in self.controllers]
        return any(stopped) or self.stop_load()

    def stop_load(self) -> bool:
        """Go back to the model before the one that is being loaded; return whether
        there is one. It was released to make room, so it is loaded again."""
        previous, self._goes_back_to = self._goes_back_to, None
        if previous is not None:
            self.post_message(ModelChosen(previous))
        return previous is not None

    def selected_words(self) -> str:
        focused = self.focused
        in_field = ""
        if isinstance(focused, TextArea | Input):
            in_field = focused.selected_text
        return self.get_selected_text() or in_field

    def action_interrupt(self) -> None:
        if selected := self.selected_words():
            self.app.copy_to_clipboard(selected)
        elif not self.stop_work():
            self.notify("Ctrl+Q quits.")

    def show_panel(self) -> None:
        if not self._shows_panel:
            self.action_panel()

    @property
    def _shows_panel(self) -> bool:
        hidden = self.has_class("-folded") or self.has_class("-no-panel")
        return not hidden or self.has_class("-unfolded")

    def action_panel(self) -> None:
        """Show or hide the panel, at other widths too, but for what the width would do
        by itself."""
        folded, show = self.has_class("-folded"), not self._shows_panel
        self.set_class(show and folded, "-unfolded")
        self.set_class(not show and not folded, "-no-panel")
