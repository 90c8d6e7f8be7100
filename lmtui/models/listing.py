"""The words of a list of models, the same wherever it is shown.

Owns what stands in each column. Told what is here and what is free; looks at no disk
and imports no torch.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import astuple, dataclass

from lmtui.models import catalogue, fit
from lmtui.models.catalogue import Entry
from lmtui.models.disk import size

HEADINGS = ("NAME", "WEIGHTS", "DOWNLOAD", "FITS", "HERE", "NOTE")


@dataclass(frozen=True, slots=True)
class Row:
    """One model of the list, in words."""

    name: str
    """What `--model` takes."""
    weights: str
    download: str
    """How much is fetched where it is not here."""
    fits: str
    """Whether it fits into the memory that is free: yes, only in a dtype, or no."""
    here: str
    note: str

    @property
    def cells(self) -> tuple[str, ...]:
        """What stands under each of `HEADINGS`."""
        return astuple(self)


def catalogue_rows(here: Collection[str], have: int) -> Iterator[Row]:
    """A row for each model of the catalogue.

    `here` holds names as `inventory` gives them, in small letters; `have` is the
    memory that is free, in bytes.
    """
    for entry in catalogue.CATALOGUE:
        yield Row(
            name=entry.name,
            weights=count(entry.parameters),
            download=("" if entry.is_default else "≈ ") + size(entry.download),
            fits=fit.fits(entry.parameters, have),
            here="yes" if is_here(entry, here) else "",
            note=entry.note,
        )


def is_here(entry: Entry, here: Collection[str]) -> bool:
    """Whether a model of the catalogue is among those that are here."""
    return (entry.name if entry.is_default else entry.hub_id.lower()) in here


def count(parameters: int) -> str:
    """A number of weights as people say it: `135M`, `1.7B`."""
    if parameters < 1_000_000:
        return f"{parameters:,}"
    if parameters < 1_000_000_000:
        return f"{parameters / 1e6:.0f}M"
    return f"{parameters / 1e9:.1f}B"
