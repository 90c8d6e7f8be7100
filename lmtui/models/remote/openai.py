"""Models of any server with OpenAI's chat API: text goes there, and text comes back.

Such a server knows no token ids and scores no given text. It may list the most probable
tokens at each position of an answer. It is sent the fields that it documents, without
those that it refuses by their names.
"""

from __future__ import annotations

import re
from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar

from lmtui.models.remote import checks
from lmtui.models.remote.checks import RequestRefused, checked
from lmtui.models.remote.dialects import LEAST_TOP_P, DrawSettings

if TYPE_CHECKING:  # its library takes a tenth of a second to import
    from lmtui.models.remote.connection import Connection

Messages = Sequence[tuple[str, str]]
"""Role and text of each."""

_PATH = "/v1/chat/completions"
_COUNTS = 20, 10, 5, 0
"""Tokens to ask for at each position: fewer where a server refuses so many."""
_FIELDS = (
    "temperature",
    "top_p",
    "presence_penalty",
    "frequency_penalty",
    "seed",
    "max_tokens",
    "stream_options",
)
"""Fields of OpenAI's API."""
_FILTERS = "top_k", "min_p", "repetition_penalty"
_MORE: Mapping[str, Sequence[str]] = {
    "lmtui": _FILTERS,
    "vllm": _FILTERS,
    "sglang": _FILTERS,
    "llamacpp": ("top_k", "min_p", "repeat_penalty", "samplers"),
    "organization_owner": ("top_k", "repeat_penalty"),  # LM Studio
}
"""Fields that servers document besides, by what `/v1/models` says of who owns a
model."""
_SETTING_OF = {"repeat_penalty": "repetition_penalty"}
_ON_BY_DEFAULT = "temperature", "top_p", "top_k", "min_p", "repetition_penalty"
_CHAIN = ["penalties", "temperature", "top_k", "top_p", "min_p"]
"""Our own order of the sampler's stages, for llama-server, which has another one."""
_REFUSALS = 400, 403, 422  # OpenAI's models that reason: 403 for logprobs
_QUESTION: Messages = [("user", "Name ten rivers.")]
_TRIED: DrawSettings = {
    "temperature": 0.5, "top_k": 5, "top_p": 0.9, "min_p": 0.05,
    "repetition_penalty": 1.1, "presence_penalty": 0.1, "frequency_penalty": 0.1,
    "seed": 1, "max_tokens": 1,
}  # fmt: skip
_LEAST_LENGTH = 16  # of OpenAI's models that reason
_TOKEN_BYTES = 1 << 12
_LINE_BYTES = 1 << 20  # of an event without its lists
_THINK = "<think>\n", "\n</think>\n\n"


@dataclass(frozen=True, slots=True)
class ChatToken:
    """A token of an answer, by its bytes, which stand for an id."""

    data: bytes
    logprob: float | None
    """None where the server has no numbers for it."""
    top_logprobs: tuple[tuple[bytes, float], ...] = ()
    """The most probable tokens there, the most probable first. Two tokens can have the
    same bytes, where a server replaces what is no text."""


@dataclass(frozen=True, slots=True)
class ChatPart:
    """What one event adds to an answer."""

    text: str = ""
    tokens: tuple[ChatToken, ...] = ()
    """Its tokens, where the server tells them; they may come before their text."""
    reason: str | None = None
    """Why the answer ends, in the server's word."""
    prompt_tokens: int | None = None
    answer_tokens: int | None = None
    """Tokens of the whole answer, where the server tells them at its end."""


@dataclass(frozen=True)
class OpenAiModel:
    """A model on a server that takes texts alone."""

    connection: Connection
    name: str
    rows: int = 0
    """Most tokens that are listed of each position; 0 where there are no numbers."""
    context: int | None = None
    """The most tokens that it was made for, where the server tells it."""
    fields: tuple[str, ...] = _FIELDS
    """Names of the fields that say how an answer is drawn."""
    dialect: ClassVar[str] = "openai"

    @classmethod
    def open(cls, connection: Connection, about: Mapping[str, Any]) -> OpenAiModel:
        """Return the model that `about`, an entry of `/v1/models`, is about."""
        with checked(connection, "its models"):
            fields = (*_FIELDS, *_MORE.get(str(about.get("owned_by")), ()))
            name, context = str(about["id"]), _context(about)
            model = cls(connection, name, _COUNTS[0], context, fields)
        return model._accepted()

    def _accepted(self) -> OpenAiModel:
        """Return the model without what the server refuses by its name, and with as
        many listed tokens as come, by an answer of one token."""
        try:
            parts = list(self.draw(_QUESTION, _TRIED))
        except RequestRefused as refusal:
            return self._without(refusal)._accepted()
        rows = (len(token.top_logprobs) for part in parts for token in part.tokens)
        return replace(self, rows=min(self.rows, max(rows, default=0)))

    def _without(self, refusal: RequestRefused) -> OpenAiModel:
        """Return the model without the first field that a refusal names, or with fewer
        listed tokens.

        Raises:
            RequestRefused: it names none.
        """
        words = set(re.findall(r"\w+", refusal.detail.lower()))
        named = [name for name in self.fields if name in words]
        if refusal.status not in _REFUSALS:
            raise refusal
        if named:
            instead = ["max_completion_tokens"] if named[0] == "max_tokens" else []
            kept = [name for name in self.fields if name != named[0]]
            return replace(self, fields=(*kept, *instead))
        if self.rows and words & {"logprobs", "top_logprobs"}:
            fewer = next(count for count in _COUNTS if count < self.rows)
            return replace(self, rows=fewer)
        raise refusal

    @property
    def takes(self) -> frozenset[str]:
        """Names of the sampling settings that it draws with."""
        return frozenset(_SETTING_OF.get(name, name) for name in self.fields)

    @property
    def ignores(self) -> tuple[str, ...]:
        """Settings that it draws without, of those that are on by default, and so can't
        be refused."""
        return tuple(name for name in _ON_BY_DEFAULT if name not in self.takes)

    def draw(
        self, messages: Messages, settings: DrawSettings
    ) -> Generator[ChatPart, None, None]:
        """Yield the parts of an answer; closing the iterator ends it."""
        body = self._body(messages, settings)
        most = _LINE_BYTES + checks.ENTRY_BYTES * 64 * (self.rows + 1)
        ended, thinks = False, False
        for event in self.connection.events(_PATH, body, most=most):
            with checked(self.connection, "an event"):
                part, thought = self._part(event)
            if thought:
                part = replace(part, text=thought if thinks else _THINK[0] + thought)
                thinks = True
            elif thinks and part.text:
                part, thinks = replace(part, text=_THINK[1] + part.text), False
            ended = ended or part.reason is not None
            yield part
        if not ended:
            raise self.connection.nonsense("the answer breaks off")

    def _body(self, messages: Messages, settings: DrawSettings) -> dict[str, Any]:
        values = {
            **settings,
            "top_p": max(settings["top_p"], LEAST_TOP_P),
            "top_k": settings["top_k"] or -1,  # vLLM and SGLang refuse 0
            "repeat_penalty": settings["repetition_penalty"],
            "samplers": _CHAIN,
            "max_completion_tokens": max(_LEAST_LENGTH, settings["max_tokens"]),
            "stream_options": {"include_usage": True},
        }
        return {
            "model": self.name,
            "messages": [{"role": role, "content": text} for role, text in messages],
            "stream": True,
            **{name: values[name] for name in self.fields},
            **({"logprobs": True, "top_logprobs": self.rows} if self.rows else {}),
        }

    def _part(self, event: Any) -> tuple[ChatPart, str]:
        """Return what an event adds, and its thinking, which some servers send
        apart."""
        usage = event.get("usage") or {}
        prompt = _told(usage.get("prompt_tokens"))
        answer = _told(usage.get("completion_tokens"))
        choices = event.get("choices") or ()
        if not choices:  # it tells the usage only
            return ChatPart(prompt_tokens=prompt, answer_tokens=answer), ""
        choice = choices[0]
        delta, reason = choice.get("delta") or {}, choice.get("finish_reason")
        thought = delta.get("reasoning_content") or delta.get("reasoning") or ""
        logprobs = choice.get("logprobs") or {}
        part = ChatPart(
            _text(delta.get("content") or ""),
            tuple(map(self._token, logprobs.get("content") or ())),
            None if reason is None else str(reason)[: checks.SHOWN],
            prompt,
            answer,
        )
        return part, "" if part.text else _text(thought)

    def _token(self, entry: Mapping[str, Any]) -> ChatToken:
        if entry["logprob"] is None:
            return ChatToken(_bytes(entry), None)
        pairs = [
            (_bytes(top), checks.logprob(top["logprob"]))
            for top in entry.get("top_logprobs") or ()
            if top["logprob"] is not None
        ]
        pairs.sort(key=lambda pair: -pair[1])
        checks.require_distribution([value for _, value in pairs])
        own = checks.logprob(entry["logprob"])
        return ChatToken(_bytes(entry), own, tuple(pairs[: self.rows]))


def _told(value: Any) -> int | None:
    """Return a number of tokens, if it is one."""
    return value if type(value) is int and 0 < value <= checks.MOST_CONTEXT else None


def _context(about: Mapping[str, Any]) -> int | None:
    meta = about.get("meta") or {}
    for value in (about.get("max_model_len"), meta.get("n_ctx")):
        if value is not None:
            return checks.count(value, checks.MOST_CONTEXT)
    return None


def _bytes(entry: Mapping[str, Any]) -> bytes:
    """Return the bytes of a token; of its text, where the server sends no others."""
    sent = entry.get("bytes")
    data = _text(entry["token"]).encode() if sent is None else bytes([*sent])
    if len(data) > _TOKEN_BYTES:
        raise ValueError(f"a token of {len(data):,} bytes")
    return data


def _text(value: Any) -> str:
    """Return a text that a server sent, without halves of characters."""
    if not isinstance(value, str):
        raise TypeError(f"{str(value)[: checks.SHOWN]} is no text")
    return value.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
