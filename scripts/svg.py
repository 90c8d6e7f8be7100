"""An exported picture, made fit to stand on a page that nothing else belongs to."""

from __future__ import annotations

import re
from pathlib import Path

FONTS = 'ui-monospace, "DejaVu Sans Mono", Menlo, Consolas, monospace'
LARGEST = 300_000
"""Bytes that a picture may have."""


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


def require_fit_to_show(name: str, svg: str) -> None:
    """Stop at a picture that is large, fetches something or tells of this machine."""
    addresses = re.findall(r"https?://[^\s\"<]+", svg)
    known = ("http://www.w3.org/2000/svg", "https://www.textualize.io")
    places = [str(Path.home()), str(Path(__file__).parent.parent)]
    found = [a for a in addresses if a not in known] + [p for p in places if p in svg]
    if found or len(svg.encode()) > LARGEST:
        raise SystemExit(f"error: {name}: {len(svg.encode())} bytes, {found}")
