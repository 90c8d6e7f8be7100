"""Detokenizer: from token ids to bytes, and from bytes to whole characters.

Ids and bytes are exact; text is derived from them. Knows no model and no chat.
"""

from __future__ import annotations

import codecs
import json
import re
from bisect import bisect_right
from collections.abc import Sequence
from copy import copy
from functools import cache
from itertools import accumulate
from typing import Any, Protocol

from lmtui.text import bytes_text

_BYTE_TOKEN = re.compile(r"<0x([0-9A-F]{2})>")


@cache
def _byte_of_character() -> dict[str, int]:
    """The printable stand-in of each byte in a byte-level vocabulary, inverted.

    Printable Latin-1 characters stand for themselves, the other bytes for the
    code points from 256 on, in order (Radford et al. 2019, GPT-2's encoder).
    """
    printable = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [byte for byte in range(256) if byte not in printable]
    table = {chr(byte): byte for byte in printable}
    return table | {chr(256 + i): byte for i, byte in enumerate(others)}


def _byte_level(token: str) -> bytes:
    table = _byte_of_character()
    if all(character in table for character in token):
        return bytes(table[character] for character in token)
    return token.encode()


def _sentencepiece(token: str) -> bytes:
    if match := _BYTE_TOKEN.fullmatch(token):
        return bytes([int(match[1], 16)])
    return token.replace("▁", " ").encode()


class Spelling(Protocol):
    """Bytes and text of tokens, by id."""

    def bytes(self, token: int) -> bytes:
        """Return the bytes of `token`."""

    def text(self, token: int) -> str:
        """Return them as text; bytes that are no character show as `⟨E3 81⟩`."""


class Vocabulary:
    """Bytes and text of every token of one tokenizer."""

    def __init__(self, tokenizer: Any) -> None:
        self._tokenizer = tokenizer
        added = tokenizer.added_tokens_decoder
        self.specials = frozenset(i for i, token in added.items() if token.special)
        """Ids of the control tokens."""
        self._bytes = {i: token.content.encode() for i, token in added.items()}
        self._texts: dict[int, str] = {}
        self._decode = _scheme(tokenizer)

    def bytes(self, token: int) -> bytes:
        """Return the bytes of `token`; none for an id that the tokenizer lacks."""
        known = self._bytes.get(token)
        if known is None:
            spelled = self._tokenizer.convert_ids_to_tokens(token)
            known = self._decode(spelled) if spelled else b""
            self._bytes[token] = known
        return known

    @property
    def longest(self) -> int:
        """The bytes of the longest token."""
        most = 0
        for spelled, token in self._tokenizer.get_vocab().items():
            if 4 * len(spelled) > most:  # at most four bytes a character
                most = max(most, len(self.bytes(token)))
        return most

    def opening_with_space(self, size: int) -> list[int]:
        """Return the ids below `size` whose tokens begin with ASCII white space."""
        return [token for token in range(size) if self.bytes(token)[:1].isspace()]

    def text(self, token: int) -> str:
        """Return the token's bytes as text; bytes that are no character show as `⟨E3
        81⟩`."""
        known = self._texts.get(token)
        if known is None:
            data = self.bytes(token)
            known = bytes_text(data) if data else f"⟨unused {token}⟩"
            self._texts[token] = known
        return known


def _scheme(tokenizer: Any) -> Any:
    """Return the function from a token's string to its bytes: byte-level or
    SentencePiece."""
    decoder = tokenizer.backend_tokenizer.decoder
    kinds = json.dumps(json.loads(decoder.__getstate__())) if decoder else ""
    return _byte_level if '"ByteLevel"' in kinds else _sentencepiece


class TextStream:
    """Incremental decoder from bytes to whole characters, up to the first stop text."""

    def __init__(self, stop_texts: Sequence[str] = ()) -> None:
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self.stop_texts = tuple(stop_texts)
        self._pending = ""
        self.found: str | None = None
        """The stop text that was found; it and all that follows are dropped."""

    def copy(self) -> TextStream:
        """Return a stream in the same state, which goes on by itself."""
        copied = copy(self)
        copied._decoder = copy(self._decoder)
        return copied

    def feed(self, data: bytes) -> str:
        """Add a token's bytes; return the text that can no longer be part of a stop
        text."""
        if self.found is not None:
            return ""
        text = self._pending + self._decoder.decode(data)
        ends = [(text.find(stop), stop) for stop in self.stop_texts if stop in text]
        if ends:
            end, self.found = min(ends)
            self._pending = ""
            return text[:end]
        sure = len(text) - self._overlap(text)
        self._pending = text[sure:]
        return text[:sure]

    def finish(self) -> str:
        """Return the text that was held back as a possible stop text. Bytes of an
        unfinished character are dropped."""
        rest, self._pending = self._pending, ""
        return rest

    def _overlap(self, text: str) -> int:
        """Return the length of the longest suffix of `text` that is a prefix of a stop
        text."""
        lengths = (
            size
            for stop in self.stop_texts
            for size in range(min(len(stop) - 1, len(text)), 0, -1)
            if text.endswith(stop[:size])
        )
        return max(lengths, default=0)


def spelled(tokens: Sequence[bytes]) -> tuple[str, tuple[tuple[int, int], ...]]:
    """Return what tokens spell together, and the span of each in it. A byte outside
    whole characters is a replacement character of its own."""
    text = b"".join(tokens).decode("utf-8", "surrogateescape")
    return re.sub("[\udc80-\udcff]", "\ufffd", text), spans_of(text, tokens)


def spans_of(text: str, tokens: Sequence[bytes]) -> tuple[tuple[int, int], ...]:
    """Return the spans, in code points, of tokens whose bytes together spell the text.

    Bytes of a token that are not in the text (the end of what comes before, a control
    token) are skipped; a token without others gets an empty span.
    """
    left = text.encode("utf-8", "surrogateescape")
    starts = list(
        accumulate(
            (len(char.encode("utf-8", "surrogateescape")) for char in text), initial=0
        )
    )
    spans, start = [], 0
    for data in tokens:
        sizes = range(len(data), 0, -1)
        fits = (size for size in sizes if left.startswith(data[-size:], start))
        end = start + next(fits, 0)
        first = min(bisect_right(starts, start) - 1, len(text))
        last = bisect_right(starts, end - 1) if end > start else first
        spans.append((first, last))
        start = end
    return tuple(spans)
