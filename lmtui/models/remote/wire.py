"""What `lmtui serve` and lmtui as its client have agreed on, beyond OpenAI's API."""

from __future__ import annotations

ID_BYTES = 4
"""Size of the id of a drawn token, little-endian, before its row of logits."""
DRAWN_BYTES = 1 << 26
"""Bytes of one response with drawn tokens, at the most."""
LOGIT_BYTES = 4
"""Size of a raw logit: float32, little-endian."""
IMPOSSIBLE = -9999.0
"""The logprob of what has no probability at all, since JSON has no infinity."""
