"""A turn of a conversation in the shell, kept while it is had.

Owns the conversation that a request continues or begins, and when what of it is on the
disk. A store that can't be used is said and costs no answer. Knows the engine only
through its port.
"""

from __future__ import annotations

import secrets
from collections.abc import Generator, Iterable
from threading import Event
from typing import TYPE_CHECKING

from lmtui.chat.node import Node
from lmtui.chat.tree import Conversation
from lmtui.cli.edge import note
from lmtui.engine.types import Finish, Message, Prompt, SamplingSettings, Step
from lmtui.text import visible

if TYPE_CHECKING:
    from lmtui.chat.keeper import Fact, Keeper
    from lmtui.chat.listed import Loaded


class Talk:
    """What was said before, what is asked now, and the answer as it grows."""

    def __init__(
        self,
        text: str,
        *,
        system: str = "",
        prefill: str = "",
        before: Loaded | None = None,
        keep: bool = False,
    ) -> None:
        self._conversation = before.conversation if before else Conversation(system)
        self._uid = before.about.uid if before else secrets.token_hex(8)
        if before is not None and system:
            self._conversation.reword(0, system)
        self._asked = self._conversation.say(text)
        self.prefill = prefill
        """What the answer begins with."""
        self._reply: Node | None = None
        self._keeper: Keeper | None = _keeper() if keep else None

    @property
    def messages(self) -> tuple[Message, ...]:
        """What the model answers to."""
        return self._conversation.messages(self._asked.id)

    def begin(self, prompt: Prompt, model: str, sampling: SamplingSettings) -> None:
        """The model is about to see this; wait until it is on the disk."""
        reply = self._conversation.reply(
            self._asked.id, model=model, settings=sampling, prefill=self.prefill
        )
        self._reply = self._conversation.lay_out(reply.id, prompt)
        tried = Event()
        self._keep(tried)
        if self._keeper is not None:
            tried.wait()

    def kept(
        self, items: Iterable[Step | Finish]
    ) -> Generator[Step | Finish, None, None]:
        """The items of a generation, each kept as it passes."""
        assert self._reply is not None
        id_ = self._reply.id
        try:
            for item in items:
                if isinstance(item, Step):
                    self._conversation.grow(id_, [item])
                else:
                    self._conversation.finish(id_, item)
                self._keep()
                yield item
        finally:
            if self._conversation.node(id_).state == "growing":
                self._conversation.fail(id_)
                self._keep()

    def close(self) -> None:
        """Let what is held reach the disk."""
        if self._keeper is not None:
            self._keeper.close()

    def _keep(self, tried: Event | None = None) -> None:
        if self._keeper is not None:
            changes = self._conversation.take_changes()
            self._keeper.keep(self._uid, changes, then=tried.set if tried else None)


def _keeper() -> Keeper:
    from lmtui.chat.keeper import Keeper
    from lmtui.chat.store import default_file

    return Keeper(default_file(), _tell)


def _tell(fact: Fact) -> None:
    from lmtui.chat.keeper import KeepFailed, StoreReplaced

    if isinstance(fact, KeepFailed):
        note(f"note: not kept: {visible(str(fact.error))}\n")
    elif isinstance(fact, StoreReplaced):
        note(f"note: {visible(fact.salvaged.words)}\n")
