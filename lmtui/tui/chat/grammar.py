"""The grammar of the next answers: `/schema`, `/regex` and `/grammar`.

Files are read, and grammars compiled, on another thread.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial

from lmtui import paths
from lmtui.engine.grammar.compile import check_grammar
from lmtui.engine.grammar.text import (
    NAMES,
    Grammar,
    read_grammar,
    read_schema,
)
from lmtui.errors import LmtuiError
from lmtui.tui.background import run_in_thread
from lmtui.tui.chat.sender import MessageSender
from lmtui.tui.chat.session import Sent
from lmtui.tui.sampler import SamplingScreen

_READERS: dict[str, Callable[[str], Grammar]] = {
    "/schema": lambda name: read_schema(paths.expanded(name)),
    "/regex": lambda text: Grammar("regex", text),
    "/grammar": lambda name: read_grammar(paths.expanded(name)),
}
GRAMMARS = tuple(_READERS)
OFF = "off"
_BUG = LmtuiError("the grammar can't be checked", "", "See the log.")


class GrammarCommands:
    """Sets the grammar that the next answers follow: also to a message that is sent
    before it has compiled, which waits for it."""

    def __init__(self, screen: SamplingScreen, sender: MessageSender) -> None:
        self._screen, self._sampler, self._sender = screen, screen.sampler, sender
        # The last one counts, whichever has compiled first.
        self._entry: Sent | None = None

    def set(self, name: str, argument: str) -> None:
        """Do what one of these commands says: with `off`, answers are free again."""
        if argument == OFF:
            self._sender.end(self._entry)
            self._use(None)
            self._screen.notify("The next answers follow no grammar.")
            return
        read = _READERS[name]

        def read_and_compile() -> Grammar:
            grammar = read(argument)
            check_grammar(grammar)
            return grammar

        self._entry = entry = self._sender.begin()
        run_in_thread(
            read_and_compile,
            self._screen.call_later,
            then=partial(self._use_checked, entry),
            failed=partial(self._sender.refuse, entry),
            bug=_BUG,
        )

    def _use_checked(self, entry: Sent, grammar: Grammar) -> None:
        if self._sender.end(entry) and entry is self._entry:
            self._use(grammar.setting)
            self._screen.notify(f"The next answers follow this {NAMES[grammar.kind]}.")

    def _use(self, setting: str | None) -> None:
        self._sampler.use(replace(self._sampler.settings, grammar=setting))
