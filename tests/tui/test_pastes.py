"""Whatever bytes arrive from a terminal: a paste is one text, and keys are keys."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from hypothesis import example, given
from hypothesis import strategies as st
from textual.events import Key, Paste
from textual.message import Message

from lmtui.tui.pastes import TerminalInput

BEGIN, END = b"\x1b[200~", b"\x1b[201~"
PARTS = [
    b"\x1b", b"\x1b\r", b"\x1b[201", b"[201~", b"\x1b[200~", b"\x1bOP", b"\x1b[20~",
    b"\x1b[A", b"\x1b[<0;5;5M", b"\r", b"\n", b"\x11", b"\0", b"\xc3", b"\xff",
    "漢".encode(), "👩".encode(), b"text",
]  # fmt: skip
pasted_bytes = st.lists(st.sampled_from(PARTS) | st.binary(max_size=9)).map(b"".join)
sizes = st.lists(st.integers(1, 9), min_size=1)


class Clock:
    """Time that passes where a test says so."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def arrived(
    data: bytes, sizes: Sequence[int], reader: TerminalInput | None = None
) -> Iterable[Message]:
    """What comes of bytes that are read in pieces of these sizes, again and again."""
    reader = reader or TerminalInput()
    found: list[Message] = []
    turn = 0
    while data:
        size = sizes[turn % len(sizes)]
        found += reader.feed(data[:size])
        data, turn = data[size:], turn + 1
    return found


def as_text(data: bytes) -> str:
    """What bytes say as a text that a file may hold."""
    return data.decode("utf-8", "replace").replace("\0", "\ufffd")


def told(messages: Iterable[Message]) -> list[str]:
    """Keys by their names, pastes by their texts."""
    return [
        m.key if isinstance(m, Key) else m.text if isinstance(m, Paste) else repr(m)
        for m in messages
    ]


@given(pasted_bytes, sizes)
@example(b"one \x1b[31m two", [1])
@example(b"\x1b\x1b[201", [3])
def test_any_bytes_are_one_paste_between_the_keys_around_it(
    pasted: bytes, sizes: list[int]
) -> None:
    pasted = pasted.replace(END, b"")
    text = as_text(pasted)
    if END in pasted + END[:-1]:
        return  # what is left ends by itself
    messages = arrived(b"a" + BEGIN + pasted + END + b"\x11", sizes)
    assert told(messages) == ["a", *([text] if text else []), "ctrl+q"]


@given(pasted_bytes, pasted_bytes, sizes)
def test_consecutive_pastes_are_read_apart(
    one: bytes, two: bytes, sizes: list[int]
) -> None:
    one, two = one.replace(b"\x1b", b""), two.replace(b"\x1b", b"")
    messages = arrived(BEGIN + one + END + BEGIN + two + END, sizes)
    assert told(messages) == [text for text in map(as_text, (one, two)) if text]


@given(st.binary() | pasted_bytes, sizes)
@example(b"\x1b[1:2;3u", [1])
@example(b"\x1b[99999999999u", [1])
def test_no_bytes_break_the_terminal_input(data: bytes, sizes: list[int]) -> None:
    reader = TerminalInput()
    arrived(data + END, sizes, reader)
    found = arrived(b"\x1b[A" + BEGIN + b"x" + END, [99], reader)
    assert told(found)[-2:] == ["up", "x"]


@given(pasted_bytes, st.integers(0), sizes)
def test_paste_interrupted_by_a_silence_is_whole(
    pasted: bytes, at: int, sizes: list[int]
) -> None:
    """Each part is seen after a silence; what comes then in a long read is no key."""
    pasted = pasted.replace(END, b"")
    rest = b"x" * 40 + pasted
    clock = Clock()
    reader = TerminalInput(clock=clock)
    data = BEGIN + pasted
    if END in pasted + rest + END[:-1]:
        return
    messages = [*arrived(data, sizes, reader)]
    clock.now += 2
    messages += reader.tick()
    messages += reader.feed(rest + END)
    assert all(isinstance(message, Paste) for message in messages)
    assert "".join(told(messages)) == as_text(pasted + rest)


@given(pasted_bytes, sizes)
def test_keys_work_after_a_paste_that_never_ends(
    pasted: bytes, sizes: list[int]
) -> None:
    pasted = pasted.replace(END, b"")
    if END in pasted + END[:-1] or any(END[:n] == pasted[-n:] for n in range(1, 6)):
        return
    clock = Clock()
    reader = TerminalInput(clock=clock)
    messages = [*arrived(BEGIN + pasted, sizes, reader)]
    clock.now += 2
    messages += reader.tick()
    seen = "".join(told(messages))
    assert as_text(pasted).startswith(seen) and len(pasted) - len(seen.encode()) < 9
    assert told(reader.feed(b"\x11"))[-1] == "ctrl+q"
    assert told(reader.feed(b"b")) == ["b"]


def test_a_megabyte_is_one_paste() -> None:
    pasted = bytes(range(32, 127)) * 11_000
    messages = arrived(BEGIN + pasted + END, [4096])
    assert told(messages) == [pasted.decode()]
