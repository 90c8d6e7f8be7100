"""The pretraining process, seen from the process that starts it.

Sends it the text, yields its events, and kills it when the caller stops or closes the
iterator. Knows no torch and no screen.
"""

from __future__ import annotations

import json
import os
import select
import subprocess
from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict
from typing import BinaryIO

from lmtui import cancellation, processes
from lmtui.errors import LmtuiError
from lmtui.learn.pretrain.events import Event, Finished, from_json
from lmtui.learn.pretrain.options import PretrainOptions, require_enough
from lmtui.text import visible
from lmtui.train.events import Failed

COMMAND: Sequence[str] = (*processes.MODULE, "lmtui.learn.pretrain")

_POLLED_EVERY = 0.05  # seconds between two looks at the cancellation
_PART = 1 << 16  # bytes that are read at once
_TAIL = 12  # lines that are quoted of a process that crashed
_MOST = 2000  # characters of them


def pretrain(
    text: str | bytes,
    options: PretrainOptions | None = None,
    *,
    command: Sequence[str] = COMMAND,
) -> Generator[Event]:
    """Return an iterator that pretrains a model in a process of its own.

    The process starts with the first event asked for. The last event is `Finished` or
    `Failed`; after a stop there is none. The process is dead when the iterator ends or
    is closed.

    Raises:
        LmtuiError: the text is too small; while iterating, the process can't be
            started.
    """
    data = text.encode("utf-8", "surrogatepass") if isinstance(text, str) else text
    require_enough(data)
    header = json.dumps({**asdict(options or PretrainOptions()), "bytes": len(data)})
    return _events(header.encode() + b"\n" + data, command)


def _events(request: bytes, command: Sequence[str]) -> Generator[Event]:
    with _running(command) as (process, output):
        assert process.stdin is not None
        with suppress(OSError):  # it died; the end of its output reports that
            process.stdin.write(request)
            process.stdin.flush()
        half_line, other_lines = b"", list[str]()
        while not cancellation.requested():
            if not select.select([output], [], [], _POLLED_EVERY)[0]:
                continue
            part = os.read(output.fileno(), _PART)
            *lines, half_line = (half_line + part).split(b"\n")
            for line in lines:
                written = line.decode("utf-8", "replace")
                event = from_json(written)
                if event is None:
                    other_lines = [*other_lines, written][-_TAIL:]
                    continue
                yield event
                if isinstance(event, Finished | Failed):
                    return
            if not part:
                yield _crash(
                    process.wait(), [*other_lines, half_line.decode("utf-8", "replace")]
                )
                return


@contextmanager
def _running(
    command: Sequence[str],
) -> Iterator[tuple[subprocess.Popen[bytes], BinaryIO]]:
    """Start the process, and kill it in the end; with the pipe of its stdout and
    stderr."""
    reading, writing = os.pipe()
    with open(reading, "rb", buffering=0) as output:
        with open(writing, "wb", buffering=0) as pipe:
            process = _begin(command, pipe)
        try:
            yield process, output
        finally:
            processes.kill(process)
            assert process.stdin is not None
            with suppress(OSError):  # what is left of the request can't be written
                process.stdin.close()


def _begin(command: Sequence[str], output: BinaryIO) -> subprocess.Popen[bytes]:
    try:
        return processes.begin(command, output)
    except OSError as error:
        raise LmtuiError(
            "the training can't be started",
            f"{command[0]} ({error.strerror})",
            "Install the program again, or free some memory.",
        ) from error


def _crash(code: int, lines: Sequence[str]) -> Failed:
    quoted = visible("\n".join(lines))[-_MOST:]
    detail = "\n".join(filter(None, (processes.how_it_ended(code), quoted.strip())))
    hint = "Train again; close other programs if memory is short."
    return Failed("the training ended unexpectedly", detail, hint)
