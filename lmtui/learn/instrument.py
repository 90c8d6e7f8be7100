"""Base classes of the instruments of a course.

An instrument is a state machine: what the learner enters changes its state, or asks for
a measurement; its figure shows the state. It knows neither screen nor shell, so that
the pages on a screen and the plain mode show the same numbers.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from lmtui import cancellation
from lmtui.engine.protocol import Engine
from lmtui.learn.figure import Figure
from lmtui.worker.requests import Context


def _nothing(*_: Any) -> None:
    """Ignore a report."""


@dataclass(frozen=True, slots=True)
class Measurement:
    """Work with the engine, and what becomes of its results.

    `run` is called on the thread of the engine and returns a value; it may emit others
    before, and raises `Cancelled` where it is cancelled. `then` and `on_report` are
    called where the instrument lives.
    """

    run: Callable[[Engine, Context], Any]
    then: Callable[[Any], None]
    on_report: Callable[[Any], None] = _nothing
    """Called with each value that `run` emits."""
    words: str = "computing"
    """What the model does meanwhile, for the status line."""
    yields: bool = False
    """Whether the next action or slide need not wait for it: that is done at once, and
    another measurement takes the place of this one."""
    dropped: Callable[[], None] = _nothing
    """Called where it ends early: it was stopped, or failed."""


class _Inline:
    """The `Context` of a measurement that is waited for."""

    def __init__(self, on_report: Callable[[Any], None]) -> None:
        self._on_report = on_report
        self.stopped = cancellation.condition()

    def emit(self, *values: Any) -> None:
        for value in values:
            self._on_report(value)

    gather = emit


def run_inline(measurement: Measurement | None, engine: Engine) -> None:
    """Make a measurement and wait for it."""
    if measurement is not None:
        context = _Inline(measurement.on_report)
        measurement.then(measurement.run(engine, context))


SLIDE = "slide"
"""Names the slider's keys in the text of a page: `{slide}`."""


@dataclass(frozen=True, slots=True)
class Material:
    """What an instrument works on besides what its page says."""

    text: str
    """The text of the course, or the learner's own."""
    name: str
    is_own: bool = False
    """Whether it is the learner's own text, of which the examples are then taken."""


Options = Mapping[str, Any]
"""The value of each option of an instrument, by name."""


class Instrument:
    """One live instrument of a page.

    Subclasses declare their options and actions, and answer to what the
    learner does with a measurement, or with None where none is needed.
    """

    NAME: ClassVar[str]
    """As a page names it."""
    OPTIONS: ClassVar[Options] = {}
    """Those that a page can set, with their defaults."""
    ACTIONS: ClassVar[Mapping[str, str]] = {}
    """What has a key on the screen: one to three words for the line of keys, by the
    name of the key in the text of a page, as `{draw}`. At most three."""
    ASKS: ClassVar[str] = ""
    """Label of the input field; empty where nothing is typed."""
    EMPTIES: ClassVar[bool] = False
    """Whether what is entered is gone from the field."""
    SLIDES: ClassVar[str] = ""
    """What the slider changes; empty where there is none."""

    def __init__(self, options: Options, material: Material) -> None:
        self.options = options
        self.material = material
        self.done: set[str] = set()
        """Ids of the exercises that the learner has done."""
        self.entered = ""
        """What stands in the input field."""
        self.message = ""
        """One sentence about what was entered last: an answer, or what is wrong."""

    def begin(self) -> Measurement | None:
        """Return the measurement that fills the figure at first."""

    def follow(self, text: str) -> Measurement | None:
        """Follow the input field while the learner types."""
        measurement = self.typed(text)
        self.entered = text
        return measurement

    def submit(self, text: str) -> Measurement | None:
        """Answer to what the learner has entered."""
        self.entered = "" if self.EMPTIES else text
        return self.enter(text)

    # For subclasses.

    def typed(self, text: str) -> Measurement | None:
        """Answer to a change of the field, which was `entered` before."""

    def enter(self, text: str) -> Measurement | None:
        """Answer to what was entered."""

    def act(self, action: str) -> Measurement | None:
        """Do one of the actions."""

    def slide(self, by: int) -> Measurement | None:
        """Move the slider by so many steps."""

    @property
    def figure(self) -> Figure:
        return ()

    @property
    def measured(self) -> str | None:
        """The text that the figure is of; None where it is not one that stands in the
        field. While that has another text, the figure is outdated."""
        return None
