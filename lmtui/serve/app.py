"""The server's routes: from a request to the engine's answer.

An endpoint reads a body, plans the work, and sends what the task emits, as a whole or
as a stream of events. Knows no socket and no process.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator
from contextlib import aclosing
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from lmtui import __version__, log
from lmtui.engine.grammar.compile import check_grammar
from lmtui.engine.protocol import Engine
from lmtui.engine.types import Step
from lmtui.errors import BugError, LmtuiError, Unavailable
from lmtui.serve.answers import Answers, ChatAnswers, CompletionAnswers
from lmtui.serve.bodies import (
    Body,
    ChatBody,
    CompletionBody,
    DetokenizeBody,
    DrawBody,
    InfillBody,
    LogitsBody,
    TokenizeBody,
    TokenizeChatBody,
    read_body,
)
from lmtui.serve.generation import (
    GenerationEvent,
    PromptRead,
    drawing_steps,
    logits_steps,
)
from lmtui.serve.grammars import GrammarBody
from lmtui.serve.infill import SLOT, Infiller, InfillResult
from lmtui.serve.metrics import TEXT_FORMAT, Metrics
from lmtui.serve.planner import Planner, PromptTooLong
from lmtui.serve.scheduler import Scheduler, Steps, Task
from lmtui.serve.shapes import Counts, Json, failure, shortened

T = TypeVar("T")

_ROW_BYTES = 128  # of one logprob
_BUG = "This is a bug in lmtui; see its log."


class UnknownModel(LmtuiError):
    """A request names a model that is not served."""


@dataclass(frozen=True, slots=True)
class _End:
    error: LmtuiError | None


class Api:
    """The endpoints, over one engine."""

    def __init__(self, scheduler: Scheduler, planner: Planner, model: str) -> None:
        """`model` is the name by which requests may call the one that is served."""
        self._scheduler, self._planner, self.model = scheduler, planner, model
        self._infiller = Infiller(planner.settings)
        self._started, self._metrics = int(time.time()), Metrics()

    def app(self) -> Starlette:
        posts = {
            "/v1/completions": self.completions,
            "/v1/chat/completions": self.chat,
            "/tokenize": self.tokenize,
            "/detokenize": self.detokenize,
            "/infill": self.infill,
            "/logits": self.logits,
            "/draw": self.draw,
        }
        gets = {
            "/health": self.health,
            "/version": self.version,
            "/metrics": self.metrics,
            "/v1/models": self.models,
            "/v1/models/{name:path}": self.one_model,
            "/tokenizer_info": self.tokenizer_info,
            "/tokenizer.json": self.tokenizer_json,
        }
        return Starlette(
            routes=[
                *(Route(path, end, methods=["POST"]) for path, end in posts.items()),
                *(Route(path, end, methods=["GET"]) for path, end in gets.items()),
            ],
            exception_handlers={
                LmtuiError: _refused,
                404: _no_route,
                405: _no_route,
                Exception: _failed,
            },
        )

    # Endpoints.

    async def health(self, _: Request) -> Response:
        return JSONResponse({"status": "ok"})

    async def version(self, _: Request) -> Response:
        return JSONResponse({"version": __version__})

    async def metrics(self, _: Request) -> Response:
        running, waiting = self._scheduler.counts()
        text = self._metrics.text(self.model, running=running, waiting=waiting)
        return Response(text, media_type=TEXT_FORMAT)

    async def models(self, _: Request) -> Response:
        return JSONResponse({"object": "list", "data": [self._about()]})

    async def one_model(self, request: Request) -> Response:
        self._require_model(request.path_params["name"])
        return JSONResponse(self._about())

    def _about(self) -> Json:
        info = self._planner.info
        return {
            "id": self.model,
            "object": "model",
            "created": self._started,
            "owned_by": "lmtui",
            "max_model_len": info.context,
            "meta": {
                "n_vocab": info.vocabulary,
                "n_ctx_train": info.context,
                "n_params": info.parameters,
                "architecture": info.architecture,
                "eos_token_ids": list(info.end_ids),
                "generation_defaults": dict(info.generation_defaults),
                "device": info.device,
                "dtype": info.dtype,
                "precision": info.precision,
            },
        }

    async def completions(self, request: Request) -> Response:
        body = await self._read(request, CompletionBody)
        plan = await self._call(lambda engine: self._planner.completion(body, engine))
        return await self._answered(request, CompletionAnswers(body, plan, self.model))

    async def chat(self, request: Request) -> Response:
        body = await self._read(request, ChatBody)
        plan = await self._call(lambda engine: self._planner.chat(body, engine))
        return await self._answered(request, ChatAnswers(body, plan, self.model))

    async def tokenize(self, request: Request) -> Response:
        """`POST /tokenize`: a text, or a conversation as the model would read it."""
        data = await request.body()
        body: TokenizeBody | TokenizeChatBody
        if _has_messages(data):
            body = read_body(TokenizeChatBody, data)
        else:
            body = read_body(TokenizeBody, data)

        def read(engine: Engine) -> Json:
            ids = self._planner.tokenized(body, engine).ids
            tokens = engine.describe_tokens(ids) if body.return_token_strs else None
            return {
                "count": len(ids),
                "max_model_len": self._planner.info.context,
                "tokens": list(ids),
                "token_strs": tokens and [token.text for token in tokens],
            }

        return JSONResponse(await self._call(read))

    async def detokenize(self, request: Request) -> Response:
        body = read_body(DetokenizeBody, await request.body())
        self._planner.require_short([body.tokens])
        self._planner.require_ids(body.tokens)
        tokens = await self._call(lambda engine: engine.describe_tokens(body.tokens))
        data = b"".join(token.bytes for token in tokens)
        return JSONResponse({"prompt": data.decode(errors="replace")})

    async def tokenizer_info(self, _: Request) -> Response:
        return JSONResponse(await self._call(lambda engine: engine.tokenizer_info()))

    async def tokenizer_json(self, _: Request) -> Response:
        text = await self._call(lambda engine: engine.tokenizer_json())
        return Response(text, media_type="application/json")

    async def logits(self, request: Request) -> Response:
        """`POST /logits`: the raw logits after the last tokens of some prompts."""
        body = await self._read(request, LogitsBody)
        expected = self._planner.logits_bytes(body.prompts, body.last_tokens)
        request.state.counts = Counts(prompt=sum(map(len, body.prompts)))
        blocks = self._events(
            request,
            lambda put: partial(logits_steps, body.prompts, body.last_tokens, put),
            prompt=tuple(body.prompts[0]),
            tokens=request.state.counts.prompt,
        )
        parts = [block async for block in blocks]
        if sum(map(len, parts)) != expected:
            raise Unavailable("the server is ending")
        return Response(b"".join(parts), media_type="application/octet-stream")

    async def draw(self, request: Request) -> Response:
        """`POST /draw`: the tokens of an answer, each with the raw logits that it was
        drawn from, as they come."""
        body = await self._read(request, DrawBody)
        plan = self._planner.draw(body)
        counts = request.state.counts = Counts(prompt=plan.prompt_tokens)
        events = self._events(
            request,
            lambda put: partial(drawing_steps, plan, body.drawn, put),
            prompt=plan.prompts[0].ids,
            tokens=plan.tokens,
        )
        # An error before the first token has a status of its own.
        first = await anext(events, None)

        async def sent() -> AsyncIterator[bytes]:
            record = first
            async with aclosing(events):
                while record:
                    counts.generated += 1
                    yield record
                    record = await anext(events, None)
            if record is None:  # the client has to see that this is not the end
                raise Unavailable("the server is ending")

        return StreamingResponse(sent(), media_type="application/octet-stream")

    async def infill(self, request: Request) -> Response:
        body = read_body(InfillBody, await request.body())
        result = InfillResult()
        pieces = self._events(
            request,
            lambda put: self._infiller.steps(body, result, put),
            slot=SLOT,
        )
        first = await anext(pieces, "")

        async def sent() -> AsyncIterator[str]:
            yield _data({"index": 0, "content": first, "stop": False})
            async with aclosing(pieces):
                async for piece in pieces:
                    yield _data({"index": 0, "content": piece, "stop": False})
            yield _data(result.response(self.model, []) | {"content": ""})
            request.state.counts = result.counts

        if body.stream:
            return StreamingResponse(sent(), media_type="text/event-stream")
        async for _ in pieces:
            pass
        request.state.counts = result.counts
        return JSONResponse(result.response(self.model, body.response_fields))

    async def _read(self, request: Request, kind: type[Body]) -> Body:
        """Read a body for the model that is served; its grammar, if it has one, is
        compiled while others are answered."""
        body = read_body(kind, await request.body())
        self._require_model(body.model)
        if isinstance(body, GrammarBody) and (grammar := body.follows) is not None:
            await asyncio.to_thread(check_grammar, grammar)
        return body

    def _require_model(self, name: str | None) -> None:
        if name and name != self.model:
            raise UnknownModel(
                "this model is not served", shortened(name), f"Ask for {self.model}."
            )

    # Tasks.

    async def _call(self, read: Callable[[Engine], T]) -> T:
        """Call the engine between two turns."""
        answers: list[T] = []

        def steps(engine: Engine, _: int) -> Iterator[None]:
            answers.append(read(engine))
            yield

        loop, ended = asyncio.get_running_loop(), asyncio.Event()
        errors: list[LmtuiError] = []

        def end(error: LmtuiError | None) -> None:
            errors.extend([error] if error else [])
            loop.call_soon_threadsafe(ended.set)

        self._scheduler.submit(Task(steps, end, brief=True))
        await ended.wait()
        if errors:
            raise errors[0]
        if not answers:
            raise Unavailable("the server is ending")
        return answers[0]

    async def _answered(self, request: Request, answers: Answers) -> Response:
        request.state.counts, plan = answers.counts, answers.request
        events: AsyncGenerator[GenerationEvent] = self._events(
            request,
            lambda put: partial(plan.steps, put),
            prompt=plan.prompts[0].ids,
            tokens=plan.tokens,
        )
        # An error before the first token has a status of its own, in a stream, too.
        begun = [event for _ in range(2) if (event := await anext(events, None))]
        if answers.body.stream:
            return StreamingResponse(
                _server_sent(answers, begun, events), media_type="text/event-stream"
            )
        whole = [*begun, *[event async for event in events]]

        # A long list of logprobs takes a while, in which others are answered.
        return await asyncio.to_thread(lambda: JSONResponse(answers.whole(whole)))

    async def _events(
        self,
        request: Request,
        steps_of: Callable[[Callable[[Any], object]], Steps],
        *,
        prompt: tuple[int, ...] = (),
        slot: int | None = None,
        tokens: int = 0,
    ) -> AsyncGenerator[Any]:
        """Yield what the steps of a task put, up to an `_End`; the task ends when the
        client goes, or has read nothing for long while others wait."""
        loop, most = asyncio.get_running_loop(), self._planner.limits.unread
        queue: asyncio.Queue[Any] = asyncio.Queue()
        unread, last_read = 0, loop.time()

        def add(event: Any) -> None:
            nonlocal unread
            self._metrics.count(event)
            queue.put_nowait(event)
            unread += _size(event)
            if unread > most:  # the client reads more slowly than the engine writes
                task.paused.set()

        def put(event: Any) -> None:
            loop.call_soon_threadsafe(add, event)

        task = Task(
            steps_of(put),
            lambda error: put(_End(error)),
            prompt=prompt,
            slot=slot,
            tokens=tokens,
        )
        self._scheduler.submit(task)
        watches = (
            asyncio.create_task(self._stop_when_gone(request, task)),
            asyncio.create_task(
                self._stop_when_unread(task, lambda: loop.time() - last_read)
            ),
        )
        try:
            while not isinstance(event := await queue.get(), _End):
                unread, last_read = unread - _size(event), loop.time()
                if task.paused.is_set() and unread <= most // 2:
                    self._scheduler.resume(task)
                yield event
            if event.error:
                raise event.error
        finally:
            for watch in watches:
                watch.cancel()
            self._scheduler.stop(task)

    async def _stop_when_gone(self, request: Request, task: Task) -> None:
        while (await request.receive())["type"] != "http.disconnect":
            pass
        self._scheduler.stop(task)

    async def _stop_when_unread(self, task: Task, idle: Callable[[], float]) -> None:
        """End a task that waits for its client to read, once that has read nothing for
        long and others wait for its place."""
        patience = self._planner.limits.unread_seconds
        while idle() < patience or not (
            task.paused.is_set() and self._scheduler.counts()[1]
        ):
            await asyncio.sleep(patience / 4)
        self._scheduler.stop(task)


def _size(event: Any) -> int:
    """Return the bytes that an event takes in a response, about."""
    match event:
        case bytes() | str():
            return len(event)
        case _, Step() as step:
            return _ROW_BYTES * (1 + len(step.distribution.candidates))
        case _, PromptRead(tokens=tokens):
            return _ROW_BYTES * sum(1 + len(token.top) for token in tokens)
    return 0


async def _server_sent(
    answers: Answers,
    begun: list[GenerationEvent],
    events: AsyncGenerator[GenerationEvent],
) -> AsyncIterator[str]:
    """Yield the events of a stream, each as `data: JSON`, and the mark of its end."""
    try:
        for event in begun:
            for part in answers.streamed(event):
                yield _data(part)
        async with aclosing(events):
            async for event in events:
                for part in answers.streamed(event):
                    yield _data(part)
        for part in answers.stream_end():
            yield _data(part)
    except LmtuiError as error:
        yield _data(_failure_of(error)[1])
    yield "data: [DONE]\n\n"


def _data(part: Json) -> str:
    return f"data: {json.dumps(part, ensure_ascii=False, allow_nan=False)}\n\n"


def _has_messages(data: bytes) -> bool:
    try:
        body = json.loads(data)
    except (ValueError, RecursionError):
        return False
    return isinstance(body, dict) and body.get("messages") is not None


def _failure_of(error: LmtuiError) -> tuple[int, Json]:
    """Return the status and the body that tell an error."""
    if isinstance(error, BugError):  # its words are about this machine
        return 500, failure(500, _BUG)
    status = 503 if isinstance(error, Unavailable) else 400
    status = 404 if isinstance(error, UnknownModel) else status
    code = "context_length_exceeded" if isinstance(error, PromptTooLong) else ""
    message = f"{error}. {error.hint}" if error.hint else f"{error}."
    return status, failure(status, message, code=code)


async def _refused(_: Request, error: Exception) -> Response:
    assert isinstance(error, LmtuiError)
    status, body = _failure_of(error)
    headers = {"Retry-After": "1"} if status == 503 else None
    return JSONResponse(body, status, headers=headers)


async def _no_route(request: Request, error: Exception) -> Response:
    status = getattr(error, "status_code", 404)
    words = "this path takes another method" if status == 405 else "no such path"
    path = shortened(request.url.path)
    return JSONResponse(failure(status, f"{words}: {path}."), status)


async def _failed(_: Request, error: Exception) -> Response:
    log.record_bug(error)
    return JSONResponse(failure(500, _BUG), 500)
