"""`lmtui chat`: an answer in the shell, token by token.

Owns what a request is and how an answer ends. Knows the engine only through its
port; how an answer is written is its view's affair.
"""

from __future__ import annotations

import secrets
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lmtui.chat.attachments import attach
from lmtui.cli import completion, options
from lmtui.cli.answers import JsonView, TextView, View, write
from lmtui.cli.edge import note
from lmtui.cli.interrupt import stop_on_interrupt
from lmtui.cli.loading import engine_for, why_nothing_is_kept
from lmtui.cli.meter import meter
from lmtui.cli.output import Output, stdin_is_terminal
from lmtui.cli.presets import PresetName, under
from lmtui.cli.reading import STDIN, read_document, read_stdin, require_text
from lmtui.cli.screen import is_interactive, open_screen
from lmtui.cli.stored import load
from lmtui.cli.talking import Talk
from lmtui.cli.whose import with_own_model
from lmtui.engine.port import Engine
from lmtui.engine.types import SamplingSettings
from lmtui.errors import LmtuiError
from lmtui.settings import Settings
from lmtui.text import visible

if TYPE_CHECKING:
    from lmtui.chat.listed import Loaded

BASE_MODEL = "note: base model: no chat template, using the plain format\n"
NO_SWITCH = "note: this model's chat template has no switch for thinking\n"


@dataclass(frozen=True, slots=True)
class Request:
    """What the user asks for."""

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


def chat(  # size: a line for each of its flags
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
    model: options.Model = None,
    adapter: options.Adapter = None,
    device: options.Device = None,
    dtype: options.Dtype = None,
    quantize: options.Quantize = None,
    threads: options.Threads = None,
    context: options.Context = None,
    theme: options.Theme = None,
    no_color: options.NoColor = False,
    temperature: options.Temperature = None,
    top_k: options.TopK = None,
    top_p: options.TopP = None,
    min_p: options.MinP = None,
    repetition_penalty: options.RepetitionPenalty = None,
    seed: options.Seed = None,
    max_tokens: options.MaxTokens = None,
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
    unkept = why_nothing_is_kept() if settings.chat_keep else None
    engine = engine_for(ctx, settings, says_unkept=unkept is None)
    output = Output()
    if unkept is not None:
        note(f"note: not kept: {visible(str(unkept))}\n")
    view = JsonView(output, top) if json else TextView(output)
    if not engine.info.has_template:
        note(BASE_MODEL)
    if think is not None and not engine.info.switches_thinking:
        note(NO_SWITCH)
    talk = Talk(
        request.text,
        system=request.system or begins,
        prefill=request.prefill,
        before=before,
        keep=settings.chat_keep and unkept is None,
        drop_oldest=settings.chat_when_full == "drop",
        thinking=settings.thinking,
        told=told,
    )
    try:
        raise typer.Exit(answer(engine, talk, seeded(settings.sampling), view=view))
    finally:
        talk.close()


def resumed(settings: Settings, before: Loaded | None) -> Settings:
    """The settings with the sampling of a conversation's last answer, but for what a
    flag says."""
    drawn = before.conversation.path[-1].settings if before else None
    if drawn is None:
        return settings
    values = {
        name: getattr(drawn, name)
        for name in drawn.__slots__
        if settings.origin(name).source != "flag" and name != "seed"
    }
    return replace(settings, **values)


def read_request(once: str | None, *, system: str, prefill: str) -> Request:
    """The request as the command line and stdin state it.

    Files are named in an argument only: what is piped in may be anyone's words.

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
    return Request(text, read_system(system), require_text(prefill, "--prefill"))


def read_system(system: str) -> str:
    """The system prompt, read from its file where it names one."""
    if system.startswith("@"):
        return read_document(system[1:]).text
    return require_text(system, "--system")


def _from_stdin() -> str:
    return read_stdin().removesuffix("\n").removesuffix("\r")


def seeded(sampling: SamplingSettings) -> SamplingSettings:
    """`sampling` with a seed, so that any answer can be had again.

    32 bits: every JSON reader holds them exactly.
    """
    if sampling.seed is not None:
        return sampling
    return replace(sampling, seed=secrets.randbits(32))


def answer(
    engine: Engine, talk: Talk, sampling: SamplingSettings, *, view: View
) -> int:
    """Let the engine answer into `view`; the exit code.

    The first item is waited for before anything is written: a prompt that does not
    fit leaves stdout empty.
    """
    prompt = talk.lay_out(engine, sampling)
    with stop_on_interrupt() as stop, meter("reading the prompt") as progress:
        talk.begin(prompt, engine.info.label, sampling)
        items = talk.kept(
            engine.generate(
                prompt, sampling, top=max(1, view.top), stop=stop, progress=progress
            )
        )
        with closing(items):
            first = next(items)
            progress.clear()
            view.start(engine.info, prompt, talk.prefill, sampling)
            return write(first, items, view)
