"""What a tokenizer's normalisation does to a text: characters composed or dropped.

Knows no tokenizer; it compares a text with the bytes of its tokens.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

Span = tuple[int, int]


def covering(spans: Sequence[Span], length: int) -> tuple[Span, ...]:
    """Return the spans of consecutive tokens widened to all of a text of `length` code
    points: characters of no token go to the token before them, those at the beginning
    to the first. Tokens that share a span still do."""
    if not spans:
        return ()
    widened: dict[Span, Span] = {}
    distinct = list(dict.fromkeys(spans))
    starts = [start for start, _ in distinct[1:]] + [length]
    for index, (span, following) in enumerate(zip(distinct, starts, strict=True)):
        widened[span] = (span[0] if index else 0, max(span[1], following))
    return tuple(widened[span] for span in spans)


def rewritten(text: str, tokens: Iterable[tuple[Span, bytes]]) -> int:
    """Return how many characters of a text its tokens do not spell: they spell others
    in their place, or none. A space before the first word is not counted.

    `tokens` are the spans and bytes of all tokens, in order.
    """
    count, at, end = 0, 0, 0
    spelled = b""
    for (start, stop), data in tokens:
        if start >= end > at:
            count += _differing(text[at:end], spelled)
            at, spelled = start, b""
        spelled += data
        end = max(end, stop)
    return count + _differing(text[at:end], spelled)


def _differing(part: str, spelled: bytes) -> int:
    data = part.encode()
    return 0 if spelled in (data, b" " + data) else len(part)
