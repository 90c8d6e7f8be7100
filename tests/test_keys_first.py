"""Whoever loads a model waits while a key is on its way, but never for long."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable
from pathlib import Path
from time import monotonic

import pytest

from lmtui import keys_first
from lmtui.keys_first import imports_give_way, keys


@pytest.fixture(autouse=True)
def _drawn_again() -> object:
    yield
    keys.drawn()


def started(work: Callable[[], object]) -> threading.Thread:
    thread = threading.Thread(target=work)
    thread.start()
    return thread


def test_who_loads_waits_until_the_key_is_drawn(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(keys_first, "_LONGEST", 60.0)
    keys.give_way()  # no key has come
    keys.came()
    loads = started(keys.give_way)
    loads.join(0.05)
    assert loads.is_alive()
    keys.drawn()
    loads.join(10)
    assert not loads.is_alive()


def test_a_key_that_draws_nothing_is_waited_for_once() -> None:
    keys.came()
    begun = monotonic()
    for _ in range(100):
        keys.give_way()
    assert monotonic() - begun < 100 * keys_first._LONGEST / 2


def test_imports_of_one_thread_give_way(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(keys_first, "_LONGEST", 60.0)
    monkeypatch.syspath_prepend(tmp_path)
    for name in ("imported_here", "imported_there"):
        (tmp_path / f"{name}.py").write_text("")
        monkeypatch.delitem(sys.modules, name, raising=False)
    ready = threading.Event()
    go = threading.Event()

    def load() -> None:
        with imports_give_way():
            ready.set()
            go.wait(10)
            __import__("imported_there")

    loads = started(load)
    assert ready.wait(10)
    keys.came()
    __import__("imported_here")  # by the thread of the screen
    go.set()
    loads.join(0.05)
    assert "imported_there" not in sys.modules
    keys.drawn()
    loads.join(10)
    assert "imported_there" in sys.modules
    assert not any(
        isinstance(each, keys_first._YieldingFinder) for each in sys.meta_path
    )
