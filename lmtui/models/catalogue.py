"""Catalogue of models worth trying, by short names.

Files are GGUF of four bits where there are such; all sizes are exact but that of gpt2.
Imports no library and knows nothing of what is on this machine.
"""

from __future__ import annotations

import difflib
from dataclasses import dataclass
from typing import Literal

DEFAULT = "smollm2-135m-instruct"
_SHARE = 1.05  # of the download, with what running a model takes besides

Use = Literal["chat", "code", "prose", "reasoning", "languages"]
"""What a model is good at: answers, programs with the text after the cursor, texts that
are continued as they are, thinking aloud, languages beside English."""


@dataclass(frozen=True, slots=True)
class CatalogueEntry:
    name: str
    """The short name for `--model`."""
    hub_id: str
    """Its id on the Hub, `owner/name`. All but the default model are downloaded from
    there."""
    file: str
    """The GGUF file of its repository; empty for a folder in safetensors."""
    parameters: int
    """The approximate number of weights."""
    download: int
    """The size of the download in bytes."""
    context: int
    """The most tokens that the model was made for."""
    licence: str
    good_at: tuple[Use, ...]
    note: str
    """A line on what it is good for."""
    sampler: tuple[tuple[str, float], ...] = ()
    """The sampling settings that its card recommends, where its files say nothing."""

    @property
    def is_default(self) -> bool:
        return self.name == DEFAULT

    @property
    def spec(self) -> str:
        """Its name on the Hub: `owner/name`, with `:file` for a file."""
        return f"{self.hub_id}:{self.file}" if self.file else self.hub_id

    def fits(self, room: int) -> bool:
        """Return whether it fits into `room` bytes, those of `memory.room`."""
        return self.download * _SHARE <= room


CATALOGUE: tuple[CatalogueEntry, ...] = (
    CatalogueEntry(
        DEFAULT,
        "HuggingFaceTB/SmolLM2-135M-Instruct",
        "",
        134_515_008,
        92_871_040,
        8_192,
        "Apache-2.0",
        ("chat",),
        "the default: made to start at once; fetched without an account",
        sampler=(("temperature", 0.2), ("top_p", 0.9)),
    ),
    CatalogueEntry(
        "gpt2",
        "openai-community/gpt2",
        "",
        124_000_000,
        550_000_000,
        1_024,
        "MIT",
        ("prose",),
        "the classic base model: continues text, does not chat",
    ),
    CatalogueEntry(
        "gemma-3-270m",
        "ggml-org/gemma-3-270m-it-qat-GGUF",
        "gemma-3-270m-it-qat-Q4_0.gguf",
        268_000_000,
        241_410_624,
        32_768,
        "Gemma",
        ("chat",),
        "short answers, very fast",
    ),
    CatalogueEntry(
        "qwen3.5-0.8b",
        "unsloth/Qwen3.5-0.8B-GGUF",
        "Qwen3.5-0.8B-Q4_K_M.gguf",
        758_000_000,
        532_517_120,
        262_144,
        "Apache-2.0",
        ("chat", "languages"),
        "many languages in half a gigabyte",
    ),
    CatalogueEntry(
        "gemma-3-1b",
        "ggml-org/gemma-3-1b-it-qat-GGUF",
        "gemma-3-1b-it-qat-Q4_0.gguf",
        1_000_000_000,
        720_425_600,
        32_768,
        "Gemma",
        ("chat",),
        "friendly English, rewriting",
    ),
    CatalogueEntry(
        "lfm2.5-1.2b",
        "LiquidAI/LFM2.5-1.2B-Instruct-GGUF",
        "LFM2.5-1.2B-Instruct-Q4_K_M.gguf",
        1_170_000_000,
        730_895_168,
        32_768,
        "LFM 1.0",
        ("chat", "languages"),
        "the quickest of its size on a CPU",
    ),
    CatalogueEntry(
        "minicpm5-1b",
        "openbmb/MiniCPM5-1B-GGUF",
        "MiniCPM5-1B-Q4_K_M.gguf",
        1_080_000_000,
        688_065_920,
        131_072,
        "Apache-2.0",
        ("chat", "reasoning"),
        "able for a gigabyte of memory, can reason aloud",
    ),
    CatalogueEntry(
        "qwen3.5-2b",
        "unsloth/Qwen3.5-2B-GGUF",
        "Qwen3.5-2B-Q4_K_M.gguf",
        1_890_000_000,
        1_280_835_840,
        262_144,
        "Apache-2.0",
        ("chat", "reasoning", "languages"),
        "sound answers in many languages, can reason aloud",
    ),
    CatalogueEntry(
        "granite-4.1-3b",
        "ibm-granite/granite-4.1-3b-GGUF",
        "granite-4.1-3b-Q4_K_M.gguf",
        3_400_000_000,
        2_099_501_664,
        131_072,
        "Apache-2.0",
        ("chat", "languages"),
        "careful instructions and summaries",
    ),
    CatalogueEntry(
        "ministral-3-3b",
        "mistralai/Ministral-3-3B-Instruct-2512-GGUF",
        "Ministral-3-3B-Instruct-2512-Q4_K_M.gguf",
        3_430_000_000,
        2_147_023_008,
        262_144,
        "Apache-2.0",
        ("chat", "languages"),
        "fluent European languages, long context",
    ),
    CatalogueEntry(
        "gemma-4-e2b",
        "unsloth/gemma-4-E2B-it-GGUF",
        "gemma-4-E2B-it-Q4_K_M.gguf",
        5_120_000_000,
        3_106_736_256,
        131_072,
        "Apache-2.0",
        ("chat", "reasoning", "languages"),
        "fluent in many languages, can reason aloud",
    ),
    CatalogueEntry(
        "qwen3.5-4b",
        "unsloth/Qwen3.5-4B-GGUF",
        "Qwen3.5-4B-Q4_K_M.gguf",
        4_210_000_000,
        2_740_937_888,
        262_144,
        "Apache-2.0",
        ("chat", "reasoning", "languages"),
        "the most able of this list, can reason aloud",
    ),
    CatalogueEntry(
        "qwen2.5-coder-0.5b",
        "ggml-org/Qwen2.5-Coder-0.5B-Q8_0-GGUF",
        "qwen2.5-coder-0.5b-q8_0.gguf",
        494_000_000,
        531_068_128,
        32_768,
        "Apache-2.0",
        ("code",),
        "fills in code at the cursor, quickly; does not chat",
    ),
    CatalogueEntry(
        "qwen2.5-coder-1.5b",
        "ggml-org/Qwen2.5-Coder-1.5B-Q8_0-GGUF",
        "qwen2.5-coder-1.5b-q8_0.gguf",
        1_540_000_000,
        1_646_573_056,
        32_768,
        "Apache-2.0",
        ("code",),
        "fills in code at the cursor; does not chat",
    ),
    CatalogueEntry(
        "qwen3.5-2b-base",
        "mradermacher/Qwen3.5-2B-Base-i1-GGUF",
        "Qwen3.5-2B-Base.i1-Q4_K_M.gguf",
        1_890_000_000,
        1_274_397_056,
        262_144,
        "Apache-2.0",
        ("prose", "languages"),
        "continues any text as it is; does not chat",
    ),
)
"""Of the models that are good at the same, the better one comes later."""


def find(name: str) -> CatalogueEntry | None:
    """Return the entry with this name or Hub id, in upper or lower case."""
    wanted = name.lower()
    names = ((e, (e.name, e.hub_id.lower(), e.spec.lower())) for e in CATALOGUE)
    return next((entry for entry, known in names if wanted in known), None)


def best(use: Use, room: int) -> CatalogueEntry | None:
    """Return the best model for `use` that fits into `room` bytes, those of
    `memory.room`, or None."""
    fitting = [each for each in CATALOGUE if use in each.good_at and each.fits(room)]
    return fitting[-1] if fitting else None


def sampler_of(name: str) -> tuple[tuple[str, float], ...]:
    """Return the sampling settings on the card of the model with this name, if any."""
    entry = find(name)
    return entry.sampler if entry else ()


def smallest_infill() -> CatalogueEntry:
    return next(entry for entry in CATALOGUE if "code" in entry.good_at)


def closest(name: str) -> tuple[str, ...]:
    """Return names similar to `name`, the most similar first; maybe none."""
    names = [entry.name for entry in CATALOGUE]
    wanted = name.lower().rsplit("/", 1)[-1]
    return tuple(difflib.get_close_matches(wanted, names, n=3, cutoff=0.5))
