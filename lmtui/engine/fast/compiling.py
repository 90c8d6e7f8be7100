"""What is compiled aside, while a model runs.

Owns when a crossing is compiled, by a process of its own that gives way to all others,
and when it takes the place of what runs now: between two answers. Whatever goes wrong
leaves what runs now, and is not tried again before something has changed. The process
ends with this one, or where what began it goes away: with the pipe that it listens to.
"""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import asdict
from logging import getLogger

from lmtui import child
from lmtui.engine.fast import compiled
from lmtui.engine.fast.step import Steps
from lmtui.engine.forward import T
from lmtui.models import compilers, kernels

_COMMAND = (*child.MODULE, "lmtui.engine.fast.compile")


class Compiling:
    """A model's steps, and what makes them faster. `lasting` allows to compile: this
    process will be there to use it."""

    def __init__(self, steps: Steps, *, lasting: bool) -> None:
        self._steps = steps
        self._plan = steps.plan()
        self._may_compile = lasting
        self._process: subprocess.Popen[bytes] | None = None
        self._put_in_use()

    def answering(self, answer: Iterator[T]) -> Iterator[T]:
        """Pass an answer on. Before it, what was compiled meanwhile is put in use;
        after it, compiling begins."""
        if self._process is not None and self._process.poll() is not None:
            self._process = None
            self._put_in_use()
        try:
            yield from answer
        finally:
            self._compile()

    def _put_in_use(self) -> None:
        steps = self._steps
        try:
            if steps.kernels is not None:
                steps.use(compiled.opened_for(steps.shape, steps.kernels), None)
            elif self._plan is not None and compiled.is_kept(self._plan):
                steps.use(compiled.opened(self._plan), self._plan)
                self._may_compile = False
        except ValueError as error:
            getLogger("lmtui").warning("what was compiled is not used: %s", error)

    def _compile(self) -> None:
        """Begin to compile, if it is of use and was not tried."""
        if self._plan is None or not self._may_compile:
            return
        self._may_compile = False
        compiler = compilers.found()
        folder = compiled.folder_of(self._plan)
        if compiler is None or kernels.failure(folder, compiler) is not None:
            return
        command = [*_COMMAND, json.dumps(asdict(self._plan)), compiler]
        with suppress(OSError), open(os.devnull, "wb") as nothing:
            self._process = child.begin(command, nothing, beneath=True)
