"""`lmtui inspect --chat`: a kept message by its own ids, or by its words."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lmtui import paths
from lmtui.chat.conversation import Conversation
from lmtui.chat.store import Store
from lmtui.chat.summary import ConversationMeta
from lmtui.cli.main import main
from lmtui.engine.engine import LocalEngine
from lmtui.engine.sampling_settings import SamplingSettings
from lmtui.engine.text.detokenizer import spans_of
from lmtui.engine.types import (
    GenerationResult,
    Step,
)
from lmtui.models.load import load
from tests.cli.program import run, run_in_terminal
from tests.models import tiny

DRAWN = SamplingSettings(seed=3, max_tokens=12, top_k=0, min_p=0)


@pytest.fixture(scope="module")
def llama(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny random model."""
    return tiny.save_llama(tmp_path_factory.mktemp("models") / "llama")


@pytest.fixture(scope="module")
def talk(llama: Path) -> Conversation:
    """A question and an answer of that model."""
    engine = LocalEngine(load(str(llama), device="cpu"))
    chat = Conversation("be brief")
    asked = chat.say("ça va? 日本語")
    begun = chat.reply(asked.id, model=engine.info.label, settings=DRAWN)
    prompt = engine.prompt(chat.messages(asked.id))
    chat.lay_out(begun.id, prompt)
    for step in engine.generate(prompt, DRAWN):
        if isinstance(step, Step):
            chat.grow(begun.id, [step])
        else:
            assert isinstance(step, GenerationResult)
            chat.finish(begun.id, step)
    return chat


@pytest.fixture
def kept(home: Path, talk: Conversation) -> Conversation:
    """It is in the store as conversation 1."""
    store = Store(paths.chats_file())
    store.add("a", talk, ConversationMeta("Greetings"))
    store.close()
    return talk


def inspected(
    capfd: pytest.CaptureFixture[str],
    llama: Path,
    *arguments: str,
    verb: str = "inspect",
) -> list[dict[str, Any]]:
    """The JSON lines of a run that goes well."""
    given = ["--model", str(llama), "--device", "cpu", "--json", *arguments]
    code = main([verb, *given])
    out, err = capfd.readouterr()
    assert code == 0, err
    return [json.loads(line) for line in out.splitlines()]


def test_chat_reply_is_scored_by_its_stored_ids(
    kept: Conversation, llama: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    reply = kept.leaf
    assert reply.content
    *tokens, summary = inspected(capfd, llama, "--chat", "1", "--message", "2")
    assert [token["id"] for token in tokens] == list(reply.ids)
    for token, step in zip(tokens, reply.steps, strict=True):
        assert token["logprob"] == pytest.approx(step.logprob, abs=1e-4)
    assert summary["file"] == "chat 1, message 2"
    assert summary["ids"] == "kept"
    assert reply.prompt is not None
    assert summary["before"] == len(reply.prompt.ids)
    assert summary["scored"] == summary["tokens"]
    assert inspected(capfd, llama, "--chat", "last")[-1] == summary


@pytest.mark.usefixtures("kept")
def test_turns_before_a_message_are_left_out_one_by_one(
    llama: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    asked = ("--chat", "1", "--message", "1", "1:8-1:9", "--by")
    *units, summary = inspected(capfd, llama, *asked, "turn", verb="why")
    assert [(u["message"], u["text"]) for u in units] == [
        (None, "ça va?"),
        (0, "be brief"),
    ]
    *words, again = inspected(capfd, llama, *asked, "word", verb="why")
    assert again["logprob"] == pytest.approx(summary["logprob"], abs=1e-5)
    said = ["be ", " brief", "ça ", " va?"]  # each with its space
    assert [word["text"] for word in words][::-1] == said


def test_message_without_ids_is_retokenised_in_its_context(
    kept: Conversation, llama: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    *tokens, summary = inspected(capfd, llama, "--chat", "1", "--message", "1")
    assert summary["ids"] == "retokenised"
    assert summary["before"] > 0
    text = "ça va? 日本語"
    said = b"".join(bytes.fromhex(token["bytes"]) for token in tokens)
    assert said.decode().endswith(text)
    assert tokens[-1]["end"] == len(text)
    engine = LocalEngine(load(str(llama), device="cpu"))
    trace = engine.score_draft(kept.messages(0), text, SamplingSettings())
    for token, told in zip(tokens, trace.tokens, strict=True):
        assert token["logprob"] == pytest.approx(told.logprob, abs=1e-4)


@pytest.mark.usefixtures("kept")
def test_reply_of_another_model_is_retokenised() -> None:
    done = run("inspect", "--chat", "1", "--json")
    assert done.code == 0
    assert done.events[-1]["ids"] == "retokenised"
    plain = run("inspect", "--chat", "1", "--plain").out
    assert "tokens, re-tokenised" in plain


@pytest.mark.usefixtures("kept")
def test_chat_message_on_a_terminal_opens_the_inspector() -> None:
    code, written = run_in_terminal(
        "inspect", "--chat", "1", size=(40, 120), typed=[(b"chat 1", b"\x11")]
    )
    assert code == 0
    assert b"\x1b[?1049h" in written


@pytest.mark.usefixtures("kept")
@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        (["--chat", "1", "--message", "3"], "there is no such message: 3"),
        (["--chat", "7"], "no such conversation"),
        (["--chat", "x"], "not a conversation number"),
        (["--chat", "1", "pyproject.toml"], "--chat and FILE exclude each other"),
        (["--message", "1", "pyproject.toml"], "--message needs a conversation"),
    ],
)
def test_bad_chat_and_message_arguments_are_refused(
    arguments: list[str], error: str
) -> None:
    done = run("inspect", *arguments, script={"missing": "it must not be asked for"})
    assert (done.code, done.out) == (2, "")
    assert error in done.err
    assert "\nhint: " in done.err


@given(st.text(max_size=12), st.lists(st.integers(1, 5), max_size=30))
def test_spans_of_covers_the_bytes_of_each_token(text: str, sizes: list[int]) -> None:
    text = text.encode(errors="replace").decode()
    data, tokens = text.encode(), []
    for size in [*sizes, len(data)]:
        tokens.append(data[:size])
        data = data[size:]
    tokens = [token for token in tokens if token]
    starts = [len(text[:i].encode()) for i in range(len(text) + 1)]
    place = 0
    for token, (start, end) in zip(tokens, spans_of(text, tokens), strict=True):
        assert starts[start] <= place < place + len(token) <= starts[end]
        assert starts[end - 1] < place + len(token)
        place += len(token)
    assert place == len(text.encode())


def test_spans_of_excludes_bytes_outside_the_text() -> None:
    tokens = [b"\nHi", b" ", b"du", b"<|im_end|>"]
    assert spans_of("Hi du", tokens) == ((0, 2), (2, 3), (3, 5), (5, 5))
