"""The Typer application with all commands, and the entry point of the program.

A verb is imported when it runs or its help is shown, and imports torch only when it
runs; so `lmtui --help` imports no torch.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from functools import cache
from importlib import import_module
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer
from typer.core import TyperGroup

from lmtui import __version__
from lmtui.cli.errors import guarded, leave
from lmtui.cli.output import prepare_streams
from lmtui.kernels import cpu_features

if TYPE_CHECKING:
    from lmtui.cli.engine import OpenEngine

VERBS = {
    "chat": "chat:chat",
    "complete": "complete:complete",
    "inspect": "inspect.inspect:inspect",
    "score": "inspect.score:score",
    "why": "inspect.why:why",
    "lens": "inspect.lens:lens",
    "tokens": "tokens:tokens",
    "finetune": "finetune.command:finetune",
    "learn": "learn:learn",
    "serve": "serve:serve",
    "history": "history:app",
    "adapters": "adapters:app",
    "models": "models:app",
    "themes": "themes:themes",
    "config": "config:config",
    "doctor": "doctor:doctor",
    "help": "help:help_on",
}
"""Where each verb stands: MODULE:NAME in `lmtui.cli`, a function or a Typer group."""


@cache
def _command(verb: str) -> Any:
    module, _, name = VERBS[verb].partition(":")
    member = getattr(import_module(f"lmtui.cli.{module}"), name)
    if isinstance(member, typer.Typer):
        command = typer.main.get_group(member)
        command.name = verb
        return command
    alone = typer.Typer(rich_markup_mode=None, add_completion=False)
    alone.command(verb)(member)
    return typer.main.get_command(alone)


class VerbGroup(TyperGroup):
    """Group of the verbs of the program, each imported when it is asked for."""

    def __init__(self, **attributes: Any) -> None:
        super().__init__(**attributes)
        # The names, for "Did you mean".
        self.commands = dict.fromkeys(VERBS)  # type: ignore[assignment]

    def list_commands(self, ctx: Any) -> list[str]:
        return list(VERBS)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        return _command(cmd_name) if cmd_name in VERBS else None


app = typer.Typer(
    name="lmtui",
    cls=VerbGroup,
    rich_markup_mode=None,  # brackets in a help text are brackets
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


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
) -> None:
    """See a local language model think, in a terminal.

    Without a command, on a terminal, this opens the start screen.

    \b
    Examples:
      lmtui
      lmtui chat --once "What is the capital of Japan?"
      lmtui inspect README.md
      lmtui models list
      lmtui --install-completion
    """
    if ctx.invoked_subcommand is not None:
        return
    from lmtui.cli import options
    from lmtui.cli.screen import is_interactive, open_screen

    if is_interactive():
        open_screen(options.loaded(), first="start", open_engine=ctx.obj)
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
        command = typer.main.get_command(app)
        if "_LMTUI_COMPLETE" in os.environ:  # a shell asks what it may offer
            command.main(prog_name="lmtui")
        cpu_features.limit_libraries()
        # The command's own main() would handle exit codes and closed pipes itself.
        with command.make_context("lmtui", given, obj=open_engine) as context:
            command.invoke(context)

    prepare_streams()
    return guarded(work)


def run() -> NoReturn:
    """Run the program and end the process with its exit code."""
    # torch's threads would otherwise spin between two operations, and take the cores
    # from our kernels' threads and from other programs. Read when torch is imported.
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
    leave(main())
