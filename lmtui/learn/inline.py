"""Measurements that are waited for: in the shell, and for the handout."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from lmtui import cancellation
from lmtui.engine.protocol import Engine
from lmtui.learn.instrument import Instrument, Measurement

Reported = Callable[[], None]


class _Inline:
    """The `Context` of a measurement that is waited for."""

    def __init__(self, measurement: Measurement, reported: Reported) -> None:
        self._report, self._reported = measurement.report, reported
        self.stopped = cancellation.condition()

    def emit(self, *values: Any) -> None:
        """Report values at once."""
        for value in values:
            self._report(value)
        self._reported()

    def gather(self, value: Any) -> None:
        """Report a value at once."""
        self.emit(value)


def run_inline(
    measurement: Measurement | None,
    engine: Engine,
    reported: Reported = lambda: None,
) -> None:
    """Make a measurement and wait for it; `reported` is called whenever a part of it is
    known.

    Raises:
        LmtuiError: it can't be made with this model.
    """
    if measurement is not None:
        context = _Inline(measurement, reported)
        measurement.take(measurement.run(engine, context))


def enter_inline(instrument: Instrument, line: str, engine: Engine) -> None:
    """Type a line into the field of an instrument, and enter it; wait for both.

    Raises:
        LmtuiError: it can't be measured with this model.
    """
    run_inline(instrument.follow(line), engine)
    run_inline(instrument.take(line), engine)
