"""Answers of completions and chat completions, as a whole or in parts of a stream.

Both are made of the same choices: a part holds what one event adds, the whole what all
of them do. Knows no engine and no HTTP.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass, field

from lmtui.errors import Unavailable
from lmtui.serve.bodies import ChatBody, CompletionBody, GenerationBody
from lmtui.serve.generation import (
    AnswerEnd,
    AnswerStep,
    GenerationEvent,
    GenerationRequest,
    PromptRead,
)
from lmtui.serve.shapes import (
    BROKEN_OFF,
    FINISH,
    Counts,
    Head,
    Json,
    LegacyLogprobs,
    Names,
    Row,
    chat_logprobs,
    prompt_logprobs,
    row_of,
)


@dataclass(slots=True)
class Part:
    """What an event adds to an answer, or all of them together."""

    text: str = ""
    rows: list[Row] = field(default_factory=list)
    """Its tokens; of a prompt, those that are echoed."""
    ids: list[int] = field(default_factory=list)
    """The generated tokens alone."""
    reason: str | None = None
    """Why the answer ended, if it has."""

    def add(self, other: Part) -> None:
        self.text += other.text
        self.rows += other.rows
        self.ids += other.ids
        self.reason = other.reason or self.reason


class Answers(ABC):
    announces = False
    """Whether a stream has a part before the first token."""

    def __init__(
        self,
        body: GenerationBody,
        request: GenerationRequest,
        head: Head,
        *,
        logprobs: bool,
    ) -> None:
        """`logprobs` tells whether those of the tokens are part of the answers."""
        self.body, self.request, self.head = body, request, head
        self._logprobs = logprobs
        self.names = Names(body.return_tokens_as_token_ids)
        self.counts = Counts(prompt=request.prompt_tokens)
        self._whole = [Part() for _ in range(len(request.prompts) * self._each)]
        self._prompt_rows: dict[int, list[Row]] = {}
        self._echoes = isinstance(body, CompletionBody) and body.echo
        self._ended: set[int] = set()

    @property
    def _each(self) -> int:
        """Choices to each prompt; one where it is only scored."""
        return max(1, self.request.answers)

    def take(self, event: GenerationEvent) -> None:
        for index, part in self._parts(event):
            self._whole[index].add(part)

    def _parts(self, event: GenerationEvent) -> Iterator[tuple[int, Part]]:
        if isinstance(event, AnswerStep):
            self.counts.generated += 1
            row = row_of(event.step, self.request.top_n)
            yield event.index, Part(event.step.piece, [row], [row.id])
        elif isinstance(event, AnswerEnd):
            result = event.result
            if (first := result.first_token_seconds) is not None:
                self.counts.later += result.tokens - 1
                self.counts.seconds += result.prompt_seconds + result.seconds - first
            yield (
                event.index,
                Part(event.result.piece, reason=FINISH[event.result.reason]),
            )
        else:
            yield from self._read(event)

    def _read(self, event: PromptRead) -> Iterator[tuple[int, Part]]:
        self.counts.cached += event.cached
        top_n = self.body.prompt_logprobs
        if top_n is not None:
            count = (self.request.scores or 0) if top_n < 0 else top_n
            rows = [row_of(token, count) for token in event.tokens]
            self._prompt_rows[event.index] = rows
        first = event.index * self._each
        for index in range(first, first + self._each):
            echo = Part()
            if self._echoes:
                echo.text = self.request.prompts[event.index].text
                top_n = self.request.top_n
                echo.rows = [row_of(token, top_n) for token in event.tokens]
            if self.request.answers == 0:
                echo.reason = "length"
            yield index, echo

    def whole(self) -> Json:
        """Return the response.

        Raises:
            Unavailable: it was broken off before there was anything, or where scores
                are asked for: lists that are too short would be taken for whole ones.
        """
        ended = [part.reason not in (None, BROKEN_OFF) for part in self._whole]
        nothing = not any(ended) and not any(part.ids for part in self._whole)
        if nothing or (self.request.scores is not None and not all(ended)):
            raise Unavailable("the server is ending")
        for part in self._whole:
            part.reason = part.reason or BROKEN_OFF
        choices = [
            self._choice(index, part, whole=True)
            for index, part in enumerate(self._whole)
        ]
        return self.head.around(choices, usage=self.counts.usage)

    def streamed(self, event: GenerationEvent) -> Iterator[Json]:
        """Yield the parts of the stream that an event makes."""
        begins = isinstance(event, PromptRead)
        for index, part in self._parts(event):
            if part.reason:
                self._ended.add(index)
            shown = part.ids and self._logprobs
            announced = begins and self.announces
            ids = self.body.return_token_ids and (part.ids or begins)
            if part.text or part.reason or shown or announced or ids:
                yield self.head.around([self._choice(index, part, begins=begins)])

    def stream_end(self) -> Iterator[Json]:
        """Yield the last parts of a stream: the ends of answers that were broken off,
        and the counts, if they are asked for."""
        for index in sorted({*range(len(self._whole))} - self._ended):
            end = Part(reason=BROKEN_OFF)
            yield self.head.around([self._choice(index, end)])
        if self.body.stream_options.include_usage:
            yield self.head.around([], usage=self.counts.usage)

    @abstractmethod
    def _choice(
        self, index: int, part: Part, *, whole: bool = False, begins: bool = False
    ) -> Json:
        """Return a part of an answer, or the whole of it, as JSON."""

    def _tokens(self, index: int, part: Part, *, with_prompt: bool) -> Json:
        """Return vLLM's fields of a choice, as far as they are asked for."""
        prompt = index // self._each
        fields: Json = {}
        if self.body.return_token_ids:
            fields["token_ids"] = part.ids
            if with_prompt:
                fields["prompt_token_ids"] = list(self.request.prompts[prompt].ids)
        if with_prompt and self.body.prompt_logprobs is not None:
            rows = self._prompt_rows.get(prompt, [])
            fields["prompt_logprobs"] = prompt_logprobs(rows, self.names)
            if self.body.return_entropies:
                fields["prompt_entropies"] = [row.entropy for row in rows]
                fields["prompt_varentropies"] = [row.varentropy for row in rows]
        return fields


class CompletionAnswers(Answers):
    def __init__(
        self, body: CompletionBody, request: GenerationRequest, head: Head
    ) -> None:
        super().__init__(body, request, head, logprobs=body.logprobs is not None)
        self._legacy = [LegacyLogprobs(self.names) for _ in self._whole]

    def _choice(
        self, index: int, part: Part, *, whole: bool = False, begins: bool = False
    ) -> Json:
        shown = self._logprobs and (part.rows or whole)
        return {
            "index": index,
            "text": part.text,
            "logprobs": self._legacy[index].of(part.rows) if shown else None,
            "finish_reason": part.reason,
            **self._tokens(index, part, with_prompt=whole or begins),
        }


class ChatAnswers(Answers):
    announces = True

    def __init__(self, body: ChatBody, request: GenerationRequest, head: Head) -> None:
        super().__init__(body, request, head, logprobs=body.logprobs)

    def _choice(
        self, index: int, part: Part, *, whole: bool = False, begins: bool = False
    ) -> Json:
        said: Json = {"content": part.text} if part.text or whole or begins else {}
        if whole or begins:
            said = {"role": "assistant", **said}
        if whole:
            said["refusal"] = None
        shown = self._logprobs and (part.rows or whole)
        return {
            "index": index,
            ("message" if whole else "delta"): said,
            "logprobs": chat_logprobs(part.rows, self.names) if shown else None,
            "finish_reason": part.reason,
            **self._tokens(index, part, with_prompt=whole or begins),
        }
