"""Controller that runs the measurements of an instrument on the engine's thread."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from lmtui.errors import LmtuiError
from lmtui.learn.instrument import Measurement
from lmtui.tui.controller import Controller
from lmtui.tui.engine.client import EngineClient
from lmtui.worker.requests import Slot


class MeasureController(Controller):
    """Runs one measurement at a time; a newer one takes the place of an older one."""

    def __init__(
        self,
        client: EngineClient,
        *,
        changed: Callable[[], object],
        failed: Callable[[LmtuiError], object],
    ) -> None:
        """`changed` is called after each result, `failed` with an error."""
        self._client, self._changed, self._failed = client, changed, failed
        self._words = ""

    @property
    def doing(self) -> str:
        """Work of the model now."""
        return self._words

    def run(self, measurement: Measurement) -> None:
        """Begin a measurement."""
        self._words = measurement.words

        def report(values: tuple[Any, ...]) -> None:
            for value in values:
                measurement.report(value)
            self._changed()

        def take(value: object) -> None:
            self._words = ""
            measurement.take(value)
            self._changed()

        def fail(error: LmtuiError) -> None:
            self._words = ""
            self._failed(error)

        def drop() -> None:
            self._words = ""
            self._changed()

        self._client.ask(
            Slot.LOOK, measurement.run, take, fail, dropped=drop, batch=report
        )

    def stop(self) -> bool:
        """End the measurement; what it has reported stays."""
        return self._client.stop(Slot.LOOK)

    def cancel(self) -> None:
        """End the measurement unreported: its page is left."""
        self._words = ""
        self._client.cancel()
