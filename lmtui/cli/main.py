"""The Typer application with all commands, and the entry point of the program.

Each command imports what it needs when it runs, so that `lmtui --help` imports no
torch.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Annotated, NoReturn

import typer

from lmtui import __version__
from lmtui.cli import (
    adapters,
    chat,
    complete,
    completion,
    config,
    doctor,
    help,
    history,
    models,
    themes,
)
from lmtui.cli.engine import OpenEngine
from lmtui.cli.errors import guarded, leave
from lmtui.cli.finetune.command import finetune
from lmtui.cli.inspect.command import inspect
from lmtui.cli.output import prepare_streams
from lmtui.cli.screen import is_interactive, open_screen
from lmtui.config.load import load

app = typer.Typer(
    name="lmtui",
    rich_markup_mode=None,  # brackets in a help text are brackets
    pretty_exceptions_enable=False,
    add_completion=False,  # cli.completion reports errors and exit codes like the rest
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command("chat")(chat.chat)
app.command("complete")(complete.complete)
app.command("inspect")(inspect)
app.command("finetune")(finetune)
app.add_typer(history.app, name="history")
app.add_typer(adapters.app, name="adapters")
app.add_typer(models.app, name="models")
app.command("themes")(themes.themes)
app.command("config")(config.config)
app.command("doctor")(doctor.doctor)
app.command("help")(help.help_on)


def _print_version(asked: bool) -> None:
    if asked:
        typer.echo(f"lmtui {__version__}")
        raise typer.Exit


@app.callback(invoke_without_command=True)
def lmtui(
    ctx: typer.Context,
    version: Annotated[
        bool,
        typer.Option(
            "--version",
            callback=_print_version,
            is_eager=True,
            help="Show the version and exit.",
        ),
    ] = False,
    install: completion.Install = False,
    show: completion.Show = False,
) -> None:
    """See a local language model think, in a terminal.

    Without a command, on a terminal, this opens the start screen.

    \b
    Examples:
      lmtui
      lmtui chat --once "What is the capital of France?"
      lmtui inspect README.md
      lmtui models list
      lmtui --install-completion
    """
    if ctx.invoked_subcommand is not None:
        return
    if is_interactive():
        open_screen(load(), first="start", open_engine=ctx.obj)
    else:
        typer.echo(ctx.get_help())


def main(
    arguments: Sequence[str] | None = None, *, open_engine: OpenEngine | None = None
) -> int:
    """Run the program on `arguments` (default: sys.argv) and return the exit code.

    `open_engine` replaces the function that loads a model, for commands and screens
    alike.
    """
    given = list(sys.argv[1:] if arguments is None else arguments)

    def work() -> None:
        if completion.asked():
            completion.answer(app)
        # The command's own main() would handle exit codes and closed pipes itself.
        command = typer.main.get_command(app)
        with command.make_context("lmtui", given, obj=open_engine) as context:
            command.invoke(context)

    prepare_streams()
    return guarded(work)


def run() -> NoReturn:
    """Run the program and end the process with its exit code."""
    leave(main())
