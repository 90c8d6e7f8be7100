"""Random texts that are hard for tokenizers."""

from __future__ import annotations

import random

_WORDS = r"""
the of Hello can't I'LL it's you're 'S 'Re 3.14 1234567 12 0x1F foo_bar() {} ==
!= <= -> naïve façade Zürich ÅNGSTRÖM МОСКВА привет 日本語 こんにちは カタカナ 한국어
العربية עברית हिन्दी ไทย ၁၂ ①② ½ ² 👩‍👩‍👧 🏳️‍🌈 😀 ﬁ Ǆ é ñ ` ~ ^ | \ / : ; , . ! ? … 。 ，
“x” ‘y’ — – _ __ x86 C++ http://a.b/c?d=e&f user@host #tag $5.00 €9 50% <unk>
<s> <|im_end|> <|endoftext|> <0x0A> ▁ ▁▁ <|user|>
"""
_SPACES = (" ", "  ", "   ", "    ", "\n", "\n\n", "\n \n", "\r\n", "\t", "\t\t")
_WIDE_SPACES = ("\xa0", "\u2003", "\u200b", "\x85", "\ufeff", "\u3000")
_SCRIPTS = (
    (0xA0, 0x17F),
    (0x370, 0x5FF),
    (0x900, 0xDFF),
    (0x2010, 0x2BFF),
    (0x3041, 0x30FF),
    (0x4E00, 0x9FFF),
    (0xAC00, 0xD7A3),
    (0x1F300, 0x1F6FF),
)


def random_texts(count: int, *, seed: int, wide_spaces: bool = True) -> list[str]:
    """The same texts at every call; `wide_spaces` lets spaces outside ASCII in."""
    chance = random.Random(seed)
    spaces = (*_SPACES, *_WIDE_SPACES) if wide_spaces else _SPACES
    texts = ("".join(_parts(chance, spaces)) for _ in range(count))
    if wide_spaces:
        return [*texts]
    return [text.replace("\xa0", " ").replace("\u3000", " ") for text in texts]


def _parts(chance: random.Random, spaces: tuple[str, ...]) -> list[str]:
    parts, words = [], _WORDS.split()
    for _ in range(chance.randint(1, 12)):
        match chance.choices(range(5), (50, 15, 15, 15, 5))[0]:
            case 0:
                parts.append(chance.choice(words))
            case 1:
                parts.append(chance.choice(spaces))
            case 2:
                sizes = range(chance.randint(1, 8))
                parts.append("".join(chr(chance.randint(32, 126)) for _ in sizes))
            case 3:
                first, last = chance.choice(_SCRIPTS)
                sizes = range(chance.randint(1, 6))
                parts.append("".join(chr(chance.randint(first, last)) for _ in sizes))
            case _:
                parts.append(str(chance.randint(0, 10 ** chance.randint(1, 12))))
        if chance.random() < 0.5:
            parts.append(" ")
    return parts
