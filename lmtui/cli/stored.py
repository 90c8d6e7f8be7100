"""The kept conversations, for the verbs that need them.

Owns how a conversation is named on the command line, and that a store which can't be
written to can still be read. `lmtui.chat` is imported when a verb runs.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, TypeVar

import typer

from lmtui.cli import completion
from lmtui.cli.edge import note
from lmtui.engine.types import Message
from lmtui.errors import LmtuiError
from lmtui.text import visible

if TYPE_CHECKING:
    from lmtui.chat.listed import Loaded
    from lmtui.chat.store import Store

T = TypeVar("T")

Which = Annotated[
    str,
    typer.Argument(
        metavar="ID|last",
        help="A number from `lmtui history list`, or last for the one used last.",
        show_default=False,
        autocompletion=completion.conversations,
    ),
]


def read(work: Callable[[Store], T]) -> T | None:
    """What `work` finds in the store; None where nothing was kept yet.

    Raises:
        LmtuiError: the store can't be read.
    """
    from lmtui.chat.store import default_file

    return use(work, readonly=True) if default_file().exists() else None


def use(work: Callable[[Store], T], *, readonly: bool = False) -> T:
    """What `work` does with the store; a damaged one is replaced first, and said.

    Raises:
        LmtuiError: the store can't be used.
    """
    from lmtui.chat.salvage import answered
    from lmtui.chat.store import default_file

    return answered(
        default_file(),
        work,
        lambda salvaged: note(f"note: {visible(salvaged.words)}\n"),
        readonly=readonly,
    )


def load(which: str) -> Loaded:
    """The conversation of an id, or the one used last.

    Raises:
        LmtuiError: there is none.
    """
    number = None if which == "last" else _number(which)

    def find(store: Store) -> Loaded | None:
        id_ = store.last() if number is None else number
        return None if id_ is None else store.load(id_)

    found = read(find)
    if found is None:
        raise LmtuiError(
            "there is no conversation yet", "", "Start one with `lmtui chat`."
        )
    return found


def _number(which: str) -> int:
    try:
        return int(which)
    except ValueError:
        raise LmtuiError(
            "this is not a conversation number",
            which,
            "Give one from `lmtui history list`, or last.",
        ) from None


@dataclass(frozen=True, slots=True)
class StoredMessage:
    """A message of a kept conversation, as it can be scored again."""

    text: str
    before: tuple[Message, ...]
    """The messages that it follows."""
    ids: tuple[int, ...] = ()
    """Its tokens, as ids of `model`; none where they are not known, and the text has to
    be read again ("re-tokenised")."""
    prefix: tuple[int, ...] = ()
    """The ids before them."""
    model: str | None = None
    """What wrote it, with its adapter."""


def load_message(which: str, number: int) -> StoredMessage:
    """A message by the number that `lmtui history search` and the JSON give it.

    Raises:
        LmtuiError: there is no such conversation, or no such message in it.
    """
    conversation = load(which).conversation
    try:
        node = conversation.node(number)
    except KeyError:
        node = None
    if node is None or node.gone or not node.content:
        raise LmtuiError(
            "there is no such message in this conversation",
            f"{number} of {which}",
            "`lmtui history show ID --json` gives the id of each.",
        )
    before = () if node.parent is None else conversation.messages(node.parent)
    return StoredMessage(
        node.content, before, node.own_ids, node.ids_before, node.model
    )
