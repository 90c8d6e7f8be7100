"""Shell completion: its installation, and the names that it offers for each argument.

Typer writes the shells' scripts, and completes commands, flags and choices. Never
imports torch.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing, suppress
from typing import Annotated, NoReturn

import typer

from lmtui.errors import LmtuiError

PROGRAM = "lmtui"
VARIABLE = "_LMTUI_COMPLETE"
"""Environment variable that a shell's script sets to ask for completions."""
SHELLS = ("bash", "zsh", "fish")

# The shells' scripts pass the output to eval.
_SAFE = re.compile(r"[\w./+@-]+")
_UNSAFE_IN_HELP = re.compile(r"[^\w .,-]+")

_CONVERSATIONS = 50
_HELP = 60  # characters

Completions = list[tuple[str, str]]
"""Names, each with a short description."""


def asked() -> bool:
    return bool(os.environ.get(VARIABLE))


def answer(app: typer.Typer) -> NoReturn:
    """Print the completions of the words in the environment, and exit."""
    from typer.completion import completion_init  # type: ignore[attr-defined]

    completion_init()
    typer.main.get_command(app).main(prog_name=PROGRAM, complete_var=VARIABLE)
    raise typer.Exit


def _install(wanted: bool) -> None:
    if not wanted:
        return
    from typer.completion import install  # type: ignore[attr-defined]

    shell = _shell()
    try:
        _, file = install(shell, PROGRAM, VARIABLE)
    except OSError as error:
        raise LmtuiError(
            "the completion can't be installed",
            f"{error.filename} ({error.strerror})",
            "Make the file writable, or use --show-completion and put it where your "
            "shell reads it.",
        ) from error
    typer.echo(f"completion for {shell} installed in {file}; it works in a new shell")
    raise typer.Exit


def _show(wanted: bool) -> None:
    if not wanted:
        return
    from typer.completion import get_completion_script  # type: ignore[attr-defined]

    script = get_completion_script(
        prog_name=PROGRAM, complete_var=VARIABLE, shell=_shell()
    )
    typer.echo(script)
    raise typer.Exit


Install = Annotated[
    bool,
    typer.Option(
        "--install-completion",
        callback=_install,
        is_eager=True,
        help="Install completion for the shell in use (bash, zsh or fish) and exit.",
    ),
]
Show = Annotated[
    bool,
    typer.Option(
        "--show-completion",
        callback=_show,
        is_eager=True,
        help="Print the completion script for the shell in use and exit.",
    ),
]


def _shell() -> str:
    """Return the shell that the program was started from."""
    import shellingham  # type: ignore[import-untyped]

    try:
        shell = str(shellingham.detect_shell()[0])
    except (shellingham.ShellDetectionFailure, OSError):
        shell = os.path.basename(os.environ.get("SHELL", ""))
    if shell not in SHELLS:
        raise LmtuiError(
            "there is no completion for this shell",
            shell or "the shell can't be detected",
            f"Run the command in {', '.join(SHELLS[:-1])} or {SHELLS[-1]}.",
        )
    return shell


def _from(names: Callable[[], Iterable[tuple[str, str]]]) -> Callable[[str], object]:
    """Return a Typer callback that offers those of `names` that begin with the word."""

    def complete(incomplete: str) -> Completions:
        try:
            return [
                (name, _UNSAFE_IN_HELP.sub(" ", about).strip()[:_HELP])
                for name, about in names()
                if name.startswith(incomplete) and _SAFE.fullmatch(name)
            ]
        except (LmtuiError, OSError):  # a message would garble the command line
            return []

    return complete


def _models() -> Iterator[tuple[str, str]]:
    from lmtui.config import load
    from lmtui.models import catalogue, source
    from lmtui.models.download import hub

    for entry in catalogue.CATALOGUE:
        yield entry.name, entry.note
    for model in hub.local_models():
        if model.snapshot is not None and catalogue.find(model.hub_id) is None:
            yield model.hub_id, "on this machine"
    for path in source.own_models():
        yield path.name, "on this machine"
    with suppress(LmtuiError):  # settings that can't be read name no server
        for server in load.load().servers.values():
            yield server.name, "a server"


def _adapters() -> Iterator[tuple[str, str]]:
    from lmtui.models.adapters import folders

    for adapter in folders.listed():
        yield adapter.name, adapter.problem or adapter.base


def _themes() -> Iterator[tuple[str, str]]:
    from lmtui import paths
    from lmtui.tui.themes import load_themes

    for theme in load_themes(paths.themes_folder()).themes:
        yield theme.name, "dark" if theme.dark else "light"


def _presets() -> Iterator[tuple[str, str]]:
    from lmtui.config import load

    for name, preset in load.load().presets.items():
        yield name, preset.system or ""


def _conversations() -> Iterator[tuple[str, str]]:
    from lmtui import paths
    from lmtui.chat.store import Store

    if not paths.chats_file().exists():
        return
    with closing(Store(paths.chats_file(), readonly=True)) as store:
        summaries = store.listed(limit=_CONVERSATIONS)
    if summaries:
        yield "last", "the conversation used last"
    for listed in summaries:
        yield str(listed.id), listed.title


models = _from(_models)
adapters = _from(_adapters)
themes = _from(_themes)
presets = _from(_presets)
conversations = _from(_conversations)


def values(choices: tuple[str, ...]) -> Callable[[str], object] | None:
    """Return a callback that offers these words; None without any."""
    return _from(lambda: ((choice, "") for choice in choices)) if choices else None
