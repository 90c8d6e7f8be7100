"""Table of the sampler's stages, from which all that names them is derived: marks, the
default order, neutral values, what is active, controls, names of other programs.

A new stage is a row here, a setting in `SamplingSettings`, a function in `filters`, and
a field of the server's requests. Knows no torch.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lmtui.engine.sampling_settings import SamplingSettings

_SHARES = (0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.98, 0.99, 1.0)
_LESS = (-2.0, -1.0, -0.5, 0.0, 0.1, 0.2, 0.3, 0.5, 0.7, 1.0, 1.5, 2.0)


@dataclass(frozen=True, slots=True)
class Control:
    """A setting of a stage: how it is shown and changed."""

    name: str
    """The attribute of `SamplingSettings`."""
    label: str = ""
    """Empty where the controls have no row for it."""
    meaning: str = ""
    """A few words for the help line, which has 27 cells at 80 columns."""
    rungs: tuple[float, ...] = ()
    """Values that it steps through."""
    neutral: Any = None
    """The value at which it changes nothing; None where there is none, or where the
    stage's first setting switches it, too."""
    neutral_name: str = ""
    """What that value is called; empty where it has no name."""
    long_label: str = ""
    """A label that says more, for where it fits."""


@dataclass(frozen=True, slots=True)
class Stage:
    """A stage of the sampler's chain."""

    name: str
    mark: str
    """Letter of the tokens that it removed, or whose logit it changed; of the
    temperature, those that greedy decoding removed."""
    settings: tuple[Control, ...]
    """The first one switches it."""
    switched_on: float = 0.0
    """Value of that with which it is switched on."""
    letter: str = ""
    """What it is in llama.cpp's list of letters; empty where it is not there."""
    aliases: tuple[str, ...] = ()
    """Other names of it; llama.cpp spells each in several ways
    (common/sampling.cpp)."""
    switches: int = 1
    """How many of its first settings switch it, each by itself."""
    changes_logits: bool = False
    """Whether it changes logits instead of removing tokens."""
    works: Callable[[SamplingSettings], bool] = lambda settings: True
    """Whether it can change anything once it is switched on."""

    def is_active(self, settings: SamplingSettings) -> bool:
        """Return whether it can change anything with these settings."""
        return self.works(settings) and any(
            getattr(settings, setting.name) != setting.neutral
            for setting in self.settings[: self.switches]
        )


FIXED = (
    Stage("bias", "b", (
        Control("logit_bias", "bias", "x on a row bans its token.", (), (), "none"),
        Control("banned_phrases", "phrases", "Texts to write around.", (), (), "none"),
    ), changes_logits=True),
    Stage("grammar", "s", (
        Control("grammar", "grammar", "What an answer must follow.", (), None, "none"),
    )),
)  # fmt: skip
"""What comes first and can't be moved."""

TABLE = (
    Stage("penalties", "r", (
        Control("repetition_penalty", "penalty", "Weakens tokens used before.",
                 (0.8, 0.9, 0.95, 1.0, 1.05, 1.1, 1.15, 1.2, 1.3, 1.5, 2.0), 1.0, "off",
                 long_label="repetition penalty"),
        Control("presence_penalty", "presence", "Subtracted if used before.", _LESS,
                 0.0, "off", long_label="presence penalty"),
        Control("frequency_penalty", "frequency", "Subtracted for each use.", _LESS,
                 0.0, "off", long_label="frequency penalty"),
        Control("penalty_window", neutral=0),
    ), 1.1, "e", switches=3, changes_logits=True),
    Stage("dry", "d", (
        Control("dry_multiplier", "DRY", "Weakens repeated passages.",
                 (0.0, 0.2, 0.4, 0.6, 0.8, 1.0, 1.5, 2.0, 3.0, 5.0), 0.0, "off"),
        Control("dry_base"),
        Control("dry_allowed_length", "length", "Shorter repeats are free.",
                 tuple(range(1, 21))),
        Control("dry_window", neutral=0),
        Control("dry_breakers"),
    ), 0.8, "d", changes_logits=True),
    Stage("temperature", "g", (
        Control("temperature", "temperature", "0: greedy; higher: flatter.", (), 1.0),
    ), 0.7, "t", ("temp",)),
    Stage("top_n_sigma", "n", (
        Control("top_n_sigma", "top-nσ", "Keep logits within n σ.",
                 (0.0, 0.3, 0.5, 0.7, 1.0, 1.2, 1.5, 2.0, 3.0), 0.0, "off"),
    ), 1.0, "s"),
    Stage("top_k", "k", (
        Control("top_k", "top-k", "Keep the k most probable.",
                 (0, 1, 2, 3, 5, 10, 20, 40, 60, 100, 200, 500, 1000), 0, "off"),
    ), 40, "k"),
    Stage("typical_p", "t", (
        Control("typical_p", "typical-p", "Keep typical surprisals.", _SHARES,
                 1.0, "off"),
    ), 0.95, "y", ("typ_p", "typ", "typical")),
    Stage("top_p", "p", (
        Control("top_p", "top-p", "Keep the set of this mass.", _SHARES, 1.0, "off"),
    ), 0.95, "p", ("nucleus",)),
    Stage("min_p", "m", (
        Control("min_p", "min-p", "Drop p under this × top p.",
                 (0.0, 0.01, 0.02, 0.05, 0.1, 0.15, 0.2, 0.3, 0.5, 0.7, 1.0),
                 0.0, "off"),
    ), 0.05, "m"),
    Stage("xtc", "x", (
        Control("xtc_probability", "XTC", "Chance to drop top tokens.",
                 (0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0), 0.0, "off"),
        Control("xtc_threshold", "threshold", "Least p of a top token.",
                 (0.0, 0.01, 0.02, 0.05, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5)),
        # Above a half, at most one token is that probable, and it stays.
    ), 0.5, "x", works=lambda settings: settings.xtc_threshold <= 0.5),
)  # fmt: skip
"""The stages in their default order."""
STAGES = tuple(stage.name for stage in TABLE)
BY_NAME: Mapping[str, Stage] = {stage.name: stage for stage in (*FIXED, *TABLE)}
NEUTRAL: Mapping[str, Any] = {
    setting.name: setting.neutral
    for stage in TABLE
    for setting in stage.settings
    if isinstance(setting.neutral, float | int)
}
"""Values at which a setting changes nothing."""

# Names that other programs have: with `_`, `-` or nothing between their words.
_BY_LETTER = {stage.letter: stage.name for stage in TABLE if stage.letter}
_BY_PLAIN_NAME = {
    name.replace("_", ""): stage.name
    for stage in TABLE
    for name in (stage.name, *stage.aliases)
}


def active_stages(
    settings: SamplingSettings, order: Iterable[str] | None = None
) -> tuple[str, ...]:
    """Return the stages that can change anything, in the order of the settings, or in
    another one."""
    order = settings.sampler_order if order is None else order
    return tuple(stage for stage in order if BY_NAME[stage].is_active(settings))


def chain_of(settings: SamplingSettings) -> tuple[str, ...]:
    """Return all that is applied to the logits, in its order: `bias`, where tokens are
    banned or have one, `grammar`, where there is one, and the active stages."""
    fixed = (stage.name for stage in FIXED if stage.is_active(settings))
    return (*fixed, *active_stages(settings))


def come_in_order(stages: Collection[str], order: Sequence[str]) -> bool:
    """Return whether `order` has all of some stages, in the order in which they are."""
    return [stage for stage in order if stage in stages] == list(stages)


def stage_of(name: str) -> str | None:
    """Return the stage that llama.cpp calls by this name, in any case; None for one
    that there is not here."""
    return _BY_PLAIN_NAME.get(name.lower().replace("_", "").replace("-", ""))


def stages_of(order: str | Sequence[str]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return the stages of llama.cpp's list of samplers, or of its text of letters,
    each once, and what in it is none of ours."""
    find = _BY_LETTER.get if isinstance(order, str) else stage_of
    pairs = [(given, find(given)) for given in order]
    stages = dict.fromkeys(stage for _, stage in pairs if stage)
    return tuple(stages), tuple(name for name, stage in pairs if stage is None)
