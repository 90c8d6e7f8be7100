"""An instrument with every part of a figure, and a course of it, for the handout."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from lmtui.engine.protocol import Engine
from lmtui.engine.types import Candidate, ScoredToken
from lmtui.errors import LmtuiError
from lmtui.learn.course import Course, Exercise, Page, Paragraph, Span
from lmtui.learn.figure import (
    Cell,
    Chart,
    Column,
    Figure,
    Level,
    ShadedText,
    Table,
    Words,
    bars,
    row,
)
from lmtui.learn.instrument import Action, Instrument, Material, Measurement, Option
from lmtui.worker.requests import Context

MATERIAL = Material("A text. Of the course.", "course")


def candidate(
    number: int, prob: float, sampled: float | None = None, cut: Any = None
) -> Candidate:
    text = f" token{number}"
    logprob = math.log(prob)
    return Candidate(number, text, text.encode(), logprob, sampled, cut)


def token(text: str, logprob: float | None) -> ScoredToken:
    return ScoredToken(0, 0, text, b"", logprob, None, None)


def gallery(foreign: str = " the") -> tuple[Figure, Figure]:
    """A figure at the beginning, and one of every part; `foreign` is in all texts."""
    rows = (candidate(1, 0.5), candidate(2, 0.25), candidate(3, 0.0000003))
    drawn = (
        candidate(1, 0.5, 0.7),
        candidate(2, 0.25, 0.3),
        candidate(3, 0.1, 0.0, "k"),
    )
    first = bars(f"After “{foreign}”", rows, 0.2499997, note=f"A {foreign}.")
    table = Table(
        f"Words {foreign}",
        (Column("word"), Column("p", right=True), Column("", grows=True)),
        (
            row(foreign, "61.2%", Cell("", bar=(0.612,))),
            row(Cell("rare", "warning"), "<0.1%", Cell("", bar=(0.0004,))),
            row("plain", "–", ""),
        ),
        note=f"A note: {foreign}",
        at=1,
    )
    logprobs = (None, -0.1, -0.5, -1.5, -3.0, -6.0, -9.94)
    shaded = ShadedText(
        "The text, shaded",
        tuple(token(f"{foreign}{n}\n", each) for n, each in enumerate(logprobs)),
    )
    chart = Chart(
        f"Loss {foreign}",
        tuple((float(n * n), 5.5 / (n + 1) + 1) for n in range(20)),
        "steps",
        "loss, nats",
        (Level("uniform", 6.2), Level("bigram", 6.1), Level(foreign, 2.125)),
        log_x=True,
    )
    return (first,), (
        Words(f"One sentence of {foreign}.\nAnother line.", "strong"),
        bars("What is drawn", drawn, 0.15, rest_sampled=0.0),
        table,
        Words("Careful.", "warning"),
        shaded,
        chart,
    )


class GalleryInstrument(Instrument):
    """Shows a first figure until its steps are done, then the other one."""

    NAME = "gallery"
    OPTIONS: ClassVar[Mapping[str, Option]] = {
        "text": Option("A text."),
        "number": Option("A number.", int, 3),
    }
    EXERCISES: ClassVar[Mapping[str, str]] = {"seen": "it was seen"}
    ACTIONS: ClassVar[Sequence[Action]] = (Action("draw", "draw one", "Draw."),)
    ASKS = "Text"
    SLIDES = "temperature"
    HANDOUT: ClassVar[Sequence[tuple[str, str]]] = (
        ("enter", "{text} and {number}"),
        ("act", "draw"),
        ("slide", "-2"),
    )

    def __init__(self, options: Mapping[str, Any], material: Material) -> None:
        super().__init__(options, material)
        self.calls: list[tuple[str, object]] = []
        self._figure: Figure = ()

    def _step(self, name: str, value: object) -> Measurement:
        def run(engine: Engine, context: Context) -> tuple[str, object]:
            engine.encode("x")
            return name, value

        return Measurement(run, self._take)

    def _take(self, step: tuple[str, object]) -> None:
        self.calls.append(step)
        figures = gallery(self.options["text"])
        self._figure = figures[len(self.calls) > 1]

    def begin(self) -> Measurement | None:
        return self._step("begin", None)

    def typed(self, text: str) -> Measurement | None:
        return self._step("typed", text)

    def enter(self, text: str) -> Measurement | None:
        self.message = f"You wrote {text}"
        return self._step("enter", text)

    def act(self, action: str) -> Measurement | None:
        return self._step("act", action)

    def slide(self, by: int) -> Measurement | None:
        return self._step("slide", by)

    @property
    def figure(self) -> Figure:
        return self._figure


class BrokenInstrument(GalleryInstrument):
    NAME = "broken"

    def act(self, action: str) -> Measurement | None:
        def run(engine: Engine, context: Context) -> None:
            raise LmtuiError("this model has no <layers>", "http://host/v1", "None.")

        return Measurement(run, lambda _: None)


INSTRUMENTS = {kind.NAME: kind for kind in (GalleryInstrument, BrokenInstrument)}


def page_of(number: int, instrument: str = "gallery", foreign: str = " the") -> Page:
    """A page whose texts are all foreign."""
    spans = (
        Span(f"The {foreign} is "),
        Span("strong", "strong"),
        Span(", "),
        Span(foreign, "emphasis"),
        Span(" and "),
        Span("code", "code"),
        Span(". Press "),
        Span("draw", "key"),
        Span(" or "),
        Span("slide", "key"),
        Span("."),
    )
    return Page(
        id=f"page-{number}",
        title=f"Page {number} {foreign}",
        before=[
            Paragraph(spans),
            Paragraph((Span("first item"),), is_item=True),
            Paragraph((Span("second item"),), is_item=True),
            Paragraph((Span("Then more."),)),
        ],
        instrument=instrument,
        options={"text": foreign, "number": 3},
        exercises=[
            Exercise("seen", (Span(f"Do {foreign}, then "), Span("enter", "key")))
        ],
        after=[Paragraph((Span(f"This was {foreign}."),))],
        textbook=(Span(f"In a textbook: P(x_t | x_<t){foreign}."),),
        questions=[(Span(f"Which {foreign}?"),)],
    )


def course_of(*pages: Page, foreign: str = " the") -> Course:
    return Course(
        id="gallery",
        title=f"Course {foreign}",
        pages=pages or tuple(page_of(n, foreign=foreign) for n in (1, 2, 3)),
        text="A text.",
        text_name=foreign,
        glossary=((f"term {foreign}", (Span("A meaning "), Span("x", "code"))),),
    )
