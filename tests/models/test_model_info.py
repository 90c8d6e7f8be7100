"""Facts about a model from its folder, whatever the files say."""

from __future__ import annotations

import json
from pathlib import Path

from lmtui.models.model_info import facts_in


def test_sampling_defaults_that_are_no_numbers_are_left_out(tmp_path: Path) -> None:
    said = {"temperature": "x", "top_p": 0.9, "top_k": None, "min_p": float("nan")}
    (tmp_path / "generation_config.json").write_text(json.dumps(said))
    config = {"architectures": ["LlamaForCausalLM"], "vocab_size": 8}
    facts = facts_in(tmp_path, config, "X", parameters=1)
    assert facts.generation_defaults == (("top_p", 0.9),)
