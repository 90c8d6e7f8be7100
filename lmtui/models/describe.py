"""What can be said of a model without loading it.

Owns the facts as plain names and values, for a list, a table or JSON. Knows
nothing of how they are drawn, and needs no torch.
"""

from __future__ import annotations

from pathlib import Path

from lmtui.models import catalogue, fetch, local_hub, source
from lmtui.models.catalogue import Entry
from lmtui.models.folder import has_tokenizer, read_folder
from lmtui.models.gguf_header import read_gguf_header

Fact = str | int | bool | None
Facts = dict[str, Fact]


def facts_of(found: source.Source) -> Facts:
    """What is known of `found`, from the catalogue and from its files if it is here.

    Raises:
        LmtuiError: its files are there and damaged.
    """
    facts: Facts = {"name": found.name}
    known = found.hub_id if isinstance(found, source.HubModel) else found.name
    if entry := catalogue.find(known):
        facts |= entry_facts(entry)
    elif isinstance(found, source.HubModel):
        facts["hub_id"] = found.hub_id
    place = place_of(found)
    facts["here"] = place is not None
    if place is not None:
        facts |= file_facts(place)
    return facts


def place_of(found: source.Source) -> Path | None:
    """Where the files of `found` are on this machine, or None."""
    if isinstance(found, source.DefaultModel):
        return fetch.default_file() if fetch.is_fetched() else None
    if isinstance(found, source.HubModel):
        return local_hub.find_local(found.hub_id)
    return found.path


def entry_facts(entry: Entry) -> Facts:
    """What the catalogue says."""
    return {
        "name": entry.name,
        "hub_id": entry.hub_id,
        "parameters": entry.parameters,
        "download": entry.download,
        "context": entry.context,
        "licence": entry.licence,
        "chat": entry.chat,
        "note": entry.note,
    }


def file_facts(place: Path) -> Facts:
    """What a folder or a GGUF file says about itself.

    Raises:
        LmtuiError: it is damaged, or no model.
    """
    if place.is_dir():
        folder = read_folder(place)
        return {
            "path": str(place),
            "format": "safetensors",
            "architecture": folder.architecture,
            "parameters": folder.parameters,
            "bytes": folder.bytes,
            "dtype": folder.dtype,
            "context": folder.context,
            "tokenizer": has_tokenizer(place),
        }
    header = read_gguf_header(place)
    return {
        "path": str(place),
        "format": f"GGUF {header.version}",
        "architecture": header.architecture,
        "parameters": header.parameters,
        "bytes": header.bytes,
        "dtype": header.quantisation,
        "context": header.context,
        "chat": header.has_template,
    }
