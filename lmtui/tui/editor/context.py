"""The other files that the model reads before the text."""

from __future__ import annotations

from collections.abc import Sequence

from lmtui.engine.document.types import (
    ContextFile,
    ContextPart,
)
from lmtui.notation import counted
from lmtui.tui.controller import Controller
from lmtui.tui.editor.file import FileController
from lmtui.tui.engine.client import EngineClient
from lmtui.tui.screen import ModelScreen
from lmtui.worker.requests import Slot


class ContextController(Controller):
    def __init__(
        self,
        client: EngineClient,
        screen: ModelScreen,
        file: FileController,
        files: Sequence[ContextFile],
    ) -> None:
        self._client, self._screen = client, screen
        self._file, self._files = file, tuple(files)
        self.parts: tuple[ContextPart, ...] = ()
        """How much of each file the model reads; empty before it has answered."""

    def follow_model(self) -> None:
        self.parts = ()
        if self.model.info is not None and self._files:
            files, name = self._files, self._file.current.name
            self._client.ask(
                Slot.CONTEXT,
                lambda engine, _: engine.document.read_with(files, name=name),
                self._show_parts,
                self._screen.show_error,
            )

    def _show_parts(self, parts: tuple[ContextPart, ...]) -> None:
        self.parts = parts
        self._screen.activity.notice(summary(parts))


def summary(parts: Sequence[ContextPart]) -> str:
    tokens, total = (sum(p.tokens for p in parts), sum(p.total for p in parts))
    total_text = "" if tokens == total else f" of {total:,}"
    files = counted(len(parts), "file")
    return f"reads {files} first: {tokens:,}{total_text} tokens"
