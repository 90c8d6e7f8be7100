"""The grammar of the next answers: `/schema`, `/regex` and `/grammar`.

Files are read, and grammars compiled, on another thread.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

from lmtui.engine.grammar.compile import check_grammar
from lmtui.engine.grammar.text import (
    NAMES,
    Grammar,
    grammar_of,
    read_grammar,
    read_schema,
)
from lmtui.engine.types import SamplingSettings
from lmtui.errors import LmtuiError
from lmtui.tui.background import run_in_thread
from lmtui.tui.sampler import SamplingScreen

_READERS: dict[str, Callable[[str], Grammar]] = {
    "/schema": lambda name: read_schema(Path(name).expanduser()),
    "/regex": lambda text: Grammar("regex", text),
    "/grammar": lambda name: read_grammar(Path(name).expanduser()),
}
GRAMMARS = tuple(_READERS)
OFF = "off"
_BUG = LmtuiError("the grammar can't be checked", "", "See the log.")


class GrammarCommands:
    """Sets the grammar that the next answers follow, once it has compiled."""

    def __init__(self, screen: SamplingScreen) -> None:
        self._screen, self._sampler = screen, screen.sampler
        self._request = 0  # the last one counts, whichever has compiled first

    def set(self, name: str, argument: str) -> None:
        """Do what one of these commands says: with `off`, answers are free again."""
        self._request += 1
        if argument == OFF:
            self._use(None)
            self._screen.notify("The next answers follow no grammar.")
            return
        read = _READERS[name]

        def read_and_compile() -> Grammar:
            grammar = read(argument)
            check_grammar(grammar)
            return grammar

        run_in_thread(
            read_and_compile,
            self._screen.call_later,
            then=partial(self._use_checked, self._request),
            failed=self._screen.show_error,
            bug=_BUG,
        )

    def _use_checked(self, request: int, grammar: Grammar) -> None:
        if request == self._request:
            self._use(grammar.setting)
            name = NAMES[grammar.kind]
            self._screen.notify(f"The next answers follow this {name}.")

    def _use(self, setting: str | None) -> None:
        self._sampler.use(replace(self._sampler.settings, grammar=setting))


def grammar_note(settings: SamplingSettings) -> str:
    """Return which grammar answers follow, in a few words; "" for none."""
    if settings.grammar is None:
        return ""
    return f"follows a {NAMES[grammar_of(settings.grammar).kind]}"
