"""An exported picture, made fit to stand on a page that nothing else belongs to."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from itertools import accumulate
from pathlib import Path

FONTS = 'ui-monospace, "DejaVu Sans Mono", Menlo, Consolas, monospace'
LARGEST, LARGEST_MOVING = 300_000, 1_500_000
"""Bytes that a picture may have, and a moving one."""
_COLOUR = re.compile(r"\.(t-r\d+) \{ (.*?) \}\n?")
_SCREEN = re.compile(r'(<g [^>]*clip-path="url\(#t-clip-terminal\)">)(.*)', re.DOTALL)
_PART = re.compile(r"<(rect|text) [^>]*(?:/>|>[^<]*</text>)")


def self_contained(svg: str) -> str:
    """The picture without fonts from elsewhere, and with its spaces as distances:
    some programs drop those at the ends of a text."""
    svg = re.sub(r"@font-face \{.*?\}\s*", "", svg, flags=re.DOTALL)
    svg = svg.replace("Fira Code, monospace", FONTS)
    # As wide as a cell in most fonts, for what does not stretch texts to their length.
    svg = svg.replace("font-size: 20px", "font-size: 20.3px")
    svg = re.sub(r"<text ([^>]*)>((?:[^<])*)</text>", _without_margins, svg)
    return re.sub(r"[ \t]+\n", "\n", svg)


def _without_margins(found: re.Match[str]) -> str:
    attributes, text = found[1], found[2]
    length = re.search(r'textLength="([\d.]+)"', attributes)
    if length is None:
        return found[0]
    if not text.replace("&#160;", "").strip():
        return ""
    cell = 12.2  # units, of the font size that Rich draws with
    bare = re.sub(r"^(?:&#160;)+", "", text)
    before = (len(text) - len(bare)) // len("&#160;")
    inner = re.sub(r"(?:&#160;)+$", "", bare)
    after = (len(bare) - len(inner)) // len("&#160;")
    start = re.search(r' x="([\d.]+)"', attributes)
    assert start is not None
    moved = f' x="{float(start[1]) + before * cell:g}"'
    shorter = f'textLength="{float(length[1]) - (before + after) * cell:g}"'
    attributes = attributes.replace(start[0], moved).replace(length[0], shorter)
    return f"<text {attributes}>{inner}</text>"


def moving(frames: Sequence[tuple[str, float]]) -> str:
    """One picture that shows others of its size in turn, each for some seconds, again
    and again. What stays from one to the next is in it once. What does not move such
    pictures shows the last."""
    colours: dict[str, str] = {}  # the name of each
    shown: dict[str, dict[str, list[int]]] = {"rect": {}, "text": {}}

    def named(found: re.Match[str]) -> str:
        css = own[found[1]]
        return f'class="{colours.setdefault(css, f"c{len(colours)}")}"'

    # 1) the frames that show each rectangle and each text
    for index, (svg, _) in enumerate(frames):
        svg = re.sub(r"terminal-\d+-", "t-", svg)
        own = dict(_COLOUR.findall(svg))
        screen = _SCREEN.search(svg)
        assert screen is not None
        for part in _PART.finditer(screen[2]):
            element = re.sub(r'class="(t-r\d+)"', named, part[0])
            seen = shown[part[1]].setdefault(element, [])
            if index not in seen[-1:]:
                seen.append(index)
    # 2) the same with the times at which they are seen
    whole = sum(seconds for _, seconds in frames)
    starts = [0.0, *accumulate(seconds / whole for _, seconds in frames)]
    runs: set[tuple[int, int]] = set()
    drawn = {kind: "".join(_timed(parts, runs)) for kind, parts in shown.items()}
    # 3) around them what the first frame has
    rules = [f".{name} {{ {css} }}" for css, name in colours.items()]
    for first, end in sorted(runs - {(0, len(frames))}):
        name, at_last = f"f{first}-{end}", end == len(frames)
        steps = (
            f"0% {{ visibility: hidden }} {starts[first]:.2%} {{ visibility: visible }}"
        )
        if not at_last:
            steps += f" {starts[end]:.2%} {{ visibility: hidden }}"
        rules += [
            f".{name} {{ visibility: {'visible' if at_last else 'hidden'};"
            f" animation: {name} {whole:g}s step-end infinite }}",
            f"@keyframes {name} {{ {steps} }}",
        ]
    svg = _COLOUR.sub("", re.sub(r"terminal-\d+-", "t-", frames[0][0]))
    svg = svg.replace("</style>", "\n".join(rules) + "\n</style>")
    words = f'{drawn["rect"]}\n<g class="t-matrix">{drawn["text"]}</g></g>\n</svg>\n'
    return _SCREEN.sub(lambda found: found[1] + words, svg)


def _timed(parts: dict[str, list[int]], runs: set[tuple[int, int]]) -> Iterator[str]:
    """Yield each element for each run of frames that show it, with its class; add these
    runs, the first frame and that behind the last."""
    for element, frames in parts.items():
        begins = [n for n in frames if n - 1 not in frames]
        ends = [n + 1 for n in frames if n + 1 not in frames]
        for run in zip(begins, ends, strict=True):
            runs.add(run)
            name = "f{}-{}".format(*run)
            if 'class="' in element:
                yield element.replace('class="', f'class="{name} ', 1)
            else:
                yield element.replace("<rect ", f'<rect class="{name}" ', 1)


def require_fit_to_show(name: str, svg: str) -> None:
    """Stop at a picture that is large, fetches something or tells of this machine."""
    addresses = re.findall(r"https?://[^\s\"<]+", svg)
    known = ("http://www.w3.org/2000/svg", "https://www.textualize.io")
    places = [str(Path.home()), str(Path(__file__).parent.parent)]
    found = [a for a in addresses if a not in known] + [p for p in places if p in svg]
    largest = LARGEST_MOVING if "@keyframes" in svg else LARGEST
    if found or len(svg.encode()) > largest:
        raise SystemExit(f"error: {name}: {len(svg.encode())} bytes, {found}")
