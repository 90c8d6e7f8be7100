"""What a handout prints of a page: its figure before and after the exercises are done.

Knows no HTML.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from lmtui import cancellation
from lmtui.engine.protocol import Engine
from lmtui.errors import LmtuiError
from lmtui.learn.course import Page
from lmtui.learn.figure import Figure, Words
from lmtui.learn.inline import enter_inline, run_inline
from lmtui.learn.instrument import SLIDE, Instrument, Material

_NAME = re.compile(r"\{([a-z-]+)\}")
_KEYS = {
    "enter": "Enter",
    "next": "next page",
    "back": "page before",
    "pages": "all pages",
    "help": "help",
    SLIDE.id: SLIDE.name,
}


@dataclass(frozen=True, slots=True)
class Worksheet:
    page: Page
    keys: Mapping[str, str]
    """Name of each action that the text of the page names."""
    start: Figure
    """As the page opens; empty where that is the same, or has only words."""
    result: Figure
    """After the steps of the instrument, without the parts that `start` has."""
    repeats: bool
    """Whether parts of it were left out because `start` has them."""
    steps: tuple[str, ...]
    """What was done, in words."""
    message: str
    """What the instrument said last."""
    error: LmtuiError | None = None
    """Why not all of it could be done with this model."""


def worksheet(
    kind: type[Instrument], page: Page, material: Material, engine: Engine
) -> Worksheet:
    """Do the steps of an instrument for its handout, and return what it showed."""
    instrument = kind(page.options, material)
    names = {action.id: action.name for action in kind.ACTIONS}
    start: Figure = ()
    steps: list[str] = []
    error = None
    try:
        run_inline(instrument.begin(), engine)
        start = tuple(instrument.figure)
        for step, value in kind.HANDOUT:
            cancellation.check()
            given = _filled(value, instrument)
            steps.append(_do(instrument, step, given, engine=engine))
    except LmtuiError as failure:
        error = failure
    cancellation.check()
    whole = tuple(instrument.figure)
    start = start if _adds(start, whole) else ()
    result = tuple(part for part in whole if part not in start)
    return Worksheet(
        page=page,
        keys={**_KEYS, **names},
        start=start,
        result=result,
        repeats=len(result) < len(whole),
        steps=tuple(steps),
        message=instrument.message,
        error=error,
    )


def _filled(value: str, instrument: Instrument) -> str:
    """Return a step's text with the names in it replaced by their values."""
    values = {"entered": instrument.entered, **instrument.options}
    return _NAME.sub(lambda match: str(values[match[1]]), value)


def _do(
    instrument: Instrument,
    step: str,
    value: str,
    *,
    engine: Engine,
) -> str:
    """Do one step, and return it in words."""
    if step == "enter":
        enter_inline(instrument, value, engine)
        return f"“{value}” entered"
    if step == "act":
        run_inline(instrument.act(value), engine)
        return next(each.name for each in instrument.ACTIONS if each.id == value)
    if step == "slide":
        by = int(value.replace("−", "-"))
        run_inline(instrument.slide(by), engine)
        return f"{instrument.SLIDES} {value.replace('-', '−')}"
    raise ValueError(f"{step} is no step of a handout")


def _adds(start: Figure, result: Figure) -> bool:
    """Return whether a first figure shows numbers that the last one does not."""
    return start != result and any(not isinstance(part, Words) for part in start)
