"""The kept conversations, for the verbs that need them.

Owns how a conversation is named on the command line, and that a store which can't be
written to can still be read. `lmtui.chat` is imported when a verb runs.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

import typer

from lmtui.cli import completion
from lmtui.engine.types import Message
from lmtui.errors import LmtuiError

if TYPE_CHECKING:
    from lmtui.chat.listed import Loaded
    from lmtui.chat.store import Store

Which = Annotated[
    str,
    typer.Argument(
        metavar="ID|last",
        help="A number from `lmtui history list`, or last for the one used last.",
        show_default=False,
        autocompletion=completion.conversations,
    ),
]


@contextmanager
def reading() -> Iterator[Store | None]:
    """The store to read; None where nothing was kept yet."""
    from lmtui.chat.store import default_file

    if not default_file().exists():
        yield None
        return
    with writing(readonly=True) as store:
        yield store


@contextmanager
def writing(*, readonly: bool = False) -> Iterator[Store]:
    """The store; what is broken is explained."""
    from lmtui.chat.database import Damaged
    from lmtui.chat.store import Store, default_file

    file = default_file()
    try:
        store = Store(file, readonly=readonly)
        try:
            yield store
        finally:
            store.close()
    except Damaged as error:
        hint = "Open `lmtui chat`: it keeps the file aside and saves what it can."
        raise LmtuiError(
            "the file of the conversations is damaged", f"{file} ({error})", hint
        ) from error


def load(which: str) -> Loaded:
    """The conversation of an id, or the one used last.

    Raises:
        LmtuiError: there is none.
    """
    with reading() as store:
        id_ = store.last() if store and which == "last" else None
        if which != "last":
            try:
                id_ = int(which)
            except ValueError:
                raise LmtuiError(
                    "this is not a conversation number", which,
                    "Give one from `lmtui history list`, or last.",
                ) from None  # fmt: skip
        if store is None or id_ is None:
            raise LmtuiError(
                "there is no conversation yet", "", "Start one with `lmtui chat`."
            )
        return store.load(id_)


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
