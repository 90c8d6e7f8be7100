"""Checks of what a server sends, which may be anything, and the error of one that
refuses a request.

They raise a ValueError or a TypeError, which `checked` turns into an error for the
user.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from lmtui.errors import LmtuiError

if TYPE_CHECKING:  # its library takes a tenth of a second to import
    from collections.abc import Iterator

    from lmtui.models.remote.connection import Connection

MOST_VOCABULARY = 1 << 22
MOST_CONTEXT = 1 << 24
MOST_PARAMETERS = 1 << 62
SHOWN = 40
"""Characters of the words that a status line shows."""
ENTRY_BYTES = 1 << 10
"""Bytes of one listed token in JSON, at the most."""
ENDS = "stop", "length"
"""Reasons for which an answer ends; with any other, or none, it was cut off."""
SLACK = 1e-3
"""A server may round the probability of a sure token up."""
_NAME = 100  # characters of a name in an error
_IMPOSSIBLE = -9998.0  # vLLM's and our −9999, llama.cpp's −3.4e38


class RequestRefused(LmtuiError):
    """A server refuses a request, for another reason than its key."""

    def __init__(
        self, title: str, detail: str = "", hint: str = "", *, status: int | None = None
    ) -> None:
        """`status` is that of the response; None within an answer."""
        super().__init__(title, detail, hint)
        self.status = status


@contextmanager
def checked(connection: Connection, what: str) -> Iterator[None]:
    """Turn what goes wrong in reading an answer into one error."""
    try:
        yield
    except (
        TypeError,
        KeyError,
        IndexError,
        ValueError,
        AttributeError,
        StopIteration,
        OverflowError,
    ) as error:
        name = "misses " if isinstance(error, KeyError) else ""
        words = str(error) or type(error).__name__
        raise connection.nonsense(f"{what}: {name}{words}"[:200]) from error


def require_model(connection: Connection, name: str | None, answer: Any) -> None:
    """Refuse an answer that says it is another model's: the server may have been
    started anew."""
    told = answer.get("model") if isinstance(answer, Mapping) else None
    if name is not None and isinstance(told, str) and told != name:
        raise LmtuiError(
            "the server has another model now",
            f"{told[:_NAME]} at {connection.address.host}, not {name[:_NAME]}",
            "Open it anew: F5 lists the models.",
        )


def token_id(value: Any, vocabulary: int) -> int:
    if type(value) is not int or not 0 <= value < vocabulary:
        raise ValueError(f"{str(value)[:SHOWN]} is no token")
    return value


def logprob(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TypeError(f"{str(value)[:SHOWN]} is no number")
    if not value <= SLACK:  # NaN is not, either
        raise ValueError(f"{value} is no log-probability")
    return -math.inf if value <= _IMPOSSIBLE else min(0.0, float(value))


def count(value: Any, most: int) -> int:
    """Return a number from 1 to `most` that a server sent."""
    if type(value) is not int or not 1 <= value <= most:
        raise ValueError(f"{str(value)[:SHOWN]} is not from 1 to {most:,}")
    return value


def require_distribution(logprobs: list[float]) -> None:
    """Refuse log-probabilities of one position that sum to more than 1."""
    if math.fsum(map(math.exp, logprobs)) > 1 + SLACK:
        raise ValueError("probabilities of more than 1")
