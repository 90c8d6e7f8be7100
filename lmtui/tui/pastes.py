"""Parser of terminal input that keeps every paste in one piece.

Handles reads that split a paste anywhere, and pastes whose end never arrives. Knows no
terminal and no widget.
"""

from __future__ import annotations

import time
from codecs import getincrementaldecoder
from collections.abc import Callable, Iterator

from textual._xterm_parser import XTermParser
from textual.events import Key, Paste
from textual.keys import Keys
from textual.message import Message

_BEGIN, _END = b"\x1b[200~", b"\x1b[201~"
_SILENCE = 1.0
"""Seconds without a byte after which an unfinished paste is shown so far, and the next
short read is taken as a key."""
_LONGEST_KEY = 32
"""Bytes. A longer read after a silence is the rest of a delayed paste."""

_decoder = getincrementaldecoder("utf-8")


class TerminalInput:
    """Parser from bytes, read in any pieces, to keys, pastes and other messages.

    Textual's parser looks for keys inside a paste, too: an ESC in it ends the paste,
    and the rest is run as keys. So it gets only the empty brackets of a paste; the text
    follows as a message of its own.
    """

    def __init__(
        self, *, debug: bool = False, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._parser = _Parser(debug)
        self._typed = _decoder("replace")
        self._clock = clock
        self._matched = 0  # bytes of _BEGIN that the input so far ends with
        self._paste: _Pasted | None = None
        self._last_byte_at = 0.0  # time of the last byte

    def feed(self, data: bytes) -> Iterator[Message]:
        is_short = len(data) <= _LONGEST_KEY and self._is_silent
        if self._paste and is_short and not self._paste.ends_with(data):
            yield from self._close(self._paste)
        while data:
            if self._paste is None:
                end = self._paste_start(data)
                yield from self._parse(data[:end])
                data = data[end:]
                if self._matched == len(_BEGIN):
                    self._matched, self._paste = 0, _Pasted()
            else:
                rest = self._paste.add(data)
                if rest is not None:
                    yield from self._close(self._paste)
                data = rest or b""
            self._last_byte_at = self._clock()

    def tick(self) -> Iterator[Message]:
        """Yield the messages due after a pause: a lone ESC, an unfinished paste."""
        if self._paste is None:
            yield from self._parser.tick()
        elif self._is_silent and (text := self._paste.pop_text()):
            yield Paste(text)

    @property
    def _is_silent(self) -> bool:
        return self._clock() - self._last_byte_at >= _SILENCE

    def _paste_start(self, data: bytes) -> int:
        """Return the index after the beginning of a paste, or the data's length."""
        for index, byte in enumerate(data, 1):
            expected = byte == _BEGIN[self._matched]
            self._matched = self._matched + 1 if expected else int(byte == _BEGIN[0])
            if self._matched == len(_BEGIN):
                return index
        return len(data)

    def _parse(self, data: bytes) -> Iterator[Message]:
        if text := self._typed.decode(data):
            yield from self._parser.feed(text)

    def _close(self, paste: _Pasted) -> Iterator[Message]:
        self._paste = None
        for message in self._parser.feed(_END.decode()):
            if not isinstance(message, Paste):  # it is empty
                yield message
        if text := paste.pop_text(whole=True):
            yield Paste(text)


class _Pasted:
    """Buffer of the bytes of a paste that were not passed on yet."""

    def __init__(self) -> None:
        self._bytes = bytearray()
        self._search_from = 0  # _END does not begin before this index
        self._text = _decoder("replace")

    def add(self, data: bytes) -> bytes | None:
        """Add bytes; return those after the end of the paste, or None before it."""
        self._bytes += data
        end = self._bytes.find(_END, self._search_from)
        if end < 0:
            self._search_from = max(0, len(self._bytes) - len(_END) + 1)
            return None
        rest = bytes(self._bytes[end + len(_END) :])
        del self._bytes[end:]
        return rest

    def ends_with(self, data: bytes) -> bool:
        """Return whether these bytes would complete the end of the paste."""
        return _END in self._bytes[self._search_from :] + data

    def pop_text(self, *, whole: bool = False) -> str:
        """Return and remove the text so far.

        Unless it is `whole`, bytes that may belong to the end sequence or to an
        incomplete character are held back.
        """
        parts = range(len(_END) - 1, 0, -1)
        cut = next((n for n in parts if self._bytes.endswith(_END[:n])), 0)
        size = len(self._bytes) - (0 if whole else cut)
        text = self._text.decode(bytes(self._bytes[:size]), whole)
        del self._bytes[:size]
        self._search_from = 0
        return text.replace("\0", "\ufffd")  # text files must not contain NUL


class _Parser(XTermParser):
    """Textual's parser, which raises on invalid key numbers; here they are ignored."""

    def _sequence_to_key_events(
        self, sequence: str, alt: bool = False
    ) -> Iterator[Key]:
        try:
            yield from super()._sequence_to_key_events(sequence, alt)
        except (ValueError, OverflowError):
            yield Key(Keys.Ignore, sequence)
