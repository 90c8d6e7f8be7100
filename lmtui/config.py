"""The settings: what can be set, where a value came from, what it means.

Owns the precedence flag > environment > `config.toml` > default and the errors of
all three; the only place that reads the environment for settings (`paths` reads
LMTUI_HOME). Knows no verb and no model: values are handed down from here, and
whether a device or a model exists is for those to say who open it.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import Field, dataclass, field, fields
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Literal

from lmtui import config_file, paths
from lmtui.engine.types import SamplingSettings
from lmtui.errors import LmtuiError

Source = Literal["flag", "environment", "file", "default"]
Value = str | int | float | None

PREFIX = "LMTUI_"
_NOT_SETTINGS = {"LMTUI_HOME"}
_SAMPLING = "sampling"
_KEYS = "keys"
_DEFAULT = SamplingSettings()


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a value came from."""

    source: Source = "default"
    place: str = "default"
    """The flag, the variable or the file, as the user writes it."""


def _setting(default: Any, meaning: str, *, kind: type, section: str = "") -> Any:
    about = {"meaning": meaning, "kind": kind, "section": section}
    return field(default=default, metadata=about)


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
    keys: Mapping[str, str] = field(default_factory=dict)
    """The table `[keys]` of the file: keys in place of the built-in ones, by what
    they do; which of them can be used is for the screens to say."""
    origins: Mapping[str, Origin] = field(default_factory=dict)
    """Where each value that is not a default came from."""

    @property
    def sampling(self) -> SamplingSettings:
        """The section `[sampling]` as the engine takes it."""
        values = {item.name: getattr(self, item.name) for item in _items(_SAMPLING)}
        return SamplingSettings(**values)

    def origin(self, name: str) -> Origin:
        """Where the value of `name` came from."""
        return self.origins.get(name, Origin())


def names() -> tuple[str, ...]:
    """The names of all settings, in the order of the manual."""
    return tuple(item.name for item in _items())


def meaning(name: str) -> str:
    """The sentence that explains a setting."""
    return str(_item(name).metadata["meaning"])


def key(name: str) -> str:
    """The setting as `config.toml` calls it: `model`, `sampling.top_k`."""
    section = _item(name).metadata["section"]
    return f"{section}.{name}" if section else name


def flag(name: str) -> str:
    """The setting as the command line calls it."""
    return "--" + name.replace("_", "-")


def variable(name: str) -> str:
    """The setting as the environment calls it."""
    return PREFIX + name.upper()


def load(
    flags: Mapping[str, Value] | None = None,
    *,
    environment: Mapping[str, str] | None = None,
    file: Path | None = None,
) -> Settings:
    """Gather the settings; a flag of None was not given.

    Raises:
        LmtuiError: a value can't be used, a key is unknown, the file is broken.
    """
    file = file or paths.config_file()
    table = config_file.read(file)
    keys = _keys(table.pop(_KEYS, {}), file)
    found: dict[str, tuple[Value, Origin]] = {}
    found.update(_from_file(table, file))
    found.update(_from_environment(os.environ if environment is None else environment))
    found.update(_from_flags(flags or {}))
    for name, (value, origin) in found.items():
        _check(name, value, origin)
    values: dict[str, Any] = {name: value for name, (value, _) in found.items()}
    origins = {name: found[name][1] for name in found}
    return Settings(**values, keys=keys, origins=origins)


def remember(name: str, value: str, *, file: Path | None = None) -> None:
    """Write a setting outside every section into `config.toml`; all else stays.

    Raises:
        LmtuiError: the file is broken, or can't be written.
    """
    config_file.set_value(file or paths.config_file(), name, value)


def _items(section: str | None = None) -> Iterable[Field[Any]]:
    """The fields that are settings, of one section or of all."""
    for item in fields(Settings):
        if item.metadata and section in (None, item.metadata["section"]):
            yield item


def _item(name: str) -> Field[Any]:
    return next(item for item in _items() if item.name == name)


def _from_flags(flags: Mapping[str, Value]) -> Iterable[tuple[str, Any]]:
    for name, value in flags.items():
        if value is not None:
            yield name, (value, Origin("flag", flag(name)))


def _from_environment(environment: Mapping[str, str]) -> Iterable[tuple[str, Any]]:
    """Values of `LMTUI_<NAME>`; an empty one counts as unset.

    Only a likely misspelling is refused: other variables that begin the same way
    may belong to someone else.
    """
    variables = {variable(name): name for name in names()}
    for written in sorted(environment):
        text = environment[written]
        if not written.startswith(PREFIX) or written in _NOT_SETTINGS or not text:
            continue
        if name := variables.get(written):
            yield name, (_parse(name, text, written), Origin("environment", written))
        elif close := get_close_matches(written, variables, n=1, cutoff=0.8):
            raise LmtuiError(
                "unknown environment variable", written, f"Did you mean {close[0]}?"
            )


def _parse(name: str, text: str, place: str) -> Value:
    kind = _item(name).metadata["kind"]
    try:
        return kind(text.strip())  # type: ignore[no-any-return]
    except ValueError:
        raise _not_a(kind, name, repr(text), place) from None


def _keys(table: object, file: Path) -> Mapping[str, str]:
    """The table of keys; `chat.stop` may stand there with or without quotes."""
    if not isinstance(table, dict):
        raise _not_text(_KEYS, table, file)
    keys: dict[str, str] = {}
    for name, value in _leaves(table):
        if not isinstance(value, str):
            raise _not_text(f"{_KEYS}.{name}", value, file)
        keys[name] = value
    return keys


def _leaves(table: Mapping[str, Any]) -> Iterable[tuple[str, Any]]:
    for name, value in table.items():
        if isinstance(value, dict) and value:
            yield from ((f"{name}.{inner}", leaf) for inner, leaf in _leaves(value))
        else:
            yield name, value


def _not_text(name: str, value: object, file: Path) -> LmtuiError:
    kind = "a table" if name == _KEYS else "text in quotes"
    hint = 'Write under [keys], for example, "chat.regenerate" = "f8,ctrl+r".'
    return LmtuiError(f"{name} is not {kind}", f"{value!r} in {file}", hint)


def _from_file(table: Mapping[str, Any], file: Path) -> Iterable[tuple[str, Any]]:
    in_sections = {key(name): name for name in names()}
    for written, value in _flatten(table):
        if written not in in_sections:
            raise _unknown_key(written, in_sections, file)
        name = in_sections[written]
        yield name, (_typed(name, value, file), Origin("file", str(file)))


def _flatten(table: Mapping[str, Any]) -> Iterable[tuple[str, Any]]:
    for name, value in table.items():
        if isinstance(value, dict):
            yield from ((f"{name}.{inner}", item) for inner, item in value.items())
        else:
            yield name, value


def _typed(name: str, value: object, file: Path) -> Value:
    """A TOML value of the setting's kind; a whole number is a float too."""
    kind = _item(name).metadata["kind"]
    if kind is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if type(value) is kind:
        return value  # type: ignore[return-value]
    raise _not_a(kind, key(name), repr(value), str(file))


def _not_a(kind: type, name: str, written: str, place: str) -> LmtuiError:
    kinds = {str: "text in quotes", int: "a whole number", float: "a number"}
    return LmtuiError(
        f"{name} is not {kinds[kind]}", f"{written} in {place}", f"{_manual(name)}"
    )


def _manual(name: str) -> str:
    return meaning(name.rpartition(".")[2])


def _unknown_key(written: str, known: Mapping[str, str], file: Path) -> LmtuiError:
    # A sampling key outside its section is close to itself with the section.
    close = [item for item in known if item.rpartition(".")[2] == written]
    close = close or get_close_matches(written, known, n=1, cutoff=0.5)
    where = f"Did you mean {close[0]}?" if close else "See `lmtui config`."
    return LmtuiError("unknown key in the settings", f"{written} in {file}", where)


def _check(name: str, value: Value, origin: Origin) -> None:
    """Refuse a value that can't be used, and say where it stands."""
    try:
        _check_value(name, value)
    except LmtuiError as error:
        place = "" if origin.source == "flag" else f" in {origin.place}"
        detail = f"{error.detail}{place}"
        raise LmtuiError(error.title, detail, error.hint) from None


def _check_value(name: str, value: Value) -> None:
    if _item(name).metadata["section"] == _SAMPLING:
        SamplingSettings(**{name: value})  # type: ignore[arg-type]
    elif check := _CHECKS.get(name):
        check(name, value)


def _at_least_one(name: str, value: Value) -> None:
    if isinstance(value, int) and value < 1:
        raise LmtuiError(f"{name} is out of range", f"{value}", "Give at least 1.")


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
}
