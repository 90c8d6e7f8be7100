"""Offers of the model for a part of the text: shown in a dialog, to be put there or
left."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from textual.screen import ModalScreen

from lmtui.tui.controller import Controller
from lmtui.tui.editor.text_area import GhostEditor
from lmtui.tui.engine.client import EngineClient
from lmtui.tui.screen import ModelScreen

T = TypeVar("T")


class OfferController(Controller):
    def __init__(
        self,
        client: EngineClient,
        screen: ModelScreen,
        editor: GhostEditor,
        ghost: Controller,
    ) -> None:
        self._client, self._screen, self._editor = client, screen, editor
        self._ghost = ghost

    def _open(
        self, dialog: ModalScreen[T | None], accept: Callable[[T], object]
    ) -> None:
        """Show a dialog; `accept` gets the choice. The model works for it until it is
        closed."""
        self._ghost.stop()

        def answer(chosen: T | None) -> None:
            self._client.cancel()
            if chosen is not None:
                accept(chosen)

        self._screen.app.push_screen(dialog, answer)
