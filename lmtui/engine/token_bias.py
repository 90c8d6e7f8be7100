"""Entries of `logit_bias`: a token's bytes, and what is added to its logit.

An entry is written as `TEXT=NUMBER` or `TEXT=ban`. In its text, `\\xE3` is a byte that
is part of no whole character, and `\\\\` a backslash. Knows no vocabulary.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from functools import lru_cache

from lmtui.errors import LmtuiError

BAN = "ban"
MOST = 100.0
"""Greatest number that can be added, as in OpenAI's API."""
MOST_ENTRIES = 100_000
_ESCAPE = re.compile(rb"\\(\\|x[0-9A-Fa-f]{2})")


@lru_cache(16)
def parse(entries: tuple[str, ...]) -> Mapping[bytes, float]:
    """Return the bias by the bytes of a token; -inf for a ban. Of several entries for
    one token, the last counts.

    Raises:
        LmtuiError: an entry can't be read, or there are too many.
    """
    if len(entries) > MOST_ENTRIES:
        hint = f"Give at most {MOST_ENTRIES:,}."
        raise LmtuiError("logit-bias has too many entries", f"{len(entries):,}", hint)
    return dict(map(_parsed, entries))


def entry(token: bytes, bias: float) -> str:
    """Return the entry for a token; `bias` is -inf for a ban."""
    text = token.replace(b"\\", b"\\\\").decode("utf-8", "backslashreplace")
    return f"{text}={BAN if bias == -math.inf else f'{bias:g}'}"


def text_of(entry: str) -> str:
    """Return the text of an entry; bytes that are no character as `\\xE3`."""
    return _parsed(entry)[0].decode("utf-8", "backslashreplace")


def with_bias(
    entries: tuple[str, ...], token: bytes, bias: float | None
) -> tuple[str, ...]:
    """Return the entries with this one in place of others for the same token; None only
    drops those."""
    others = tuple(each for each in entries if _parsed(each)[0] != token)
    return others if bias is None else (*others, entry(token, bias))


def _parsed(written: str) -> tuple[bytes, float]:
    text, equals, number = written.rpartition("=")
    try:
        value = -math.inf if number.strip() == BAN else float(number)
        if not equals or not text:
            raise ValueError
        data = _ESCAPE.sub(_byte, text.encode())
    except ValueError:
        hint = 'Write " very=-1.5" or " delve=ban".'
        raise LmtuiError("logit-bias can't be read", repr(written), hint) from None
    if not ((value == -math.inf and number.strip() == BAN) or abs(value) <= MOST):
        hint = f"Give a number from -{MOST:g} to {MOST:g}, or {BAN}."
        raise LmtuiError("logit-bias is out of range", repr(written), hint)
    return data, value


def _byte(match: re.Match[bytes]) -> bytes:
    escaped = match[1]
    return b"\\" if escaped == b"\\" else bytes([int(escaped[1:], 16)])
