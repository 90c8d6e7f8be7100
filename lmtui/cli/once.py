"""`lmtui chat --once`: answer one prompt in the shell, and save the conversation.

Knows the engine only through its protocol; `cli.generation` writes the answer.
"""

from __future__ import annotations

from collections.abc import Generator, Iterable
from contextlib import closing
from dataclasses import replace
from functools import partial
from pathlib import Path
from threading import Event
from typing import TYPE_CHECKING

from lmtui.chat.attachments import attach
from lmtui.chat.conversation import Conversation, new_uid
from lmtui.chat.excerpts import copy_title
from lmtui.chat.message import ChatMessage
from lmtui.cli.errors import cancel_on_interrupt, note
from lmtui.cli.generation import AnswerView, applied, seeded, start_event, write
from lmtui.cli.output import STDIN, read_stdin, require_text, stdin_is_terminal
from lmtui.cli.progress import meter
from lmtui.engine.protocol import Engine
from lmtui.engine.sampling_settings import SamplingSettings
from lmtui.engine.text.drop_turns import dropped, fitted
from lmtui.engine.types import GenerationResult, Prompt, Step
from lmtui.errors import LmtuiError
from lmtui.text import visible

if TYPE_CHECKING:
    from lmtui.chat.store import Store
    from lmtui.chat.summary import StoredConversation
    from lmtui.chat.writer import ConversationWriter, WriterEvent

_BASE_MODEL = "note: base model: no chat template, using the plain format\n"
_NO_SWITCH = "note: this model's chat template has no switch for thinking\n"


class Talk:
    """Conversation of one request: earlier messages, the new one, and the answer.

    With `keep`, every change is saved as it happens.
    """

    def __init__(
        self,
        text: str,
        *,
        system: str = "",
        prefill: str = "",
        before: StoredConversation | None = None,
        keep: bool = False,
        drop_oldest: bool = False,
        thinking: bool | None = None,
    ) -> None:
        self._conversation = before.conversation if before else Conversation(system)
        self._uid = before.about.uid if before else new_uid()
        if before is not None and system:
            self._conversation.reword(0, system)
        self._asked = self._conversation.say(text)
        self.prefill = prefill
        """Text that the answer begins with."""
        self._drop_oldest, self._left_out = drop_oldest, 0
        self._told = before.about.thinking if before else None
        self._thinking = thinking
        self._reply: ChatMessage | None = None
        self._keeper: ConversationWriter | None = (
            self._made_keeper(before) if keep else None
        )

    def lay_out(self, engine: Engine, sampling: SamplingSettings) -> Prompt:
        """Return the prompt; with `drop_oldest`, without the oldest messages if needed.

        The number of messages left out is reported on stderr.
        """
        messages = self._conversation.messages(self._asked.id, model=engine.info.label)
        if not self._drop_oldest:
            prompt = engine.prompt(
                messages, prefill=self.prefill, thinking=self._thinking
            )
            self._left_out = dropped(messages, prompt)
        else:
            prompt, self._left_out = fitted(
                engine,
                messages,
                prefill=self.prefill,
                thinking=self._thinking,
                answer=sampling.max_tokens,
            )
        if self._left_out:
            many = "message is" if self._left_out == 1 else "messages are"
            note(f"note: {self._left_out:,} earlier {many} left out\n")
        return prompt

    def begin(self, prompt: Prompt, model: str, sampling: SamplingSettings) -> None:
        """Add the answer to the conversation, and wait until the request is saved."""
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

    def recorded(
        self, items: Iterable[Step | GenerationResult]
    ) -> Generator[Step | GenerationResult, None, None]:
        """Yield the items of a generation, each saved before it is passed on."""
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
                self._conversation.break_off(id_, "failed")
                self._keep()

    def close(self) -> None:
        """Write pending changes to the disk."""
        if self._keeper is not None:
            self._keeper.close()

    def _keep(self, tried: Event | None = None) -> None:
        if self._keeper is not None:
            changes = self._conversation.take_changes()
            self._keeper.write(self._uid, changes, then=tried.set if tried else None)

    def _entitle(self, store: Store) -> None:
        """Give a copy a title that tells it from the original."""
        id_ = store.find(self._uid)
        store.rename(id_, copy_title(store.load(id_).about.title))

    def _made_keeper(self, before: StoredConversation | None) -> ConversationWriter:
        from lmtui import paths
        from lmtui.chat.writer import ConversationWriter

        keeper = ConversationWriter(paths.chats_file(), self._tell)
        if before is not None:
            keeper.know(self._uid, before.about.touched)
        return keeper

    def _tell(self, fact: WriterEvent) -> None:
        from lmtui.chat.writer import ChangedByOther, FileReplaced, WriteFailed

        if isinstance(fact, WriteFailed):
            note(f"note: not saved: {visible(str(fact.error))}\n")
        elif isinstance(fact, FileReplaced):
            note(f"note: {visible(fact.salvaged.words)}\n")
        elif isinstance(fact, ChangedByOther) and self._keeper is not None:
            self._uid = new_uid()

            def ignore(_: object) -> None:
                """The copy is saved, whether renaming it succeeds or not."""

            whole = replace(self._conversation.whole(), thinking=self._told)
            entitle = partial(self._keeper.ask, self._entitle, ignore, ignore)
            self._keeper.write(self._uid, whole, then=entitle)
            note(
                "note: the conversation has changed elsewhere; this is saved as a "
                "copy\n"
            )


def read_prompt(once: str | None) -> str:
    """Return the prompt from the command line or stdin.

    `@FILE` attaches files in an argument only: text from stdin may be anyone's.
    """
    if once is None and stdin_is_terminal():
        raise LmtuiError(
            "there is no prompt", "", "Give it with --once TEXT, or pipe it in."
        )
    if once is None or once == STDIN:
        text = read_stdin().removesuffix("\n").removesuffix("\r")
    else:
        text = attach(require_text(once, "--once"), Path()).text
    if not text.strip():
        raise LmtuiError("the prompt is empty", "", "Give it some text to answer.")
    return text


def answer_once(
    engine: Engine,
    talk: Talk,
    sampling: SamplingSettings,
    *,
    view: AnswerView,
    switches: bool,
) -> int:
    """Answer with a seed, and have the conversation on the disk; return the exit code.

    What the model can't do is said first; `switches` says that the user has switched
    thinking on or off.
    """
    if not engine.info.has_template:
        note(_BASE_MODEL)
    if switches and not engine.info.switches_thinking:
        note(_NO_SWITCH)
    try:
        return answer(engine, talk, seeded(sampling), view=view)
    finally:
        talk.close()


def answer(
    engine: Engine, talk: Talk, sampling: SamplingSettings, *, view: AnswerView
) -> int:
    """Generate an answer into `view`; return the exit code.

    Nothing is written before the first item arrives: if the prompt does not fit, stdout
    stays empty, and nothing is stored.
    """
    prompt = talk.lay_out(engine, sampling)
    with cancel_on_interrupt(), meter("reading the prompt") as progress:
        top_n = max(1, view.top)
        drawn = engine.generate(prompt, sampling, top_n=top_n, progress=progress)
        talk.begin(prompt, engine.info.label, sampling)
        with closing(talk.recorded(drawn)) as items:
            first = next(items)
            progress.clear()
            used = applied(engine, first, sampling)
            begun = {"prefill": talk.prefill}
            start = partial(start_event, engine.info, prompt.ids or None, begun, used)
            view.start(talk.prefill, start)
            return write(first, items, view)
