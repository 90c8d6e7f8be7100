"""Answers the inspector's questions on the engine thread.

The engine, the receiver of reports and the stop test are passed in. Knows no screen.
"""

from __future__ import annotations

from collections.abc import Callable

from textual.message import Message

from lmtui.engine.protocol import Engine, Stop
from lmtui.errors import LmtuiError
from lmtui.tui.engine.inspecting_facts import PlaceLooked, TokensFound, WaysLookedAhead
from lmtui.tui.engine.inspecting_questions import (
    FindTokens,
    InspectingQuestion,
    LookAhead,
    LookAt,
)

Tell = Callable[[Message], None]


def answer(
    engine: Engine, question: InspectingQuestion, *, tell: Tell, should_stop: Stop
) -> None:
    """Answer one question.

    Raises:
        Cancelled: `should_stop` answered True.
        LmtuiError: the engine can't answer it.
    """
    match question:
        case LookAt():
            shown = engine.next_distribution(
                question.ids,
                question.settings,
                top_n=question.top,
                should_stop=should_stop,
            )
            tell(PlaceLooked(question.revision, shown))
        case FindTokens():
            _find(engine, question, tell)
        case LookAhead():
            ways = engine.continue_each(
                question.ids,
                question.starts,
                max_new_tokens=question.more,
                should_stop=should_stop,
            )
            tell(WaysLookedAhead(question.job, tuple(ways)))


def _find(engine: Engine, question: FindTokens, tell: Tell) -> None:
    try:
        found = engine.search_vocabulary(
            question.handle, question.text, question.settings, count=question.count
        )
    except KeyError as error:
        raise LmtuiError(
            "tokens can't be searched here any more",
            "the numbers of this position are no longer in memory",
            "Move the cursor and come back.",
        ) from error
    tell(TokensFound(question.revision, found))
