"""`POST /infill`: what stands between two texts, in the shape of llama.cpp's server.

The text is continued as in the editor: with token healing, and other files read before
it. Knows no HTTP.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any

from lmtui.engine.document.types import ContextFile
from lmtui.engine.protocol import Engine
from lmtui.engine.sampling_settings import SamplingSettings
from lmtui.engine.text.detokenizer import TextStream
from lmtui.engine.types import (
    GenerationResult,
    Step,
)
from lmtui.errors import LmtuiError
from lmtui.serve.bodies import InfillBody
from lmtui.serve.scheduler import Steps
from lmtui.serve.shapes import Counts, Json

SLOT = 0
"""The slot of the texts that are being edited."""


@dataclass(slots=True)
class InfillResult:
    """What is written so far, and how long that took."""

    content: str = ""
    tokens: list[int] = field(default_factory=list)
    stop_type: str = "limit"
    stopping_word: str = ""
    prompt_tokens: int = 0
    cached: int = 0
    started: float = field(default_factory=time.perf_counter)
    prompt_read: float = 0.0
    ended: float = 0.0

    @property
    def counts(self) -> Counts:
        made, seconds = len(self.tokens), self.ended - self.prompt_read
        return Counts(self.prompt_tokens, self.cached, made, seconds, max(0, made - 1))

    def add(self, step: Step, text: str) -> None:
        self.ended = time.perf_counter()
        self.prompt_read = self.prompt_read or self.ended
        self.tokens.append(step.id)
        self.content += text

    def response(self, model: str, only: list[str]) -> Json:
        """Return the response; with `only`, just these fields of it, where `a/b` names
        field b of the object a."""
        whole = {
            "index": 0,
            "content": self.content,
            "tokens": self.tokens,
            "id_slot": SLOT,
            "stop": True,
            "model": model,
            "tokens_predicted": len(self.tokens),
            "tokens_evaluated": self.prompt_tokens,
            "tokens_cached": self.cached,
            "truncated": False,
            "stop_type": self.stop_type,
            "stopping_word": self.stopping_word,
            "timings": self._timings(),
        }
        return {path: _at(whole, path) for path in only} if only else whole

    def _timings(self) -> Json:
        read, made = self.prompt_tokens - self.cached, len(self.tokens)
        before = max(0.0, self.prompt_read - self.started)
        after = max(0.0, self.ended - self.prompt_read)
        return {
            **_timing("prompt", read, before),
            **_timing("predicted", made, after),
            "cache_n": self.cached,
        }


def _timing(name: str, count: int, seconds: float) -> Json:
    return {
        f"{name}_n": count,
        f"{name}_ms": 1000 * seconds,
        f"{name}_per_token_ms": 1000 * seconds / count if count else 0.0,
        f"{name}_per_second": count / seconds if seconds else 0.0,
    }


def _at(whole: Json, path: str) -> Any:
    value: Any = whole
    for name in path.split("/"):
        value = value.get(name) if isinstance(value, dict) else None
    return value


class Infiller:
    """Makes the tasks of infill requests; remembers which files are read before the
    text."""

    def __init__(self, settings: SamplingSettings) -> None:
        """`settings` are what a request does not say."""
        self._settings = settings
        self._files: tuple[ContextFile, ...] = ()

    def steps(
        self,
        body: InfillBody,
        result: InfillResult,
        emit: Callable[[str], object],
    ) -> Steps:
        """Return the steps of a task that fills `result`; each new piece of text is
        emitted on the worker's thread."""
        settings = body.settings(self._settings)
        if body.n_predict >= 0:
            settings = replace(settings, max_tokens=max(1, body.n_predict))
        if body.logit_bias:
            raise LmtuiError("logit_bias can't be used with /infill")

        def steps(engine: Engine, slot: int) -> Iterator[None]:
            if not engine.capabilities.infill:
                raise LmtuiError(
                    "this model reads only what is before the cursor",
                    "",
                    "Serve a model for programs, such as qwen2.5-coder-0.5b.",
                )
            self._read_files(engine, body)
            before = body.input_prefix + body.prompt
            text, cursor = before + body.input_suffix, len(before)
            ids = engine.document.completion_context(text, cursor, settings).ids
            result.prompt_tokens = len(ids)
            result.cached = engine.reusable(ids, SLOT)
            items = engine.document.complete(text, cursor, settings, top_n=1)
            yield from _take(items, body, result, emit)

        return steps

    def _read_files(self, engine: Engine, body: InfillBody) -> None:
        files = tuple(ContextFile(e.filename, e.text) for e in body.input_extra)
        if files != self._files:
            engine.document.read_with(files)
            self._files = files


def _take(
    items: Iterator[Step | GenerationResult],
    body: InfillBody,
    result: InfillResult,
    emit: Callable[[str], object],
) -> Iterator[None]:
    """Take the items of a continuation until it ends or a rule of the request ends it;
    a step each."""
    stream, limit = TextStream(body.stop), body.t_max_predict_ms / 1000
    for item in items:
        if isinstance(item, GenerationResult):
            result.stop_type = {"stop": "eos"}.get(item.reason, "limit")
            tail = stream.feed(item.piece.encode()) + stream.finish()
            result.content += tail
            emit(tail)
            return
        if body.n_predict == 0:
            continue  # the request only has its text read
        piece = stream.feed(item.piece.encode())
        result.add(item, piece)
        emit(piece)
        if stream.found is not None:
            result.stop_type, result.stopping_word = "word", stream.found
            return
        if limit and result.ended - result.prompt_read > limit and piece:
            return
        yield
