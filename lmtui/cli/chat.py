"""`lmtui chat`: open the chat screen, or answer one prompt in the shell.

The shell's answer is made in `cli.once`, which the screen does not import.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from lmtui.cli import completion, options
from lmtui.cli.engine import engine_for
from lmtui.cli.grammar import GrammarFile, Regex, Schema, grammar_setting
from lmtui.cli.output import read_system, require_text
from lmtui.cli.screen import is_interactive, open_screen
from lmtui.config.presets import preset_named
from lmtui.config.settings import THINKING, Origin, Settings
from lmtui.errors import LmtuiError
from lmtui.models.source import named

if TYPE_CHECKING:
    from lmtui.chat.summary import StoredConversation

PresetName = Annotated[
    str | None,
    typer.Option(
        "--preset",
        metavar="NAME",
        help="Begin with a preset of config.toml: its system prompt and its sampling. "
        "Other flags override it; it overrides all other settings.",
        autocompletion=completion.presets,
    ),
]

_HINT = "Name another model with --model to resume with it."


def under(settings: Settings, name: str | None) -> tuple[Settings, str]:
    """Return the settings with a preset applied, and its system prompt or "".

    Flags override the preset.
    """
    if name is None:
        return settings, ""
    preset = preset_named(settings.presets, name)
    origin = Origin("flag", f"--preset {name}")
    return settings.under_flags(preset.sampling, origin), preset.system or ""


def with_own_model(
    settings: Settings, before: StoredConversation | None
) -> tuple[Settings, LmtuiError | None]:
    """Return the settings with a conversation's model, and an error if it is missing.

    A flag for the model or the adapter overrides it.
    """
    given = {settings.origin(name).source for name in ("model", "adapter")}
    if before is None or "flag" in given:
        return settings, None
    from lmtui.chat.conversation import model_of
    from lmtui.models import inventory

    if (label := model_of(before.conversation)) is None:
        return settings, None
    own = named(label)
    values = {"model": own.model, "adapter": own.adapter}
    settings = settings.under_flags(values, Origin("flag", "--resume"))
    # A name that is now a server's is not the model of that time.
    if own.model not in settings.servers and inventory.is_local(own):
        return settings, None
    return settings, inventory.missing_model(label, _HINT)


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
        autocompletion=completion.conversations,
    ),
]
Think = Annotated[
    bool | None,
    typer.Option(
        "--think/--no-think",
        help="Tell a model that can think before it answers to do so, or not to; saved "
        "with a conversation on the screen. Without this flag, the conversation's own "
        "choice counts, or else the setting chat.thinking.",
    ),
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
    schema: Schema = None,
    regex: Regex = None,
    grammar: GrammarFile = None,
    json: options.Json = False,
    top: options.Top = 10,
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

    Conversations are saved, those with --once too, and listed by `lmtui history`, but
    not a request that does not fit or that its settings forbid. With the setting
    chat.keep = false, or LMTUI_CHAT_KEEP=false, nothing is saved. Flags count for this
    run: a conversation that is resumed goes on with the program's settings.

    \b
    Examples:
      lmtui chat
      lmtui chat --once "What is the capital of Japan?"
      lmtui chat --once "Summarise @notes.md"
      echo "Write a haiku about rain" | lmtui chat --temperature 1.2 --seed 7
      lmtui chat --once "Name three rivers." --prefill "1. The Rhine" --json
      lmtui chat --once "Describe Anna, 31." --schema person.json
      lmtui chat --once "When did it begin?" --regex "[0-9]{4}"
      lmtui chat --preset pirate
      lmtui chat --resume last
      lmtui chat --resume last --once "And of Spain?"
      lmtui chat --adapter notes --once "When is the next meeting?"
      lmtui chat --system @pirate.txt --once - < question.txt
      lmtui chat --model qwen3.5-2b --no-think --once "17 times 23?"
    """
    told = {None: None, True: "on", False: "off"}[think]
    follows = grammar_setting(schema, regex, grammar)
    given = options.settings(ctx, chat_thinking=told, grammar=follows)
    settings, begins = under(given, preset)
    on_screen = once is None and not json and not prefill and is_interactive()
    if not on_screen:
        from lmtui.cli.once import read_prompt

        text = read_prompt(once)
    system, prefill = read_system(system) or begins, require_text(prefill, "--prefill")
    before = None
    if resume:
        from lmtui.cli.history import load

        before = load(resume)
    settings, missing = with_own_model(settings, before)
    if on_screen:
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
    from lmtui.cli.generation import view_of
    from lmtui.cli.once import Talk, answer_once

    engine = engine_for(ctx, settings, needs="answers")
    own = before.about.thinking if before and told is None else None
    talk = Talk(
        text,
        system=system,
        prefill=prefill,
        before=before,
        keep=settings.chat.keep,
        drop_oldest=settings.chat.drops_oldest,
        thinking=THINKING[own] if own else settings.chat.thinking_switch,
    )
    code = answer_once(
        engine,
        talk,
        settings.sampling_for(engine.info),
        view=view_of(json=json, top=top),
        switches=think is not None,
    )
    raise typer.Exit(code)
