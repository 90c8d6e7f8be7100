"""Formatting of numbers for people: one sign, unit, form and label for each.

log P is natural, negative or zero, in nats; surprisal is -log2 p, positive or zero, in
bits. The minus sign is U+2212, a percentage has no space, thousands have a comma. Not
for data (JSON, CSV).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import NamedTuple

from lmtui.partial import Entropy, EntropyRange, Rank, RankAbove

LN2 = math.log(2)
NONE = "–"
"""Shown in place of a missing number."""
HUGE = 1e5
"""Perplexities from here on are shown in powers of ten."""
_TINY = 0.0005
"""Percentages below it would be 0.0."""
_LARGEST = 9.95e14
"""Numbers from here on have no word."""
_SIZES = (
    (1e12, " trillion", "T"),
    (1e9, " billion", "B"),
    (1e6, " million", "M"),
    (1e3, "", "k"),
)
_SUPERSCRIPTS = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")


class Label(NamedTuple):
    """The name of a number, in full and short for narrow places."""

    full: str
    short: str


LOG_PROB = Label("Σ log P, nats", "Σ log P")
SURPRISAL = Label("surprisal, bits", "bits")
PERPLEXITY = Label("perplexity", "ppl")
PER_CHARACTER = Label("bits/character", "bits/ch")
PER_BYTE = Label("bits/byte", "bits/B")
SCORED = Label("tokens scored", "scored")
TOKENS = Label("tokens in all", "tokens")
LOSS = Label("loss, nats a token", "loss")
SPEED = Label("tokens/s", "tok/s")
CHOICES = Label("perplexity here", "ppl here")
"""The perplexity of one distribution: exp of its entropy."""


def bits(logprob: float) -> float:
    """Return the surprisal in bits of a log-probability in nats."""
    return max(0.0, -logprob) / LN2


def number(value: float | None, form: str = ",.2f") -> str:
    """Format a number with a real minus sign, and without one where it rounds to 0; `–`
    for none and for what is not finite."""
    if value is None or not math.isfinite(value):
        return NONE
    written = format(value, form)
    if not any(digit in written for digit in "123456789"):
        written = written.lstrip("+-")
    return written.replace("-", "−")


def log_prob(nats: float | None, form: str = ",.2f") -> str:
    """Format a log-probability, or a sum of them, in nats: `−300.12`, never
    positive."""
    return number(nats if nats is None or math.isnan(nats) else min(0.0, nats), form)


def in_bits(value: float | None) -> str:
    """Format a surprisal or an entropy in bits: `14.3`."""
    return number(value, ",.1f")


def surprisal(nats: float | None) -> str:
    """Format a log-probability in nats as surprisal in bits: `433.0`."""
    return in_bits(None if nats is None else bits(nats))


def entropy(nats: Entropy | None) -> str:
    """Format an entropy in nats as bits: `2.3`; of a least and a greatest one, both,
    where they differ: `2.3–2.9`, or `≥2.3` where nothing is the greatest."""
    if isinstance(nats, EntropyRange):
        return _range(nats, *map(entropy, nats))
    return in_bits(None if nats is None else nats / LN2)


def _range(nats: EntropyRange, least: str, most: str) -> str:
    if nats.most == math.inf:
        return f"≥{least}"
    return least if least == most else f"{least}–{most}"


def difference(value: float | None) -> str:
    """Format by how much a number is above (+) or below (−) another: `−18.5`."""
    return number(value, "+,.1f")


def loss_difference(value: float) -> str:
    """Format by how many nats per token a loss is above (+) or below (−) another:
    `−0.0125`."""
    return number(value, "+,.4f")


def perplexity(value: float | None) -> str:
    """Format a perplexity: `30.12`, `301.2`, `3,012`, and `2.4e7` where it is huge."""
    if value is None or not HUGE <= value < math.inf:
        places = 2 if value is None or value < 100 else 1 if value < 1000 else 0
        return number(value, f",.{places}f")
    digits, exponent = f"{value:.1e}".split("e")
    return f"{digits}e{int(exponent)}"


def times(nats: float | None) -> str:
    """Format exp of a number of nats, 0 or more, however large: `7.39`, `3,012`,
    `57 trillion`, `2.4 × 10¹⁸`."""
    if nats is None or not math.isfinite(nats):
        return NONE
    if nats < math.log(HUGE):
        return perplexity(math.exp(nats))
    if nats < math.log(_LARGEST):
        return _in_words(math.exp(nats))
    digits, exponent = math.modf(nats / math.log(10))
    mantissa = f"{10**digits:.1f}"
    if mantissa == "10.0":
        mantissa, exponent = "1.0", exponent + 1
    return f"{mantissa} × 10{_raised(exponent)}"


def _in_words(value: float, *, short: bool = False) -> str:
    """Format a number from 1,000 on to two digits: `20,000`, `57 trillion`; or `20k`,
    `57T`."""
    value = float(f"{value:.1e}")
    for size, name, letter in _SIZES:
        if value >= size and (name or short):
            places = 1 if value < 9.95 * size and value % size else 0
            return f"{value / size:.{places}f}{letter if short else name}"
    return f"{value:,.0f}"


def _raised(exponent: float) -> str:
    return str(int(exponent)).translate(_SUPERSCRIPTS)


def one_in(nats: float | None) -> str:
    """Format the probability of a log-probability in nats, however small, as `1 in
    30.12`."""
    if nats is None or not math.isfinite(nats):
        return NONE
    return f"1 in {times(max(0.0, -nats))}"


def chance(prob: float | None) -> str:
    """Format a probability in a sentence: `61.2%`, and `1 in 20,000` below 0.05%."""
    if prob is None or not 0 < prob < _TINY:
        return percent(prob)
    if prob < 1 / _LARGEST:
        return one_in(math.log(prob))
    return f"1 in {_in_words(1 / prob)}"


def likely(prob: float | None, *, width: int = 6) -> str:
    """Format a probability in a column: `61.2%`, and `1/20k`, which is 1 in 20,000,
    below 0.05%."""
    if prob is None or not 0 < prob < _TINY:
        return percent(prob, width=width)
    written = f"1/{_in_words(1 / max(prob, 1e-300), short=True)}"
    if prob < 1 / _LARGEST:
        written = f"10{_raised(round(math.log10(prob)))}"
    return written if len(written) <= width else percent(prob, width=width)


def choices(entropy: Entropy | None, form: str = ",.1f") -> str:
    """Format the perplexity of a distribution with this entropy in nats, or one of this
    range."""
    if isinstance(entropy, EntropyRange):
        return _range(entropy, *(choices(each, form) for each in entropy))
    known = entropy is not None and entropy < 700
    return number(math.exp(entropy) if known and entropy is not None else None, form)


def rate(value: float | None) -> str:
    """Format bits per byte or per character, or a loss in nats per token: `0.807`."""
    return number(value, ",.3f")


def percent(prob: float | None, *, width: int = 6) -> str:
    """Format a share or a probability: `61.2%`. Only exactly 0 and 1 are shown as `0%`
    and `100%`."""
    if prob is None or not math.isfinite(prob):
        return NONE
    if 0 < prob < _TINY:
        return "<0.1%"
    if 0.9995 <= prob < 1:
        return ">99.9%" if width >= 6 else ">99%"
    return f"{number(100 * prob, '.0f' if prob in (0, 1) else '.1f')}%"


def change(share: float) -> str:
    """Format a relative change: `−18.7%`."""
    return f"{number(100 * share, '+,.1f')}%"


def weight(value: float | None) -> str:
    """Format a number from 0 to some hundreds that may be tiny: `0.432`, `<0.001`."""
    tiny = value is not None and 0 < value < 0.0005
    return "<0.001" if tiny else number(value, ",.3f")


def milliseconds(value: float | None) -> str:
    """Format a measured short time: `43 ms`, and `2.64 s` from a second on."""
    if value is not None and value >= 0.9995:
        return seconds(value)
    written = number(None if value is None else 1000 * value, ",.0f")
    return written if written == NONE else f"{written} ms"


def count(value: int | None) -> str:
    """Format a count: `8,192`."""
    return NONE if value is None else f"{value:,}"


def rank(value: Rank | None) -> str:
    """Format a rank: `21`, or `>20` for one that is only known to be above a number."""
    return f">{value.listed:,}" if isinstance(value, RankAbove) else count(value)


def counted(value: int, what: str) -> str:
    """Format a count with its noun: `1 file`, `2,000 files`."""
    return f"{value:,} {what}" if value == 1 else f"{value:,} {what}s"


def part_of_tokens(scored: int, tokens: int) -> str:
    """Return the label of a sum over a part of the tokens."""
    return f"Σ of {scored:,} of {tokens:,} tokens"


def seconds(value: float | None) -> str:
    """Format a measured time: `1.67 s`."""
    written = number(value)
    return written if written == NONE else f"{written} s"


def speed(value: float | None) -> str:
    """Format a number of tokens per second: `6.0`."""
    return number(value, ",.1f")


def lasting(seconds: float) -> str:
    """Format an estimated duration, no more exactly than it is known: `7 min`."""
    if not math.isfinite(seconds) or seconds < 0:
        return NONE
    if seconds < 90:
        return f"{max(1, round(seconds))} s"
    minutes = round(seconds / 60)
    if minutes < 90:
        return f"{minutes} min"
    hours, minutes = divmod(minutes, 60)
    if hours < 24:
        return f"{hours} h {minutes} min"
    return f"{hours // 24} d {hours % 24} h"


def location(text: str, offset: int) -> str:
    """Format an offset in code points as LINE:COL, both from 1."""
    line = text.count("\n", 0, offset) + 1
    return f"{line}:{offset - text.rfind(chr(10), 0, offset)}"


MEASURES: Mapping[str, tuple[Label, Callable[[float | None], str]]] = {
    "loss": (LOSS, rate),
    "perplexity": (PERPLEXITY, perplexity),
    "bits_per_byte": (PER_BYTE, rate),
}
"""What a text costs a model, by the names of the fields that have it: the label, and
the function that formats it."""
