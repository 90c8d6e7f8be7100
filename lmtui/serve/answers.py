"""Answers of completions and chat completions, as a whole or in parts of a stream, in
the shapes of OpenAI's API, and of vLLM's where OpenAI has none.

Both are made of the same choices: a part holds what one event adds, the whole what all
of them do. Knows no engine and no HTTP.
"""

from __future__ import annotations

import codecs
import math
import secrets
import time
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from lmtui.engine.types import (
    Candidate,
    GenerationResult,
    ScoredToken,
    Step,
)
from lmtui.errors import Unavailable
from lmtui.models.remote.wire import IMPOSSIBLE
from lmtui.partial import exact_entropy, exact_rank
from lmtui.serve.bodies import CompletionBody, GenerationBody
from lmtui.serve.generation import GenerationEvent, GenerationRequest, PromptRead
from lmtui.serve.shapes import BROKEN_OFF, FINISH, Counts, Json

Token = ScoredToken | Step


@dataclass(slots=True)
class Part:
    """What an event adds to an answer, or all of them together."""

    text: str = ""
    tokens: list[Token] = field(default_factory=list)
    """Of a prompt, those that are echoed."""
    reason: str | None = None
    """Why the answer ended, if it has."""

    @property
    def ids(self) -> list[int]:
        """The generated tokens alone."""
        return [token.id for token in self.tokens if isinstance(token, Step)]

    def add(self, other: Part) -> None:
        self.text += other.text
        self.tokens += other.tokens
        self.reason = other.reason or self.reason


class Answers(ABC):
    kind: str
    chunk_kind: str
    """The `object` of a response, and of the parts of a stream."""
    prefix: str
    """Of a response's `id`."""
    announces = False
    """Whether a stream has a part before the first token."""

    def __init__(
        self, body: GenerationBody, request: GenerationRequest, model: str
    ) -> None:
        self.body, self.request = body, request
        self._head = {
            "id": f"{self.prefix}-{secrets.token_hex(12)}",
            "object": self.chunk_kind if body.stream else self.kind,
            "created": int(time.time()),
            "model": model,
        }
        self.counts = Counts(prompt=request.prompt_tokens)
        self._each = max(1, request.answers)  # choices to each prompt
        self._wholes = [Part() for _ in range(len(request.prompts) * self._each)]
        self._scored: dict[int, Sequence[ScoredToken]] = {}
        """The scores of the prompts, where they are asked for."""

    def _parts(self, event: GenerationEvent) -> Iterator[tuple[int, Part]]:
        index, item = event
        if isinstance(item, PromptRead):
            yield from self._read(index, item)
        elif isinstance(item, Step):
            self.counts.generated += 1
            yield index, Part(item.piece, [item])
        else:
            self._count(item)
            yield index, Part(item.piece, reason=FINISH[item.reason])

    def _count(self, result: GenerationResult) -> None:
        if (first := result.first_token_seconds) is not None:
            self.counts.later += result.tokens - 1
            self.counts.seconds += result.prompt_seconds + result.seconds - first

    def _read(self, prompt: int, read: PromptRead) -> Iterator[tuple[int, Part]]:
        self.counts.cached += read.cached
        self._scored[prompt] = read.tokens
        for index in range(prompt * self._each, (prompt + 1) * self._each):
            echo = Part(reason=None if self.request.answers else "length")
            if isinstance(self.body, CompletionBody) and self.body.echo:
                echo.text = self.request.prompts[prompt].text
                echo.tokens = list(read.tokens)
            yield index, echo

    def whole(self, events: Iterable[GenerationEvent]) -> Json:
        """Return the response.

        Raises:
            Unavailable: it was broken off before there was anything, or where scores
                are asked for: lists that are too short would be taken for whole ones.
        """
        for event in events:
            for index, part in self._parts(event):
                self._wholes[index].add(part)
        ended = [part.reason not in (None, BROKEN_OFF) for part in self._wholes]
        nothing = not any(ended) and not any(part.ids for part in self._wholes)
        if nothing or (self.request.scores is not None and not all(ended)):
            raise Unavailable("the server is ending")
        for part in self._wholes:
            part.reason = part.reason or BROKEN_OFF
        choices = [
            self._choice(index, part, whole=True)
            for index, part in enumerate(self._wholes)
        ]
        return self._head | {"choices": choices, "usage": self.counts.usage}

    def streamed(self, event: GenerationEvent) -> Iterator[Json]:
        """Yield the parts of the stream that an event makes."""
        begins = isinstance(event[1], PromptRead)
        for index, part in self._parts(event):
            self._wholes[index].reason = part.reason
            shown = part.ids and self.request.top_n is not None
            announced = begins and self.announces
            ids = self.body.return_token_ids and (part.ids or begins)
            if part.text or part.reason or shown or announced or ids:
                choice = self._choice(index, part, begins=begins)
                yield self._head | {"choices": [choice]}

    def stream_end(self) -> Iterator[Json]:
        """Yield the last parts of a stream: the ends of answers that were broken off,
        and the counts, if they are asked for."""
        for index, part in enumerate(self._wholes):
            if part.reason is None:
                end = self._choice(index, Part(reason=BROKEN_OFF))
                yield self._head | {"choices": [end]}
        if self.body.stream_options.include_usage:
            yield self._head | {"choices": [], "usage": self.counts.usage}

    def _choice(
        self, index: int, part: Part, *, whole: bool = False, begins: bool = False
    ) -> Json:
        """Return a part of an answer, or the whole of it, as JSON."""
        shown = self.request.top_n is not None and (part.tokens or whole)
        choice: Json = {
            "index": index,
            **self._text(part, whole=whole, begins=begins),
            "logprobs": self._logprobs(index, part.tokens) if shown else None,
            "finish_reason": part.reason,
        }
        # vLLM's fields, as far as they are asked for.
        first = whole or begins
        if self.body.return_token_ids:
            choice["token_ids"] = part.ids
            if first:
                prompt = self.request.prompts[index // self._each]
                choice["prompt_token_ids"] = list(prompt.ids)
        if first and self.body.prompt_logprobs is not None:
            tokens = self._scored.get(index // self._each, ())
            choice["prompt_logprobs"] = list(map(self._ranks, tokens))
            if self.body.return_entropies:
                entropies = [exact_entropy(token.entropy) for token in tokens]
                choice["prompt_entropies"] = entropies
                choice["prompt_varentropies"] = [token.varentropy for token in tokens]
        return choice

    @abstractmethod
    def _text(self, part: Part, *, whole: bool, begins: bool) -> Json:
        """Return the field of a choice that has the text."""

    @abstractmethod
    def _logprobs(self, index: int, tokens: Sequence[Token]) -> Json:
        """Return the `logprobs` of a choice."""

    # Tokens.

    def _name(self, token: Token | Candidate) -> str:
        """Return a token's text; bytes that are no text, as `bytes:\\xe3\\x81`; by its
        id, which no two tokens share, where that is asked for."""
        if self.body.return_tokens_as_token_ids:
            return f"token_id:{token.id}"
        try:
            return token.bytes.decode()
        except UnicodeDecodeError:
            return "bytes:" + "".join(f"\\x{byte:02x}" for byte in token.bytes)

    def _top(self, token: Token) -> Sequence[Candidate]:
        top = token.distribution.candidates if isinstance(token, Step) else token.top
        return top[: self.request.top_n]

    def _ranks(self, token: ScoredToken) -> Json | None:
        """Return an entry of vLLM's `prompt_logprobs`: by id, the actual token and the
        most probable ones."""
        if token.logprob is None:
            return None
        entry = {str(token.id): self._ranked(token, exact_rank(token.rank))}
        count = self.body.prompt_logprobs
        for rank, candidate in enumerate(
            token.top[: None if count == -1 else count], 1
        ):
            entry.setdefault(str(candidate.id), self._ranked(candidate, rank))
        return entry

    def _ranked(self, token: Token | Candidate, rank: int | None) -> Json:
        return {
            "logprob": _number(token.logprob),
            "rank": rank,
            "decoded_token": self._name(token),
        }


class CompletionAnswers(Answers):
    kind = chunk_kind = "text_completion"
    prefix = "cmpl"

    def __init__(
        self, body: CompletionBody, request: GenerationRequest, model: str
    ) -> None:
        super().__init__(body, request, model)
        # Where the next token of a choice begins in its text.
        self._offsets = [0] * len(self._wholes)
        decoder = codecs.getincrementaldecoder("utf-8")
        self._decoders = [decoder("replace") for _ in self._wholes]

    def _text(self, part: Part, **_: object) -> Json:
        return {"text": part.text}

    def _logprobs(self, index: int, tokens: Sequence[Token]) -> Json:
        offsets = []
        for token in tokens:
            offsets.append(self._offsets[index])
            self._offsets[index] += len(self._decoders[index].decode(token.bytes))
        return {
            "tokens": list(map(self._name, tokens)),
            "token_logprobs": [_number(token.logprob) for token in tokens],
            "top_logprobs": list(map(self._listed, tokens)),
            "text_offset": offsets,
        }

    def _listed(self, token: Token) -> Json | None:
        if token.logprob is None:
            return None
        # The actual token is listed, too, where it is not among the first.
        return {self._name(t): _number(t.logprob) for t in (token, *self._top(token))}


class ChatAnswers(Answers):
    kind, chunk_kind = "chat.completion", "chat.completion.chunk"
    prefix = "chatcmpl"
    announces = True

    def _text(self, part: Part, *, whole: bool, begins: bool) -> Json:
        first = whole or begins
        said: Json = {"role": "assistant"} if first else {}
        if part.text or first:
            said["content"] = part.text
        return {"message": said | {"refusal": None}} if whole else {"delta": said}

    def _logprobs(self, index: int, tokens: Sequence[Token]) -> Json:
        content = [
            self._entry(token)
            | {"top_logprobs": list(map(self._entry, self._top(token)))}
            for token in tokens
        ]
        return {"content": content, "refusal": None}

    def _entry(self, token: Token | Candidate) -> Json:
        return {
            "token": self._name(token),
            "logprob": _number(token.logprob),
            "bytes": list(token.bytes),
        }


def _number(logprob: float | None) -> float | None:
    """Return a logprob as JSON can hold it."""
    if logprob is None or math.isfinite(logprob):
        return logprob
    return IMPOSSIBLE
