"""What a training would do, before it begins.

Owns the words of the plan, and how text that is read but not learned is told apart. The
question whether to begin is part of it; the answer is the screen's. Knows no screen.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from textual.app import ComposeResult
from textual.containers import Horizontal, Vertical

from lmtui.models.disk import size
from lmtui.notation import counted, lasting, percent
from lmtui.text import visible, visible_line
from lmtui.train.events import Plan, Skip
from lmtui.tui.widgets.cells import fit
from lmtui.tui.widgets.pane import Pane, Paragraphs
from lmtui.tui.widgets.run_words import epochs
from lmtui.tui.widgets.styled_lines import Part
from lmtui.tui.widgets.wrapping import Paragraph, paragraphs

EMPTY = """\
What would be done is worked out first: what is read, what is left out, how long it \
takes. Nothing is trained before you say so."""
NO_SAMPLE = "A stretch of the text as the model will see it appears here."
NONE_SKIPPED = "Nothing is left out."
UNTRAINED = "⟦…⟧ is read, not learned."
_LABEL = 11  # cells


class PlanView(Vertical):
    """The plan as a table, a sample of the text, and what is left out."""

    HELP = """\
The training begins with Enter, not before. Memory and time are estimated from one
block that was computed and undone. In the sample, ⟦ ⟧ stand around what the model reads
without learning it, such as the questions of a conversation.
"""
    DEFAULT_CSS = """
    PlanView {
        & > #facts { padding: 0 1; height: auto; }
        & > #question {
            margin: 1 0 0 0;
            padding: 0 1;
            border-left: thick $accent;
        }
        & > #pages { height: 1fr; margin: 1 0 0 0; }
    }
    """

    def compose(self) -> ComposeResult:
        """Everything is there from the first frame."""
        yield Paragraphs(id="facts")
        yield Paragraphs(id="question")
        with Horizontal(id="pages"):
            yield Pane("A sample of the text", id="sample")
            yield Pane("Left out", id="skipped")

    def on_mount(self) -> None:
        """Say what comes."""
        self.show(None, (), (), over=False)

    def show(
        self,
        plan: Plan | None,
        skipped: Sequence[Skip],
        question: Sequence[Paragraph],
        *,
        over: bool,
    ) -> None:
        """Show a plan, or that there is none yet; where it is over, none will come."""
        facts = paragraphs("" if over else EMPTY, "quiet")
        if plan is not None:
            facts = list(facts_of(plan))
        self.query_one("#facts", Paragraphs).show(facts)
        asked = self.query_one("#question", Paragraphs)
        asked.display = bool(question)
        asked.show(question)
        self.query_one("#sample", Pane).show(sample_of(plan))
        self.query_one("#sample").display = plan is not None or not over
        left_out = self.query_one("#skipped", Pane)
        left_out.head(f"Left out: {len(skipped):,}" if skipped else "Left out")
        left_out.show(skips_of(skipped, known=plan is not None))


def facts_of(plan: Plan) -> Iterator[Paragraph]:
    """The plan as lines with a name each."""
    share = plan.trainable / plan.parameters if plan.parameters else None
    held_out = f", {plan.held_out_documents:,} of them held out"
    in_all = plan.documents + plan.held_out_documents
    yield _fact(
        "read",
        f"{counted(plan.files, 'file')}, {counted(in_all, 'document')}"
        + (held_out if plan.held_out_documents else "; nothing is held out"),
    )
    left_out = "nothing"
    if plan.skipped:
        left_out = f"{plan.skipped:,}, listed below with the reasons"
    yield _fact("left out", left_out)
    tokens = f"{plan.tokens:,} tokens in {counted(plan.blocks, 'block')} an epoch"
    if plan.held_out_tokens:
        tokens += f"; {plan.held_out_tokens:,} held out to evaluate on"
    yield _fact("text", tokens)
    passes = f"{epochs(plan.epochs)} epochs" if plan.epochs != 1 else "1 epoch"
    yield _fact("training", f"{counted(plan.steps, 'step')} at most, in {passes}")
    yield _fact(
        "weights",
        f"{plan.trainable:,} of {plan.parameters:,} change "
        f"({percent(share)}, {visible_line(plan.method)})",
    )
    if settings := _settings(plan):
        yield _fact("settings", settings)
    yield _fact("model", visible_line(f"{plan.base} · {plan.dtype} · {plan.device}"))
    yield _fact("memory", f"≈ {size(plan.memory)}")
    yield _fact("time", f"≈ {lasting(plan.seconds)}")
    for note in plan.notes:
        yield Paragraph(((fit("!", _LABEL), "warning"),
                         (visible_line(note), "warning")), _LABEL)  # fmt: skip


def _settings(plan: Plan) -> str:
    """How it is trained, as far as the plan says."""
    named = {
        "rate": plan.lr and f"{plan.lr:g}",
        "rank": plan.rank and f"{plan.rank} (alpha {plan.alpha})",
        "batch": plan.batch,
        "block": plan.block,
        "seed": plan.seed,
    }
    return ", ".join(f"{name} {value}" for name, value in named.items()
                     if value is not None)  # fmt: skip


def _fact(name: str, words: str) -> Paragraph:
    return Paragraph(((fit(name, _LABEL), "quiet"), (words, "")), _LABEL)


def sample_of(plan: Plan | None) -> list[Paragraph]:
    """The sample, in brackets where its loss does not count."""
    if plan is None or not plan.sample:
        return paragraphs(NO_SAMPLE, "quiet")
    lines: list[list[Part]] = [[]]
    for piece in plan.sample:
        text = visible(piece.text)
        marked = text if piece.trained else _bracketed(text)
        style = "" if piece.trained else "untrained"
        first, *more = marked.split("\n")
        lines[-1].append((first, style))
        lines += [[(line, style)] for line in more]
    legend = [] if all(piece.trained for piece in plan.sample) else [
        Paragraph(((UNTRAINED, "quiet"),)), Paragraph()]  # fmt: skip
    return legend + [Paragraph(tuple(line)) for line in lines]


def _bracketed(text: str) -> str:
    """A text in brackets, which stand beside its words, not its empty lines."""
    words = text.strip("\n")
    if not words:
        return text
    before, _, after = text.partition(words)
    return f"{before}⟦{words}⟧{after}"


def skips_of(skipped: Sequence[Skip], *, known: bool) -> list[Paragraph]:
    """Each file with its reason."""
    if not skipped:
        return paragraphs(NONE_SKIPPED, "quiet") if known else []
    return [
        Paragraph(
            ((f"{visible_line(skip.path)}: ", ""),
             (visible_line(skip.reason), "quiet")), 2)
        for skip in skipped
    ]  # fmt: skip
