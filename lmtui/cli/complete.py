"""`lmtui complete`: open the editor, or print a continuation at a cursor with --print.

Never writes to the file. Cursor offsets count code points of the text with `\\n` for
its line ending, which is also what the model reads.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lmtui import state
from lmtui.cli import options
from lmtui.cli.engine import engine_for
from lmtui.cli.errors import cancel_on_interrupt
from lmtui.cli.generation import (
    AnswerView,
    applied,
    seeded,
    start_event,
    view_of,
    write,
)
from lmtui.cli.grammar import GrammarFile, Regex, Schema, grammar_setting
from lmtui.cli.output import STDIN, JsonEvent, read_stdin
from lmtui.cli.progress import meter
from lmtui.cli.screen import is_interactive, keys_from_terminal, open_screen
from lmtui.config.settings import Settings
from lmtui.editing import positions, text_file
from lmtui.editing.context_files import read_context
from lmtui.editing.text_file import TextFile, split_ending
from lmtui.engine.document.types import ContextFile, ContextPart
from lmtui.engine.protocol import Engine
from lmtui.engine.sampling_settings import SamplingSettings
from lmtui.engine.types import EngineInfo
from lmtui.errors import LmtuiError

if TYPE_CHECKING:
    from lmtui.tui.editor.options import Writing

_BOM = "\ufeff"

File = Annotated[str, typer.Argument(metavar="FILE", help="A text file; - is stdin.")]
Print = Annotated[
    bool, typer.Option("--print", help="Print the continuation and exit.")
]
At = Annotated[
    str,
    typer.Option(
        metavar="LINE:COL",
        help="Position of the cursor, counted from 1, columns in characters; unset is "
        "the end of the text for --print, the beginning in the editor.",
    ),
]
SingleLine = Annotated[
    bool, typer.Option("--single-line", help="End at the first newline.")
]
Json = Annotated[
    bool,
    typer.Option("--json", help="Like --print, one JSON object a line, for programs."),
]
With = Annotated[
    list[str] | None,
    typer.Option(
        "--with",
        metavar="PATH",
        help="Another file, or a folder, that the model reads before the text; may be "
        "repeated.",
    ),
]


@options.with_settings(*options.MODEL, *options.SAMPLING, "theme")
def complete(
    ctx: typer.Context,
    *,
    file: File,
    print_: Print = False,
    at: At = "",
    single_line: SingleLine = False,
    with_: With = None,
    schema: Schema = None,
    regex: Regex = None,
    grammar: GrammarFile = None,
    json: Json = False,
    top: options.Top = 10,
    no_color: options.NoColor = False,
) -> None:
    """Write with the model: an editor that shows what it expects next.

    The panel shows the distribution at the cursor; ghost text after the cursor shows
    how the model would continue, and Tab accepts it. F3 shades every word by its
    surprisal, Ctrl+L lists surprises, F7 offers other words, Alt+K lists corrections;
    F1 lists all keys. Only Ctrl+S writes the file; unsaved text survives a crash. A
    text on stdin is opened without a name, which Ctrl+S asks for.

    With --print the most probable continuation is printed while it is generated,
    without the text itself, and ends with a newline; the file is not changed. It stops
    at an end token, after --max-tokens (48, or what the settings say), when the context
    is full, or with --single-line at a newline. A half-typed word is completed. A model
    that can also read the text after the cursor does so. Line endings are read as \\n,
    unless the file mixes them. Ctrl-C stops it; a second Ctrl-C exits at once.

    A flag of the sampler, such as --seed, draws as `chat --once` does, unless
    --temperature 0 is given, too; the first token is drawn without penalties. In the
    editor these flags count for rewritten passages. With a grammar, what is printed
    follows it; with it or logit-bias, no half-typed word is completed.

    \b
    Examples:
      lmtui complete draft.txt
      git diff | lmtui complete -
      lmtui complete main.py --print --at 12:5 --single-line
      lmtui complete tale.txt --print --temperature 0.8 --seed 7
      printf "The capital of Fran" | lmtui complete - --print --max-tokens 8
      printf "Anna, 31, as JSON: " | lmtui complete - --print --schema schema.json
      lmtui complete notes.md --json --top 3
      lmtui complete main.py --with helpers.py --with docs/
    """
    follows = grammar_setting(schema, regex, grammar)
    settings = options.settings(ctx, grammar=follows)
    if not (print_ or json):
        if follows is not None or single_line:
            hint = "Give --print, too; the editor has neither of them."
            raise LmtuiError("a grammar and --single-line need --print", "", hint)
        _open_editor(ctx, settings, file, at, with_ or (), no_color=no_color)
        return
    text, cursor = read_text(file, at)
    context = read_context(with_ or (), Path(file))
    engine, view = engine_for(ctx, settings), view_of(json=json, top=top)
    sampling = replace(sampling_of(settings, engine.info), grammar=follows)
    read = text, cursor, read_first(engine, context, file)
    raise typer.Exit(go_on(engine, sampling, *read, single_line=single_line, view=view))


def read_first(
    engine: Engine, context: Sequence[ContextFile], file: str
) -> Sequence[ContextPart]:
    name = "" if file == STDIN else Path(file).name
    return engine.document.read_with(context, name=name) if context else ()


def _most_tokens(settings: Settings) -> int:
    by_flag = settings.origin("max_tokens").source == "flag"
    return (settings.sampling if by_flag else settings.suggestions).max_tokens


def sampling_of(settings: Settings, info: EngineInfo) -> SamplingSettings:
    """Return how a continuation is printed: as `chat --once` draws where a flag of the
    sampler says how, else the most probable tokens."""
    names = (name for name in options.SAMPLING if name != "max_tokens")
    drawn = any(settings.origin(name).source == "flag" for name in names)
    greedy = SamplingSettings(temperature=0, seed=0)
    sampling = seeded(settings.sampling_for(info)) if drawn else greedy
    return replace(sampling, max_tokens=_most_tokens(settings))


def _open_editor(
    context: typer.Context,
    settings: Settings,
    file: str,
    at: str,
    with_: Sequence[str],
    *,
    no_color: bool,
) -> None:
    settings = settings.changed({"ghost_tokens": _most_tokens(settings)})
    writing = read_writing(file, at, settings, with_=with_)
    open_screen(
        settings,
        first="complete",
        writing=writing,
        no_color=no_color,
        open_engine=context.obj,
    )


def read_text(file: str, at: str = "") -> tuple[str, int]:
    """Return the text and the cursor that the command line names."""
    position = positions.parsed(at) if at else None
    if file == STDIN:
        text = split_ending(read_stdin().removeprefix(_BOM))[0]
    elif (read := text_file.load(file)).is_new:
        hint = "Check the path; - reads stdin."
        raise LmtuiError("there is no such file", file, hint)
    else:
        text = read.text
    return text, positions.nearest_offset(text, *position) if position else len(text)


def read_writing(
    name: str,
    at: str,
    settings: Settings,
    *,
    with_: Sequence[str] = (),
) -> Writing:
    """Return the editor's options for the named file, which may not exist yet, or for
    the text on stdin. `with_` names other files and folders that the model reads
    first."""
    position = positions.parsed(at) if at else (1, 1)
    if name == STDIN:
        with keys_from_terminal():
            file = text_file.piped(read_stdin().encode())
    elif not is_interactive():
        raise LmtuiError("the editor needs a terminal", "", "Give --print.")
    else:
        file = text_file.load(name)
    writing = writing_of(file, settings, positions.nearest_offset(file.text, *position))
    return replace(writing, context=read_context(with_, file.path))


def writing_of(file: TextFile, settings: Settings, cursor: int = 0) -> Writing:
    """Return the editor's options for a file, which is then a recent one."""
    from lmtui.editing import recovery
    from lmtui.tui.editor.options import Writing

    if file.is_named and not file.is_new:
        state.remember([str(file.path)])
    return Writing(
        file,
        cursor,
        recovery.find(file.path),
        rules=settings.suggestions,
        sampling=settings.sampling,
        sampling_for=settings.sampling_for,
    )


def go_on(
    engine: Engine,
    sampling: SamplingSettings,
    text: str,
    cursor: int,
    parts: Sequence[ContextPart],
    *,
    single_line: bool,
    view: AnswerView,
) -> int:
    """Write the continuation into `view`; return the exit code.

    Nothing is written before the first item arrives: if there is nothing to continue,
    stdout stays empty. `parts` are what the model has read before the text.
    """
    with cancel_on_interrupt(), meter("reading the text") as progress:
        items = engine.document.complete(
            text,
            cursor,
            sampling,
            top_n=max(1, view.top),
            single_line=single_line,
            progress=progress,
        )
        first = next(items)
        progress.clear()
        used = applied(engine, first, sampling)

        def start() -> JsonEvent:
            read = engine.document.completion_context(text, cursor, used)
            begun = {"typed": read.typed.decode("utf-8", "replace")}
            event = start_event(engine.info, read.ids, begun, used)
            others = [asdict(part) for part in parts]
            return {**event, "with": others} if others else event

        view.start("", start)
        return write(first, items, view)
