"""Client of the process that renders chat templates.

The process starts with the first template, serves all of them, and is killed when one
takes too much time or memory: a Python thread inside an operation can't be stopped, a
process can. Knows no tokenizer.
"""

from __future__ import annotations

import json
import os
import select
import subprocess
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from threading import Lock
from typing import Any

from lmtui import processes
from lmtui.errors import LmtuiError
from lmtui.models.template_limits import LONGEST, MEMORY, SECONDS

_COMMAND = (*processes.MODULE, "lmtui.models.template_worker")
_PATIENCE = 60.0  # seconds until the process starts or answers, however busy the system
_LOOK = 50  # milliseconds between two checks of its time and memory


def render(
    template: str,
    messages: Sequence[Mapping[str, str]],
    *,
    open_ended: bool,
    variables: Mapping[str, Any],
) -> str:
    """Return a conversation as a template writes it. With `open_ended`, it ends where
    the model's answer begins. `variables` are further names that the template can look
    up.

    Raises:
        LmtuiError: the template refuses the conversation, is damaged, or takes more
            time or memory than any conversation needs.
    """
    given = {
        **variables,
        "messages": list(messages),
        "tools": None,
        "documents": None,
        "add_generation_prompt": open_ended,
    }
    text: str = _ask({"template": template, "variables": given})["text"]
    return text


def variables(template: str) -> frozenset[str]:
    """Return the names that a template looks up; an empty set for a damaged one."""
    try:
        return frozenset(_ask({"template": template})["names"])
    except LmtuiError:
        return frozenset()


def _ask(question: Mapping[str, Any]) -> Mapping[str, Any]:
    length = len(question["template"])
    if length > LONGEST:
        raise _unusable(f"it has {length:,} characters, the most is {LONGEST:,}")
    with _lock:
        answer = _process().ask(json.dumps(question).encode() + b"\n")
    if "refused" in answer:
        raise LmtuiError(
            "the model's chat template refuses this conversation",
            answer["refused"],
            "Some models take no system message, or want user and assistant to "
            "take turns.",
        )
    if "failed" in answer:
        raise _unusable(answer["failed"])
    return answer


def _unusable(why: str) -> LmtuiError:
    return LmtuiError(
        "the model's chat template can't be used",
        why,
        "Use another model; `lmtui complete` and `lmtui inspect` need no template.",
    )


class _Process:
    def __init__(self) -> None:
        self._of = os.getpid()
        ours, theirs = os.pipe()
        # A file object, not a descriptor, whose number can be reused once it is closed.
        self._answers = open(ours, "rb", buffering=0)  # noqa: SIM115
        with open(theirs, "wb") as output:
            self._child = processes.begin(_COMMAND, output)
        self._heard = b""
        try:
            self._wait(_PATIENCE, MEMORY)
        except BaseException:
            self.end()
            raise

    @property
    def serves(self) -> bool:
        """Whether the process is alive and belongs to this process, not to one that it
        was forked from."""
        return self._of == os.getpid() and self._child.poll() is None

    def ask(self, question: bytes) -> Mapping[str, Any]:
        """Return the answer to a request; the process is killed where it gives none."""
        asked = len(question)
        try:
            assert self._child.stdin is not None
            self._child.stdin.write(question)
            self._child.stdin.flush()
            line = self._wait(SECONDS, 2 * MEMORY + 32 * asked)
            answer: Mapping[str, Any] = json.loads(line)
        except (OSError, ValueError) as error:
            self.end()
            return {"failed": str(error)}
        # A late answer would be taken for that of the next request.
        except BaseException:
            self.end()
            raise
        return answer

    def _wait(self, seconds: float, limit: int) -> bytes:
        """Return the next line that the process writes.

        Raises:
            ValueError: it takes more than `seconds` on the processor or more than
                `limit` bytes, gives no answer within a minute, or ends.
        """
        until = time.monotonic() + _PATIENCE
        before: float | None = None
        poll = select.poll()
        poll.register(self._answers, select.POLLIN)
        while b"\n" not in self._heard:
            if not poll.poll(_LOOK):
                if processes.memory(self._child.pid) > limit:
                    raise ValueError("it needs too much memory")
                used = processes.processor_seconds(self._child.pid)
                before = used if before is None else before
                if used - before > seconds:
                    raise ValueError(f"it runs for more than {seconds:g} seconds")
                if time.monotonic() > until:
                    raise ValueError(f"no answer within {_PATIENCE:g} seconds")
                continue
            part = self._answers.read(1 << 20) or b""
            self._heard += part
            if not part or len(self._heard) > limit:
                raise ValueError("it needs too much time or memory")
        line, _, self._heard = self._heard.partition(b"\n")
        return line

    def end(self) -> None:
        """Kill the process and close the pipes; may be called twice."""
        if self._of == os.getpid():
            self._child.kill()
            self._child.wait()
        self._answers.close()
        assert self._child.stdin is not None
        with suppress(OSError):
            self._child.stdin.close()


_lock = Lock()
_running: list[_Process] = []


def _process() -> _Process:
    """Return the running worker, or start one."""
    if _running and not _running[0].serves:
        _running.pop().end()
    if not _running:
        try:
            _running.append(_Process())
        except (OSError, ValueError, subprocess.SubprocessError) as error:
            raise _unusable(f"no process for it can begin: {error}") from error
    return _running[0]
