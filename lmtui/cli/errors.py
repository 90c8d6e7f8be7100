"""Exit codes, and how errors are written to stderr. Knows no command.

0 done, 1 a bug, 2 the user's input or environment, 130 stopped by Ctrl-C, 129 and 143
SIGHUP and SIGTERM (without a screen the signal itself ends the process), 141 the
reader of stdout closed the pipe (what a shell reports for `cat` or `grep` then). What
the user can mend is an LmtuiError, which commands and what they call let pass.
"""

from __future__ import annotations

import logging
import os
import re
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from difflib import get_close_matches
from threading import Event, current_thread, main_thread
from types import FrameType
from typing import NoReturn, TextIO

import typer

from lmtui.cancellation import cancelled_when
from lmtui.errors import Cancelled, LmtuiError, panics_as_errors, system_limit
from lmtui.text import visible

DONE, BUG, USER, STOPPED, CLOSED = 0, 1, 2, 130, 141
# Typer's and Click's messages about a rejected value, and the values to name instead.
_TAKES = (
    (re.compile(r"valid int"), "a whole number"),
    (re.compile(r"valid float"), "a number"),
    (re.compile(r"x>=(-?\d+)"), r"at least \1"),
)
_GIVEN = re.compile(r"('?)(.*?)\1 is not ", re.DOTALL)
_CHOICES = re.compile(r"is not one of (.+?)\.?$")


@contextmanager
def cancel_on_interrupt() -> Iterator[None]:
    """Cancel what the engine does in the block at the first Ctrl-C.

    The second Ctrl-C raises KeyboardInterrupt.
    """
    asked = Event()
    before = signal.getsignal(signal.SIGINT)
    if before is signal.SIG_IGN or current_thread() is not main_thread():
        yield  # SIGINT stays ignored, as under nohup
        return

    def ask(number: int, frame: FrameType | None) -> None:
        if asked.is_set():
            raise KeyboardInterrupt
        asked.set()

    signal.signal(signal.SIGINT, ask)
    try:
        with cancelled_when(asked.is_set):
            yield
    finally:
        signal.signal(signal.SIGINT, before)


def guarded(work: Callable[[], None]) -> int:
    """Run `work` and return the exit code; an error is written to stderr."""
    try:
        code = _code_of(work)
        flush_or_raise(sys.stdout)
        return code
    except BrokenPipeError:
        silence(sys.stdout)
        return CLOSED
    except LmtuiError as error:
        silence_unless_open(sys.stdout)
        print_error(error)
        return USER


def _code_of(work: Callable[[], None]) -> int:
    """Run `work` and return the exit code; a bug is reported.

    Raises:
        LmtuiError: it fails, is called in a wrong way, or the system has a limit.
        BrokenPipeError: the reader closed the pipe.
    """
    try:
        with panics_as_errors():
            work()
        return DONE
    except typer.Exit as end:
        return end.exit_code
    except (KeyboardInterrupt, Cancelled, typer.Abort):
        return STOPPED
    except (BrokenPipeError, LmtuiError):
        raise
    except Exception as error:
        known = explained(error) or system_limit(error)
        if known is None:
            return _bug(error)
        if type(error).__name__ == "NoArgsIsHelpError":
            typer.echo(known.title)
            return DONE
        raise known from error


def leave(code: int) -> NoReturn:
    """End the process with exit code `code`, after flushing all output.

    Skips the interpreter's shutdown, which takes a second or two once a model is
    loaded.
    """
    logging.shutdown()
    for stream in (sys.stdout, sys.stderr):
        silence_unless_open(stream)
    os._exit(code)


def _bug(error: Exception) -> int:
    from lmtui import log

    file = log.record_bug(error)
    where = f"the traceback is in {file}" if file else "the log can't be written to"
    print_error(LmtuiError("this is a bug in lmtui", f"{error!r}; {where}"))
    return BUG


def take_stderr() -> None:
    """Reserve stderr for this program: redirect descriptor 2 to the null device.

    `sys.stderr` keeps writing to the original file; native libraries, which write to
    descriptor 2 directly, no longer reach it.
    """
    try:
        if sys.stderr.fileno() != 2:
            return
        ours = os.dup(2)
        nothing = os.open(os.devnull, os.O_WRONLY)
    except (OSError, ValueError, AttributeError):
        return  # not a real file
    before = sys.stderr
    before.flush()
    sys.stderr = open(  # noqa: SIM115
        ours, "w", encoding=before.encoding, errors=before.errors, buffering=1
    )
    os.dup2(nothing, 2)
    os.close(nothing)


def print_error(error: LmtuiError) -> None:
    """Write an error and its hint to stderr, with control characters made visible."""
    lines = f"error: {_safe(str(error))}\n"
    if error.hint:
        lines += f"hint: {_safe(error.hint)}\n"
    note(lines)


def note(lines: str) -> None:
    """Write whole lines to stderr; do nothing if stderr is closed."""
    try:
        sys.stderr.write(lines)
        sys.stderr.flush()
    except (OSError, ValueError, AttributeError):
        pass  # the exit code still reports the error


def _safe(text: str) -> str:
    # Later lines are indented, so that a file name cannot imitate an "error:" line.
    return "\n  ".join(visible(text).splitlines())


def flush_or_raise(stream: TextIO | None) -> None:
    """Flush `stream`.

    Raises:
        BrokenPipeError: the reader closed the pipe.
        LmtuiError: the output can't be written, for example on a full disk.
    """
    try:
        if stream is not None:
            stream.flush()
    except BrokenPipeError:
        raise
    except OSError as error:
        raise output_failed(error) from error


def output_failed(error: OSError) -> LmtuiError:
    return LmtuiError(
        "the output can't be written",
        error.strerror or str(error),
        "Free some space, or send the output elsewhere.",
    )


def silence(stream: TextIO | None) -> None:
    """Redirect `stream` to the null device, so that flushing it at exit can't fail."""
    try:
        if stream is not None:
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
    except (OSError, ValueError):
        pass  # not a real file


def silence_unless_open(stream: TextIO | None) -> None:
    """Flush `stream`; redirect it to the null device if that fails."""
    try:
        flush_or_raise(stream)
    except (BrokenPipeError, LmtuiError):
        silence(stream)


def explained(error: Exception) -> LmtuiError | None:
    """Return the LmtuiError for a usage error of the parser; None for others."""
    # Matched by name: the exceptions moved from click into typer, names unchanged.
    format_message = getattr(error, "format_message", None)
    if format_message is None:
        return None
    context = getattr(error, "ctx", None)
    hint = f"See `{context.command_path if context else 'lmtui'} --help`."
    match type(error).__name__:
        case "BadParameter" if taken := _taken(said := getattr(error, "message", "")):
            given = _GIVEN.match(said)
            detail = given[2] if given else ""
            return LmtuiError(f"{_name(error)} takes {taken}", detail, hint)
        case "NoSuchOption":
            title = str(getattr(error, "message", "")).rstrip(".")
            if close := _close_options(error):
                hint = f"Did you mean {' or '.join(close)}? {hint}"
            return LmtuiError(title, "", hint)
    message = str(format_message()).rstrip(".")
    if extra := re.fullmatch(
        r"Got unexpected extra arguments?(?:\(s\))? \((.*)\)", message
    ):
        if context and context.command_path == "lmtui config":
            hint = f"Settings are changed with F10, or in their file. {hint}"
        return LmtuiError("Too many arguments", extra[1], hint)
    return LmtuiError(message, "", hint)


def _close_options(error: Exception) -> list[str]:
    """Return the options whose names are close to the unknown one. The parser compares
    the dashes too, which all of them have."""
    offered = getattr(error, "possibilities", None) or ()
    names = {option.lstrip("-"): option for option in offered}
    unknown = str(getattr(error, "option_name", "")).lstrip("-")
    return sorted(names[name] for name in get_close_matches(unknown, names))


def _taken(message: str) -> str:
    """Return the accepted values in words, from a library's message of refusal."""
    for said, takes in _TAKES:
        if match := said.search(message):
            return match.expand(takes)
    if match := _CHOICES.search(message):
        *others, last = re.findall(r"'([^']*)'", match[1]) or [match[1]]
        return f"{', '.join(others)} or {last}" if others else last
    return ""


def _name(error: Exception) -> str:
    """Return the flag or argument as the user writes it."""
    parameter = getattr(error, "param", None)
    flags = [name for name in getattr(parameter, "opts", ()) if name.startswith("-")]
    return flags[0] if flags else str(getattr(parameter, "metavar", "") or "this")
