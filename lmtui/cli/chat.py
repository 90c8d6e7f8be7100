"""`lmtui chat`: open the chat screen, or answer one prompt in the shell.

Knows the engine only through its protocol; `cli.generation` writes the answer.
"""

from __future__ import annotations

import secrets
from collections.abc import Generator, Iterable
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from threading import Event
from typing import TYPE_CHECKING, Annotated

import typer

from lmtui.chat.attachments import attach
from lmtui.chat.conversation import Conversation
from lmtui.chat.excerpts import copy_title
from lmtui.chat.message import ChatMessage
from lmtui.cli import completion, options
from lmtui.cli.engine import engine_for, storage_error
from lmtui.cli.errors import note, stop_on_interrupt
from lmtui.cli.generation import AnswerView, JsonAnswerView, TextView, write
from lmtui.cli.history import load
from lmtui.cli.output import (
    STDIN,
    Output,
    read_document,
    read_stdin,
    require_text,
    stdin_is_terminal,
)
from lmtui.cli.progress import meter
from lmtui.cli.screen import is_interactive, open_screen
from lmtui.config.presets import preset_named
from lmtui.config.settings import THINKING, Origin, Settings
from lmtui.engine.drop_turns import dropped, fitted
from lmtui.engine.protocol import Engine
from lmtui.engine.types import (
    ChatTurn,
    GenerationResult,
    Prompt,
    SamplingSettings,
    Step,
)
from lmtui.errors import LmtuiError
from lmtui.models import inventory
from lmtui.models.source import named
from lmtui.text import visible

if TYPE_CHECKING:
    from lmtui.chat.store import Store
    from lmtui.chat.summary import StoredConversation
    from lmtui.chat.writer import ConversationWriter, WriterEvent

PresetName = Annotated[
    str | None,
    typer.Option(
        "--preset",
        metavar="NAME",
        help="Begin with a preset of config.toml: its system prompt and its sampling. "
        "Other flags override it; it overrides all other settings.",
        show_default=False,
        autocompletion=completion.presets,
    ),
]

_HINT = "Name another model with --model to resume with it."
BASE_MODEL = "note: base model: no chat template, using the plain format\n"
NO_SWITCH = "note: this model's chat template has no switch for thinking\n"


def under(settings: Settings, name: str | None) -> tuple[Settings, str]:
    """Return the settings with a preset applied, and its system prompt or "".

    Flags override the preset.

    Raises:
        LmtuiError: there is no preset of that name.
    """
    if name is None:
        return settings, ""
    preset = preset_named(settings.presets, name)
    values = {
        key: value
        for key, value in preset.sampling.items()
        if settings.origin(key).source != "flag"
    }
    origin = Origin("flag", f"--preset {name}")
    origins = {**settings.origins, **dict.fromkeys(values, origin)}
    changed = replace(settings.changed(values), origins=origins)
    return changed, preset.system or ""


def with_own_model(
    settings: Settings, before: StoredConversation | None
) -> tuple[Settings, LmtuiError | None]:
    """Return the settings with a conversation's model, and an error if it is missing.

    A flag for the model or the adapter overrides it.
    """
    from lmtui.chat.conversation import model_of

    label = model_of(before.conversation) if before else None
    given = {settings.origin(name).source for name in ("model", "adapter")}
    if label is None or "flag" in given:
        return settings, None
    own, origin = named(label), Origin("flag", "--resume")
    origins = {**settings.origins, "model": origin, "adapter": origin}
    settings = replace(settings, model=own.model, adapter=own.adapter, origins=origins)
    return settings, None if inventory.is_local(own) else inventory.missing_model(
        label, _HINT
    )


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
        thinking_override: str | None = None,
    ) -> None:
        """`thinking` applies where the conversation has no setting of its own;
        `thinking_override` sets it from now on, in the values of `chat.thinking`."""
        self._conversation = before.conversation if before else Conversation(system)
        self._uid = before.about.uid if before else secrets.token_hex(8)
        if before is not None and system:
            self._conversation.reword(0, system)
        self._asked = self._conversation.say(text)
        self.prefill = prefill
        """Text that the answer begins with."""
        self._drop_oldest, self._left_out = drop_oldest, 0
        self._told = thinking_override or (before.about.thinking if before else None)
        self._thinking = THINKING[self._told] if self._told else thinking
        self._reply: ChatMessage | None = None
        self._keeper: ConversationWriter | None = (
            self._made_keeper(before) if keep else None
        )

    @property
    def messages(self) -> tuple[ChatTurn, ...]:
        """Messages that the model answers to."""
        return self._conversation.messages(self._asked.id)

    def lay_out(self, engine: Engine, sampling: SamplingSettings) -> Prompt:
        """Return the prompt; with `drop_oldest`, without the oldest messages if needed.

        The number of messages left out is reported on stderr.
        """
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
                self._conversation.fail(id_)
                self._keep()

    def close(self) -> None:
        """Write pending changes to the disk."""
        if self._keeper is not None:
            self._keeper.close()

    def _keep(self, tried: Event | None = None) -> None:
        if self._keeper is not None:
            changes = replace(self._conversation.take_changes(), thinking=self._told)
            self._keeper.write(self._uid, changes, then=tried.set if tried else None)

    def _entitle(self, store: Store) -> None:
        """Give a copy a title that tells it from the original."""
        id_ = store.find(self._uid)
        store.rename(id_, copy_title(store.load(id_).about.title))

    def _made_keeper(self, before: StoredConversation | None) -> ConversationWriter:
        from lmtui.chat.store import default_file
        from lmtui.chat.writer import ConversationWriter

        keeper = ConversationWriter(default_file(), self._tell)
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
            self._uid = secrets.token_hex(8)
            whole = replace(self._conversation.whole(), thinking=self._told)
            self._keeper.write(self._uid, whole)
            self._keeper.ask(self._entitle, _ignore, _ignore)
            note(
                "note: the conversation has changed elsewhere; this is saved as a "
                "copy\n"
            )


def _ignore(_: object) -> None:
    """Do nothing: the copy is saved, whether renaming it succeeds or not."""


@dataclass(frozen=True, slots=True)
class ChatRequest:
    """Request of the command line: the prompt, the system prompt, the prefill."""

    text: str
    system: str = ""
    prefill: str = ""


Once = Annotated[
    str | None,
    typer.Option(
        metavar="TEXT|-",
        help="Answer this prompt and exit; - reads it from stdin. @FILE in TEXT "
        "attaches that file.",
    ),
]
System = Annotated[
    str,
    typer.Option(
        metavar="TEXT|@FILE", help="The system prompt; @FILE takes it from a file."
    ),
]
Prefill = Annotated[
    str,
    typer.Option(
        metavar="TEXT",
        help="Begin the answer with exactly this text. The printed answer includes it; "
        "the JSON tokens come after it.",
    ),
]
Resume = Annotated[
    str | None,
    typer.Option(
        metavar="ID|last",
        help="Resume a saved conversation, with its model: a number from "
        "`lmtui history list`, or last.",
        show_default=False,
        autocompletion=completion.conversations,
    ),
]
Think = Annotated[
    bool | None,
    typer.Option(
        "--think/--no-think",
        help="Whether a model that can think before it answers is told to; saved with "
        "the conversation. Without this flag the conversation decides, or the setting "
        "chat.thinking.",
        show_default=False,
    ),
]
Top = Annotated[
    int,
    typer.Option(min=0, metavar="N", help="Alternatives shown with each JSON token."),
]


@options.with_settings(*options.MODEL, *options.SAMPLING, "theme")
def chat(
    ctx: typer.Context,
    *,
    once: Once = None,
    system: System = "",
    preset: PresetName = None,
    resume: Resume = None,
    prefill: Prefill = "",
    think: Think = None,
    json: options.Json = False,
    top: Top = 10,
    no_color: options.NoColor = False,
) -> None:
    """Talk to the model and watch every word being chosen.

    On a terminal this opens a screen (F1 there shows the keys). With --once TEXT, or
    with the prompt on stdin (without its last newline), the answer is printed while it
    is generated, and ends with a newline. A terminal shows control characters in the
    answer instead of obeying them; a pipe gets them unchanged. Ctrl-C stops the answer;
    a second Ctrl-C exits at once.

    A word such as @notes.md, or @"two words.md", in the text of --once attaches that
    file, as on the screen: it is quoted in full below the text. A word that is not a
    path and names no file stays as it is; @@ stands for @. Text from stdin never
    attaches a file.

    Conversations are saved, those with --once too, and listed by `lmtui history`. With
    the setting chat.keep = false, or LMTUI_CHAT_KEEP=false, nothing is saved.

    \b
    Examples:
      lmtui chat
      lmtui chat --once "What is the capital of France?"
      lmtui chat --once "Summarise @notes.md"
      echo "Write a haiku about rain" | lmtui chat --temperature 1.2 --seed 7
      lmtui chat --once "Name three rivers." --prefill "1. The Rhine" --json
      lmtui chat --preset pirate
      lmtui chat --resume last
      lmtui chat --resume last --once "And of Spain?"
      lmtui chat --adapter notes --once "When is the next meeting?"
      lmtui chat --system @pirate.txt --once - < question.txt
      lmtui chat --model qwen3-0.6b --no-think --once "17 times 23?"
    """
    told = {None: None, True: "on", False: "off"}[think]
    settings, begins = under(options.settings(ctx, chat_thinking=told), preset)
    on_screen = once is None and not json and not prefill and is_interactive()
    request = None if on_screen else read_request(once, system=system, prefill=prefill)
    before = load(resume) if resume else None
    settings, missing = with_own_model(resumed(settings, before), before)
    if request is None:
        system = read_system(system) or begins
        if before is not None and system:
            before.conversation.reword(0, system)
        open_screen(
            settings,
            first="chat",
            system=system,
            opened=before,
            missing=missing,
            no_color=no_color,
            open_engine=ctx.obj,
        )
        return
    if missing is not None:
        raise missing
    unkept = storage_error() if settings.chat.keep else None
    engine = engine_for(ctx, settings, says_unkept=unkept is None)
    output = Output()
    if unkept is not None:
        note(f"note: not saved: {visible(str(unkept))}\n")
    view = JsonAnswerView(output, top) if json else TextView(output)
    if not engine.info.has_template:
        note(BASE_MODEL)
    if think is not None and not engine.info.switches_thinking:
        note(NO_SWITCH)
    talk = Talk(
        request.text,
        system=request.system or begins,
        prefill=request.prefill,
        before=before,
        keep=settings.chat.keep and unkept is None,
        drop_oldest=settings.chat.drops_oldest,
        thinking=settings.chat.tells_thinking,
        thinking_override=told,
    )
    try:
        raise typer.Exit(answer(engine, talk, seeded(settings.sampling), view=view))
    finally:
        talk.close()


def resumed(settings: Settings, before: StoredConversation | None) -> Settings:
    """Return the settings with the sampling of a conversation's last answer.

    Flags override it; the seed is not taken over.
    """
    drawn = before.conversation.path[-1].settings if before else None
    if drawn is None:
        return settings
    values = {
        name: getattr(drawn, name)
        for name in drawn.__slots__
        if settings.origin(name).source != "flag" and name != "seed"
    }
    return settings.changed(values)


def read_request(once: str | None, *, system: str, prefill: str) -> ChatRequest:
    """Return the request from the command line and stdin.

    `@FILE` attaches files in an argument only: text from stdin may be anyone's.

    Raises:
        LmtuiError: there is no prompt, or a text or a file can't be read.
    """
    if once is None and stdin_is_terminal():
        raise LmtuiError(
            "there is no prompt", "", "Give it with --once TEXT, or pipe it in."
        )
    if once is None or once == STDIN:
        text = _from_stdin()
    else:
        text = attach(require_text(once, "--once"), Path()).text
    if not text.strip():
        raise LmtuiError("the prompt is empty", "", "Give it some text to answer.")
    return ChatRequest(text, read_system(system), require_text(prefill, "--prefill"))


def read_system(system: str) -> str:
    """Return the system prompt, read from a file for `@FILE`."""
    if system.startswith("@"):
        return read_document(system[1:]).text
    return require_text(system, "--system")


def _from_stdin() -> str:
    return read_stdin().removesuffix("\n").removesuffix("\r")


def seeded(sampling: SamplingSettings) -> SamplingSettings:
    """Return `sampling` with a seed, so that every answer can be reproduced.

    The seed has 32 bits, which every JSON reader holds exactly.
    """
    if sampling.seed is not None:
        return sampling
    return replace(sampling, seed=secrets.randbits(32))


def answer(
    engine: Engine, talk: Talk, sampling: SamplingSettings, *, view: AnswerView
) -> int:
    """Generate an answer into `view`; return the exit code.

    Nothing is written before the first item arrives: if the prompt does not fit, stdout
    stays empty.
    """
    prompt = talk.lay_out(engine, sampling)
    with stop_on_interrupt() as stop, meter("reading the prompt") as progress:
        talk.begin(prompt, engine.info.label, sampling)
        items = talk.recorded(
            engine.generate(
                prompt,
                sampling,
                top_n=max(1, view.top),
                should_stop=stop,
                progress=progress,
            )
        )
        with closing(items):
            first = next(items)
            progress.clear()
            view.start(engine.info, prompt, talk.prefill, sampling)
            return write(first, items, view)
