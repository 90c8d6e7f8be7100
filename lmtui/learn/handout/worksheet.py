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
from lmtui.learn.instrument import (
    SLIDE,
    Instrument,
    Material,
    enter_inline,
    run_inline,
)

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
            steps.append(_do(instrument, step, value, engine))
    except LmtuiError as failure:
        error = failure
    cancellation.check()
    whole = tuple(instrument.figure)
    if start == whole or all(isinstance(part, Words) for part in start):
        start = ()
    result = tuple(part for part in whole if part not in start)
    if len(result) < len(whole):
        result = (*result, Words("The rest is as at the beginning.", "quiet"))
    return Worksheet(
        page, _KEYS | names, start, result, tuple(steps), instrument.message, error
    )


def _do(instrument: Instrument, step: str, value: str, engine: Engine) -> str:
    if step == "enter":
        values = {"entered": instrument.entered, **instrument.options}
        text = _NAME.sub(lambda match: str(values[match[1]]), value)
        enter_inline(instrument, text, engine)
        return f"“{text}” entered"
    if step == "act":
        run_inline(instrument.act(value), engine)
        return next(action.name for action in instrument.ACTIONS if action.id == value)
    run_inline(instrument.slide(int(value)), engine)
    return f"{instrument.SLIDES} {value.replace('-', '−')}"
