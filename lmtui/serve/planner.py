"""From a request's body to what the engine is asked: prompts, settings, limits.

Everything that can be refused is refused here, before the engine begins. Knows no HTTP.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from lmtui.engine.protocol import Engine
from lmtui.engine.sampling_settings import SamplingSettings
from lmtui.engine.types import (
    EngineInfo,
    Prompt,
)
from lmtui.errors import LmtuiError
from lmtui.models.remote.wire import LOGIT_BYTES
from lmtui.serve.bodies import (
    ChatBody,
    CompletionBody,
    ConversationBody,
    DrawBody,
    GenerationBody,
    TokenizeBody,
    TokenizeChatBody,
)
from lmtui.serve.generation import GenerationRequest
from lmtui.serve.limits import Limits


class PromptTooLong(LmtuiError):
    """A prompt does not fit the context."""


@dataclass(frozen=True, slots=True)
class Planner:
    """Checks requests against the model and the limits of the server."""

    info: EngineInfo
    settings: SamplingSettings
    """What a request does not say."""
    limits: Limits

    def completion(self, body: CompletionBody, engine: Engine) -> GenerationRequest:
        given = body.prompts()
        self._require_few(given, body.n)
        self.require_short(given)
        prompts = tuple(self._read(prompt, body, engine) for prompt in given)
        top = self._top("logprobs", body.logprobs)
        scores = self._top("prompt_logprobs", body.prompt_logprobs)
        if body.echo and top is not None:
            scores = max(top, scores or 0)
        return self._checked(body, prompts, top, scores)

    def draw(self, body: DrawBody) -> GenerationRequest:
        if body.follows is not None:
            raise LmtuiError("/draw takes no grammar")
        self.require_short([body.prompt])
        self.require_ids(body.prompt)
        prompt = Prompt(tuple(body.prompt), "")
        # The client says everything: what bans and biases this server adds to other
        # requests would be unknown to it.
        plain = replace(self.settings, logit_bias=(), banned_phrases=())
        plan = replace(self, settings=plain)._checked(body, (prompt,), None, None)
        size = body.max_tokens * self.info.vocabulary * LOGIT_BYTES
        _require_most("bytes of logits", size, self.limits.logits)
        return plan

    def chat(self, body: ChatBody, engine: Engine) -> GenerationRequest:
        if body.top_logprobs and not body.logprobs:
            raise LmtuiError("top_logprobs needs logprobs", "", "Set logprobs to true.")
        top = self._top("top_logprobs", body.top_logprobs) if body.logprobs else None
        scores = self._top("prompt_logprobs", body.prompt_logprobs)
        prompt = self.conversation(body, engine)
        return self._checked(body, (prompt,), top, scores)

    def conversation(self, body: ConversationBody, engine: Engine) -> Prompt:
        thinking = body.chat_template_kwargs.enable_thinking
        thinking = body.think if thinking is None else thinking
        if thinking and not self.info.switches_thinking:
            raise LmtuiError("enable_thinking: this model can't be told to think")
        self.require_short([message.text for message in body.messages])
        turns = [message.turn for message in body.messages]
        prefill = turns.pop().content if body.continue_final_message else ""
        return engine.prompt(turns, prefill=prefill, thinking=thinking)

    def tokenized(
        self, body: TokenizeBody | TokenizeChatBody, engine: Engine
    ) -> Prompt:
        if isinstance(body, TokenizeChatBody):
            return self.conversation(body, engine)
        self.require_short([body.prompt])
        return self._read(body.prompt, body, engine)

    def _read(
        self,
        prompt: str | Sequence[int],
        body: CompletionBody | TokenizeBody,
        engine: Engine,
    ) -> Prompt:
        if isinstance(prompt, str):
            bos = "auto" if body.add_special_tokens else "no"
            read = engine.encode(prompt, bos=bos)  # type: ignore[arg-type]
            return Prompt((*read.prefix, *read.ids), prompt)
        self.require_ids(prompt)
        if len(prompt) > self.info.context:  # refused anyway; its text takes long
            return Prompt(tuple(prompt), "")
        data = b"".join(token.bytes for token in engine.describe_tokens(prompt))
        return Prompt(tuple(prompt), data.decode(errors="replace"))

    def require_short(self, given: Sequence[str | Sequence[int]]) -> None:
        """Refuse texts or ids that would take long to read, before they are read."""
        texts = sum(len(prompt) for prompt in given if isinstance(prompt, str))
        ids = [len(prompt) for prompt in given if not isinstance(prompt, str)]
        _require_most("characters", texts, self.limits.text)
        _require_most("tokens", sum(ids), self.limits.ids)

    def require_ids(self, ids: Iterable[int]) -> None:
        size = self.info.vocabulary
        if wrong := [token for token in ids if token >= size]:
            detail = f"{wrong[0]:,}; the vocabulary has {size:,} tokens"
            raise LmtuiError("there is no token with this id", detail)

    def logits_bytes(self, prompts: Sequence[Sequence[int]], keep: int) -> int:
        """Return the size of the raw logits after the last `keep` tokens of each, which
        can be given."""
        self._require_few(prompts, 1)
        self.require_short(prompts)
        self._require_fits(max(map(len, prompts)), self.info.context)
        for ids in prompts:
            self.require_ids(ids)
        rows = sum(min(keep, len(ids)) for ids in prompts)
        size = rows * self.info.vocabulary * LOGIT_BYTES
        _require_most("bytes of logits", size, self.limits.logits)
        return size

    def _require_few(self, prompts: Sequence[object], answers: int) -> None:
        if not prompts:
            raise LmtuiError("prompt is empty")
        _require_most("answers", len(prompts) * answers, self.limits.batch)

    def _top(self, name: str, asked: int | None) -> int | None:
        """Return how many tokens are listed for each; -1 asks for all."""
        size = self.info.vocabulary
        if asked is None or 0 <= asked <= size:
            return asked
        if asked == -1:
            return size
        raise LmtuiError(f"{name} is out of range", f"{asked}", f"Give 0 to {size:,}.")

    def _checked(
        self,
        body: GenerationBody,
        prompts: tuple[Prompt, ...],
        top: int | None,
        scores: int | None,
    ) -> GenerationRequest:
        if body.stream and body.prompt_logprobs is not None:
            raise LmtuiError("prompt_logprobs can't be streamed")
        _require_most("tokens of an answer", body.max_tokens or 0, self.info.context)
        _require_most("tokens of context", body.num_ctx, self.info.context)
        prompts = tuple(self._with_stops(prompt, body) for prompt in prompts)
        sizes = [len(prompt.ids) for prompt in prompts]
        if 0 in sizes:
            raise LmtuiError("a prompt is empty")
        _require_most("biases", len(body.logit_bias), self.limits.biases)
        self.require_ids(body.biases)
        answers = 0 if body.max_tokens == 0 else body.n
        self._require_fits(max(sizes), self.info.context - (1 if answers else 0))
        request = GenerationRequest(
            prompts,
            body.settings(self.settings),
            answers,
            scores,
            top,
            body.biases,
        )
        _require_most("prompt tokens", request.prompt_tokens, self.limits.ids)
        _require_most("logprobs", self._rows(request), self.limits.rows)
        return request

    def _with_stops(self, prompt: Prompt, body: GenerationBody) -> Prompt:
        """Return a prompt with what ends its answers."""
        _require_most("stop texts", len(body.stop_texts), self.limits.stop_texts)
        _require_most("stop tokens", len(body.stop_token_ids), self.limits.biases)
        self.require_ids(body.stop_token_ids)
        if "" in body.stop_texts:
            raise LmtuiError("a stop text is empty")
        if body.max_tokens is not None and body.min_tokens > body.max_tokens:
            raise LmtuiError("min_tokens is greater than max_tokens")
        own = () if body.ignore_eos else prompt.stop_texts
        return replace(
            prompt,
            stop_texts=(*own, *body.stop_texts),
            stop_ids=tuple(body.stop_token_ids),
            ignores_ends=body.ignore_eos,
            min_tokens=body.min_tokens,
        )

    def _require_fits(self, longest: int, room: int) -> None:
        if longest > room:
            raise PromptTooLong(
                "the prompt does not fit the context",
                f"{longest:,} tokens, with room for {room:,}",
                "Shorten the prompt.",
            )

    def _rows(self, request: GenerationRequest) -> int:
        """Return how many logprobs the response may hold."""
        scored = 0 if request.scores is None else request.scores + 1
        rows = scored * request.prompt_tokens * max(1, request.answers)
        if request.top_n is None:
            return rows
        for prompt in request.prompts:
            room = self.info.context - len(prompt.ids)
            made = request.answers * min(request.settings.max_tokens, room)
            rows += made * (request.top_n + 1)
        return rows


def _require_most(what: str, asked: int, most: int) -> None:
    if asked > most:
        detail = f"{asked:,} asked for; this server gives {most:,}"
        raise LmtuiError(f"too many {what} for one request", detail)
