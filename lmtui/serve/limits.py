"""Limits of what one client may ask for, so that no request fills memory or takes the
engine for good."""

from __future__ import annotations

from dataclasses import dataclass

from lmtui.models.remote.wire import DRAWN_BYTES


@dataclass(frozen=True, slots=True)
class Limits:
    body: int = 8 << 20
    """Bytes of a request's body."""
    header: int = 64 << 10
    """Bytes of a request's head."""
    body_seconds: float = 30.0
    """Time that a client has to send a request's body."""
    idle_seconds: float = 30.0
    """Time that a connection without a request stays open."""
    unread: int = 4 << 20
    """Bytes of a response that its client has yet to read, about: the engine goes on
    with it once there are fewer."""
    unread_seconds: float = 30.0
    """Time that a client may read nothing while others wait for its place."""
    connections: int = 256
    queue: int = 256
    """Requests that wait for the engine."""
    batch: int = 1024
    """Prompts of a request, times the answers to each."""
    ids: int = 1 << 18
    """Tokens of all prompts of a request."""
    text: int = 1 << 20
    """Characters of all its texts."""
    rows: int = 500_000
    """Logprobs of a response: tokens, times those listed for each."""
    logits: int = DRAWN_BYTES
    """Bytes of raw logits of a response."""
    stop_texts: int = 16
    biases: int = 1024
    """Tokens with a bias."""
