"""Progress appears only where it helps, and goes away."""

from __future__ import annotations

import errno
import io
import math
import sys
from collections.abc import Callable, Iterator

import pytest

from lmtui.cli.progress import Meter, ProgressLine, loading_progress
from lmtui.models.progress import Progress

ERASED = "\x1b[1A\x1b[2K"  # one line up; a redrawing erases without going up


class Terminal(io.StringIO):
    """A stream that says it is a terminal."""

    def isatty(self) -> bool:
        return True


class LostTerminal(Terminal):
    """A terminal that takes `writes` writes and then goes away."""

    def __init__(self, writes: float = math.inf) -> None:
        super().__init__()
        self.writes, self.refused = writes, 0

    def write(self, text: str) -> int:
        if self.writes <= 0:
            self.refused += 1
            raise OSError(errno.EIO, "Input/output error")
        self.writes -= 1
        return super().write(text)


def drawn(
    times: list[float], stream: io.StringIO, *, stop_after: int | None = None
) -> str:
    """What is drawn when the work begins at 0 and reports at these times."""
    clock: Iterator[float] = iter([0.0, *times])
    line = ProgressLine(stream=stream, clock=lambda: next(clock), patience=1.0)
    for done in range(len(times)):
        line.show("reading", done, 4, f"{done}/4 tokens")
        if done == stop_after:
            line.stop()
    line.clear()
    return stream.getvalue()


def test_progress_draws_nothing_in_the_first_second() -> None:
    assert drawn([0.1, 0.5, 0.99], Terminal()) == ""
    assert drawn([2.0, 3.0], io.StringIO()) == ""  # a pipe


def test_progress_is_drawn_a_few_times_a_second_and_erased() -> None:
    written = drawn([0.5, 1.0, 1.01, 1.09, 1.2], Terminal())
    assert "1/4 tokens" in written and "4/4 tokens" in written
    assert "2/4" not in written and "3/4" not in written
    shown, _, after = written.rpartition("4/4 tokens")
    assert "reading" in shown and after.endswith(ERASED)


def test_stopped_progress_is_erased_and_not_drawn_again() -> None:
    written = drawn([2.0, 3.0, 4.0], Terminal(), stop_after=0)
    assert "0/4 tokens" in written and "2/4 tokens" not in written
    assert ERASED in written.rpartition("0/4 tokens")[2]


def test_lines_are_written_above_the_progress(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    line = ProgressLine()
    line.show("reading", 1, 4)
    line.lines("one line\n")
    line.show("reading", 4, 4)
    line.clear()
    before, _, after = terminal.getvalue().partition("one line\n")
    assert before.endswith(ERASED)
    assert "reading" in before and "reading" in after


def test_results_on_a_terminal_replace_the_meter(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("lmtui.cli.progress._PATIENCE", 0.0)
    monkeypatch.setattr("lmtui.cli.progress._PAUSE", 0.0)
    for results, shows in ((Terminal(), False), (io.StringIO(), True)):
        monkeypatch.setattr(sys, "stderr", terminal := Terminal())
        meter = Meter("reading")
        meter(1, 4)
        meter.pause(results)
        assert terminal.getvalue().endswith(ERASED) is not shows
        meter(3, 4)
        meter.clear()
        assert ("3/4 tokens" in terminal.getvalue()) is shows


@pytest.mark.parametrize("writes", range(3))
def test_terminal_lost_at_the_first_drawing_breaks_nothing(
    writes: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "stderr", terminal := LostTerminal(writes))
    monkeypatch.setattr("lmtui.cli.progress._PAUSE", 0.0)
    line = ProgressLine()
    line.show("reading", 1, 4)
    refused = terminal.refused
    assert refused > 0
    line.show("reading", 2, 4)
    line.clear()
    assert terminal.refused == refused
    line.lines("one line\n")


@pytest.mark.parametrize(
    "use",
    [
        lambda meter: meter(2, 4),
        lambda meter: meter.clear(),
        lambda meter: meter._line.lines("one line\n"),
        lambda meter: meter.pause(Terminal()),
    ],
    ids=["show", "clear", "lines", "pause"],
)
def test_terminal_lost_after_a_drawing_breaks_nothing(
    use: Callable[[Meter], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "stderr", terminal := LostTerminal())
    monkeypatch.setattr("lmtui.cli.progress._PATIENCE", 0.0)
    monkeypatch.setattr("lmtui.cli.progress._PAUSE", 0.0)
    meter = Meter("reading")
    meter(1, 4)
    assert "1/4 tokens" in terminal.getvalue()
    terminal.writes = 0
    use(meter)
    assert terminal.refused > 0
    meter.clear()


def test_loading_draws_new_words_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stderr", terminal := Terminal())
    monkeypatch.setattr("lmtui.cli.progress._PAUSE", 3600.0)
    with loading_progress() as show:
        show(Progress("reading x", 1, 4, unit="files"))
        show(Progress("reading x", 4, 4, unit="files"))
        assert "1/4 files" in terminal.getvalue()
        assert "4/4 files" not in terminal.getvalue()
        show(Progress("dequantising x, once"))
        assert "dequantising x, once" in terminal.getvalue()
        show(Progress("dequantising x, once", 2, 4, unit="layers"))
        assert "2/4 layers" not in terminal.getvalue()


@pytest.mark.parametrize("kind", [Terminal, io.StringIO])
def test_loading_keeps_its_warnings(
    kind: type[io.StringIO], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "stderr", stream := kind())
    with loading_progress() as show:
        show(Progress("fetching\x1b[2J", 5_000_000, 10_000_000))
        show(Progress("it is slow", warning=True))
    written = stream.getvalue()
    assert "warning: it is slow\n" in written
    assert "fetching␛[2J" in written
    assert ("5.0/10.0 MB" in written) is stream.isatty()
