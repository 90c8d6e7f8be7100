"""Attention as it is compiled: the library's, over what is held in float16."""

from __future__ import annotations

import math
import shutil
from collections.abc import Sequence
from ctypes import CDLL
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import functional as F

from lmtui.engine.backends.llama_cpu.attention import Attention
from lmtui.engine.backends.llama_cpu.kv_cache import (
    KVAddress,
    KVAddresses,
    PreallocatedKVCache,
    Sizes,
)
from lmtui.kernels import build, compiler
from lmtui.kernels.gguf_matmul import UNLIMITED, Heads

pytestmark = pytest.mark.skipif(
    compiler.compiler_id() is None, reason="there is no C++ compiler"
)
FORMS = [(4, 4, 16), (9, 3, 64), (4, 1, 80), (8, 2, 128), (5, 1, 256), (4, 1, 512)]
"""H, KV and d."""
WIDER = 16  # numbers of a key in the cache that another layer has
WINDOWS = st.sampled_from([UNLIMITED, 1, 5, 64, 256, 300, 700])


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> CDLL:
    file = tmp_path_factory.mktemp("attention") / "kernels.so"
    build.compile_checked(file, [head_dim for _, _, head_dim in FORMS])
    return CDLL(str(file))


def heads_of(form: Sequence[int], window: int = UNLIMITED) -> Heads:
    return Heads(*form, gates=0, borrows=0, window=window)


@pytest.fixture(scope="module", params=FORMS, ids=str)
def form(request: pytest.FixtureRequest) -> tuple[int, int, int]:
    found: tuple[int, int, int] = request.param
    return found


@pytest.fixture(scope="module")
def attending(form: tuple[int, int, int], library: CDLL) -> Attention:
    made = Attention(library, [heads_of(form)])
    assert made.is_compiled
    made.require_right()
    return made


def test_widths_without_attention_are_known(library: CDLL) -> None:
    assert not Attention(library, [heads_of((4, 2, 48))]).is_compiled


@pytest.mark.parametrize("name", ["attention_decode.cpp", "attention_prefill.cpp"])
def test_attention_with_a_wrong_scale_fails_its_check(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    right = "1 / std::sqrt((float)HEAD)"
    sources = tmp_path / "sources"
    shutil.copytree(compiler._SOURCES, sources, ignore=shutil.ignore_patterns("*.py*"))
    text = (sources / name).read_text()
    assert right in text
    (sources / name).write_text(text.replace(right, "0.2f"))
    monkeypatch.setattr(compiler, "_SOURCES", sources)
    build.compile_checked(tmp_path / "kernels.so", [64])
    wrong = Attention(CDLL(str(tmp_path / "kernels.so")), [heads_of((9, 3, 64))])
    if name == "attention_prefill.cpp":
        require_many(wrong)
    with pytest.raises(ValueError, match="differs from the reference"):
        wrong.require_right()


def require_many(attending: Attention) -> None:
    """Skip a test where a prompt is attended to by the library."""
    if not attending.takes(1000, None, rounds=True):
        pytest.skip("this processor does not multiply bfloat16")


def naively(
    heads: Tensor,
    seen: Sequence[Tensor],
    mask: Tensor | None,
    form: Sequence[int],
    window: int = UNLIMITED,
) -> Tensor:
    """[n, t, H, d], of what is held, [n, 2·KV, s, d] or [1, 2·KV, s, d], in float64. A
    new token's position is the number of those before it that it sees."""
    rows, tokens, kv_heads = heads.shape[0], heads.shape[1], form[1]
    held = [part.expand(rows, -1, -1, -1) for part in seen]
    new = heads[:, :, form[0] :].transpose(1, 2).half()
    both = torch.cat([*held, new], 2).double()
    if mask is None:
        mask = torch.full((tokens, tokens), -math.inf).triu(1)
    held_count = both.shape[2] - tokens
    new_places = (mask == 0).sum(1) - 1
    places = torch.cat([torch.arange(-held_count, 0), new_places])
    mask = torch.cat([torch.zeros(tokens, held_count), mask], 1)
    mask[new_places[:, None] - places >= window] = -math.inf
    return F.scaled_dot_product_attention(
        heads[:, :, : form[0]].transpose(1, 2).double(),
        both[:, :kv_heads],
        both[:, kv_heads:],
        attn_mask=mask.double(),
        enable_gqa=True,
    ).transpose(1, 2)


def attended(
    attending: Attention,
    form: tuple[int, int, int],
    sizes: tuple[int, int, int, int],
    mask: Tensor | None = None,
    window: int = UNLIMITED,
) -> tuple[Tensor, Tensor]:
    """What attention gives for so many rows and tokens, after so many tokens that all
    rows share and so many of each row, and what it naively is; its keys are kept."""
    rows, tokens, shared, own = sizes
    heads = torch.randn(rows, tokens, form[0] + 2 * form[1], form[2])
    width = form[2] + WIDER
    far = torch.randn(1, 2 * form[1], shared + 7, width).half()
    near = torch.randn(rows, 2 * form[1], own + tokens + 2, width).half()
    held = [part[..., : form[2]] for part in (far[:, :, :shared], near[:, :, :own])]
    wanted = naively(heads, held, mask, form, window)
    places = KVAddresses(KVAddress.of(far[None], shared), KVAddress.of(near[None], own))
    found = attending.attend(heads_of(form, window), heads, places, 0, mask)
    new = heads[:, :, form[0] :].transpose(1, 2).half()
    assert torch.equal(near[:, :, own : own + tokens, : form[2]], new)
    return found.double(), wanted


@settings(max_examples=25)
@given(data=st.data())
def test_attention_of_few_tokens_equals_naive_attention(
    data: st.DataObject, attending: Attention, form: tuple[int, int, int]
) -> None:
    torch.manual_seed(data.draw(st.integers(0, 1000)))
    rows, tokens = data.draw(st.integers(1, 5)), data.draw(st.integers(1, 20))
    shared = data.draw(st.sampled_from([0, 1, 100, 255, 256, 700]))
    own = data.draw(st.sampled_from([0, 3, 250, 256, 513]))
    mask = None
    if data.draw(st.booleans()):
        mask = torch.randint(0, 2, (tokens, tokens)).float().fill_diagonal_(1).log()
    window = data.draw(WINDOWS)
    found, wanted = attended(attending, form, (rows, tokens, shared, own), mask, window)
    assert torch.allclose(found, wanted, atol=3e-5)


@settings(max_examples=20)
@given(data=st.data())
def test_attention_of_many_tokens_is_near_naive_attention(
    data: st.DataObject, attending: Attention, form: tuple[int, int, int]
) -> None:
    require_many(attending)
    torch.manual_seed(data.draw(st.integers(0, 1000)))
    rows, tokens = data.draw(st.integers(1, 3)), data.draw(st.integers(33, 140))
    shared = data.draw(st.sampled_from([0, 1, 63, 64, 200]))
    own = data.draw(st.sampled_from([0, 3, 64, 255]))
    window = data.draw(WINDOWS)
    found, wanted = attended(attending, form, (rows, tokens, shared, own), None, window)
    away = (found - wanted).abs()
    assert away.max() < 0.02  # of numbers about 1, rounded to 8 bits
    assert away.mean() < 0.002


def test_attention_of_many_tokens_is_causal(
    attending: Attention, form: tuple[int, int, int]
) -> None:
    require_many(attending)
    heads = torch.randn(1, 100, form[0] + 2 * form[1], form[2])

    def found(heads: Tensor) -> Tensor:
        held = PreallocatedKVCache(Sizes(1, form[1], form[2]))
        places = held.reserve_addresses(heads.shape[1])
        return attending.attend(heads_of(form), heads, places, 0, None)

    wanted = found(heads)
    for count in (33, 64, 65, 99):
        others = torch.randn_like(heads)
        others[:, :count] = heads[:, :count]
        assert torch.equal(found(others)[:, :count], wanted[:, :count])
        assert torch.equal(found(heads[:, :count].contiguous()), wanted[:, :count])


@pytest.mark.parametrize("tokens", [1, 40])
def test_large_attention_scores_stay_finite(
    tokens: int, attending: Attention, form: tuple[int, int, int]
) -> None:
    """Those of a head that looks at one token alone, and of one that cares for none."""
    every, head = form[0] + 2 * form[1], form[2]
    near = torch.randn(1, 2 * form[1], 400, head).half()
    places = KVAddresses(KVAddress(), KVAddress.of(near[None], 300))
    for size in (0.0, 100.0, 1000.0):
        heads = torch.randn(1, tokens, every, head)
        heads[:, :, : form[0]] *= size
        found = attending.attend(heads_of(form), heads, places, 0, None)
        assert torch.isfinite(found).all()
        if tokens == 1:  # of many, rounding chooses where two scores are near
            wanted = naively(heads, [near[:, :, :300]], None, form)
            assert torch.allclose(found.double(), wanted, rtol=1e-4, atol=1e-3)


@pytest.mark.parametrize("window", [UNLIMITED, 270])
def test_attention_is_the_same_for_any_split_and_thread_count(
    window: int, attending: Attention, form: tuple[int, int, int]
) -> None:
    sizes = Sizes(2, form[1], form[2])
    heads = torch.randn(1, 600, form[0] + 2 * form[1], form[2])

    def found(step: int, threads: int) -> Tensor:
        held, all_found = PreallocatedKVCache(sizes), []
        torch.set_num_threads(threads)
        for part in heads.split(step, 1):
            places = held.reserve_addresses(part.shape[1])
            seen = heads_of(form, window)
            all_found.append(attending.attend(seen, part.contiguous(), places, 1, None))
            held.commit(part.shape[1])
        return torch.cat(all_found, 1)

    threads = torch.get_num_threads()
    try:
        wanted = found(1, 1)
        for step, count in ((1, 2), (3, 1), (7, 2), (24, 2)):
            assert torch.equal(found(step, count), wanted)
    finally:
        torch.set_num_threads(threads)


def test_kv_cache_keeps_its_states_when_it_becomes_float16() -> None:
    held = PreallocatedKVCache(Sizes(2, 1, 16))
    new = torch.randn(2, 1, 2, 5, 16)
    for layer, opened in enumerate([held.reserve(5, torch.float32)] * 2):
        opened.write(layer, new[layer])
    held.commit(5)
    rows = held.fork(3, 4)
    places = rows.reserve_addresses(1)
    assert (places.shared.count, places.own.count) == (4, 0)
    assert torch.equal(held._data[:, :, :, :5], new.half())
    assert places.shared.address == held._data.data_ptr()
