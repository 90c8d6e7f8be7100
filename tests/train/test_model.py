"""Which weights change, and what a model that begins at random weights is like."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import GPT2Config, LlamaConfig, Qwen3Config

from lmtui.errors import LmtuiError
from lmtui.models import hardware
from lmtui.train import model as model_module
from lmtui.train.model import (
    activation_bytes,
    computes_in_half,
    fit_memory,
    open_model,
    random_model,
    resized,
    training_bytes,
)
from lmtui.train.request import TrainRequest
from lmtui.train.settings import TrainSettings
from lmtui.train.trainer import Schedule, Sequences, add_gradient
from tests.engine import tiny
from tests.models import tiny as stored
from tests.train.test_trainer import steps_of
from tests.train.tiny_training import LENGTH, blocks, copied, same, trainable

CPU = torch.device("cpu")


@pytest.mark.parametrize("family", tiny.FAMILIES)
def test_new_adapter_leaves_the_logits_unchanged(family: str) -> None:
    subject = trainable(family)
    assert all(".lora_" in name for name in subject.weights)
    assert 0 < subject.trainable < subject.parameters
    ids = torch.tensor([[5, 6, 7, 8]])
    expected = tiny.model(family)(ids).logits
    torch.testing.assert_close(
        subject.loaded.model(ids).logits, expected, rtol=1e-4, atol=1e-4
    )


def test_full_training_trains_every_weight() -> None:
    subject = trainable(method="full")
    assert subject.trainable == subject.parameters
    assert subject.module is subject.loaded.model


def test_first_weights_follow_from_the_seed() -> None:
    for method in ("lora", "scratch"):
        one, other = (copied(trainable(method=method, seed=s)) for s in (1, 1))
        assert same(one, other)
        assert not same(one, copied(trainable(method=method, seed=2)))


def test_dropout_is_off_in_training() -> None:
    model = trainable("gpt2").module.train()
    ids = torch.tensor([[5, 6, 7, 8]])
    assert torch.equal(model(ids).logits, model(ids).logits)


@pytest.mark.parametrize("family", ["llama", "gpt2"])
def test_random_model_starts_at_the_loss_of_uniform_guessing(family: str) -> None:
    subject = trainable(family, method="scratch", layers=2)
    (sequence,) = Sequences(blocks(1), Schedule(1, TrainSettings())).of_step(1)
    first = add_gradient(subject, sequence)
    subject.module.zero_grad()
    vocabulary = subject.loaded.model.config.vocab_size
    assert first == pytest.approx(math.log(vocabulary), rel=0.05)
    settings = TrainSettings(batch=2, epochs=10, lr=1e-2)
    schedule = Schedule(4, settings)
    told = steps_of(subject, blocks(4), schedule=schedule)
    assert told[-1].loss < 0.9 * told[0].loss


def test_random_model_of_real_width_starts_at_uniform_loss() -> None:
    config = LlamaConfig(
        vocab_size=49_152,
        hidden_size=576,
        intermediate_size=64,
        num_attention_heads=9,
        num_key_value_heads=3,
        num_hidden_layers=1,
        tie_word_embeddings=True,
        initializer_range=0.04,
    )
    model = random_model(config, TrainSettings())
    ids = torch.arange(3, 49_000, 700).unsqueeze(0)
    with torch.no_grad():
        loss = float(model(input_ids=ids, labels=ids).loss)
    assert loss == pytest.approx(math.log(49_152), rel=0.05)


def test_resized_config_follows_the_width() -> None:
    config = LlamaConfig(
        hidden_size=96,
        intermediate_size=256,
        num_attention_heads=6,
        num_key_value_heads=2,
        num_hidden_layers=2,
        vocab_size=300,
    )
    made = resized(config, layers=3, width=64)
    assert (made.num_hidden_layers, made.hidden_size) == (3, 64)
    assert (made.num_attention_heads, made.num_key_value_heads) == (4, 1)
    assert made.intermediate_size == 171
    with pytest.raises(LmtuiError) as caught:
        resized(config, layers=None, width=50)
    assert caught.value.hint == "Give --width 48."


def test_resized_knows_gpt2_names_and_layer_types() -> None:
    made = resized(GPT2Config(n_embd=64, n_head=4, n_layer=2), layers=1, width=32)
    assert (made.n_layer, made.n_embd, made.n_head) == (1, 32, 2)
    kinds = ["full_attention", "sliding_attention"]
    made = resized(
        Qwen3Config(num_hidden_layers=2, layer_types=kinds), layers=5, width=None
    )
    assert made.layer_types == (kinds * 3)[:5]


@pytest.mark.parametrize(
    ("dtype", "fast", "half"),
    [
        ("auto", True, True),
        ("auto", False, False),
        ("float32", True, False),
        ("bfloat16", False, True),
    ],
)
def test_computes_in_half_follows_dtype_and_device(
    dtype: str, fast: bool, half: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hardware, "fast_at_bfloat16", lambda _: fast)
    assert computes_in_half(dtype, CPU) == half


def test_memory_estimates_grow_with_length_and_trained_weights() -> None:
    plain, whole = trainable(), trainable(method="full")
    assert activation_bytes(plain, 64) > 1.9 * activation_bytes(plain, 32)
    assert training_bytes(plain, 512) > training_bytes(plain, 64)
    assert training_bytes(whole, 64) > 12 * whole.parameters
    assert all(weight.grad is None for weight in plain.weights.values())


def test_activation_memory_is_saved_where_memory_is_short(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    subject = trainable()
    kept = activation_bytes(subject, LENGTH)
    assert fit_memory(subject, 64)[1] == 0
    assert activation_bytes(subject, LENGTH) == kept
    monkeypatch.setattr(hardware, "available_memory", lambda _: 1_000)
    need, missing = fit_memory(subject, 64)
    assert need > missing > 0
    assert activation_bytes(subject, LENGTH) < kept / 2


def test_open_model_loads_the_requested_base(tmp_path: Path, home: Path) -> None:
    folder = stored.save_llama(tmp_path / "base")
    file = stored.write_gguf(folder, tmp_path / "base.gguf", "Q8_0")
    for base, dtype in ((folder, "float32"), (file, "bfloat16")):
        settings = TrainSettings(rank=2, dtype=dtype)
        request = TrainRequest("n", (), base=str(base), settings=settings, device="cpu")
        subject = open_model(request)
        assert subject.base.name == base.name
        assert len(subject.base.sha256) == 1
        assert subject.dtype == dtype
        assert subject.engine().info.precision == "exact"
        weights = subject.module.parameters()  # those of a GGUF are dequantised
        assert {weight.dtype for weight in weights} == {torch.float32}


def test_a_model_without_linear_layers_is_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def refuse(*_: Any) -> Any:
        raise ValueError("no target modules")

    monkeypatch.setattr(model_module, "get_peft_model", refuse)
    with pytest.raises(LmtuiError) as caught:
        trainable()
    assert caught.value.hint == "Train all its weights: --full."
