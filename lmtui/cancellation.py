"""Cancellation of long work by whoever runs it.

Work that takes long calls `check` between its parts. Whoever runs it says with
`cancelled_when` what is asked there, for all that is called inside. A generator asks
anew with each item, under the condition of whoever asks for that item, so generators
that take turns are cancelled one by one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from lmtui.errors import Cancelled

Condition = Callable[[], bool]
"""Whether the work is to end. Asked often, so it has to be quick."""


def never() -> bool:
    return False


_CONDITION: ContextVar[Condition] = ContextVar("condition", default=never)


@contextmanager
def cancelled_when(condition: Condition) -> Iterator[None]:
    """Cancel what runs in the block once `condition` is true; a condition of the
    surrounding block is not asked meanwhile. Not to be used around a `yield`, since
    the block would then also hold for whoever runs the generator."""
    token = _CONDITION.set(condition)
    try:
        yield
    finally:
        _CONDITION.reset(token)


@contextmanager
def polling(report: Callable[[], object]) -> Iterator[None]:
    """Call `report` whenever the work in the block asks whether it is to end, which is
    the only sign of progress within a long pass."""
    asked = condition()

    def reported() -> bool:
        report()
        return asked()

    with cancelled_when(reported):
        yield


def condition() -> Condition:
    """Return the condition of this block, to be asked inside another one."""
    return _CONDITION.get()


def requested() -> bool:
    """Return whether the work that runs now is to end."""
    return condition()()


def check() -> None:
    """Raise `Cancelled` if the work that runs now is to end."""
    if requested():
        raise Cancelled
