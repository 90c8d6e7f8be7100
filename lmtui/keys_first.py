"""Keys go first: a thread that loads a model waits while a key is on its way.

The interpreter runs one thread at a time, and imports and library calls keep the others
waiting for up to 0.07 s. A key needs several turns until it is drawn, so that such
stalls add up. Whoever loads gives way between two pieces of work.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.abc import MetaPathFinder
from time import monotonic
from types import ModuleType

_LONGEST = 0.1  # seconds after which nobody waits for a key any more


class _Keys:
    """Whether a key is on its way from the terminal to the screen."""

    def __init__(self) -> None:
        self._drawn, self._until = threading.Event(), 0.0
        self._drawn.set()

    def came(self) -> None:
        self._until = monotonic() + _LONGEST
        self._drawn.clear()

    def drawn(self) -> None:
        self._drawn.set()

    def give_way(self) -> None:
        if not self._drawn.is_set():
            self._drawn.wait(max(0.0, self._until - monotonic()))


keys = _Keys()


class _YieldingFinder(MetaPathFinder):
    """Finds no module, but gives way before one is imported by the thread that made
    it."""

    def __init__(self) -> None:
        self._thread = threading.get_ident()

    def find_spec(
        self,
        fullname: str,
        path: Sequence[str] | None,
        target: ModuleType | None = None,
    ) -> None:
        if threading.get_ident() == self._thread:
            keys.give_way()


@contextmanager
def imports_give_way() -> Iterator[None]:
    """Let imports by this thread give way to keys."""
    finder = _YieldingFinder()
    sys.meta_path.insert(0, finder)
    try:
        yield
    finally:
        sys.meta_path.remove(finder)
