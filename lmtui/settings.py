"""The settings: what can be set, what each means, which values it takes.

Owns the fields with their sentences and their ranges. Knows neither where a value
comes from nor any verb; whether a device or a model exists is for those to say who
open it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import Field, dataclass, field, fields
from typing import Any, Literal

from lmtui.engine.ghost import GhostRules
from lmtui.engine.types import SamplingSettings
from lmtui.errors import LmtuiError

Source = Literal["flag", "environment", "file", "default"]
Value = str | int | float | None

PREFIX = "LMTUI_"
_SAMPLING = "sampling"
_DEFAULT = SamplingSettings()
_GHOST = "complete"
_RULES = GhostRules()


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a value came from."""

    source: Source = "default"
    place: str = "default"
    """The flag, the variable or the file, as the user writes it."""


def _setting(default: Any, meaning: str, *, kind: type, section: str = "") -> Any:
    about = {"meaning": meaning, "kind": kind, "section": section}
    return field(default=default, metadata=about)


def _ghost(default: Any, meaning: str, *, kind: type) -> Any:
    return _setting(default, meaning, kind=kind, section=_GHOST)


def _sampling(name: str, meaning: str, *, kind: type) -> Any:
    default = getattr(_DEFAULT, name)
    return _setting(default, meaning, kind=kind, section=_SAMPLING)


@dataclass(frozen=True, slots=True)
class Settings:
    """Every setting with its value; the sentence beside each is its manual."""

    model: str | None = _setting(
        None,
        "The model: a catalogue name, a folder in Hugging Face format, a .gguf file "
        "or a Hub id; unset is the default model.",
        kind=str,
    )
    device: str = _setting(
        "auto",
        "Where the model runs: auto, cpu, cuda, cuda:N or mps; auto takes the first "
        "of CUDA, MPS and CPU that is there.",
        kind=str,
    )
    dtype: str = _setting(
        "auto",
        "The number format of the weights: auto, float32, bfloat16 or float16; auto "
        "is float32 on a CPU and the model's own on a GPU.",
        kind=str,
    )
    threads: int | None = _setting(
        None,
        "Threads for the arithmetic; unset is the number of physical cores.",
        kind=int,
    )
    context: int | None = _setting(
        None,
        "Most tokens that prompt and answer have together; unset is the model's own "
        "limit.",
        kind=int,
    )
    theme: str = _setting(
        "dark",
        "The colours of the screens: a name from `lmtui themes`.",
        kind=str,
    )
    temperature: float = _sampling(
        "temperature",
        "Divides the logits before drawing; 0 always takes the most probable token.",
        kind=float,
    )
    top_k: int = _sampling(
        "top_k", "Draw from the k most probable tokens; 0 keeps all.", kind=int
    )
    top_p: float = _sampling(
        "top_p",
        "Draw from the smallest set of tokens with this much probability; 1 keeps all.",
        kind=float,
    )
    min_p: float = _sampling(
        "min_p",
        "Never draw a token below this fraction of the top token's probability; 0 "
        "keeps all.",
        kind=float,
    )
    repetition_penalty: float = _sampling(
        "repetition_penalty",
        "Weakens tokens that are already in the context by this factor; 1 changes "
        "nothing.",
        kind=float,
    )
    seed: int | None = _sampling(
        "seed", "Seed of the draw; unset draws a new one each time.", kind=int
    )
    max_tokens: int = _sampling(
        "max_tokens", "Stop an answer after this many tokens.", kind=int
    )
    ghost_delay: float = _ghost(
        0.15,
        "Seconds without a key after which the editor asks for a suggestion; 0 asks "
        "at every key.",
        kind=float,
    )
    ghost_tokens: int = _ghost(
        _RULES.max_tokens, "Most tokens of a suggestion in the editor.", kind=int
    )
    ghost_seconds: float = _ghost(
        _RULES.seconds,
        "A suggestion ends with the first whole word after so many seconds.",
        kind=float,
    )
    ghost_mean_prob: float = _ghost(
        _RULES.min_mean_prob,
        "A suggestion ends where the mean probability of its tokens falls below this.",
        kind=float,
    )
    ghost_prob: float = _ghost(
        _RULES.min_prob,
        "A suggestion ends before a token that is less probable than this.",
        kind=float,
    )
    surprise_bits: float = _ghost(
        10.0, "From how many bits on a word of yours counts as a surprise.", kind=float
    )
    keys: Mapping[str, str] = field(default_factory=dict)
    """The table `[keys]` of the file: keys in place of the built-in ones, by what
    they do; which of them can be used is for the screens to say."""
    origins: Mapping[str, Origin] = field(default_factory=dict)
    """Where each value that is not a default came from."""

    @property
    def sampling(self) -> SamplingSettings:
        """The section `[sampling]` as the engine takes it."""
        values = {item.name: getattr(self, item.name) for item in items(_SAMPLING)}
        return SamplingSettings(**values)

    @property
    def ghost_rules(self) -> GhostRules:
        """The section `[complete]` as a suggestion takes it."""
        return GhostRules(
            max_tokens=self.ghost_tokens,
            seconds=self.ghost_seconds,
            min_mean_prob=self.ghost_mean_prob,
            min_prob=self.ghost_prob,
        )

    def origin(self, name: str) -> Origin:
        """Where the value of `name` came from."""
        return self.origins.get(name, Origin())


def names() -> tuple[str, ...]:
    """The names of all settings, in the order of the manual."""
    return tuple(item.name for item in items())


def meaning(name: str) -> str:
    """The sentence that explains a setting."""
    return str(item(name).metadata["meaning"])


def key(name: str) -> str:
    """The setting as `config.toml` calls it: `model`, `sampling.top_k`."""
    section = item(name).metadata["section"]
    return f"{section}.{name}" if section else name


def flag(name: str) -> str:
    """The setting as the command line calls it."""
    return "--" + name.replace("_", "-")


def has_flag(name: str) -> bool:
    """Whether some verb takes it as a flag."""
    return bool(item(name).metadata["section"] != _GHOST)


def variable(name: str) -> str:
    """The setting as the environment calls it."""
    return PREFIX + name.upper()


def items(section: str | None = None) -> Iterable[Field[Any]]:
    """The fields that are settings, of one section or of all."""
    for item in fields(Settings):
        if item.metadata and section in (None, item.metadata["section"]):
            yield item


def item(name: str) -> Field[Any]:
    return next(item for item in items() if item.name == name)


def check(name: str, value: Value) -> None:
    """Refuse a value that can't be used.

    Raises:
        LmtuiError: it is out of its range.
    """
    if item(name).metadata["section"] == _SAMPLING:
        SamplingSettings(**{name: value})  # type: ignore[arg-type]
    elif refuse := _CHECKS.get(name):
        refuse(name, value)


def _at_least_one(name: str, value: Value) -> None:
    if isinstance(value, int) and value < 1:
        raise LmtuiError(f"{name} is out of range", f"{value}", "Give at least 1.")


def _positive(name: str, value: Value) -> None:
    _within(name, value, most=float("inf"))


def _share(name: str, value: Value) -> None:
    _within(name, value, most=1)


def _within(name: str, value: Value, *, most: float) -> None:
    if isinstance(value, int | float) and 0 <= value <= most and value < float("inf"):
        return
    bounds = "at least 0" if most > 1 else "from 0 to 1"
    raise LmtuiError(f"{name} is out of range", f"{value}", f"Give a value {bounds}.")


def _not_empty(name: str, value: Value) -> None:
    if value == "":
        raise LmtuiError(f"{name} is empty", "", meaning(name))


_CHECKS: Mapping[str, Callable[[str, Value], None]] = {
    "model": _not_empty,
    "device": _not_empty,
    "dtype": _not_empty,
    "theme": _not_empty,
    "threads": _at_least_one,
    "context": _at_least_one,
    "ghost_delay": _positive,
    "ghost_tokens": _at_least_one,
    "ghost_seconds": _positive,
    "ghost_mean_prob": _share,
    "ghost_prob": _share,
    "surprise_bits": _positive,
}
