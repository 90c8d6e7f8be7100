"""The configuration of a Llama-shaped GGUF file is what transformers reads."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import pytest
from transformers import AutoConfig

from lmtui.models.gguf.config import amend_config
from lmtui.models.gguf.config_check import read_gguf_model
from lmtui.models.gguf.families import gguf_config
from lmtui.models.llama.weights import unsupported_reason
from tests.models import tiny


def nothing(writer: gguf.GGUFWriter) -> None:
    pass


def linear(writer: gguf.GGUFWriter) -> None:
    writer.add_rope_scaling_type(gguf.RopeScalingType.LINEAR)
    writer.add_rope_scaling_factor(4.0)


def yarn(writer: gguf.GGUFWriter) -> None:
    writer.add_rope_scaling_type(gguf.RopeScalingType.YARN)
    writer.add_rope_scaling_factor(4.0)
    writer.add_rope_scaling_orig_ctx_len(32)


def window(writer: gguf.GGUFWriter) -> None:
    writer.add_sliding_window(16)


def own_head(writer: gguf.GGUFWriter) -> None:
    writer.add_tensor("output.weight", np.zeros((80, 64), np.float32))
    writer.add_eos_token_id(7)


def wide_heads(writer: gguf.GGUFWriter) -> None:
    writer.add_key_length(32)
    writer.add_rope_dimension_count(32)


def header(folder: Path, kind: str, change: Callable[[gguf.GGUFWriter], None]) -> Any:
    writer = gguf.GGUFWriter(folder / "it.gguf", kind)
    writer.add_context_length(64)
    writer.add_embedding_length(64)
    writer.add_block_count(1)
    writer.add_feed_forward_length(80)
    writer.add_head_count(4)
    writer.add_head_count_kv(2)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_rope_freq_base(5000.0)
    writer.add_token_list([f"<{index}>" for index in range(80)])
    writer.add_tensor("token_embd.weight", np.zeros((80, 64), np.float32))
    rows = 128 if change is wide_heads else 64
    writer.add_tensor("blk.0.attn_q.weight", np.zeros((rows, 64), np.float32))
    change(writer)
    tiny.finish(writer)
    return read_gguf_model(folder / "it.gguf")


@pytest.mark.parametrize(
    "change", [nothing, linear, yarn, window, own_head, wide_heads]
)
@pytest.mark.parametrize("kind", ["llama", "qwen2", "qwen3"])
def test_configuration_is_that_of_transformers(
    kind: str, change: Callable[[gguf.GGUFWriter], None], tmp_path: Path
) -> None:
    read = header(tmp_path, kind, change)
    found = gguf_config(read)
    library = AutoConfig.from_pretrained(tmp_path, gguf_file=read.path.name)
    amend_config(library, read)
    wanted = library.to_dict()
    # What a file does not say is the default of a class there, and None here.
    said = {k: v for k, v in found.items() if v is not None and k != "layer_types"}
    if change is wide_heads and kind != "llama":  # which transformers overlooks
        assert said.pop("head_dim") == 32
    assert {name: wanted.get(name) for name in said} == said
    assert unsupported_reason(found) == unsupported_reason(wanted)


def test_missing_number_is_an_error(tmp_path: Path) -> None:
    read = header(tmp_path, "llama", nothing)
    del read.values["llama.context_length"]
    with pytest.raises(KeyError, match="context_length"):
        gguf_config(read)
