"""Check of a grammar in a process that is killed where it takes too much.

A grammar from elsewhere is checked here before it is compiled beside the model. Knows
no model.
"""

from __future__ import annotations

import json
import subprocess
import time
from contextlib import suppress
from functools import lru_cache
from tempfile import TemporaryFile

from lmtui import processes
from lmtui.engine.grammar.text import NAMES, Grammar, refused
from lmtui.errors import LmtuiError, SystemLimitError, Unavailable

SECONDS = 5.0
"""Time on the processor for starting the process and compiling one grammar."""
_PATIENCE = 60.0  # seconds until it ends, however busy the system is
_LOOK = 0.1  # seconds between two checks of its time

_COMMAND = (*processes.MODULE, "lmtui.engine.grammar.check_worker")
_SIMPLIFY = "Simplify it: large repetitions, many rules and `multipleOf` cost most."


@lru_cache(64)
def compile_check(grammar: Grammar, seconds: float = SECONDS) -> tuple[str, ...]:
    """Return what of a JSON schema its grammar leaves out, once the grammar has
    compiled within `seconds`.

    Raises:
        LmtuiError: llguidance refuses the grammar, or the grammar takes
            too much time or memory.
        Unavailable: no process can begin.
    """
    request = json.dumps({"kind": grammar.kind, "text": grammar.text}).encode()
    # Read from a file: a pipe holds only the beginning of a large grammar until the
    # process reads it.
    with TemporaryFile() as given, TemporaryFile() as output:
        given.write(request)
        given.seek(0)
        try:
            process = processes.begin(_COMMAND, output, given)
        except (OSError, subprocess.SubprocessError) as error:
            raise Unavailable(
                f"the {NAMES[grammar.kind]} can't be checked now",
                f"no process can begin: {error}",
                "Try again.",
            ) from error
        try:
            if not _ends(process, seconds):
                detail = f"it takes more than {seconds:g} seconds to compile"
                raise refused(grammar.kind, detail, _SIMPLIFY)
        finally:
            processes.kill(process)
        output.seek(0)
        written = output.read()
    return _answer(grammar, written, process.returncode)


def _ends(process: subprocess.Popen[bytes], seconds: float) -> bool:
    until = time.monotonic() + _PATIENCE
    while True:
        with suppress(subprocess.TimeoutExpired):
            process.wait(_LOOK)
            return True
        used = processes.processor_seconds(process.pid)
        if used > seconds or time.monotonic() > until:
            return False


def _answer(grammar: Grammar, written: bytes, code: int) -> tuple[str, ...]:
    if code:
        detail = f"compiling it needs too much memory: {processes.how_it_ended(code)}"
        raise refused(grammar.kind, detail, _SIMPLIFY)
    answer = json.loads(written)
    if "limit" in answer:
        raise SystemLimitError(answer["limit"])
    if "refused" in answer:
        raise LmtuiError(*answer["refused"])
    return tuple(answer["ignored"])
