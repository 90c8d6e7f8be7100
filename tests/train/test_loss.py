"""The loss in blocks is the plain loss, and so are its gradients."""

from __future__ import annotations

from copy import deepcopy
from typing import Any

import pytest
import torch
from torch.nn import functional
from transformers import AutoModelForCausalLM, Gemma2Config, GraniteConfig

from lmtui.train import loss as losses
from lmtui.train.loss import IGNORED, SummedLoss, plain_head
from tests.engine import tiny

IDS = torch.tensor([[3 + (7 * i * i + i) % 200 for i in range(97)]])
SMALL: dict[str, Any] = {
    "vocab_size": 300,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 8,
    "initializer_range": 0.5,
}


def made(config: Any) -> Any:
    torch.manual_seed(3)
    return AutoModelForCausalLM.from_config(config, dtype=torch.float32)


def family(name: str) -> Any:
    match name:
        case "gemma2":  # soft-capped logits
            return made(Gemma2Config(**SMALL, final_logit_softcapping=5.0))
        case "granite":  # scaled logits
            return made(GraniteConfig(**SMALL, logits_scaling=4.0))
        case _:
            return deepcopy(tiny.model(name))


def targets_of(ids: torch.Tensor, *, every: int = 1) -> torch.Tensor:
    targets = torch.full_like(ids, IGNORED)
    targets[:, :-1] = ids[:, 1:]
    targets[:, torch.arange(ids.shape[1]) % every != 0] = IGNORED
    return targets


def plain_loss(model: Any, ids: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    logits = model(input_ids=ids, use_cache=False).logits.float()
    return functional.cross_entropy(
        logits.flatten(0, 1), targets.flatten(), ignore_index=IGNORED, reduction="sum"
    )


@pytest.fixture(autouse=True)
def few_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    """So that a text of a hundred tokens takes several blocks."""
    monkeypatch.setattr(losses, "_BLOCK_BYTES", 1)


@pytest.mark.parametrize(
    ("name", "every"),
    [*((family, 1) for family in tiny.FAMILIES), ("llama", 5), ("gemma2", 5),
     ("granite", 1)],
)  # fmt: skip
def test_summed_loss_and_gradients_equal_the_plain_loss(name: str, every: int) -> None:
    model, ids = family(name), IDS.reshape(1, -1)
    targets = targets_of(ids, every=every)
    count = int((targets != IGNORED).sum())
    expected = plain_loss(model, ids, targets) / count
    expected.backward()
    wanted = {n: p.grad for n, p in model.named_parameters()}
    model.zero_grad()
    found = SummedLoss(model)(ids, targets) / count
    found.backward()
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5)
    for key, weight in model.named_parameters():
        torch.testing.assert_close(weight.grad, wanted[key], rtol=1e-4, atol=1e-5)


def test_frozen_heads_pass_the_gradient_on() -> None:
    model, targets = family("llama"), targets_of(IDS)
    for weight in model.get_output_embeddings().parameters():
        weight.requires_grad_(False)
    plain_loss(model, IDS, targets).backward()
    wanted = {n: p.grad for n, p in model.named_parameters()}
    model.zero_grad()
    SummedLoss(model)(IDS, targets).backward()
    for key, weight in model.named_parameters():
        if weight.requires_grad:
            torch.testing.assert_close(weight.grad, wanted[key], rtol=1e-4, atol=1e-3)
        else:
            assert weight.grad is None


@pytest.mark.parametrize("name", ["llama", "gemma2"])
def test_summed_loss_under_no_grad_has_no_gradient(name: str) -> None:
    model, targets = family(name), targets_of(IDS)
    with torch.no_grad():
        found = SummedLoss(model)(IDS, targets)
    torch.testing.assert_close(found, plain_loss(model, IDS, targets).detach())
    assert not found.requires_grad


def test_loss_of_a_batch_is_the_sum_of_its_rows() -> None:
    loss = SummedLoss(family("llama"))
    ids = torch.stack([IDS[0], IDS[0].flip(0)])
    both = loss(ids, targets_of(ids))
    apart = sum(loss(row[None], targets_of(row[None])) for row in ids)
    torch.testing.assert_close(both, apart)


def test_loss_of_a_block_without_targets_is_zero() -> None:
    model = family("llama")
    found = SummedLoss(model)(IDS, torch.full_like(IDS, IGNORED))
    found.backward()
    assert float(found) == 0


def test_only_a_plain_product_is_taken_for_one() -> None:
    biased = family("llama")
    biased.lm_head.bias = torch.nn.Parameter(torch.zeros(biased.lm_head.out_features))
    for model in (family("gemma2"), family("granite"), biased):
        assert plain_head(model) is None
    assert plain_head(family("llama")) is not None


def test_logits_of_a_plain_product_are_never_all_in_memory(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    sizes = []
    real = torch.Tensor.exp_

    def watched(logits: torch.Tensor) -> torch.Tensor:
        sizes.append(logits.shape[0])
        return real(logits)

    monkeypatch.setattr(torch.Tensor, "exp_", watched)
    SummedLoss(family("llama"))(IDS, targets_of(IDS)).backward()
    assert max(sizes) == 16 and len(sizes) > 1
