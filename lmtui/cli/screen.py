"""Start the Textual app for a command, and restore the terminal afterwards.

While a screen is open, the output of libraries to stdout and stderr goes to the log.
Textual is imported when a screen is opened.
"""

from __future__ import annotations

import gc
import os
import shlex
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from lmtui import paths, state
from lmtui.cli.engine import OpenEngine, open_for_screen
from lmtui.cli.errors import note
from lmtui.config import load
from lmtui.config.settings import Settings
from lmtui.config.settings_file import SettingsFile
from lmtui.errors import LmtuiError
from lmtui.text import visible_line

if TYPE_CHECKING:
    from lmtui.chat.summary import StoredConversation
    from lmtui.editing.text_file import TextFile
    from lmtui.engine.protocol import Engine
    from lmtui.learn.instrument import Material
    from lmtui.learn.lesson import Lesson
    from lmtui.models.progress import OnProgress
    from lmtui.models.source import ModelRef
    from lmtui.tui.app import LmtuiApp
    from lmtui.tui.app_options import FirstScreen, OpenLesson
    from lmtui.tui.chat.options import ChatOptions
    from lmtui.tui.editor.options import Writing
    from lmtui.tui.finetune.run import Finetuning
    from lmtui.tui.inspect_source import InspectSource
    from lmtui.tui.preferences import Preferences
    from lmtui.worker.requests import Opened


def is_interactive() -> bool:
    """Return whether both stdin and stdout are terminals."""
    streams = (sys.stdin, sys.stdout)
    return all(stream is not None and stream.isatty() for stream in streams)


@contextmanager
def keys_from_terminal() -> Iterator[None]:
    """Read stdin meanwhile, which may be a pipe; then make the terminal device stdin,
    for the keys."""
    refused = LmtuiError("the editor needs a terminal", "", "Give --print.")
    if sys.stdout is None or not sys.stdout.isatty():
        raise refused
    try:
        terminal = os.open("/dev/tty", os.O_RDWR | os.O_CLOEXEC)
    except OSError as error:
        raise refused from error
    try:
        yield
        os.dup2(terminal, 0)
    finally:
        os.close(terminal)
    keys = open(0, encoding="utf-8", closefd=False)  # noqa: SIM115 (open to the end)
    sys.stdin = sys.__stdin__ = keys  # type: ignore[misc]


def open_screen(
    settings: Settings,
    *,
    first: FirstScreen,
    subject: InspectSource | None = None,
    against: ModelRef | None = None,
    system: str = "",
    opened: StoredConversation | None = None,
    missing: LmtuiError | None = None,
    writing: Writing | None = None,
    finetuning: Finetuning | None = None,
    open_lesson: OpenLesson | None = None,
    no_color: bool = False,
    open_engine: OpenEngine | None = None,
) -> None:
    """Run the app, beginning with the screen `first`, until the user leaves it.

    Raises:
        typer.Exit: a signal ended the program, or a training was stopped; the code is
            the shell's for that.
        Exception: the error that the app ended with; the terminal is restored.
    """
    gc.disable()  # until the first frame: collections take a tenth of the time to it
    from lmtui import log
    from lmtui.models import hardware, inventory, list_rows, memory
    from lmtui.tui.app import LmtuiApp
    from lmtui.tui.app_options import AppOptions

    def open_model(ref: ModelRef) -> Callable[[OnProgress], Opened]:
        return partial(_open, settings, ref, against, open_engine)

    preferences = _preferences(settings)
    servers = {each.name: each.address for each in settings.servers.values()}
    _choose_colours(no_color=no_color)
    log.start()
    options = AppOptions(
        first=first,
        ref=settings.model_ref,
        sampling=settings.sampling,
        sampling_for=settings.sampling_for,
        list_models=partial(inventory.rows, servers),
        better_than_default=list_rows.better_than_default(
            memory.room(hardware.total_ram())
        ),
        servers=servers,
        recent_files=state.recent_files,
        preferences=preferences,
        chats_file=paths.chats_file() if settings.chat.keep else None,
        chat=_chat_options(settings, missing),
        system=system,
        opened=opened,
        source=subject,
        writing=writing,
        open_writing=partial(_open_writing, settings),
        finetuning=finetuning,
        begin_training=partial(_begin_training, settings),
        open_lesson=open_lesson or read_lesson,
    )
    _run(LmtuiApp(open_model, options), mouse=settings.mouse)


def _run(app: LmtuiApp, *, mouse: bool) -> None:
    try:
        with _terminal_to_itself():
            app.run(mouse=mouse)
    finally:  # also after a signal
        if app.finetuning is not None:
            from lmtui.cli.finetune.run import end, report_outcome

            end(app.finetuning)
    _tell_what_is_left(app)
    if app.broke_off_with is not None:
        raise app.broke_off_with
    if app.return_code:
        raise typer.Exit(app.return_code)
    if app.finetuning is not None:
        raise typer.Exit(report_outcome(app.finetuning.run, app.finetuning.name))


def _open_writing(settings: Settings, path: Path) -> Writing:
    from lmtui.cli.complete import writing_of
    from lmtui.editing import text_file

    return writing_of(text_file.load(path), settings)


def _begin_training(settings: Settings, notes: Path, model: str | None) -> Finetuning:
    from lmtui.cli.finetune.command import begin_on

    return begin_on(notes, replace(settings, model=model))


def read_lesson(page: str | None = None, own: Material | None = None) -> Lesson:
    """Return the course at a page, given its number or name, or at the one that was
    open last; `own` is a text of the learner's own."""
    from lmtui.learn.course import read_course
    from lmtui.learn.instruments.catalogue import INSTRUMENTS
    from lmtui.learn.lesson import Lesson

    course = read_course(INSTRUMENTS)
    start = None if page is None else course.number_of(page)
    return Lesson(course, INSTRUMENTS, own=own, start=start)


def _tell_what_is_left(app: LmtuiApp) -> None:
    if not app.all_stored:
        note("note: the last messages could not be saved\n")
    if app.left_text is not None:
        note(f"{_told(app.left_text)}\n")
    if app.unsent.strip():
        note(f"{_keep_unsent(app.unsent)}\n")


def _told(left: TextFile | LmtuiError) -> str:
    """Return a note on where the recovery copy of unsaved text is, or why none is."""
    if isinstance(left, LmtuiError):
        return visible_line(f"note: the unsaved text could not be kept: {left}")
    file = shlex.quote(str(left.path)) if left.is_named else f"- < {os.devnull}"
    opens = f"lmtui complete {file}"
    return visible_line(f"note: the unsaved text is kept; `{opens}` offers it")


def _keep_unsent(draft: str) -> str:
    """Save a chat message that was not sent, and return a note about it."""
    file = paths.state_folder() / "unsent.txt"
    try:
        paths.ensure_folder(file.parent)
        paths.write_atomically(file, draft.encode("utf-8", "surrogatepass"))
    except (LmtuiError, OSError) as error:
        return visible_line(f"note: the unsent message could not be kept: {error}")
    return visible_line(f"note: the unsent message is kept in {file}")


def _chat_options(settings: Settings, missing: LmtuiError | None) -> ChatOptions:
    from lmtui.tui.chat.options import ChatOptions

    by_flag = settings.origin("chat_thinking").source == "flag"
    return ChatOptions(
        drop_oldest=settings.chat.drops_oldest,
        thinking=settings.chat.thinking_switch,
        thinking_override=settings.chat.thinking if by_flag else None,
        # Without the hint, which is for the shell: the screen offers the models itself.
        missing=missing and LmtuiError(missing.title, missing.detail),
    )


def _preferences(settings: Settings) -> Preferences:
    from lmtui.tui.preferences import Preferences

    folder, origin = paths.themes_folder(), settings.origin("theme")

    def save_theme(name: str) -> str:
        load.remember("theme", name)
        if origin.source in ("flag", "environment"):
            return f"Where {origin.where} is given, it still wins."
        return ""

    return Preferences(
        settings.theme,
        folder,
        settings.keys,
        settings.warnings,
        save_theme,
        settings_file=SettingsFile(settings),
        first_time=state.first_time,
    )


def _choose_colours(*, no_color: bool) -> None:
    """Set or remove NO_COLOR for Textual, which has no other switch.

    Textual takes an empty NO_COLOR for set; by the convention it is unset.
    """
    if no_color or os.environ.get("NO_COLOR"):
        os.environ["NO_COLOR"] = "1"
    else:
        os.environ.pop("NO_COLOR", None)


def _open(
    settings: Settings,
    ref: ModelRef,
    against: ModelRef | None,
    open_engine: OpenEngine | None,
    on_progress: OnProgress,
) -> Opened:
    """Open the engine for `ref`, and one for `against` if a model is compared.

    Runs on the thread that will own the engines.
    """
    if open_engine is None:
        return open_for_screen(settings, ref, against, on_progress)

    def opened(which: ModelRef) -> Engine:
        model, adapter = which.model, which.adapter
        return open_engine(replace(settings, model=model, adapter=adapter, origins={}))

    own = opened(ref)
    return own if against is None else (own, opened(against))


@contextmanager
def _terminal_to_itself() -> Iterator[None]:
    """Give the screen the terminal; send all other output to the log.

    Descriptors 1 and 2 point to the log file meanwhile, so that C libraries are caught,
    too.
    """
    terminal = os.fdopen(os.dup(1), "w", encoding="utf-8")
    kept = {descriptor: os.dup(descriptor) for descriptor in (1, 2)}
    before = sys.__stdout__, sys.__stderr__
    log = _log_descriptor()
    for descriptor in kept:
        os.dup2(log, descriptor)
    # Textual takes the terminal's size and its output stream from these.
    sys.__stdout__ = sys.__stderr__ = terminal  # type: ignore[misc]
    try:
        yield
    finally:
        sys.__stdout__, sys.__stderr__ = before  # type: ignore[misc]
        with suppress(OSError):  # the terminal may be closed
            terminal.close()
        for descriptor, copy in kept.items():
            os.dup2(copy, descriptor)
            os.close(copy)
        os.close(log)


def _log_descriptor() -> int:
    """Open the log file for appending, or the null device where it can't be written."""
    folder = paths.log_folder()
    try:
        paths.ensure_folder(folder)
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND
        return paths.open_private(folder / "lmtui.log", flags)
    except (OSError, LmtuiError):
        return os.open(os.devnull, os.O_WRONLY)
