"""How the model goes on with the same beginnings, before the training and now.

Pure functions from a sample to paragraphs. Texts are foreign and made visible. Knows no
widget.
"""

from __future__ import annotations

from lmtui.text import visible
from lmtui.train.events import Sample
from lmtui.tui.widgets.wrapping import Paragraph, paragraphs

EMPTY = """\
At every evaluation the model goes on with the same beginnings here: before the \
training and now."""
SAME = "the same"
_LABEL = 8  # cells


def samples_of(sample: Sample | None) -> list[Paragraph]:
    """A beginning, and below it two ways to go on; before the first step only one."""
    if sample is None or not sample.items:
        return paragraphs(EMPTY, "quiet")
    lines: list[Paragraph] = []
    for item in sample.items:
        if lines:
            lines.append(Paragraph())
        lines.append(Paragraph(((_one_line(item.prompt), "strong"),)))
        lines.append(_way("before", item.before))
        if not sample.step:
            continue
        if item.now == item.before:
            lines.append(Paragraph(((f"{'now':<{_LABEL}}{SAME}", "quiet"),)))
        else:
            lines.append(_way("now", item.now))
    return lines


def _way(name: str, text: str) -> Paragraph:
    words = _one_line(text.strip(" ")) or "(nothing)"
    return Paragraph(((f"{name:<{_LABEL}}", "quiet"), (words, "")), _LABEL)


def _one_line(text: str) -> str:
    return visible(text).replace("\n", "⏎").replace("\t", "→")


def title_of(sample: Sample | None) -> str:
    """What stands over them."""
    if sample is None:
        return "Samples"
    when = f"after step {sample.step:,}" if sample.step else "before the first step"
    return f"Samples {when}"
