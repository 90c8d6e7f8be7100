"""The edge of the program: every way to end becomes an exit code.

0 done, 1 a bug, 2 the user's input or environment, 130 stopped by Ctrl-C, 129 and 143
by SIGHUP and SIGTERM (which end the process itself where there is no screen), 141 the
reader of our output went away (what a shell reports for `cat` or `grep` then).
Owns how an error looks on stderr; knows no verb.
"""

from __future__ import annotations

import logging
import os
import re
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import Event, current_thread, main_thread
from types import FrameType
from typing import NoReturn, TextIO

import typer

from lmtui.engine.protocol import Stop
from lmtui.errors import Cancelled, LmtuiError, panics_told
from lmtui.text import visible


@contextmanager
def stop_on_interrupt() -> Iterator[Stop]:
    """A flag for the engine that the first Ctrl-C raises; the second interrupts."""
    asked = Event()
    before = signal.getsignal(signal.SIGINT)
    if before is signal.SIG_IGN or current_thread() is not main_thread():
        yield asked.is_set  # told to ignore it, as under nohup
        return

    def ask(number: int, frame: FrameType | None) -> None:
        if asked.is_set():
            raise KeyboardInterrupt
        asked.set()

    signal.signal(signal.SIGINT, ask)
    try:
        yield asked.is_set
    finally:
        signal.signal(signal.SIGINT, before)


DONE, BUG, USER, STOPPED, CLOSED = 0, 1, 2, 130, 141


def guarded(work: Callable[[], None]) -> int:
    """Run `work`; its exit code, with any error already told on stderr."""
    try:
        with panics_told():
            work()
        flush_or_raise(sys.stdout)
        return DONE
    except typer.Exit as end:
        return _flushed(end.exit_code)
    except BrokenPipeError:
        silence(sys.stdout)
        return CLOSED
    except (KeyboardInterrupt, Cancelled, typer.Abort):
        return _flushed(STOPPED)
    except LmtuiError as error:
        silence_unless_open(sys.stdout)
        tell(error)
        return USER
    except Exception as error:
        return _flushed(_foreign(error))


def leave(code: int) -> NoReturn:
    """End the process, with everything written. Taking the interpreter and a model
    apart first would keep the user waiting for a second or two."""
    logging.shutdown()
    for stream in (sys.stdout, sys.stderr):
        silence_unless_open(stream)
    os._exit(code)


def _flushed(code: int) -> int:
    """`code`, after what was written has left: the reader may be gone by then."""
    try:
        flush_or_raise(sys.stdout)
    except BrokenPipeError:
        silence(sys.stdout)
        return CLOSED
    except LmtuiError as error:
        silence(sys.stdout)
        tell(error)
        return USER
    return code


def _foreign(error: Exception) -> int:
    """A usage error of the command line's parser, or else a bug."""
    if (usage := explained(error)) is None:
        return _bug(error)
    if type(error).__name__ == "NoArgsIsHelpError":
        typer.echo(usage.title)
        return DONE
    tell(usage)
    return USER


def _bug(error: Exception) -> int:
    from lmtui import log

    file = log.record_bug(error)
    where = f"the traceback is in {file}" if file else "the log can't be written to"
    tell(LmtuiError("this is a bug in lmtui", f"{error!r}; {where}"))
    return BUG


def keep_stderr() -> None:
    """Write alone on stderr from here on: what libraries in other languages write there
    without being asked goes nowhere. Whatever is no error of theirs stays as it is."""
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


def tell(error: LmtuiError) -> None:
    """Write an error on stderr, harmless whatever it quotes."""
    lines = f"error: {_safe(str(error))}\n"
    if error.hint:
        lines += f"hint: {_safe(error.hint)}\n"
    note(lines)


def note(lines: str) -> None:
    """Write whole lines on stderr, or nothing when nobody listens there."""
    try:
        sys.stderr.write(lines)
        sys.stderr.flush()
    except (OSError, ValueError, AttributeError):
        pass  # without a stderr the exit code has to do


def _safe(text: str) -> str:
    # Later lines are indented, so that no file name can forge a line of its own.
    return "\n  ".join(visible(text).splitlines())


def flush_or_raise(stream: TextIO | None) -> None:
    """Flush `stream`; a full disk is an error of the user's, a closed pipe is none."""
    try:
        if stream is not None:
            stream.flush()
    except BrokenPipeError:
        raise
    except OSError as error:
        raise output_failed(error) from error


def output_failed(error: OSError) -> LmtuiError:
    """The error for an output that takes no more."""
    return LmtuiError(
        "the output can't be written",
        error.strerror or str(error),
        "Free some space, or send the output elsewhere.",
    )


def silence(stream: TextIO | None) -> None:
    """Send what is still buffered nowhere, so that exiting can't fail on it."""
    try:
        if stream is not None:
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
    except (OSError, ValueError):
        pass  # not a real file: nothing to lose


def silence_unless_open(stream: TextIO | None) -> None:
    """Flush `stream` if it still takes anything."""
    try:
        flush_or_raise(stream)
    except (BrokenPipeError, LmtuiError):
        silence(stream)


# What the libraries say of a value that a flag does not take, and what it takes.
_TAKES = (
    (re.compile(r"valid integer"), "a whole number"),
    (re.compile(r"valid (?:number|float)"), "a number"),
    (re.compile(r"(?:greater than or equal to |x>=)(-?\d+)"), r"at least \1"),
)
_CHOICES = re.compile(r"is not one of (.+?)\.?$")


def explained(error: Exception) -> LmtuiError | None:
    """A usage error of the parser as one of ours; None for any other exception."""
    # The parser's own exceptions have moved between packages; their names have not.
    format_message = getattr(error, "format_message", None)
    if format_message is None:
        return None
    context = getattr(error, "ctx", None)
    hint = f"See `{context.command_path if context else 'lmtui'} --help`."
    match type(error).__name__:
        case "BadParameter" if taken := _taken(str(getattr(error, "message", ""))):
            return LmtuiError(f"{_name(error)} takes {taken}", _given(error), hint)
        case "NoSuchOption":
            title = str(getattr(error, "message", "")).rstrip(".")
            if close := sorted(getattr(error, "possibilities", None) or ()):
                hint = f"Did you mean {' or '.join(close)}? {hint}"
            return LmtuiError(title, "", hint)
    message = str(format_message()).rstrip(".")
    if extra := re.fullmatch(
        r"Got unexpected extra arguments?(?:\(s\))? \((.*)\)", message
    ):
        return LmtuiError("Too many arguments", extra[1], hint)
    return LmtuiError(message, "", hint)


def _taken(message: str) -> str:
    """The values that a flag takes, by a library's words about one it does not."""
    for said, takes in _TAKES:
        if found := said.search(message):
            return found.expand(takes)
    if found := _CHOICES.search(message):
        *others, last = re.findall(r"'([^']*)'", found[1]) or [found[1]]
        return f"{', '.join(others)} or {last}" if others else last
    return ""


def _name(error: Exception) -> str:
    """The flag or argument as the user writes it."""
    parameter = getattr(error, "param", None)
    flags = [name for name in getattr(parameter, "opts", ()) if name.startswith("-")]
    return flags[0] if flags else str(getattr(parameter, "metavar", "") or "this")


def _given(error: Exception) -> str:
    """The value that the user wrote, where the library tells."""
    details = getattr(error.__cause__, "errors", None)
    return str(details()[0].get("input", "")) if details else ""
