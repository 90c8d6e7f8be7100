"""Training events as text.

Pure functions. Names and texts from outside have control characters made visible. Knows
no widget.
"""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

from lmtui.notation import counted, number, rate
from lmtui.text import visible_line
from lmtui.train.events import (
    Doing,
    End,
    Eval,
    Event,
    Failed,
    Paused,
    Plan,
    Saved,
    Skip,
    Start,
    Warned,
)
from lmtui.tui.widgets.paragraphs import Paragraph

ENDINGS = {
    "done": "all steps are done",
    "early": "stopped early, because the held-out loss no longer improved",
    "stopped": "stopped, and saved",
    "failed": "failed",
    "declined": "not started",
}
"""A clause for each way a run ends."""


def describe_event(event: Event, doing: Doing | None = None) -> Paragraph | None:
    """Return an event as a line of the log; None for one that is shown elsewhere, or
    that repeats the activity `doing`."""
    words, style = _words(event)
    if not words or (isinstance(event, Doing) and doing and doing.what == event.what):
        return None
    return Paragraph(((visible_line(words), style),), indent=2)


def _words(event: Event) -> tuple[str, str]:
    words, style = "", ""
    match event:
        case Skip():
            words, style = f"skipped {event.path}: {event.reason}", "quiet"
        case Plan():
            words = f"planned: {counted(event.steps, 'step')} at most"
        case Start() if event.resumed_from is not None:
            words = f"resumed after step {event.resumed_from:,}"
        case Start():
            words = "the training starts"
        case Eval():
            when = f"step {event.step:,}" if event.step else "before"
            words = f"{when}: {scored_words(event)}"
        case Saved():
            words, style = f"step {event.step:,}: saved", "quiet"
        case Doing():
            words, style = event.what, "quiet"
        case Paused():
            words = "paused" if event.paused else "resumed"
        case Warned():
            words, style = f"! {event.text}", "warning"
        case Failed():
            parts = (event.title, event.detail)
            words, style = "✗ " + ": ".join(filter(None, parts)), "error"
        case End():
            words, style = f"step {event.step:,}: {ENDINGS[event.finish]}", "strong"
    return words, style


def scored_words(scored: Eval) -> str:
    best = ", the best" if scored.best and scored.step else ""
    return f"held-out loss {rate(scored.loss)}{best}"


def epochs(value: float) -> str:
    """Return a number of epochs as text: `3`, `0.5`."""
    return number(value, ",.2f").rstrip("0").rstrip(".")


def home_path(path: Path) -> str:
    """Return a path with `~` for the home folder."""
    # not in the home folder, or no home folder
    with suppress(ValueError, RuntimeError):
        return str(Path("~") / path.relative_to(Path.home()))
    return str(path)


def doing_words(doing: Doing) -> str:
    """Describe work under way in words, with its share done where that is known."""
    share = "" if doing.share is None else f" {doing.share:.0%}"
    return visible_line(doing.what) + share
