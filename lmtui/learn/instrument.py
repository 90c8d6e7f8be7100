"""Base class of the instruments of a course.

An instrument is a state machine: what the learner enters changes its state, or asks for
a measurement; its figure shows the state. It knows neither screen nor shell, so that
the pages on a screen, the plain mode and the handout show the same numbers.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from lmtui.engine.protocol import Engine
from lmtui.learn.figure import Figure
from lmtui.worker.requests import Context


def _nothing(*_: Any) -> None:
    """Take a report that is not of interest."""


@dataclass(frozen=True, slots=True)
class Measurement:
    """Work with the engine, and what becomes of its results.

    `run` is called on the thread of the engine and returns a value; it may emit others
    before, and raises `Cancelled` where it is cancelled. `take` and `report`
    are called where the instrument lives.
    """

    run: Callable[[Engine, Context], Any]
    take: Callable[[Any], None]
    report: Callable[[Any], None] = _nothing
    """Takes each value that `run` emits."""
    words: str = "computing"
    """What the model does meanwhile, for the status line."""
    yields: bool = False
    """Whether the next action or slide need not wait for it: that is done at once, and
    another measurement takes the place of this one."""
    dropped: Callable[[], None] = _nothing
    """Called where it ends early: it was stopped, or failed."""


@dataclass(frozen=True, slots=True)
class Action:
    """Action of an instrument, with a key on the screen and a command in the shell."""

    id: str
    """The command, and the name of the key in the text of a page: `{draw}`."""
    name: str
    """One to three words for the line of keys."""
    meaning: str
    """A sentence."""


SLIDE = Action("slide", "↑ ↓", "Move the slider of the instrument.")
"""Name of the slider's keys in the text of a page: `{slide}`."""


@dataclass(frozen=True, slots=True)
class Material:
    """What an instrument works on besides what its page says."""

    text: str
    """The text of the course, or the learner's own."""
    name: str
    is_own: bool = False
    """Whether it is the learner's own text, of which the examples are then taken."""


@dataclass(frozen=True, slots=True)
class Option:
    """Option of an instrument that a page can set."""

    meaning: str
    kind: type[str] | type[int] | type[float] = str
    default: str | int | float = ""
    low: float | None = None
    high: float | None = None
    fault: Callable[[Any], str] | None = None
    """Returns what is wrong with a value; empty for nothing."""


Options = Mapping[str, Any]
"""The value of each option of an instrument, by name."""


class Instrument:
    """One live instrument of a page.

    Subclasses declare their options, exercises and actions, and answer to what the
    learner does with a measurement, or with None where none is needed.
    """

    NAME: ClassVar[str]
    """As a page names it."""
    OPTIONS: ClassVar[Mapping[str, Option]] = {}
    EXERCISES: ClassVar[Mapping[str, str]] = {}
    """What the instrument can see that the learner has done: ids, and what each means,
    for whoever writes a page."""
    ACTIONS: ClassVar[Sequence[Action]] = ()
    """At most three."""
    ASKS: ClassVar[str] = ""
    """Label of the input field; empty where nothing is typed."""
    EMPTIES: ClassVar[bool] = False
    """Whether what is entered is gone from the field."""
    SLIDES: ClassVar[str] = ""
    """What the slider changes; empty where there is none."""
    HANDOUT: ClassVar[Sequence[tuple[str, str]]] = ()
    """What is done before its figure is printed in a handout: `("enter", text)`, which
    is typed and entered, `("act", id)` or `("slide", "±N")`, in order. A name in braces
    is an option, and `{entered}` what stands in the field."""

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

    def take(self, text: str) -> Measurement | None:
        """Take what the learner has entered."""
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
        """What is shown now."""
        return ()

    @property
    def measured(self) -> str | None:
        """The text that the figure is of; None where it is not one that stands in the
        field. While that has another text, the figure is outdated."""
        return None
