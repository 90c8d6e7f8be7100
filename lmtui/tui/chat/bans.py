"""Banned phrases of the next answers: `/ban` and `/unban`."""

from __future__ import annotations

from dataclasses import replace

from lmtui.text import visible_line
from lmtui.tui.chat.commands import CommandRefused
from lmtui.tui.sampler import SamplingScreen

ALL = "all"
_QUOTES = (('"', '"'), ("“", "”"))


class BanCommands:
    """Adds phrases that no answer may have, lists them and takes them off."""

    def __init__(self, screen: SamplingScreen) -> None:
        self._screen, self._sampler = screen, screen.sampler

    def ban(self, argument: str) -> None:
        banned = self._sampler.settings.banned_phrases
        if not argument:
            phrases = ", ".join(map(_quoted, banned)) or "No phrase is banned."
            self._screen.notify(phrases, title="Banned phrases", markup=False)
            return
        phrase = _phrase(argument)
        if not phrase:
            raise CommandRefused("Give the phrase, as it would be written.")
        if phrase not in banned:
            self._set_phrases((*banned, phrase))
        notice = f"No answer has {_quoted(phrase)} from now on, in just these letters."
        self._screen.notify(notice, markup=False)

    def unban(self, argument: str) -> None:
        banned, phrase = self._sampler.settings.banned_phrases, _phrase(argument)
        if argument == ALL:
            self._set_phrases(())
        elif phrase in banned:
            self._set_phrases(tuple(old for old in banned if old != phrase))
        else:
            known = ", ".join(map(_quoted, banned)) or "none is"
            raise CommandRefused(f"{_quoted(phrase)} is not banned; {known}.")
        self._screen.notify(f"{visible_line(argument)} can be written.", markup=False)

    def _set_phrases(self, phrases: tuple[str, ...]) -> None:
        self._sampler.use(replace(self._sampler.settings, banned_phrases=phrases))


def _phrase(argument: str) -> str:
    """Return what a command says, without quotes around it: they keep spaces."""
    for opening, closing in _QUOTES:
        if len(argument) > 1 and argument[0] == opening and argument[-1] == closing:
            return argument[1:-1]
    return argument


def _quoted(phrase: str) -> str:
    return f"“{visible_line(phrase)}”"
