"""`python -m lmtui.learn.pretrain`: the process that pretrains a model.

The first line of stdin is a JSON object with the options and the number of bytes of the
text, which follows it. Events go to stdout, one JSON object a line. The process leaves
when its stdin closes, whatever it is doing.
"""

from __future__ import annotations

import json
import os
import sys
import traceback
from collections.abc import Mapping
from typing import Any

from lmtui.errors import LmtuiError
from lmtui.learn.pretrain.options import PretrainOptions, from_fields
from lmtui.models.errors import hush
from lmtui.train.control import WorkerControl
from lmtui.train.events import Failed, NamedEvent, to_json

_STDIN, _STDOUT = 0, 1
_PART = 1 << 20  # bytes that are read at once
_NO_MEMORY = ("can't allocate memory", "not enough memory", "out of memory")


def main() -> int:
    """Pretrain as stdin says; return the exit code."""
    header, data = _read_request()
    # Not sys.exit: the main thread may be in the middle of a step.
    WorkerControl(leave=lambda: os._exit(0)).listen(_STDIN)
    try:
        _train(data, from_fields(header))
    except BrokenPipeError:  # the parent is gone
        return 0
    except Exception as error:  # the top level: every error becomes an event
        _write(_failure(error))
        return 1
    return 0


def _read_request() -> tuple[Mapping[str, Any], bytes]:
    """Read the options and the text; leave if stdin closes before their end."""
    line, read = b"", b""
    while not line:
        read += _more()
        if b"\n" in read:
            line, _, read = read.partition(b"\n")
    header = json.loads(line)
    size = header.pop("bytes")
    while len(read) < size:
        read += _more()
    return header, read


def _more() -> bytes:
    part = os.read(_STDIN, _PART)
    if not part:
        sys.exit(0)
    return part


def _train(data: bytes, options: PretrainOptions) -> None:
    hush()
    import torch  # seconds, in which a closed stdin is noticed already

    from lmtui.learn.pretrain.loop import events
    from lmtui.models.hardware import default_threads

    torch.set_num_threads(options.threads or default_threads())
    for event in events(data, options):
        _write(event)


def _write(event: NamedEvent) -> None:
    line = to_json(event).encode() + b"\n"
    while line:
        line = line[os.write(_STDOUT, line) :]


def _failure(error: Exception) -> Failed:
    """Return the event for an exception; a bug's traceback is written as well."""
    if isinstance(error, LmtuiError):
        return Failed(error.title, error.detail, error.hint)
    said = str(error).partition("\n")[0][:300]
    if isinstance(error, MemoryError) or any(x in str(error) for x in _NO_MEMORY):
        return Failed("out of memory", said, "Close other programs.")
    traceback.print_exception(error)
    return Failed(
        "unexpected error",
        f"{type(error).__name__}: {said}",
        "This is a bug in the program; train again to see whether it returns.",
    )


if __name__ == "__main__":
    sys.exit(main())
