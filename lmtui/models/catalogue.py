"""Catalogue of models worth trying, by short names.

Sizes are those of the published weights, rounded; the default model's are exact.
Imports no library and knows nothing of what is on this machine.
"""

from __future__ import annotations

import difflib
from dataclasses import dataclass

DEFAULT = "smollm2-135m-instruct"


@dataclass(frozen=True, slots=True)
class CatalogueEntry:
    name: str
    """The short name for `--model`."""
    hub_id: str
    """Its id on the Hub, `owner/name`. All but the default model are downloaded from
    there."""
    parameters: int
    """The approximate number of weights."""
    download: int
    """The approximate size of the download in bytes."""
    context: int
    """The most tokens that the model was made for."""
    licence: str
    note: str
    """A line on what it is good for."""
    file: str = ""
    """The GGUF file of its repository; empty for a folder in safetensors."""
    chat: bool = True
    """Whether it is trained to chat; a base model only continues text."""
    infill: bool = False
    """Whether it is trained to fill in the middle: to read the text after the cursor
    too."""
    sampler: tuple[tuple[str, float], ...] = ()
    """The sampling settings that its card recommends, where its files say nothing."""

    @property
    def is_default(self) -> bool:
        return self.name == DEFAULT


_SMOLLM2 = (("temperature", 0.2), ("top_p", 0.9))

CATALOGUE: tuple[CatalogueEntry, ...] = (
    CatalogueEntry(
        DEFAULT,
        "HuggingFaceTB/SmolLM2-135M-Instruct",
        134_515_008,
        92_871_040,
        8_192,
        "Apache-2.0",
        "the default: small enough for any machine; fetched without an account",
        sampler=_SMOLLM2,
    ),
    CatalogueEntry(
        "smollm2-135m",
        "HuggingFaceTB/SmolLM2-135M",
        135_000_000,
        273_000_000,
        8_192,
        "Apache-2.0",
        "the base model behind the default: continues text, does not chat",
        chat=False,
    ),
    CatalogueEntry(
        "smollm2-360m-instruct",
        "HuggingFaceTB/SmolLM2-360M-Instruct",
        362_000_000,
        727_000_000,
        8_192,
        "Apache-2.0",
        "the default's bigger sibling, still quick on a laptop",
        sampler=_SMOLLM2,
    ),
    CatalogueEntry(
        "smollm2-1.7b-instruct",
        "HuggingFaceTB/SmolLM2-1.7B-Instruct",
        1_710_000_000,
        3_420_000_000,
        8_192,
        "Apache-2.0",
        "sound English answers and rewriting",
        sampler=_SMOLLM2,
    ),
    CatalogueEntry(
        "smollm3-3b",
        "HuggingFaceTB/SmolLM3-3B",
        3_080_000_000,
        6_170_000_000,
        65_536,
        "Apache-2.0",
        "six languages, long context, can reason aloud",
    ),
    CatalogueEntry(
        "qwen2.5-0.5b-instruct",
        "Qwen/Qwen2.5-0.5B-Instruct",
        494_000_000,
        1_000_000_000,
        32_768,
        "Apache-2.0",
        "many languages in half a gigabyte of weights",
    ),
    CatalogueEntry(
        "qwen3-0.6b",
        "Qwen/Qwen3-0.6B",
        600_000_000,
        1_520_000_000,
        40_960,
        "Apache-2.0",
        "many languages, can reason aloud",
    ),
    CatalogueEntry(
        "qwen3-1.7b",
        "Qwen/Qwen3-1.7B",
        1_720_000_000,
        4_080_000_000,
        40_960,
        "Apache-2.0",
        "stronger at mathematics and code, can reason aloud",
    ),
    CatalogueEntry(
        "qwen3-4b-instruct-2507",
        "Qwen/Qwen3-4B-Instruct-2507",
        4_020_000_000,
        8_060_000_000,
        262_144,
        "Apache-2.0",
        "the most able of this list; needs a GPU or patience",
    ),
    CatalogueEntry(
        "qwen2.5-coder-0.5b",
        "Qwen/Qwen2.5-Coder-0.5B",
        494_000_000,
        1_000_000_000,
        32_768,
        "Apache-2.0",
        "code: also reads what follows the cursor; does not chat",
        chat=False,
        infill=True,
    ),
    CatalogueEntry(
        "olmo-2-1b-instruct",
        "allenai/OLMo-2-0425-1B-Instruct",
        1_480_000_000,
        2_980_000_000,
        4_096,
        "Apache-2.0",
        "open down to its training data",
    ),
    CatalogueEntry(
        "granite-3.3-2b-instruct",
        "ibm-granite/granite-3.3-2b-instruct",
        2_530_000_000,
        5_070_000_000,
        131_072,
        "Apache-2.0",
        "careful instructions, summaries and code, long context",
    ),
    CatalogueEntry(
        "gpt2",
        "openai-community/gpt2",
        124_000_000,
        550_000_000,
        1_024,
        "MIT",
        "the classic base model: continues text, does not chat",
        chat=False,
    ),
)


def find(name: str) -> CatalogueEntry | None:
    """Return the entry with this name or Hub id, in upper or lower case."""
    wanted = name.lower()
    for entry in CATALOGUE:
        if wanted in (entry.name, entry.hub_id.lower()):
            return entry
    return None


def sampler_of(name: str) -> tuple[tuple[str, float], ...]:
    """Return the sampling settings on the card of the model with this name, if any."""
    entry = find(name)
    return entry.sampler if entry else ()


def smallest_infill() -> CatalogueEntry:
    entries = (entry for entry in CATALOGUE if entry.infill)
    return min(entries, key=lambda entry: entry.parameters)


def default() -> CatalogueEntry:
    return CATALOGUE[0]


def closest(name: str) -> tuple[str, ...]:
    """Return names similar to `name`, the most similar first; maybe none."""
    names = [entry.name for entry in CATALOGUE]
    wanted = name.lower().rsplit("/", 1)[-1]
    return tuple(difflib.get_close_matches(wanted, names, n=3, cutoff=0.5))
