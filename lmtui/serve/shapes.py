"""What all responses share: the words of their ends and errors, and their counts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from lmtui.engine.types import FinishReason

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


def shortened(text: str) -> str:
    """Return a client's text as far as it is repeated to it, and in the log."""
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…"


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
