"""Rows of the list of models and adapters, the same wherever it is shown.

The caller passes what is installed and how much room the memory has: reads no disk and
imports no torch.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass

from lmtui.cache_dir import size
from lmtui.models import catalogue
from lmtui.models.adapters.card import AdapterKind
from lmtui.models.adapters.folders import Adapter
from lmtui.models.catalogue import CatalogueEntry, Use
from lmtui.models.remote.address import parse
from lmtui.models.source import ModelRef

HEADINGS = ("NAME", "WEIGHTS", "DOWNLOAD", "FITS", "HERE", "NOTE")


@dataclass(frozen=True, slots=True)
class ListedModel:
    name: str
    weights: str = ""
    download: str = ""
    """The size of the download."""
    fits: str = ""
    """Whether the model fits into this machine's memory: yes or no."""
    here: str = "yes"
    note: str = ""
    chosen: ModelRef | None = None
    """The model to load when the row is chosen; None for the model called `name`."""
    address: str = ""
    """The address of the server that has the model; empty for none."""

    @property
    def model_ref(self) -> ModelRef:
        return self.chosen or ModelRef(self.name)

    @property
    def cells(self) -> tuple[str, ...]:
        """The texts below each of `HEADINGS`."""
        known = (self.weights, self.download, self.fits, self.here)
        return (self.name, *known, self.note)


def catalogue_rows(here: Collection[str], room: int) -> Iterator[ListedModel]:
    """Yield a row for each model of the catalogue. `here` holds the names of
    `inventory` in lower case; `room` are the bytes of `memory.room`."""
    for entry in catalogue.CATALOGUE:
        uses = best_here(entry, room)
        mark = f"best for {' and '.join(uses)}: " if uses else ""
        yield ListedModel(
            name=entry.name,
            weights=count(entry.parameters),
            download=("" if entry.file or entry.is_default else "≈ ")
            + size(entry.download),
            fits="yes" if entry.fits(room) else "no",
            here="yes" if is_installed(entry, here) else "",
            note=mark + entry.note,
        )


def better_than_default(room: int) -> str:
    """Return a sentence that leads from the default model to the best one for chat that
    fits into `room` bytes; empty where none does."""
    entry = catalogue.best("chat", room)
    if entry is None or entry.is_default:
        return ""
    default = catalogue.find(catalogue.DEFAULT)
    assert default is not None
    return (
        f"{count(default.parameters)}, made to start at once. {entry.name} "
        f"({size(entry.download)}) writes far better here: F5."
    )


def best_here(entry: CatalogueEntry, room: int) -> list[str]:
    """Return what a model is the best for among those that fit into `room` bytes."""
    uses: tuple[Use, ...] = ("chat", "code", "prose")
    return [use for use in uses if catalogue.best(use, room) is entry]


def adapter_row(adapter: Adapter) -> ListedModel:
    note, chosen = ", ".join(adapter_facts(adapter)), ModelRef(adapter=adapter.name)
    return ListedModel(f"+ {adapter.name}", note=note, chosen=chosen)


def no_adapter_row(model: str) -> ListedModel:
    words = f"{model} alone, as it was before it learned anything"
    return ListedModel("no adapter", note=words, chosen=ModelRef(model))


def server_row(name: str, address: str) -> ListedModel:
    at = parse(address)
    note = f"{at.model or 'a model'} on the server {at.host}"
    return ListedModel(name, here="", note=note, address=address)


def adapter_facts(adapter: Adapter) -> Iterator[str]:
    card = adapter.card
    if card is None:
        yield "made by another program"
        return
    yield f"{_MADE_OF[card.kind]} {card.base.name}"
    yield f"made {card.day}"
    if card.held_out:
        yield f"held-out loss {card.held_out}"


_MADE_OF: dict[AdapterKind, str] = {
    "lora": "on",
    "full": "all weights of",
    "scratch": "from random weights, in the tokens of",
}


def is_installed(entry: CatalogueEntry, here: Collection[str]) -> bool:
    return (entry.name if entry.is_default else entry.spec.lower()) in here


def count(parameters: int) -> str:
    """Return a number of weights in short form: `135M`, `1.7B`."""
    if parameters < 1_000_000:
        return f"{parameters:,}"
    if parameters < 1_000_000_000:
        return f"{parameters / 1e6:.0f}M"
    return f"{parameters / 1e9:.1f}B"
