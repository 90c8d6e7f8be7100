"""Controller that gives an instrument what the learner does, in order, and runs the
measurements that follow from it on the engine's thread."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

from lmtui.errors import LmtuiError
from lmtui.learn.instrument import Instrument, Measurement
from lmtui.tui.controller import Controller
from lmtui.tui.engine.client import EngineClient
from lmtui.worker.requests import Slot

InputKind = Literal["begin", "text", "enter", "key"]
"""A change of the field is `text`, an action or a slide a `key`."""


@dataclass(frozen=True, slots=True)
class _Input:
    """A key of the learner that waits for its turn."""

    do: Callable[[], Measurement | None]
    kind: InputKind


class MeasureController(Controller):
    """Runs one measurement at a time. Each input waits for the model, and for the
    measurement of the one before: the figure is the same however fast the keys come.

    Of a page that is left, what was not measured waits until it is opened again.
    """

    def __init__(
        self,
        client: EngineClient,
        *,
        changed: Callable[[], object],
        failed: Callable[[LmtuiError], object],
    ) -> None:
        """`changed` is called after each input and each result, `failed` with an
        error."""
        self._client, self._changed, self._failed = client, changed, failed
        self._is_ready = False
        self._inputs: dict[Instrument, deque[_Input]] = {}
        self._instrument: Instrument | None = None
        self._running: tuple[Measurement, InputKind] | None = None
        self._is_stopped = False

    @property
    def status_text(self) -> str:
        return self._running[0].words if self._running else ""

    def set_ready(self, is_ready: bool) -> None:
        """Go on once the model is there; without one, everything waits."""
        self._is_ready = is_ready
        self._go_on()

    def resume(self) -> None:
        self._go_on()

    def open(self, instrument: Instrument) -> bool:
        """Go on with an instrument, once it is resumed; begin it if it is new, or has
        come to nothing. Return whether it begins."""
        self.leave()
        self._instrument = instrument
        is_new = instrument not in self._inputs
        waiting = self._inputs.setdefault(instrument, deque())
        begins = is_new or not (waiting or instrument.figure)
        if begins:
            begun = instrument.begin()
            waiting.append(_Input(lambda: begun, "begin"))
        return begins

    def leave(self) -> None:
        """End the measurement of the instrument; it runs again when that is opened."""
        self._client.cancel()
        self._put_back()
        self._instrument = None

    def forget(self) -> None:
        """Forget all inputs: the instruments are made anew."""
        self._client.cancel()
        self._running = None
        self._inputs.clear()

    def add(self, do: Callable[[], Measurement | None], kind: InputKind) -> None:
        """Do something with the instrument when it is its turn."""
        if self._instrument is not None:
            self._inputs[self._instrument].append(_Input(do, kind))
            self._go_on()

    def stop(self) -> bool:
        """End the measurement, and drop the inputs that wait for it; what it has
        reported stays."""
        if self._running is None or self._instrument is None:
            return False
        self._inputs[self._instrument].clear()
        self._is_stopped = True
        return self._client.stop(Slot.LOOK)

    def _put_back(self) -> None:
        if self._running is None or self._instrument is None:
            return
        measurement, begun = self._running
        again = _Input(lambda: measurement, begun)
        self._inputs[self._instrument].appendleft(again)
        self._running = None

    def _go_on(self) -> None:
        if self._instrument is None:
            return
        waiting = self._inputs[self._instrument]
        while waiting and self._may_begin(waiting[0]):
            given = waiting.popleft()
            measurement = given.do()
            if given.kind == "text" and self._running:
                self._client.cancel()  # of older text
                self._running = None
            is_newest = not (waiting and given.kind == waiting[0].kind == "text")
            if measurement and is_newest:
                self._run(measurement, given.kind)
        self._changed()

    def _may_begin(self, given: _Input) -> bool:
        if self._running is None:
            return self._is_ready
        measurement, begun = self._running
        if given.kind == "text":
            return begun == "text"
        return given.kind == "key" and measurement.yields

    def _run(self, measurement: Measurement, kind: InputKind) -> None:
        self._running, self._is_stopped = (measurement, kind), False

        def report(values: tuple[Any, ...]) -> None:
            for value in values:
                measurement.on_report(value)
            self._changed()

        def deliver(value: object) -> None:
            self._running = None
            measurement.then(value)
            self._go_on()

        def fail(error: LmtuiError) -> None:
            self._running = None
            if self._instrument is not None:
                self._inputs[self._instrument].clear()
            measurement.dropped()
            self._changed()
            self._failed(error)

        def drop() -> None:
            if not self._is_stopped:  # another screen's request or model came between
                self._put_back()
                return
            self._running = None
            measurement.dropped()
            self._go_on()

        run = measurement.run
        self._client.ask(Slot.LOOK, run, deliver, fail, dropped=drop, batch=report)
