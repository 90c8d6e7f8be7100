"""Facts about a model without loading it, as plain names and values.

They serve lists, tables and JSON. Needs no torch.
"""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

from lmtui.kernels.gguf_formats import FORMATS
from lmtui.models import catalogue, source
from lmtui.models.catalogue import CatalogueEntry
from lmtui.models.checkpoint import has_tokenizer, read_folder
from lmtui.models.download import default_model, hub
from lmtui.models.gguf.header import read_gguf_header

ModelFact = str | int | bool | None
ModelFacts = dict[str, ModelFact]


def facts_of(model_source: source.ModelSource) -> ModelFacts:
    """Return the facts about `model_source`, from the catalogue and from its files if
    it is here."""
    facts: ModelFacts = {"name": model_source.name}
    known = (
        model_source.hub_id
        if isinstance(model_source, source.HubModel)
        else model_source.name
    )
    if entry := catalogue.find(known):
        facts |= entry_facts(entry)
    elif isinstance(model_source, source.HubModel):
        facts["hub_id"] = model_source.hub_id
    path = path_of(model_source)
    facts["here"] = path is not None
    if path is not None:
        facts |= file_facts(path)
    return facts


def path_of(model_source: source.ModelSource) -> Path | None:
    """Return where the files of `model_source` are on this machine, or None."""
    if isinstance(model_source, source.DefaultModel):
        return default_model.default_file() if default_model.is_fetched() else None
    if isinstance(model_source, source.HubModel):
        return hub.find_local(model_source.hub_id, model_source.file)
    return model_source.path


def entry_facts(entry: CatalogueEntry) -> ModelFacts:
    facts = asdict(entry) | {"good_at": ", ".join(entry.good_at)}
    del facts["sampler"]
    return facts


def file_facts(path: Path) -> ModelFacts:
    if path.is_dir():
        folder = read_folder(path)
        return {
            "path": str(path),
            "format": "safetensors",
            "architecture": folder.architecture,
            "parameters": folder.parameters,
            "bytes": folder.bytes,
            "dtype": folder.dtype,
            "context": folder.context,
            "tokenizer": has_tokenizer(path),
        }
    header = read_gguf_header(path)
    return {
        "path": str(path),
        "format": f"GGUF {header.version}",
        "architecture": header.architecture,
        "parameters": header.parameters,
        "bytes": header.bytes,
        "dtype": header.quantisation,
        "unpacked": ", ".join(name for name in header.by_type if name not in FORMATS),
        "context": header.context,
        "chat": header.has_template,
    }
