"""Facts about a model without loading it, as plain names and values.

They serve lists, tables and JSON. Needs no torch.
"""

from __future__ import annotations

from pathlib import Path

from lmtui.models import catalogue, default_model, hub, source
from lmtui.models.catalogue import CatalogueEntry
from lmtui.models.checkpoint import has_tokenizer, read_folder
from lmtui.models.gguf.header import read_gguf_header

ModelFact = str | int | bool | None
ModelFacts = dict[str, ModelFact]


def facts_of(found: source.ModelSource) -> ModelFacts:
    """Return the facts about `found`, from the catalogue and from its files if it is
    here.

    Raises:
        LmtuiError: its files are there and damaged.
    """
    facts: ModelFacts = {"name": found.name}
    known = found.hub_id if isinstance(found, source.HubModel) else found.name
    if entry := catalogue.find(known):
        facts |= entry_facts(entry)
    elif isinstance(found, source.HubModel):
        facts["hub_id"] = found.hub_id
    place = path_of(found)
    facts["here"] = place is not None
    if place is not None:
        facts |= file_facts(place)
    return facts


def path_of(found: source.ModelSource) -> Path | None:
    """Return where the files of `found` are on this machine, or None."""
    if isinstance(found, source.DefaultModel):
        return default_model.default_file() if default_model.is_fetched() else None
    if isinstance(found, source.HubModel):
        return hub.find_local(found.hub_id)
    return found.path


def entry_facts(entry: CatalogueEntry) -> ModelFacts:
    """Return the facts in the catalogue."""
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


def file_facts(place: Path) -> ModelFacts:
    """Return the facts in the files of a folder, or in a GGUF header.

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
