"""Banned phrases of the next answers: `/ban`."""

from __future__ import annotations

from dataclasses import replace

from lmtui.text import visible_line
from lmtui.tui.chat.commands import CommandRefused
from lmtui.tui.sampler import SamplingScreen

OFF = "off"
_QUOTES = (('"', '"'), ("“", "”"))


def ban(screen: SamplingScreen, argument: str) -> None:
    """Add a phrase that no answer may have, take all off, or list them."""
    settings = screen.sampler.settings
    banned = settings.banned_phrases
    if not argument:
        phrases = ", ".join(map(_quoted, banned)) or "No phrase is banned."
        screen.notify(phrases, title="Banned phrases", markup=False)
        return
    if argument == OFF:
        screen.sampler.use(replace(settings, banned_phrases=()))
        screen.notify("Every phrase can be written.")
        return
    phrase = _phrase(argument)
    if not phrase:
        raise CommandRefused("Give the phrase, as it would be written.")
    if phrase not in banned:
        screen.sampler.use(replace(settings, banned_phrases=(*banned, phrase)))
    notice = f"No answer has {_quoted(phrase)} from now on, in just these letters."
    screen.notify(notice, markup=False)


def _phrase(argument: str) -> str:
    """Return what a command says, without quotes around it: they keep spaces."""
    for opening, closing in _QUOTES:
        if len(argument) > 1 and argument[0] == opening and argument[-1] == closing:
            return argument[1:-1]
    return argument


def _quoted(phrase: str) -> str:
    return f"“{visible_line(phrase)}”"
