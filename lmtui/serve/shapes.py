"""Responses as JSON objects, in the shapes of OpenAI's API, and of vLLM's where OpenAI
has none."""

from __future__ import annotations

import codecs
import math
import secrets
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from lmtui.engine.types import Candidate, FinishReason, ScoredToken, Step
from lmtui.models.remote.wire import IMPOSSIBLE
from lmtui.partial import exact_entropy, exact_rank

Json = dict[str, Any]

_SHOWN = 80
BROKEN_OFF = "abort"
"""Why an answer ended that was stopped; vLLM's word, since OpenAI has none."""
FINISH = {
    FinishReason.STOP: "stop",
    FinishReason.NEWLINE: "stop",
    FinishReason.LENGTH: "length",
    FinishReason.CONTEXT: "length",
    FinishReason.CANCELLED: BROKEN_OFF,
}
"""The word for the reason why an answer ended."""


@dataclass(frozen=True, slots=True)
class Row:
    """A token of a prompt or of an answer, with the most probable ones beside it."""

    id: int
    bytes: bytes
    logprob: float | None
    rank: int | None
    entropy: float | None
    varentropy: float | None
    top: Sequence[Candidate]


def row_of(token: ScoredToken | Step, top_n: int) -> Row:
    top = token.distribution.candidates if isinstance(token, Step) else token.top
    return Row(
        token.id,
        token.bytes,
        token.logprob,
        exact_rank(token.rank),
        exact_entropy(token.entropy),
        token.varentropy,
        top[:top_n],
    )


@dataclass(frozen=True, slots=True)
class Names:
    """How tokens are written in a response."""

    as_ids: bool = False
    """As `token_id:N`, which no two tokens share."""

    def of(self, token: Row | Candidate) -> str:
        """Return a token's text; bytes that are no text, as `bytes:\\xe3\\x81`."""
        if self.as_ids:
            return f"token_id:{token.id}"
        try:
            return token.bytes.decode()
        except UnicodeDecodeError:
            return "bytes:" + "".join(f"\\x{byte:02x}" for byte in token.bytes)


def shortened(text: str) -> str:
    """Return a client's text as far as it is repeated to it, and in the log."""
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…"


def number(logprob: float | None) -> float | None:
    """Return a logprob as JSON can hold it."""
    if logprob is None or math.isfinite(logprob):
        return logprob
    return IMPOSSIBLE


class LegacyLogprobs:
    """The `logprobs` of completions: four lists, and where each token begins in the
    text. Knows how much of the text came before."""

    def __init__(self, names: Names) -> None:
        self._names = names
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._offset = 0

    def of(self, rows: Sequence[Row]) -> Json:
        offsets = []
        for row in rows:
            offsets.append(self._offset)
            self._offset += len(self._decoder.decode(row.bytes))
        return {
            "tokens": [self._names.of(row) for row in rows],
            "token_logprobs": [number(row.logprob) for row in rows],
            "top_logprobs": [self._top(row) for row in rows],
            "text_offset": offsets,
        }

    def _top(self, row: Row) -> Json | None:
        if row.logprob is None:
            return None
        # The actual token is listed, too, where it is not among the first.
        tokens: Sequence[Row | Candidate] = (row, *row.top)
        return {self._names.of(token): number(token.logprob) for token in tokens}


def chat_logprobs(rows: Sequence[Row], names: Names) -> Json:
    content = [
        _entry(row, names)
        | {"top_logprobs": [_entry(candidate, names) for candidate in row.top]}
        for row in rows
    ]
    return {"content": content, "refusal": None}


def _entry(token: Row | Candidate, names: Names) -> Json:
    return {
        "token": names.of(token),
        "logprob": number(token.logprob),
        "bytes": list(token.bytes),
    }


def prompt_logprobs(rows: Sequence[Row], names: Names) -> list[Json | None]:
    """Return vLLM's `prompt_logprobs`: per token, by id, the actual and the most
    probable ones."""
    entries: list[Json | None] = []
    for row in rows:
        if row.logprob is None:
            entries.append(None)
            continue
        entry = {str(row.id): _ranked(row, row.rank, names)}
        for rank, candidate in enumerate(row.top, 1):
            entry.setdefault(str(candidate.id), _ranked(candidate, rank, names))
        entries.append(entry)
    return entries


def _ranked(token: Row | Candidate, rank: int | None, names: Names) -> Json:
    return {
        "logprob": number(token.logprob),
        "rank": rank,
        "decoded_token": names.of(token),
    }


@dataclass(frozen=True, slots=True)
class Head:
    """What all parts of a response begin with."""

    id: str
    object: str
    created: int
    model: str

    @classmethod
    def new(cls, prefix: str, kind: str, model: str) -> Head:
        return cls(f"{prefix}-{secrets.token_hex(12)}", kind, int(time.time()), model)

    def around(self, choices: Sequence[Json], **more: Any) -> Json:
        return {
            "id": self.id,
            "object": self.object,
            "created": self.created,
            "model": self.model,
            "choices": list(choices),
            **more,
        }


@dataclass(slots=True)
class Counts:
    """Tokens and times of a request, for its usage and its log line."""

    prompt: int = 0
    cached: int = 0
    generated: int = 0
    seconds: float = 0.0
    """Time of the answers' tokens but the first of each."""
    later: int = 0
    """Number of these tokens."""

    @property
    def usage(self) -> Json:
        """The counts of tokens, as a response has them."""
        return {
            "prompt_tokens": self.prompt,
            "completion_tokens": self.generated,
            "total_tokens": self.prompt + self.generated,
            "prompt_tokens_details": {"cached_tokens": self.cached},
        }

    @property
    def speed(self) -> float | None:
        """Tokens a second of decoding; None without a second token."""
        return self.later / self.seconds if self.later and self.seconds > 0 else None


def failure(status: int, message: str, *, code: str = "") -> Json:
    """Return an error; its `code` is the status, where OpenAI's API has no other."""
    kinds: Mapping[int, str] = {401: "authentication_error", 404: "not_found_error"}
    other = "invalid_request_error" if status < 500 else "server_error"
    return {
        "error": {
            "message": message,
            "type": kinds.get(status, other),
            "param": None,
            "code": code or status,
        }
    }
