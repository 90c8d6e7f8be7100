"""Instruments as tests use them: made with options, and measured at once."""

from __future__ import annotations

from typing import Any, TypeVar

from lmtui.learn.inline import run_inline
from lmtui.learn.instrument import Instrument, Material, Measurement

Made = TypeVar("Made", bound=Instrument)


def made(kind: type[Made], **options: Any) -> Made:
    """Make an instrument with the options of a page."""
    whole = {name: option.default for name, option in kind.OPTIONS.items()}
    assert options.keys() <= whole.keys()
    return kind({**whole, **options}, Material("A text. Of the course.", "course"))


def answer(engine: Any, measurement: Measurement | None) -> None:
    """Make the measurement that an instrument asks for; it has to ask for one."""
    assert measurement is not None
    run_inline(measurement, engine)
