"""What made the suggestion, or the word under the editor's cursor, likely."""

from __future__ import annotations

from dataclasses import replace

from lmtui.analysis.attribution import Attribution, Effect, Source
from lmtui.engine.document.words import word_at
from lmtui.engine.protocol import Engine
from lmtui.tui.editor.context import ContextController
from lmtui.tui.editor.text_area import GhostEditor
from lmtui.tui.engine.client import EngineClient
from lmtui.tui.screen import ModelScreen
from lmtui.tui.why import WhyController


class EditorWhyController(WhyController):
    def __init__(
        self,
        client: EngineClient,
        screen: ModelScreen,
        editor: GhostEditor,
        context: ContextController,
    ) -> None:
        super().__init__(client, screen)
        self._editor, self._context = editor, context

    def ask(self) -> None:
        text, cursor, ghost = (
            self._editor.text, self._editor.cursor_index, self._editor.ghost
        )  # fmt: skip
        start, end = word_at(text, cursor)
        if ghost:
            text = text[:cursor] + ghost
            start, end = cursor, len(text)
        if start == end:
            self._screen.notify("There is no suggestion, and no word under the cursor.")
            return
        parts = self._context.parts

        def make(engine: Engine) -> Attribution:
            encoding = engine.encode(text)
            files, at = [], len(encoding.prefix)
            for part in parts:
                files.append((part.name, at, at + part.tokens))
                at += part.tokens
            encoding = replace(encoding, prefix=engine.document.prefix)
            return Attribution(engine, text, encoding, start, end, files=files)

        self.open(make, self._go_to)

    def _go_to(self, source: Source, part: Effect) -> None:
        if source.name:
            words = f"It is in {source.name}, which is read before this text."
            self._screen.notify(words)
        else:
            self._editor.go_to(*part.words)
