"""The panes of the finetune screen, drawn from the state of a run: progress, plan,
metrics and samples.

Text that is read but not trained on (its loss is masked) is marked. The plan includes
the question whether to start; the screen handles the answer. Knows no screen.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence

from rich.cells import cell_len
from textual.app import ComposeResult
from textual.containers import Horizontal, Vertical

from lmtui import notation
from lmtui.cache_dir import size
from lmtui.notation import NONE, counted, lasting, percent
from lmtui.text import visible, visible_line
from lmtui.train.events import Plan, Sample, Skip, Step
from lmtui.tui.finetune.format import doing_words, epochs
from lmtui.tui.finetune.run import TrainingRun
from lmtui.tui.widgets.cells import Forms, clip, fit_best, pad_to
from lmtui.tui.widgets.paragraphs import Pane, Paragraph, Paragraphs, paragraphs
from lmtui.tui.widgets.styled_lines import Line, Part, StyledLines

EMPTY = """\
First comes the plan: what is read, what is left out, how long it \
takes. Nothing is trained before you press Enter."""
NO_SAMPLE = "A part of the text as the model will see it appears here."
NONE_SKIPPED = "Nothing is left out."
UNTRAINED = "⟦…⟧ is read, not learned."
_LABEL = 11  # cells

STOPPING = "finishing the step and saving"
_STATES = {"planned": "waiting for Enter", "paused": "‖ paused"}
_BAR = (8, 48)  # least and most cells
_NOT_EVALUATED = "Nothing is held out to evaluate on."
_SPEED = notation.SPEED.full
_PACE: Mapping[str, Callable[[Step], str]] = {
    "learning rate": lambda step: notation.number(step.lr, ".2e"),
    "gradient norm": lambda step: notation.number(step.grad_norm, ",.3f"),
    _SPEED: lambda step: notation.speed(step.tokens_per_second),
    "tokens seen": lambda step: notation.count(step.tokens),
    "memory": lambda step: size(step.memory),
}
_AFTERWARDS = (_SPEED, "tokens seen")
_COLUMN = 8  # width of a column in cells from which the long names fit
NO_SAMPLES = """\
At every evaluation the model continues the same beginnings; the texts from before the \
training and from now appear here."""
SAME = "the same"
_SAMPLE_LABEL = 8  # cells


class PlanView(Vertical):
    """The plan as a table, a sample of the training text, and the skipped files."""

    HELP = """\
The training starts when you press Enter. Memory and time are estimated from one block
that was computed and undone. In the sample, ⟦ ⟧ enclose what the model reads without
learning it, such as the questions of a conversation.
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
        yield Paragraphs(id="facts")
        yield Paragraphs(id="question")
        with Horizontal(id="pages"):
            yield Pane("A sample of the text", id="sample")
            yield Pane("Left out", id="skipped")

    def show(self, run: TrainingRun) -> None:
        """Show the plan of a run, or an explanation while there is none."""
        over = run.phase == "over"
        facts = paragraphs("" if over else EMPTY, "quiet")
        if run.plan is not None:
            facts = facts_of(run.plan)
        self.query_one("#facts", Paragraphs).show(facts)
        dialog = self.query_one("#question", Paragraphs)
        dialog.show(question_of(run))
        dialog.display = run.phase == "planned"
        sample = self.query_one("#sample", Pane)
        sample.show(sample_of(run.plan))
        sample.display = run.plan is not None or not over
        count = len(run.skipped)
        left_out = self.query_one("#skipped", Pane)
        left_out.head(f"Left out: {count:,}" if count else "Left out")
        left_out.show(skips_of(run.skipped, known=run.plan is not None))


def question_of(run: TrainingRun) -> list[Paragraph]:
    begins = f"goes on after step {run.saved:,}" if run.saved else "starts"
    return [
        Paragraph((("Enter ", "accent"), (f"{begins}  ·  ", ""),
                   ("Esc ", "accent"), ("leaves; nothing is changed", "")))
    ]  # fmt: skip


def _labelled(name: str, words: str, style: str = "", *, width: int) -> Paragraph:
    """Return a label of so many cells, and behind it what it is of."""
    label = (pad_to(name, width), style or "quiet")
    return Paragraph((label, (words, style)), width)


def facts_of(plan: Plan) -> list[Paragraph]:
    facts = [(name, words, "") for name, words in _facts(plan) if words]
    facts += [("!", note, "warning") for note in plan.notes]
    return [
        _labelled(name, visible_line(words), style, width=_LABEL)
        for name, words, style in facts
    ]


def _facts(plan: Plan) -> Iterator[tuple[str, str]]:
    """Yield each fact with its label; an empty one is not known."""
    in_all = plan.documents + plan.held_out_documents
    held_out = f": {plan.documents:,} to train on, {plan.held_out_documents:,} held out"
    if not plan.held_out_documents:
        held_out = "; nothing is held out"
    elif plan.held_out_end is not None:
        in_all = 1
        part = plan.held_out_end
        end = "tenth" if part == 0.1 else percent(part)
        held_out = f"; its last {end} is held out"
    files = counted(plan.files, "file")
    yield "read", f"{files}, {counted(in_all, 'document')}{held_out}"
    left_out = f"{plan.skipped:,}, listed below with the reasons"
    yield "left out", left_out if plan.skipped else "nothing"
    tokens = f"{plan.tokens:,} tokens in {counted(plan.blocks, 'block')} an epoch"
    if plan.held_out_tokens:
        tokens += f"; {plan.held_out_tokens:,} held out to evaluate on"
    yield "text", tokens
    passes = f"{epochs(plan.epochs)} epochs" if plan.epochs != 1 else "1 epoch"
    yield "training", f"{counted(plan.steps, 'step')} at most, in {passes}"
    share = plan.trainable / plan.parameters if plan.parameters else None
    change = f"{plan.trainable:,} of {plan.parameters:,} change"
    yield "weights", f"{change} ({percent(share)}, {plan.method})"
    yield "settings", _settings(plan)
    yield "model", f"{plan.base} · {plan.dtype} · {plan.device}"
    yield "memory", f"≈ {size(plan.memory)}"
    yield "time", f"≈ {lasting(plan.seconds)}"


def _settings(plan: Plan) -> str:
    named = {
        "rate": plan.lr and f"{plan.lr:g}",
        "rank": plan.rank and f"{plan.rank} (alpha {plan.alpha})",
        "batch": plan.batch,
        "block": plan.block,
        "seed": plan.seed,
    }
    return ", ".join(f"{name} {value}" for name, value in named.items()
                     if value is not None)  # fmt: skip


def sample_of(plan: Plan | None) -> list[Paragraph]:
    """Return the sample text, with brackets around what is not trained on."""
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
    """Put brackets around a text, inside its leading and trailing empty lines."""
    words = text.strip("\n")
    if not words:
        return text
    before, _, after = text.partition(words)
    return f"{before}⟦{words}⟧{after}"


def skips_of(skipped: Sequence[Skip], *, known: bool) -> list[Paragraph]:
    if not skipped:
        return paragraphs(NONE_SKIPPED, "quiet") if known else []
    return [
        Paragraph(
            ((f"{visible_line(skip.path)}: ", ""),
             (visible_line(skip.reason), "quiet")), 2)
        for skip in skipped
    ]  # fmt: skip


class RunHead(StyledLines):
    """Title and state on one line; below, a progress bar and the progress in words."""

    PREFIX = "head--"
    DEFAULT_CSS = """
    RunHead { height: 2; color: $foreground; }
    RunHead > .head--title { color: $primary; text-style: bold; }
    RunHead > .head--state { color: $accent; text-style: bold; }
    RunHead > .head--done { color: $primary; }
    RunHead > .head--quiet { color: $quiet; }
    """

    def __init__(self, name: str, run: TrainingRun) -> None:
        super().__init__(id="head")
        self._adapter, self._run = visible_line(name), run

    def lines(self, width: int, height: int) -> list[Line]:
        plan, state = self._run.plan, clip(state_of(self._run), width // 2)
        base = visible_line(plan.base) if plan else ""
        name = f"{self._adapter}  on {base}" if base else self._adapter
        title = clip(name, max(0, width - cell_len(state) - 2))
        gap = " " * (width - cell_len(title) - cell_len(state))
        first = [(title, "title"), (gap, ""), (state, "state")]
        return [first, self._progress(width)]

    def _progress(self, width: int) -> Line:
        share, forms = progress_of(self._run)
        if share is None:
            return [(fit_best(forms, width)[0], "quiet")]
        room = min(_BAR[1], max(_BAR[0], width * 2 // 5))
        words = fit_best(forms, max(1, width - room - 7))[0]
        done = int(room * min(1.0, max(0.0, share)))
        return [
            ("━" * done, "done"),
            ("─" * (room - done), "quiet"),
            (f" {int(100 * min(1.0, share)):3d}%  ", ""),
            (words, "quiet"),
        ]


def state_of(run: TrainingRun) -> str:
    """Return the state of a run in a few words."""
    phase, finish = run.phase, run.end.finish if run.end else "failed"
    if phase == "over":
        if finish == "failed":
            return "✗ failed" if run.begun else "✗ not started"
        return "stopped" if finish in ("stopped", "declined") else "✓ done"
    if run.stopping:
        return STOPPING
    if phase == "training" and run.doing is not None:
        return doing_words(run.doing)
    return _STATES.get(phase, phase)


def progress_of(run: TrainingRun) -> tuple[float | None, Forms]:
    """Return the share of a run that is done, None while it is unknown, and its
    progress in words, in forms of decreasing length."""
    if not run.started:
        doing = run.doing
        return (doing.share, [[visible_line(doing.what)]]) if doing else (None, [[""]])
    share = run.last_step / run.steps if run.steps else None
    steps = f"step {run.last_step:,} of {run.steps:,}"
    short = f"{run.last_step:,}/{run.steps:,}"
    if run.step is None:
        return share, [[steps], [short]]
    epoch = f"epoch {run.step.epoch:.2f}"
    of_all = f"{epoch} of {epochs(run.plan.epochs)}" if run.plan else epoch
    left = [f"{lasting(run.step.eta_seconds)} left"]
    if run.phase in ("over", "paused"):
        left = []
    forms = [steps, of_all], [steps, epoch], [steps], [short]
    return share, [[*form, *left] for form in forms]


class RunFigures(StyledLines):
    """Held-out metrics in columns; below them, loss, pace and memory of the
    training."""

    HELP = """\
The held-out documents are never trained on. Their loss is the mean of −log P a token in
nats, perplexity its exponential; bits a byte can be compared between models. Before is
the model without training; best is the checkpoint that is saved as the adapter.
"""
    PREFIX = "figures--"
    DEFAULT_CSS = """
    RunFigures { height: 12; color: $foreground; }
    RunFigures > .figures--name { color: $accent; text-style: bold; }
    RunFigures > .figures--quiet { color: $quiet; }
    RunFigures > .figures--best { color: $loss-held-out; text-style: bold; }
    """

    def __init__(self, run: TrainingRun) -> None:
        super().__init__(id="figures")
        self._run = run

    def lines(self, width: int, height: int) -> list[Line]:
        return [*self._held_out(width), [], *self._pace(width)]

    def _held_out(self, width: int) -> Iterator[Line]:
        run = self._run
        if run.plan is not None and not (run.plan.held_out_documents or run.evals):
            yield [("Held-out", "name")]
            yield [(clip(_NOT_EVALUATED, width), "quiet")]
            return
        last = "last" if run.phase == "over" else "now"
        columns = {
            "before": run.before,
            last: run.evals[-1] if run.evals else None,
            "best": run.best,
        }
        measures = notation.MEASURES
        longest = max(len(label.full) for label, _ in measures.values())
        wide = width >= longest + len(columns) * _COLUMN
        names = [label.full if wide else label.short for label, _ in measures.values()]
        column = max(6, (width - max(map(len, ["Held-out", *names]))) // 3)

        def row(name: str, style: str, *cells: Part) -> Line:
            numbers = ((_right(text, column), style) for text, style in cells)
            return [(pad_to(name, width - 3 * column), style), *numbers]

        yield row("Held-out", "name", *((head, "quiet") for head in columns))
        for name, (field, (_, written)) in zip(names, measures.items(), strict=True):
            scores = columns.values()
            values = [written(getattr(s, field)) if s else NONE for s in scores]
            yield row(name, "quiet", *zip(values, ("", "", "best"), strict=True))
        where = f"at step {run.best.step:,}" if run.best else ""
        yield [(_right(where, width), "quiet")]

    def _pace(self, width: int) -> Iterator[Line]:
        step, over = self._run.step, self._run.phase == "over"
        pace = {"training loss": notation.rate(self._run.curve.last)}
        pace |= {
            name: written(step) if step else NONE
            for name, written in _PACE.items()
            if not over or name in _AFTERWARDS
        }
        for name, value in pace.items():
            yield [(f"{name} ", "quiet"), (_right(value, width - len(name) - 1), "")]


def _right(text: str, width: int) -> str:
    clipped = clip(text, width)
    return " " * (width - cell_len(clipped)) + clipped


def samples_of(sample: Sample | None) -> list[Paragraph]:
    """Return each prompt with the model's continuations before the training and now."""
    if sample is None or not sample.items:
        return paragraphs(NO_SAMPLES, "quiet")
    lines: list[Paragraph] = []
    for item in sample.items:
        lines += [Paragraph()] if lines else []
        lines.append(Paragraph(((_one_line(item.prompt), "strong"),)))
        lines.append(_way("before", item.before))
        if sample.step:
            same = item.now == item.before
            lines.append(_way("now", SAME, "quiet") if same else _way("now", item.now))
    return lines


def _way(name: str, text: str, style: str = "") -> Paragraph:
    words = _one_line(text.strip(" ")) or "(nothing)"
    return _labelled(name, words, style, width=_SAMPLE_LABEL)


def _one_line(text: str) -> str:
    return visible(text).replace("\n", "⏎").replace("\t", "→")


def title_of(sample: Sample | None) -> str:
    if sample is None:
        return "Samples"
    when = f"after step {sample.step:,}" if sample.step else "before the first step"
    return f"Samples {when}"
