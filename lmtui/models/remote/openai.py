"""Models of any server with OpenAI's chat API: text goes there, and text comes back.

Such a server knows no token ids and scores no given text. It may list the most probable
tokens at each position of an answer. Which fields it takes is found out once, by
questions of a few tokens.
"""

from __future__ import annotations

from collections.abc import Generator, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, ClassVar

from lmtui.models.remote import checks
from lmtui.models.remote.checks import checked
from lmtui.models.remote.dialects import LEAST_TOP_P
from lmtui.models.remote.refusal import RequestRefused

if TYPE_CHECKING:  # its library takes a tenth of a second to import
    from lmtui.models.remote.connection import Connection

_PATH = "/v1/chat/completions"
_COUNTS = 20, 10, 5, 0
"""Tokens to ask for at each position, the first that the server allows."""
_FORMS = (
    ("temperature", "top_p", "seed", "max_tokens", "stream_options"),
    ("temperature", "top_p", "seed", "max_tokens"),
    ("temperature", "top_p", "max_tokens"),  # Mistral: no seed
    ("max_completion_tokens",),  # OpenAI's models that reason
)
"""Fields of OpenAI's API, the first that the server takes all of."""
_TOKEN_BYTES = 1 << 12
_LINE_BYTES = 1 << 20  # of an event without its lists
_PROBED = 8
"""Tokens that are drawn to see whether a setting has an effect."""
_THINK = "<think>\n", "\n</think>\n\n"


@dataclass(frozen=True, slots=True)
class ChatRequest:
    """A conversation, and how its answer is drawn; the fields have the names of
    `SamplingSettings`."""

    messages: Sequence[tuple[str, str]]
    """Role and text of each."""
    temperature: float = 1.0
    top_k: int = 0
    top_p: float = 1.0
    min_p: float = 0.0
    repetition_penalty: float = 1.0
    presence_penalty: float = 0.0
    frequency_penalty: float = 0.0
    seed: int = 0
    max_tokens: int = 1


_QUESTION = ChatRequest([("user", "Name ten rivers.")])


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
    fields: tuple[str, ...] = _FORMS[0]
    """Fields of OpenAI's API that it takes."""
    extra: frozenset[str] = field(default_factory=frozenset)
    """Fields that it takes besides, of `_EXTRA`."""
    number_format: str = "unknown"
    device: str = "openai"
    dialect: ClassVar[str] = "openai"

    @classmethod
    def open(cls, connection: Connection, about: Mapping[str, Any]) -> OpenAiModel:
        """Return the model that `about`, an entry of `/v1/models`, is about."""
        with checked(connection, "its models"):
            model = cls(connection, str(about["id"]), context=_context(about))
        return model._with_fields()._with_extra()

    @property
    def takes(self) -> frozenset[str]:
        """Names of the sampling settings that it draws with."""
        known = {*self.fields, *(_SAME.get(name, name) for name in self.extra)}
        return frozenset(known & (_PENALTIES | {*_SETTINGS}))

    @property
    def ignores(self) -> tuple[str, ...]:
        """Settings that it draws without, by the names of `ChatRequest`: of those that
        are on by default, and so can't be refused."""
        return tuple(name for name in _SETTINGS if name not in self.takes)

    def draw(self, request: ChatRequest) -> Generator[ChatPart, None, None]:
        """Yield the parts of an answer; closing the iterator ends it."""
        body = self._body(request)
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

    def _body(self, request: ChatRequest) -> dict[str, Any]:
        known = {
            "temperature": request.temperature,
            "top_p": max(request.top_p, LEAST_TOP_P),
            "seed": request.seed,
            "max_tokens": request.max_tokens,
            "max_completion_tokens": request.max_tokens,
            "stream_options": {"include_usage": True},
        }
        body: dict[str, Any] = {
            "model": self.name,
            "messages": [
                {"role": role, "content": text} for role, text in request.messages
            ],
            "stream": True,
            **{name: known[name] for name in self.fields},
        }
        for name in self.extra:
            own = _SAME.get(name, name)
            body[name] = _CHAIN if name == _ORDER else getattr(request, own)
        if self.rows:
            body |= {"logprobs": True, "top_logprobs": self.rows}
        return body

    # What it takes.

    def _with_fields(self) -> OpenAiModel:
        """Return the model with the most fields, and the most listed tokens, that the
        server takes."""
        refusal: RequestRefused | None = None
        for fields in _FORMS:
            for count in _COUNTS:
                tried = replace(self, fields=fields, rows=count)
                most = 1 if "max_tokens" in fields else 16
                asked = replace(_QUESTION, temperature=0, max_tokens=most)
                try:
                    drawn = tried._tokens_of(asked)
                except RequestRefused as error:
                    if not error.is_about_fields:
                        raise
                    refusal = error
                    continue
                # A server may ignore the fields, or list fewer tokens.
                most = max((len(token.top_logprobs) for token in drawn), default=0)
                return replace(tried, rows=min(count, most))
        assert refusal is not None
        raise refusal

    def _with_extra(self) -> OpenAiModel:
        """Return the model with the fields beyond OpenAI's API that the server takes
        and, as far as can be seen, that have an effect: with a filter, only the most
        probable token can be drawn."""
        question = replace(_QUESTION, temperature=2.0, max_tokens=_PROBED)
        whole = replace(self, extra=_EXTRA)
        try:
            idle = {
                name
                for name, value in _GREEDY.items()
                if not whole._is_greedy(replace(question, **{name: value}))
            }
            return replace(self, extra=_EXTRA - idle)
        except RequestRefused as error:
            if not error.is_about_fields:
                raise
        # It refuses what it does not know: OpenAI's own penalties may be left.
        with_penalties = replace(self, extra=_PENALTIES)
        try:
            with_penalties._tokens_of(_QUESTION)
        except RequestRefused as error:
            if not error.is_about_fields:
                raise
            return self
        return with_penalties

    def _is_greedy(self, request: ChatRequest) -> bool:
        """Return whether every token that is drawn is the most probable one. Without
        numbers, two draws that agree tell it."""
        if self.rows:
            drawn = [token for token in self._tokens_of(request) if token.top_logprobs]
            known = [(token.logprob, token.top_logprobs[0][1]) for token in drawn]
            return bool(known) and all(
                own is not None and own >= best - checks.SLACK for own, best in known
            )
        texts = {
            "".join(part.text for part in self._parts_of(asked))
            for asked in (request, replace(request, seed=request.seed + 1))
        }
        return len(texts) == 1 and texts != {""}

    def _parts_of(self, request: ChatRequest) -> list[ChatPart]:
        return list(self.draw(request))

    def _tokens_of(self, request: ChatRequest) -> list[ChatToken]:
        return [token for part in self._parts_of(request) for token in part.tokens]

    # What it says.

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
        part = ChatPart(
            _text(delta.get("content") or ""),
            tuple(map(self._token, _entries(choice.get("logprobs")))),
            None if reason is None else str(reason)[: checks.SHOWN],
            prompt,
            answer,
        )
        return part, "" if part.text else _text(thought)

    def _token(self, entry: Mapping[str, Any]) -> ChatToken:
        if entry["logprob"] is None:
            return ChatToken(_bytes(entry), None)
        own = checks.logprob(entry["logprob"])
        pairs = [
            _pair(top)
            for top in entry.get("top_logprobs") or ()
            if top["logprob"] is not None
        ]
        pairs.sort(key=lambda pair: -pair[1])
        checks.require_distribution([value for _, value in pairs])
        return ChatToken(_bytes(entry), own, tuple(pairs[: self.rows]))


_ORDER = "samplers"
_CHAIN = ["penalties", "temperature", "top_k", "top_p", "min_p"]
"""Our own order of the sampler's stages, for llama-server, which has another one."""
_SAME = {"repeat_penalty": "repetition_penalty"}
"""Names of some servers for our settings."""
_GREEDY: Mapping[str, Any] = {"top_k": 1, "min_p": 1.0}
"""Settings that leave the most probable token only."""
_PENALTIES = frozenset({"presence_penalty", "frequency_penalty"})
_EXTRA = _PENALTIES | {*_GREEDY, *_SAME.values(), *_SAME, _ORDER}
"""Fields beyond those of `_FORMS`."""
_SETTINGS = ("temperature", "top_p", "top_k", "min_p", "repetition_penalty")


def _told(value: Any) -> int | None:
    """Return a number of tokens, if it is one."""
    return value if type(value) is int and 0 < value <= checks.MOST_CONTEXT else None


def _context(about: Mapping[str, Any]) -> int | None:
    meta = about.get("meta") or {}
    for value in (about.get("max_model_len"), meta.get("n_ctx")):
        if value is not None:
            return checks.count(value, checks.MOST_CONTEXT)
    return None


def _entries(logprobs: Any) -> Iterable[Mapping[str, Any]]:
    """Return the tokens of an event, in the shape of chats or of completions."""
    if logprobs is None:
        return ()
    if "tokens" not in logprobs:
        return logprobs.get("content") or ()
    names = [name for name in logprobs["tokens"] if isinstance(name, str)]
    if len(names) < len(logprobs["tokens"]):  # ids, whose text is not told
        return ()
    rows = logprobs.get("top_logprobs") or [None] * len(names)
    return [
        {
            "token": name,
            "logprob": value,
            "top_logprobs": [
                {"token": other, "logprob": logprob}
                for other, logprob in (top or {}).items()
            ],
        }
        for name, value, top in zip(
            names, logprobs["token_logprobs"], rows, strict=True
        )
    ]


def _pair(entry: Mapping[str, Any]) -> tuple[bytes, float]:
    return _bytes(entry), checks.logprob(entry["logprob"])


def _bytes(entry: Mapping[str, Any]) -> bytes:
    """Return the bytes of a token; of its text, where the server sends no others."""
    sent = entry.get("bytes")
    if sent is None:
        data = _text(entry["token"]).encode()
    elif isinstance(sent, list):
        data = bytes(sent)
    else:
        raise TypeError(f"{str(sent)[: checks.SHOWN]} are no bytes")
    if len(data) > _TOKEN_BYTES:
        raise ValueError(f"a token of {len(data):,} bytes")
    return data


def _text(value: Any) -> str:
    """Return a text that a server sent, without halves of characters."""
    if not isinstance(value, str):
        raise TypeError(f"{str(value)[: checks.SHOWN]} is no text")
    return value.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
