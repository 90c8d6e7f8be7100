"""`chat --resume`: with which model a kept conversation goes on, and thinking."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from lmtui import paths
from lmtui.chat.conversation import Conversation
from lmtui.chat.store import Store
from lmtui.engine.sampling_settings import SamplingSettings
from tests.cli.program import Result, run

pytestmark = pytest.mark.usefixtures("home")
MODELS = {
    "mine": {"name": "mine", "answers": ["by mine"]},
    "other": {"name": "other", "answers": ["by other"]},
}
SCRIPT: Mapping[str, Any] = {"engine": {"answers": ["by default"]}, "models": MODELS}


def keep(model: str | None) -> None:
    """A conversation that was had with a model, or with none yet."""
    chat = Conversation()
    asked = chat.say("question")
    if model is not None:
        reply = chat.reply(asked.id, model=model, settings=SamplingSettings())
        chat.break_off(reply.id, "stopped")
    store = Store(paths.chats_file())
    store.save({"a": chat.take_changes()})
    store.close()


def resumed(*flags: str, env: Mapping[str, str] | None = None, **script: Any) -> Result:
    given = {**SCRIPT, **script}
    return run(
        "chat", "--resume", "last", "--once", "more", *flags, script=given, env=env
    )


def test_resume_uses_the_model_of_the_conversation() -> None:
    keep("mine")
    assert resumed().out == "by mine\n"
    # Also where another one was set once and for all.
    assert resumed(env={"LMTUI_MODEL": "other"}).out == "by mine\n"


def test_resume_with_a_model_flag_uses_that_model() -> None:
    keep("mine")
    assert resumed("--model", "other").out == "by other\n"
    assert resumed().out == "by other\n"  # which wrote the last answer since


def test_resume_loads_the_adapter_of_the_conversation() -> None:
    keep("mine + notes")
    done = resumed("--json")
    assert (done.events[0]["model"], done.events[0]["adapter"]) == ("mine", "notes")


def test_resume_without_its_model_is_one_clear_error() -> None:
    keep("mine")
    done = resumed(gone=["mine"])
    assert (done.code, done.out) == (2, "")
    assert done.err.splitlines() == [
        "error: the model of this conversation is not on this machine: mine",
        "hint: Name another model with --model to resume with it.",
    ]
    assert resumed("--model", "other", gone=["mine"]).out == "by other\n"


def test_unanswered_conversation_resumes_with_the_default_model() -> None:
    keep(None)
    assert resumed().out == "by default\n"


# Thinking.

ABLE = {"engine": {"answers": ["<think>a</think>b"], "switches_thinking": True}}


def sent(*flags: str, env: Mapping[str, str] | None = None) -> str:
    done = run("chat", "--once", "a", "--json", *flags, script=ABLE, env=env)
    return bytes(done.events[0]["prompt_ids"]).decode()


OFF = "assistant: <think>\n\n</think>\n\n"


def test_thinking_is_switched_by_flag_variable_and_file(home: Path) -> None:
    assert sent().endswith("assistant: ") and sent("--think").endswith("assistant: ")
    assert sent("--no-think").endswith(OFF)
    assert sent(env={"LMTUI_CHAT_THINKING": "off"}).endswith(OFF)
    (home / "config.toml").write_text('[chat]\nthinking = "off"\n')
    assert sent().endswith(OFF)
    assert sent("--think").endswith("assistant: ")


def test_thinking_is_the_conversation_s_and_a_flag_s_for_one_run(home: Path) -> None:
    again = ("--resume", "last")
    chat = Conversation()
    chat.say("question")
    store = Store(paths.chats_file())
    store.save({"a": replace(chat.take_changes(), thinking="off")})
    store.close()
    (home / "config.toml").write_text('[chat]\nthinking = "on"\n')
    assert sent(*again).endswith(OFF)
    assert not sent(*again, "--think").endswith(OFF)
    assert sent(*again).endswith(OFF)
    assert sent("--no-think").endswith(OFF)
    assert not sent(*again).endswith(OFF)  # of a new one nothing is kept


def test_model_without_a_thinking_switch_is_noted() -> None:
    done = run("chat", "--once", "a", "--no-think", script=SCRIPT)
    assert done.out == "by default\n"
    assert done.err == "note: this model's chat template has no switch for thinking\n"
