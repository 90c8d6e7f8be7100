"""The words of a list of models and adapters, the same wherever it is shown.

Owns what stands in each column. Told what is here and what is free; looks at no disk
and imports no torch.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass

from lmtui.cache_dir import size
from lmtui.models import catalogue, memory
from lmtui.models.adapters.card import AdapterKind
from lmtui.models.adapters.folders import Adapter
from lmtui.models.catalogue import CatalogueEntry
from lmtui.models.source import ModelRef

HEADINGS = ("NAME", "WEIGHTS", "DOWNLOAD", "FITS", "HERE", "NOTE")


@dataclass(frozen=True, slots=True)
class ListedModel:
    """One model or adapter of the list, in words."""

    name: str
    weights: str
    download: str
    """How much is fetched where it is not here."""
    fits: str
    """Whether it fits into the memory that is free: yes, only in a dtype, or no."""
    here: str
    note: str
    chosen: ModelRef | None = None
    """What is wanted where it is chosen; None is the model of this name."""

    @property
    def wanted(self) -> ModelRef:
        """What is wanted where it is chosen."""
        return self.chosen or ModelRef(self.name)

    @property
    def cells(self) -> tuple[str, ...]:
        """What stands under each of `HEADINGS`."""
        known = (self.weights, self.download, self.fits, self.here)
        return (self.name, *known, self.note)


def catalogue_rows(here: Collection[str], have: int) -> Iterator[ListedModel]:
    """A row for each model of the catalogue.

    `here` holds names as `inventory` gives them, in small letters; `have` is the
    memory that is free, in bytes.
    """
    for entry in catalogue.CATALOGUE:
        yield ListedModel(
            name=entry.name,
            weights=count(entry.parameters),
            download=("" if entry.is_default else "≈ ") + size(entry.download),
            fits=memory.fits(entry.parameters, have),
            here="yes" if is_installed(entry, here) else "",
            note=entry.note,
        )


def adapter_row(adapter: Adapter) -> ListedModel:
    """A row for an adapter: what it is made of, when, and what it came to."""
    return ListedModel(
        name=f"+ {adapter.name}",
        weights="",
        download="",
        fits="",
        here="yes",
        note=", ".join(adapter_facts(adapter)),
        chosen=ModelRef(adapter=adapter.name),
    )


def no_adapter_row(model: str) -> ListedModel:
    """A row for the model in use without its adapter."""
    words = f"{model} alone, as it was before it learned anything"
    return ListedModel("no adapter", "", "", "", "yes", words, chosen=ModelRef(model))


def adapter_facts(adapter: Adapter) -> Iterator[str]:
    """What is known of an adapter, a few words each."""
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
    """Whether a model of the catalogue is among those that are here."""
    return (entry.name if entry.is_default else entry.hub_id.lower()) in here


def count(parameters: int) -> str:
    """A number of weights as people say it: `135M`, `1.7B`."""
    if parameters < 1_000_000:
        return f"{parameters:,}"
    if parameters < 1_000_000_000:
        return f"{parameters / 1e6:.0f}M"
    return f"{parameters / 1e9:.1f}B"
