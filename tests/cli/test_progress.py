"""Progress appears only where it helps, and goes away."""

from __future__ import annotations

import io
from collections.abc import Iterator

from lmtui.cli.progress import Meter


class Terminal(io.StringIO):
    """A stream that says it is a terminal."""

    def isatty(self) -> bool:
        return True


def drawn(
    times: list[float], stream: io.StringIO, *, results: io.StringIO | None = None
) -> str:
    """What is drawn when the work begins at 0 and reports at these times; `results`
    begin to appear after the first."""
    clock: Iterator[float] = iter([0.0, *times])
    meter = Meter("reading", stream=stream, clock=lambda: next(clock))
    for done in range(len(times)):
        meter(done, 4)
        if done == 0 and results is not None:
            meter.pause(results)
    meter.clear()
    return stream.getvalue()


def test_meter_draws_nothing_in_the_first_second() -> None:
    assert drawn([0.1, 0.5, 0.99], Terminal()) == ""


def test_meter_is_drawn_a_few_times_a_second_and_erased() -> None:
    written = drawn([0.5, 1.0, 1.01, 1.09, 1.2], Terminal())
    assert written.count("reading") == 2
    assert " 25%  1/4 tokens" in written
    assert " 100%  4/4 tokens" in written
    assert written.endswith("\r\x1b[2K")


def test_meter_draws_nothing_into_a_pipe() -> None:
    assert drawn([2.0, 3.0], io.StringIO()) == ""


def test_results_on_a_terminal_replace_the_meter() -> None:
    shown = drawn([2.0, 3.0, 4.0], Terminal(), results=Terminal())
    assert shown.count("reading") == 1
    assert shown.endswith("\r\x1b[2K")
    assert drawn([2.0, 3.0], Terminal(), results=io.StringIO()).count("reading") == 2


def test_meter_of_an_empty_task_is_at_100_percent() -> None:
    stream = Terminal()
    clock = iter([0.0, 2.0])
    Meter("reading", stream=stream, clock=lambda: next(clock))(0, 0)
    assert "100%" in stream.getvalue()
