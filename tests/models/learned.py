"""Making small real adapters, as a training would leave them."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import torch
from peft import LoraConfig, PeftModel, get_peft_model
from transformers import AutoModelForCausalLM

from lmtui import paths, records
from lmtui.models import source
from lmtui.models.adapters import folders
from lmtui.models.adapters.card import (
    AdapterKind,
    Base,
    Card,
    Data,
    DataFile,
    Metrics,
)
from tests.models import tiny


def save_lora(folder: Path, base: Path, *, size: float = 0.05, **options: Any) -> Path:
    """A random LoRA for the model in `base`, written by the library alone."""
    model = AutoModelForCausalLM.from_pretrained(base)
    settings = {"r": 4, "lora_alpha": 8, "target_modules": "all-linear"} | options
    torch.manual_seed(11)
    beside = get_peft_model(model, LoraConfig(task_type="CAUSAL_LM", **settings))
    for name, weights in beside.named_parameters():
        if "lora_" in name:
            torch.nn.init.normal_(weights, std=size)
    # Otherwise it adds the model's own matrices where the output is changed.
    beside.save_pretrained(folder, save_embedding_layers=False)
    return folder


def card_of(name: str, base: Base, kind: AdapterKind = "lora") -> Card:
    """A card as a training writes it."""
    return Card(
        name=name,
        kind=kind,
        created="2026-07-14T09:30:00+00:00",
        base=base,
        data=Data((DataFile("a.md", "1" * 64, 120),), 9, 1, 1234),
        settings={"rank": 4, "lr": 0.0002},
        versions={"torch": torch.__version__},
        metrics=Metrics(
            before={"loss": 3.21, "perplexity": 24.8, "bits_per_byte": 1.5},
            after={"loss": 2.87, "perplexity": 17.6, "bits_per_byte": 1.3},
            neutral_before={"loss": 2.9, "perplexity": 18.2, "bits_per_byte": 1.2},
            neutral_after={"loss": 2.95, "perplexity": 19.1, "bits_per_byte": 1.25},
            best_step=40,
            steps=60,
        ),
    )


def base_named(spec: Path) -> Base:
    """The model at `spec`, as a card names it."""
    return folders.base_of(source.resolve(str(spec)), spec)


def keep_lora(name: str, weights: Path, base: Path) -> Path:
    """The adapter of `save_lora` in the folder of adapters, as one for `base`."""
    folder = Path(shutil.copytree(weights, paths.adapters_folder() / name))
    records.write(folder / "card.json", card_of(name, base_named(base)))
    return folder


def keep_whole(name: str, base: Path, kind: AdapterKind = "full") -> Path:
    """A model of other weights in the folder of adapters, made from `base`."""
    folder = paths.adapters_folder() / name
    model = AutoModelForCausalLM.from_pretrained(base)
    for weights in model.parameters():
        weights.data *= 1.01
    model.save_pretrained(folder)
    tiny.tokenizer().save_pretrained(folder)
    records.write(folder / "card.json", card_of(name, base_named(base), kind))
    return folder


def unmerged(base: Path, folder: Path) -> Any:
    """The model and the adapter side by side, as the library has them."""
    model = AutoModelForCausalLM.from_pretrained(base)
    return PeftModel.from_pretrained(model, folder).eval()
