"""The verbs of a text that is being written, on a model of this machine.

Owns which module answers which of them. Knows no state of its own: everything is kept
by the parts that are put in.
"""

from __future__ import annotations

from collections.abc import Iterator

from lmtui.engine.expecting import Expecting
from lmtui.engine.forward import Forward
from lmtui.engine.ghost import Ghost, GhostRules
from lmtui.engine.going_on import GoingOn
from lmtui.engine.port import Progress, Stop
from lmtui.engine.replacing import Replacing
from lmtui.engine.types import Finish, SamplingSettings, Step
from lmtui.engine.writing import Beginning, Expectation, Replacement, Stretch

_BESIDE = 512  # tokens after a cursor that a continuation may repeat


class LocalWriting:
    """What `port.WritingEngine` adds to an engine; see there for what is promised."""

    _forward: Forward
    _expecting: Expecting
    _going_on: GoingOn
    _replacing: Replacing

    def expect(
        self,
        text: str,
        cursor: int,
        *,
        top: int = 20,
        stop: Stop = lambda: False,
    ) -> Expectation:
        """What the model expects at a cursor."""
        return self._expecting.expect(text, cursor, top=top, stop=stop)

    def heat(
        self, text: str, start: int, end: int, *, stop: Stop = lambda: False
    ) -> Iterator[Stretch]:
        """What the model thought of a part of a text."""
        return self._expecting.heat(text, start, end, stop=stop)

    def beginning(
        self, text: str, cursor: int, settings: SamplingSettings
    ) -> Beginning:
        """What `go_on` would read."""
        return self._going_on.beginning(text, cursor, settings.max_tokens)

    def go_on(
        self,
        text: str,
        cursor: int,
        settings: SamplingSettings,
        *,
        top: int = 20,
        single_line: bool = False,
        stop: Stop = lambda: False,
        progress: Progress | None = None,
    ) -> Iterator[Step | Finish]:
        """Continue a text at a cursor."""
        steps = self._going_on.steps(
            self.beginning(text, cursor, settings),
            settings,
            beside=self._going_on.after(text, cursor, _BESIDE),
            top=top,
            single_line=single_line,
            stop=stop,
            progress=progress,
        )
        return self._forward.answering(steps)

    def alternatives(
        self,
        text: str,
        cursor: int,
        rules: GhostRules,
        *,
        count: int = 5,
        stop: Stop = lambda: False,
    ) -> list[Ghost]:
        """Suggestions that begin in different ways."""
        return self._going_on.alternatives(text, cursor, rules, count=count, stop=stop)

    def replacements(
        self,
        text: str,
        start: int,
        end: int,
        *,
        count: int = 8,
        stop: Stop = lambda: False,
        progress: Progress | None = None,
    ) -> list[Replacement]:
        """What could stand in place of a part of a text."""
        return self._replacing.find(
            text, start, end, count=count, stop=stop, progress=progress
        )
