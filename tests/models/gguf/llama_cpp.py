"""llama.cpp as an oracle: its vocabularies, and its tokens of any text."""

from __future__ import annotations

import json
import subprocess
import tempfile
from collections.abc import Iterable
from pathlib import Path

SCRIPTS = Path(__file__).parents[3] / "scripts"
SEPARATOR = "\n__ggml_vocab_test__\n"


def vocabularies(folder: Path) -> list[Path]:
    """The vocabularies of causal models in what `scripts/llama_cpp` fetches."""
    files = sorted((folder / "source/models").glob("ggml-vocab-*.gguf"))
    return [file for file in files if "bert-bge" not in file.name]


def fixtures(vocabulary: Path) -> list[tuple[str, list[int]]]:
    """llama.cpp's own test texts of a vocabulary and their ids; some have none."""
    texts = Path(f"{vocabulary}.inp")
    if not texts.exists():
        return []
    lines = Path(f"{vocabulary}.out").read_text().split("\n")
    read = texts.read_text("utf-8").split(SEPARATOR)
    return [
        (text, [*map(int, line.split())])
        for text, line in zip(read, lines, strict=False)
    ]


def oracle(
    folder: Path, vocabulary: Path, texts: Iterable[tuple[str, bool]]
) -> list[list[int]]:
    """llama.cpp's ids of texts, each with whether control tokens in it are tokens."""
    with tempfile.TemporaryFile("w+") as asked:
        asked.writelines(f"{json.dumps(each)}\n" for each in texts)
        asked.seek(0)
        done = subprocess.run(
            [folder / "bin/python", SCRIPTS / "llama_cpp_tokens.py", vocabulary],
            stdin=asked,
            stdout=subprocess.PIPE,
            text=True,
            check=True,
        )
    return [json.loads(line) for line in done.stdout.splitlines()]
