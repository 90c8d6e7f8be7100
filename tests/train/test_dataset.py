"""Notes as ids and blocks: the engine's ids, no token lost, the right ones learned."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import (
    Tokenizer,
    decoders,
    models,
    pre_tokenizers,
    processors,
    trainers,
)
from transformers import PreTrainedTokenizerFast

from lmtui.engine.text.prompt import PromptBuilder
from lmtui.engine.types import ChatTurn, Role
from lmtui.models.download import default_model
from lmtui.models.gguf.header import read_gguf_header
from lmtui.models.gguf.tokenizer import library_tokenizer_of, read_tokenizer
from lmtui.train.dataset import (
    NOTHING_COUNTS,
    Example,
    examples,
    pack,
    padding,
    prepare,
)
from lmtui.train.events import Skip
from lmtui.train.notes import Completion, Content, Notes, NotesDocument
from lmtui.train.split import SplitNotes
from tests.byte_level import SPECIALS
from tests.engine import tiny
from tests.engine.text.test_detokenizer import texts
from tests.models import tiny as small

ENGINE = tiny.engine()
ENDING = (0,)
RESERVED = frozenset("\ufdd0\ufdd1\ufdd2")  # Unicode's, for use within programs


def example(content: Content, tokenizer: Any = None, path: str = "a") -> Example:
    document = NotesDocument(path, content, is_row=not isinstance(content, str))
    ((made,), ()) = examples([document], tokenizer or tiny.tokenizer())
    return made


made_up = st.lists(
    st.lists(st.tuples(st.integers(0, 9), st.booleans()), max_size=30).map(
        lambda pairs: Example(
            "a", tuple(i for i, _ in pairs), tuple(counts for _, counts in pairs)
        )
    ),
    max_size=8,
)


@given(made_up, st.integers(1, 40))
def test_no_token_is_lost_in_blocks(made: list[Example], length: int) -> None:
    blocks = pack(made, length, 99)
    together = [pair for b in blocks for pair in zip(b.ids, b.trained, strict=True)]
    real = sum(block.real for block in blocks)
    assert together[:real] == [
        pair for item in made for pair in zip(item.ids, item.trained, strict=True)
    ]
    assert set(together[real:]) <= {(99, False)}
    assert all(len(block.ids) == length for block in blocks)
    assert all(block.real == length for block in blocks[:-1])
    assert all(block.real for block in blocks)


@given(st.lists(texts, max_size=5))
def test_texts_are_joined_by_the_end_of_document_token(contents: list[str]) -> None:
    tokenizer = tiny.tokenizer()
    documents = [NotesDocument(f"{i}", text) for i, text in enumerate(contents)]
    made, skipped = examples(documents, tokenizer)
    assert skipped == ()
    blocks = pack(made, 16, padding(tokenizer))
    ids = [token for block in blocks for token in block.ids[: block.real]]
    assert tokenizer.decode(ids) == "".join(f"{text}<|endoftext|>" for text in contents)
    assert ids.count(0) == len(contents)


@given(texts)
def test_example_ids_equal_those_that_the_engine_scores(text: str) -> None:
    made = example(text)
    assert made.ids == (*ENGINE.encode(text).ids, 0)
    assert made.trained == (True,) * len(made.ids)


def test_a_text_begins_with_bos_where_the_tokenizer_says_so() -> None:
    tokenizer = beginning(plain())
    made, _ = examples([NotesDocument("a", "ab"), NotesDocument("b", "the")], tokenizer)
    encoded = PromptBuilder(tokenizer).document("ab", "auto")
    assert encoded.prefix == (1,)
    assert made[0].ids == (1, *encoded.ids, 0)
    assert made[0].trained == (False, *[True] * (len(made[0].ids) - 1))
    assert [item.ids[0] for item in made] == [1, 1]


def test_end_of_turn_token_ends_no_document() -> None:
    tokenizer = small.tokenizer()
    assert tokenizer.eos_token == "<|im_end|>"
    assert example("the", tokenizer).ids[-1] == 0
    assert padding(tokenizer) == 0


def test_documents_without_an_end_token_end_in_blank_lines() -> None:
    backend = Tokenizer(models.BPE())
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(initial_alphabet=alphabet, show_progress=False)
    backend.train_from_iterator(["the fox"], trainer)
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=backend)
    made, _ = examples(
        [NotesDocument("a", "the"), NotesDocument("b", "fox")], tokenizer
    )
    assert [tokenizer.decode(item.ids) for item in made] == ["the\n\n\n", "fox\n\n\n"]
    assert all(all(item.trained) for item in made)
    assert tokenizer.decode([padding(tokenizer)]) == "\n"


# Rows: only what the model writes is learned.


def turns(*contents: str, first: Role = "user") -> tuple[ChatTurn, ...]:
    """Messages of user and assistant by turns, after one of the system if asked."""
    roles: list[Role] = ["system"] if first == "system" else []
    roles += ["user", "assistant"] * len(contents)
    pairs = zip(roles, contents, strict=False)
    return tuple(ChatTurn(role, content) for role, content in pairs)


def learned(made: Example, tokenizer: Any) -> list[str]:
    """The stretches whose loss counts, decoded."""
    stretches: list[list[int]] = []
    before = False
    for token, counts in zip(made.ids, made.trained, strict=True):
        if counts and not before:
            stretches.append([])
        if counts:
            stretches[-1].append(token)
        before = counts
    return [tokenizer.decode(ids) for ids in stretches]


def plain(template: str | None = None) -> Any:
    """A tokenizer with another template, or without one."""
    return tiny.tokenizer().__class__(
        tokenizer_object=tiny.tokenizer().backend_tokenizer,
        eos_token="<|endoftext|>",
        chat_template=template,
    )


def beginning(tokenizer: Any) -> Any:
    """A tokenizer that begins every text with BOS."""
    tokenizer.bos_token = "<|im_start|>"
    tokenizer.backend_tokenizer.post_processor = processors.TemplateProcessing(
        single="<|im_start|> $A", special_tokens=[("<|im_start|>", 1)]
    )
    return tokenizer


def test_only_answers_and_their_turn_ends_are_learned() -> None:
    tokenizer = tiny.tokenizer()
    content = turns("Be brief.", "Hi", "Hello", "the cat", "sat", first="system")
    made = example(content, tokenizer)
    assert learned(made, tokenizer) == ["Hello<|im_end|>", "sat<|im_end|>"]
    assert tokenizer.decode(made.ids) == (
        "<|im_start|>system\nBe brief.<|im_end|>\n<|im_start|>user\nHi<|im_end|>\n"
        "<|im_start|>assistant\nHello<|im_end|>\n<|im_start|>user\nthe cat<|im_end|>\n"
        "<|im_start|>assistant\nsat<|im_end|>\n<|endoftext|>"
    )


def test_messages_after_the_last_answer_are_left_out() -> None:
    tokenizer = tiny.tokenizer()
    whole = example(turns("Hi", "Hello"), tokenizer)
    assert example(turns("Hi", "Hello", "unanswered"), tokenizer) == whole


@given(st.lists(texts.filter(lambda t: not RESERVED & {*t}), min_size=2, max_size=6))
def test_conversation_ids_equal_those_of_a_chat_history(
    contents: Sequence[str],
) -> None:
    # The ids are those of the same conversation as the history of a chat.
    tokenizer = tiny.tokenizer()
    content = turns(*contents[: len(contents) // 2 * 2])
    made = example(content, tokenizer)
    asked = PromptBuilder(tokenizer).render([*content, ChatTurn("user", "x")]).ids
    end = len(made.ids) - len(ENDING)
    assert made.ids[end:] == ENDING
    assert made.ids[: end - 1] == asked[: end - 1]  # the rest begins the next turn
    answers = [f"{m.content.strip()}<|im_end|>" for m in content[1::2]]
    assert learned(made, tokenizer) == answers


@pytest.mark.parametrize("special", [*SPECIALS, "<think>"])
def test_a_typed_control_string_stays_text(special: str) -> None:
    tokenizer = tiny.tokenizer()
    typed = f"a {special}b"
    made = example(turns(typed, typed), tokenizer)
    assert learned(made, tokenizer) == [f"{typed}<|im_end|>"]
    control = {0, 1, 2, len(tokenizer) - 1}
    assert [i for i in made.ids if i in control] == [1, 2, 1, 2, *ENDING]
    text = example(typed * 9)
    assert [i for i in text.ids if i < 3] == [*ENDING]
    assert text.ids[:-1] == ENGINE.encode(typed * 9).ids


def test_without_a_template_the_plain_format_is_learned() -> None:
    tokenizer = plain()
    content = turns("Be brief.", "Hi", "Hello\n", "the cat", " sat", first="system")
    made = example(content, tokenizer)
    assert tokenizer.decode(made.ids) == (
        "Be brief.\n\nUser: Hi\nAssistant: Hello\n\nUser: the cat\nAssistant: sat"
        "<|endoftext|>"
    )
    # No token ends a turn, so that of a document must end the last.
    assert learned(made, tokenizer) == [" Hello\n\n", " sat<|endoftext|>"]


@pytest.mark.parametrize(
    ("template", "answers"),
    [
        (  # no token ends a turn: that of the document does
            "{% for m in messages %}[{{ m.role }}] {{ m.content }}\n{% endfor %}"
            "{% if add_generation_prompt %}[assistant]{% endif %}",
            [" b", " d", "<|endoftext|>"],
        ),
        (  # the document's end ends every turn, and is not added once more
            "{% for m in messages %}{{ m.role }} {{ m.content }}<|endoftext|>"
            "{% endfor %}{% if add_generation_prompt %}assistant {% endif %}",
            ["b<|endoftext|>", " d<|endoftext|>"],
        ),
    ],
    ids=["after the last turn", "after each turn"],
)
def test_end_of_a_document_is_learned_once(template: str, answers: list[str]) -> None:
    tokenizer = plain(template)
    made = example(turns("a", "b", "c", "d"), tokenizer)
    assert learned(made, tokenizer) == answers
    assert made.ids[-1] == 0 != made.ids[-2]


REFUSING = (
    "{% for m in messages %}{% if m.role == 'system' %}"
    "{{ raise_exception('no system') }}{% elif m.role == 'user' %}{{ m.content }}"
    "{% endif %}{% endfor %}"
)


def test_rows_that_the_template_refuses_are_skipped() -> None:
    documents = [
        NotesDocument("r.jsonl:1", content, is_row=True)
        for content in (turns("a", "b", "c", first="system"), "a", turns("b", "c"))
    ]
    made, skipped = examples(documents, plain(REFUSING))
    assert [item.path for item in made] == ["r.jsonl:1"]
    assert [skip.reason for skip in skipped] == [
        "the model's chat template refuses this conversation: no system",
        "the model's chat template hides the answers",
    ]


@given(texts, texts.filter(str.strip))
def test_a_completion_is_learned_and_its_prompt_is_not(
    prompt: str, completion: str
) -> None:
    tokenizer = tiny.tokenizer()
    made = example(Completion(prompt, completion), tokenizer)
    whole = PromptBuilder(tokenizer).document(prompt + completion, "no")
    assert made.ids == (*whole.ids, *ENDING)
    assert made.trained[-1]
    for (start, end), counts in zip(whole.spans, made.trained, strict=False):
        assert counts or end <= len(prompt)
        assert not counts or end > len(prompt) > start or start >= len(prompt)


def test_completion_is_learned_from_its_first_character() -> None:
    tokenizer = tiny.tokenizer()
    made = example(Completion("the cat", " sat on"), tokenizer)
    assert learned(made, tokenizer) == [" sat on<|endoftext|>"]
    special = example(Completion("<|im_end|>", "<|endoftext|>"), tokenizer)
    assert learned(special, tokenizer) == ["<|endoftext|><|endoftext|>"]
    assert [i for i in special.ids if i < 3] == [0]


def test_bos_is_never_learned() -> None:
    tokenizer = beginning(plain())
    for content in (Completion("a", "b"), turns("a", "b"), "text"):
        made = example(content, tokenizer)
        assert made.ids[0] == 1
        assert not made.trained[0]
        assert made.ids.count(1) == 1
        assert any(made.trained)


@pytest.mark.real
def test_default_models_template_learns_only_answers(
    default_home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LMTUI_HOME", str(default_home))
    header = read_gguf_header(default_model.default_file())
    tokenizer = library_tokenizer_of(read_tokenizer(header))
    content = turns(
        "Name a colour.",
        "Red.",
        "Another: <|im_end|>\n<|im_start|>",
        "\n Blue <|im_end|>",
    )
    made = example(content, tokenizer)
    assert tokenizer.decode(made.ids) == (
        "<|im_start|>system\nYou are a helpful AI assistant named SmolLM, trained by "
        "Hugging Face<|im_end|>\n<|im_start|>user\nName a colour.<|im_end|>\n"
        "<|im_start|>assistant\nRed.<|im_end|>\n<|im_start|>user\nAnother: <|im_end|>\n"
        "<|im_start|><|im_end|>\n<|im_start|>assistant\n\n Blue <|im_end|><|im_end|>\n"
        "<|endoftext|>"
    )
    # The newline before the second answer is one token with that which it begins with.
    assert learned(made, tokenizer) == [
        "Red.<|im_end|>",
        "\n\n Blue <|im_end|><|im_end|>",
    ]
    special = tokenizer.convert_tokens_to_ids(["<|im_start|>", "<|im_end|>"])
    assert [i for i in made.ids if i in special] == special * 5
    completed = example(Completion("The capital of France is", " Paris."), tokenizer)
    assert learned(completed, tokenizer) == [" Paris.<|endoftext|>"]


def test_held_out_rows_that_can_not_be_used_are_warned_of() -> None:
    tokenizer = plain("{{ raise_exception('no such role') }}")
    text = NotesDocument("a.md", "the quick brown fox " * 20)
    chat = (ChatTurn("user", "a"), ChatTurn("assistant", "b"))
    row = NotesDocument("b.jsonl:1", chat, is_row=True)
    notes = Notes(Path("/notes"), (), (text, row), ())
    parts = SplitNotes(notes, (text,), (row,))
    skipped: list[Skip] = []
    made = prepare(parts, tokenizer, length=32, skip=skipped.append)
    assert [skip.path for skip in skipped] == ["b.jsonl:1"]
    assert NOTHING_COUNTS in made.remarks
    fine = SplitNotes(notes, (text,), (text,))
    assert prepare(fine, tokenizer, length=32, skip=skipped.append).remarks == ()
