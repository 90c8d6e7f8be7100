"""A turn of a conversation in the shell, kept while it is had.

Owns the conversation that a request continues or begins, and when what of it is on the
disk. A store that can't be used is said and costs no answer. Knows the engine only
through its port.
"""

from __future__ import annotations

import secrets
from collections.abc import Generator, Iterable
from dataclasses import replace
from threading import Event
from typing import TYPE_CHECKING

from lmtui.chat.node import Node
from lmtui.chat.titles import copy_title
from lmtui.chat.tree import Conversation
from lmtui.cli.edge import note
from lmtui.engine.fitting import dropped, fitted
from lmtui.engine.port import Engine
from lmtui.engine.types import Finish, Message, Prompt, SamplingSettings, Step
from lmtui.sections.chat import THINKING
from lmtui.text import visible

if TYPE_CHECKING:
    from lmtui.chat.keeper import Fact, Keeper
    from lmtui.chat.listed import Loaded
    from lmtui.chat.store import Store


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
        drop_oldest: bool = False,
        thinking: bool | None = None,
        told: str | None = None,
    ) -> None:
        """`thinking` is what holds where the conversation has nothing of its own;
        `told` is that from now on, as `chat.thinking` has it."""
        self._conversation = before.conversation if before else Conversation(system)
        self._uid = before.about.uid if before else secrets.token_hex(8)
        if before is not None and system:
            self._conversation.reword(0, system)
        self._asked = self._conversation.say(text)
        self.prefill = prefill
        """What the answer begins with."""
        self._drop_oldest, self._left_out = drop_oldest, 0
        self._told = told or (before.about.thinking if before else None)
        self._thinking = THINKING[self._told] if self._told else thinking
        self._reply: Node | None = None
        self._keeper: Keeper | None = self._made_keeper(before) if keep else None

    @property
    def messages(self) -> tuple[Message, ...]:
        """What the model answers to."""
        return self._conversation.messages(self._asked.id)

    def lay_out(self, engine: Engine, sampling: SamplingSettings) -> Prompt:
        """What the model reads; with `drop_oldest` without the turns that do not fit.
        How many messages are not in it is noted."""
        if not self._drop_oldest:
            prompt = engine.prompt(
                self.messages, prefill=self.prefill, thinking=self._thinking
            )
            self._left_out = dropped(self.messages, prompt)
        else:
            prompt, self._left_out = fitted(
                engine,
                self.messages,
                prefill=self.prefill,
                thinking=self._thinking,
                answer=sampling.max_tokens,
            )
        if self._left_out:
            many = "message is" if self._left_out == 1 else "messages are"
            note(f"note: {self._left_out:,} earlier {many} left out\n")
        return prompt

    def begin(self, prompt: Prompt, model: str, sampling: SamplingSettings) -> None:
        """The model is about to see this; wait until it is on the disk."""
        reply = self._conversation.reply(
            self._asked.id, model=model, settings=sampling, prefill=self.prefill
        )
        self._reply = self._conversation.lay_out(
            reply.id, prompt, left_out=self._left_out
        )
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
            changes = replace(self._conversation.take_changes(), thinking=self._told)
            self._keeper.keep(self._uid, changes, then=tried.set if tried else None)

    def _entitle(self, store: Store) -> None:
        """Tell a copy from what it is one of."""
        id_ = store.find(self._uid)
        store.rename(id_, copy_title(store.load(id_).about.title))

    def _made_keeper(self, before: Loaded | None) -> Keeper:
        from lmtui.chat.keeper import Keeper
        from lmtui.chat.store import default_file

        keeper = Keeper(default_file(), self._tell)
        if before is not None:
            keeper.know(self._uid, before.about.touched)
        return keeper

    def _tell(self, fact: Fact) -> None:
        from lmtui.chat.keeper import ChangedElsewhere, KeepFailed, StoreReplaced

        if isinstance(fact, KeepFailed):
            note(f"note: not saved: {visible(str(fact.error))}\n")
        elif isinstance(fact, StoreReplaced):
            note(f"note: {visible(fact.salvaged.words)}\n")
        elif isinstance(fact, ChangedElsewhere) and self._keeper is not None:
            self._uid = secrets.token_hex(8)
            whole = replace(self._conversation.whole(), thinking=self._told)
            self._keeper.keep(self._uid, whole)
            self._keeper.ask(self._entitle, _ignore, _ignore)
            note(
                "note: the conversation has changed elsewhere; this is saved as a "
                "copy\n"
            )


def _ignore(_: object) -> None:
    """A copy is kept whether it has its title or not."""
