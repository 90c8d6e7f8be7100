"""What arrives from a terminal, with every paste as one piece of text.

Textual's parser looks for keys inside a paste as well: an ESC in it ends the paste, and
what follows is done as keys. So a paste never reaches that parser: it sees the brackets
around nothing, and the text comes behind them. Owns where a paste begins and ends, also
where reads cut it anywhere or its end never comes. Knows no terminal and no widget.
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
"""Seconds without a byte after which what was pasted so far is shown, and the next
key is a key again, though the end of the paste has not come."""
_LONGEST_KEY = 32
"""Bytes. A longer read after a silence is the rest of a paste that was held up."""

_decoder = getincrementaldecoder("utf-8")


class TerminalInput:
    """A parser of bytes, read in any pieces, to keys, pastes and the like."""

    def __init__(
        self, *, debug: bool = False, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._parser = _Parser(debug)
        self._typed = _decoder("replace")
        self._clock = clock
        self._matched = 0  # bytes of the beginning that were typed last
        self._paste: _Pasted | None = None
        self._heard = 0.0  # when a byte was pasted last

    def feed(self, data: bytes) -> Iterator[Message]:
        """What these bytes say, as far as they say it already."""
        short = len(data) <= _LONGEST_KEY and self._is_silent
        if self._paste and short and not self._paste.ends_with(data):
            yield from self._close(self._paste)
        while data:
            if self._paste is None:
                end = self._beginning(data)
                yield from self._parse(data[:end])
                data = data[end:]
                if self._matched == len(_BEGIN):
                    self._matched, self._paste = 0, _Pasted()
            else:
                rest = self._paste.add(data)
                if rest is not None:
                    yield from self._close(self._paste)
                data = rest or b""
            self._heard = self._clock()

    def tick(self) -> Iterator[Message]:
        """What it means that nothing has come for a while."""
        if self._paste is None:
            yield from self._parser.tick()
        elif self._is_silent and (text := self._paste.take()):
            yield Paste(text)

    @property
    def _is_silent(self) -> bool:
        return self._clock() - self._heard >= _SILENCE

    def _beginning(self, data: bytes) -> int:
        """Behind the beginning of a paste, else behind all of the data."""
        for place, byte in enumerate(data, 1):
            expected = byte == _BEGIN[self._matched]
            self._matched = self._matched + 1 if expected else int(byte == _BEGIN[0])
            if self._matched == len(_BEGIN):
                return place
        return len(data)

    def _parse(self, data: bytes) -> Iterator[Message]:
        if text := self._typed.decode(data):
            yield from self._parser.feed(text)

    def _close(self, paste: _Pasted) -> Iterator[Message]:
        self._paste = None
        for message in self._parser.feed(_END.decode()):
            if not isinstance(message, Paste):  # it is empty
                yield message
        if text := paste.take(whole=True):
            yield Paste(text)


class _Pasted:
    """The bytes of a paste that were not passed on yet."""

    def __init__(self) -> None:
        self._bytes = bytearray()
        self._looked = 0  # the end does not begin before this
        self._text = _decoder("replace")

    def add(self, data: bytes) -> bytes | None:
        """Take bytes in; what is behind the end of the paste, once that has come."""
        self._bytes += data
        found = self._bytes.find(_END, self._looked)
        if found < 0:
            self._looked = max(0, len(self._bytes) - len(_END) + 1)
            return None
        rest = bytes(self._bytes[found + len(_END) :])
        del self._bytes[found:]
        return rest

    def ends_with(self, data: bytes) -> bool:
        """Whether the end of the paste would come with these bytes."""
        return _END in self._bytes[self._looked :] + data

    def take(self, *, whole: bool = False) -> str:
        """The text so far, without what may be a part of the end or of a character
        unless it is `whole`."""
        parts = range(len(_END) - 1, 0, -1)
        cut = next((n for n in parts if self._bytes.endswith(_END[:n])), 0)
        size = len(self._bytes) - (0 if whole else cut)
        text = self._text.decode(bytes(self._bytes[:size]), whole)
        del self._bytes[:size]
        self._looked = 0
        return text.replace("\0", "\ufffd")  # no text file may hold it


class _Parser(XTermParser):
    """Textual's parser, which breaks at keys whose number is none."""

    def _sequence_to_key_events(
        self, sequence: str, alt: bool = False
    ) -> Iterator[Key]:
        try:
            yield from super()._sequence_to_key_events(sequence, alt)
        except (ValueError, OverflowError):
            yield Key(Keys.Ignore, sequence)
