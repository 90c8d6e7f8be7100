"""`lmtui chat`: what comes out, and how it ends."""

from __future__ import annotations

import io
from dataclasses import replace
from json import loads
from pathlib import Path

import pytest

from lmtui import paths
from lmtui.chat.attachments import attach
from lmtui.chat.store import Store
from lmtui.cli.generation import JsonAnswerView, TextView
from lmtui.cli.once import Talk, answer, read_prompt
from lmtui.cli.output import Output
from lmtui.engine.sampling_settings import SamplingSettings
from lmtui.engine.types import (
    Candidate,
    ChatTurn,
    Distribution,
    Step,
)
from tests.cli.program import begun, run, run_in_terminal, stored_texts
from tests.engine import tiny
from tests.fakes import END, FakeEngine

PARIS = {"engine": {"answers": ["It is Paris."]}}
START = ["event", "model", "precision", "dtype", "device", "prompt_ids", "prefill"]
TOKEN = ["event", "index", "id", "text", "bytes", "piece", "logprob", "rank"]
TOKEN += ["entropy", "varentropy", "effective_choices", "typicality"]
TOKEN += ["sampled_prob", "guessed", "top"]
ROW = ["id", "text", "logprob", "sampled_prob", "cut"]
ENDING = ["event", "finish", "piece", "tokens", "logprob", "perplexity"]
ENDING += ["prompt_tokens", "reused_tokens", "prompt_seconds"]
ENDING += ["first_token_seconds", "seconds", "tokens_per_second", "seed"]
ENDING += ["guessed_tokens"]


@pytest.mark.parametrize("answer", [["It is Paris."], ["It is Paris.", "\n"]])
def test_once_prints_the_answer_and_one_newline(answer: list[str]) -> None:
    script = {"engine": {"answers": [answer]}}
    done = run("chat", "--once", "The capital of France?", script=script)
    assert (done.code, done.out, done.err) == (0, "It is Paris.\n", "")


def test_a_pipe_is_the_prompt_without_its_last_newline_and_attaches_no_file(
    tmp_path: Path,
) -> None:
    file = tmp_path / "secret.md"
    file.write_text("A secret.", encoding="utf-8")
    asked = f"Héllo @{file} @@x"
    for arguments in ([], ["--once", "-"]):
        done = run("chat", "--json", *arguments, script=PARIS, stdin=f"{asked}\r\n")
        ids = bytes(done.events[0]["prompt_ids"])
        assert ids.decode() == f"user: {asked}\nassistant: "


def test_mentioned_file_is_attached_to_the_prompt(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "notes.md").write_text("Rain at ten.\n", encoding="utf-8")
    (tmp_path / "two words.md").write_text("Sun at one.", encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    rain = "```md notes.md\nRain at ten.\n```"
    assert read_prompt("Sum up @notes.md.") == f"Sum up notes.md.\n\n{rain}"
    assert read_prompt('@"two words.md"?').endswith(
        "```md two words.md\nSun at one.\n```"
    )
    assert read_prompt("@@notes.md and @someone") == "@notes.md and @someone"
    # As the screen does it.
    assert read_prompt("@notes.md") == attach("@notes.md", tmp_path).text
    done = run("chat", "--once", f"@{tmp_path}/notes.md", "--json", script=PARIS)
    assert b"Rain at ten." in bytes(done.events[0]["prompt_ids"])


def test_unattachable_file_is_refused_before_a_model_loads(
    tmp_path: Path,
) -> None:
    done = run("chat", "--once", f"Look at @{tmp_path}", script={"missing": "x"})
    assert (done.code, done.out) == (2, "")
    assert "folder" in done.err and "hint: " in done.err


@pytest.mark.parametrize("as_json", [True, False])
def test_bias_for_what_is_no_token_is_named_and_left_out(
    as_json: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    out = io.StringIO()
    view = JsonAnswerView(Output(out), 1) if as_json else TextView(Output(out))
    bias = (" zzzznotatoken=ban", "e=-1", "\\xFF\\xFE=2")
    sampling = SamplingSettings(seed=1, max_tokens=2, logit_bias=bias)
    assert answer(tiny.engine(), Talk("Yes or no?"), sampling, view=view) == 0
    told = capsys.readouterr().err
    assert "“ zzzznotatoken”" in told and "“\\xff\\xfe”" in told and "“e”" not in told
    if as_json:
        start = loads(out.getvalue().splitlines()[0])
        assert start["sampling"]["logit_bias"] == ["e=-1"]


def test_system_and_prefill_reach_the_model(tmp_path: Path) -> None:
    file = tmp_path / "system.txt"
    file.write_text("Be brief.", encoding="utf-8")
    engine, out = FakeEngine(["Paris."]), io.StringIO()
    talk = Talk("Where?", system="Be brief.", prefill="It is ")
    assert answer(engine, talk, SamplingSettings(), view=TextView(Output(out))) == 0
    assert out.getvalue() == "It is Paris.\n"
    messages = (ChatTurn("system", "Be brief."), ChatTurn("user", "Where?"))
    assert engine.calls[0] == ("prompt", (messages, "It is "))
    named = run("chat", "--once", "a", "--system", f"@{file}", "--json", script=PARIS)
    assert b"system: Be brief." in bytes(named.events[0]["prompt_ids"])


def test_json_has_the_promised_fields() -> None:
    done = run("chat", "--once", "a", "--json", "--temperature", "0.5", script=PARIS)
    start, *tokens, end = done.events
    assert list(start) == [*START, "sampling", "chain"]
    assert start["chain"] == ["temperature", "top_k", "top_p", "min_p"]
    assert list(start["sampling"]) == list(SamplingSettings.__slots__)
    assert start["sampling"]["temperature"] == 0.5
    assert start["sampling"]["seed"] == end["seed"]
    for token in tokens:
        assert list(token) == TOKEN
        assert len(token["top"]) == 10
        assert all(list(row) == ROW for row in token["top"])
    assert list(end) == ENDING
    assert end["finish"] == "stop"
    assert end["tokens"] == len(tokens)
    assert end["logprob"] == pytest.approx(sum(t["logprob"] for t in tokens))


def test_json_names_the_stages_in_their_order() -> None:
    flags = (
        "--logit-bias", '["a=ban"]',
        "--sampler-order", "dry,top_k,temperature,xtc,penalties",
        "--xtc-probability", "0.5", "--presence-penalty", "0.1", "--regex", "a+",
    )  # fmt: skip
    start, *_ = run("chat", "--once", "a", "--json", *flags, script=PARIS).events
    stages = ["bias", "grammar", "top_k", "temperature", "xtc", "penalties"]
    assert start["chain"] == stages


def test_json_shows_the_coin_and_what_changed_a_row() -> None:
    """By the real sampler: the view alone writes what the engine found."""
    row = Candidate(1, "a", b"a", -1.0, 0.5, None, "r")
    shown = Distribution((row,), 0, 9, 0.0, 0.0, 1, 0.5, 1.0, 3, coin=0.25)
    step = Step(0, 1, "a", b"a", "a", -1.0, 1, 1.0, 0.5, shown)
    out = io.StringIO()
    view = JsonAnswerView(Output(out), 1)
    view.token(step)
    event = loads(out.getvalue())
    assert event["coin"] == 0.25
    assert event["top"][0]["changed"] == "r"
    view.token(replace(step, distribution=replace(shown, coin=None)))
    assert "coin" not in loads(out.getvalue().splitlines()[-1])


def test_json_pieces_and_bytes_join_to_the_answer() -> None:
    script = {"engine": {"answers": [["Z", "ü", "rich 🏔", " e\u0301"]]}}
    _, *tokens, end = run("chat", "--once", "a", "--json", script=script).events
    pieces = "".join(token["piece"] for token in tokens) + end["piece"]
    assert pieces == "Zürich 🏔 e\u0301"
    data = b"".join(bytes.fromhex(token["bytes"]) for token in tokens[:-1])
    assert data.decode() == pieces
    assert tokens[-1]["id"] == END


def test_json_tokens_do_not_repeat_the_prefill() -> None:
    out = io.StringIO()
    view = JsonAnswerView(Output(out), 2)
    answer(FakeEngine(["b"]), Talk("a", prefill="x"), SamplingSettings(), view=view)
    assert '"prefill":"x"' in out.getvalue().splitlines()[0]
    assert '"piece":"x"' not in out.getvalue()


@pytest.mark.parametrize("top", [0, 3])
def test_top_and_max_tokens_set_the_numbers_of_rows_and_tokens(top: int) -> None:
    limits = ("--top", str(top), "--max-tokens", "2")
    done = run("chat", "--once", "a", "--json", *limits, script=PARIS)
    assert {len(e["top"]) for e in done.events[1:-1]} == {top}
    assert (done.events[-1]["finish"], done.events[-1]["tokens"]) == ("length", 2)


def test_a_base_model_is_named_once_on_stderr() -> None:
    script = {"engine": {"answers": ["b"], "has_template": False}}
    done = run("chat", "--once", "a", script=script)
    assert done.out == "b\n"
    assert done.err == "note: base model: no chat template, using the plain format\n"


@pytest.mark.parametrize(
    ("arguments", "title"),
    [
        (["--once", ""], "the prompt is empty"),
        (["--once", " \n"], "the prompt is empty"),
        ([], "the prompt is empty"),
        (["--once", "a", "--temperature", "-1"], "temperature is out of range: -1"),
        (["--once", "a", "--system", "@/no/such"], "there is no such file: /no/such"),
        (["--once", "a", "--system", "@/"], "this is a folder, not a text: /"),
        (["--once", "a", "--top", "-1"], "--top takes at least 0: -1"),
    ],
)
def test_bad_input_is_exit_2(arguments: list[str], title: str) -> None:
    done = run("chat", *arguments, script=PARIS)
    assert (done.code, done.out) == (2, "")
    assert done.err.startswith(f"error: {title}")
    assert done.err.splitlines()[1].startswith("hint: ")


def test_invalid_utf8_is_named_by_its_byte(tmp_path: Path) -> None:
    done = run("chat", stdin="é".encode() + b"\xff")
    assert (done.code, done.out) == (2, "")
    assert "not valid UTF-8: stdin, byte 2" in done.err
    file = tmp_path / "system"
    file.write_bytes(b"abc\xe9")
    assert "byte 3" in run("chat", "--once", "a", "--system", f"@{file}").err
    assert "--once, byte 1" in run("chat", "--once", "a\udcff").err


def test_a_prompt_that_does_not_fit_is_exit_2() -> None:
    done = run("chat", "--json", stdin=b"word " * 9_000)
    assert (done.code, done.out) == (2, "")
    assert "the prompt does not fit the context" in done.err


def test_a_terminal_without_a_prompt_gets_a_hint() -> None:
    code, written = run_in_terminal("chat", "--json")
    assert code == 2
    assert b"hint: Give it with --once TEXT, or pipe it in." in written


def test_closed_pipe_ends_chat_quietly() -> None:
    with begun("chat", "--once", "a", script={"flood": 60}) as child:
        assert child.stdout
        assert child.stderr
        assert child.stdout.read(5) == b"xxxxx"
        child.stdout.close()
        assert child.stderr.read() == b""
        assert child.wait(timeout=60) == 141


def test_output_to_a_full_disk_is_an_error() -> None:
    with open("/dev/full", "wb") as full:
        asked = ("chat", "--once", "a")
        with begun(*asked, script=PARIS, stdout=full.fileno()) as child:
            _, error = child.communicate(timeout=60)
    assert child.returncode == 2
    assert b"error: the output can't be written" in error


LONG = {"answers": [[f"word{i} " for i in range(20)]]}


def test_ctrl_c_ends_the_answer_as_cancelled_and_keeps_it() -> None:
    script = {"engine": LONG, "interrupt": 1}
    done = run("chat", "--once", "a", "--json", script=script)
    assert (done.code, done.err) == (130, "")
    assert (done.events[-1]["finish"], done.events[-1]["tokens"]) == ("cancelled", 3)
    plain = run("chat", "--once", "a", script=script)
    assert (plain.code, plain.out) == (130, "word0 word1 word2 \n")
    assert stored_texts() == [["", "a", "word0 word1 word2 "]] * 2


def test_second_ctrl_c_does_not_wait_for_the_end_event() -> None:
    done = run("chat", "--once", "a", "--json", script={"engine": LONG, "interrupt": 2})
    assert (done.code, done.err) == (130, "")
    assert done.events[-1]["event"] == "token"


def test_conversation_of_once_is_kept_and_resumed() -> None:
    run("chat", "--once", "France?", "--system", "Be brief.", script=PARIS)
    spain = {"engine": {"answers": ["Madrid."]}}
    done = run("chat", "--resume", "last", "--once", "Spain?", "--json", script=spain)
    sent = bytes(done.events[0]["prompt_ids"]).decode()
    assert sent == (
        "system: Be brief.\nuser: France?\nassistant: It is Paris.\n"
        "user: Spain?\nassistant: "
    )
    assert stored_texts() == [
        ["Be brief.", "France?", "It is Paris.", "Spain?", "Madrid."]
    ]
    run("chat", "--once", "a", script=PARIS)
    run("chat", "--resume", "1", "--once", "b", "--prefill", "It", script=spain)
    assert [chat[-1] for chat in stored_texts()] == ["ItMadrid.", "It is Paris."]


def test_flags_count_for_their_run_alone() -> None:
    def used(*flags: str) -> tuple[object, ...]:
        done = run("chat", "--once", "a", "--json", *flags, script=PARIS)
        sampling = done.events[0]["sampling"]
        names = ("temperature", "max_tokens", "grammar")
        return tuple(sampling[name] for name in names)

    usual, last = used(), ("--resume", "last")
    flags = ("--temperature", "1.5", "--max-tokens", "2", "--regex", "a+")
    assert used(*last, *flags) == (1.5, 2, "/a+/") != usual
    assert used(*last) == usual


def test_a_refused_request_stores_nothing() -> None:
    refused = ("chat", "--once", "word " * 9_000)
    assert run(*refused, script=PARIS).code == 2
    assert stored_texts() == []
    run("chat", "--once", "a", script=PARIS)
    before = stored_texts()
    assert run(*refused, "--resume", "last", "--no-think", script=PARIS).code == 2
    assert stored_texts() == before == [["", "a", "It is Paris."]]


def test_a_copy_of_what_changed_elsewhere_has_a_title_of_its_own() -> None:
    run("chat", "--once", "a", script=PARIS)

    def change(index: int) -> None:
        """Write to the conversation as another program."""
        if index == 1:
            store = Store(paths.chats_file())
            (about,) = store.listed()
            loaded = store.load(about.id)
            loaded.conversation.say("elsewhere")
            store.save({loaded.about.uid: loaded.conversation.take_changes()})
            store.close()

    engine = FakeEngine(["one two three"], on_token=change)
    done = run("chat", "--resume", "last", "--once", "b", engine=engine)
    assert "this is saved as a copy" in done.err
    store = Store(paths.chats_file())
    titles = {about.title for about in store.listed()}
    store.close()
    assert titles == {"a", "a (copy)"}


def test_keep_setting_off_stores_no_conversation(home: Path) -> None:
    run("chat", "--once", "a", script=PARIS, env={"LMTUI_CHAT_KEEP": "false"})
    (home / "config.toml").write_text("[chat]\nkeep = false\n")
    run("chat", "--once", "a", script=PARIS)
    assert not paths.chats_file().exists()


def test_unknown_conversation_is_refused_before_a_model_loads() -> None:
    for which in ("last", "7", "first"):
        done = run("chat", "--resume", which, "--once", "a", script={"missing": "x"})
        assert (done.code, done.out) == (2, "")
        assert "conversation" in done.err and "hint: " in done.err


def test_when_full_drop_leaves_out_the_oldest_turns() -> None:
    script = {"engine": {"answers": ["a" * 60], "context": 160}}
    run("chat", "--once", "x" * 60, script=script)
    asked = ("chat", "--resume", "last", "--once", "more", "--json")
    done = run(*asked, script=script)
    assert (done.code, done.out) == (2, "")
    done = run(*asked, script=script, env={"LMTUI_CHAT_WHEN_FULL": "drop"})
    assert done.err == "note: 2 earlier messages are left out\n"
    assert bytes(done.events[0]["prompt_ids"]) == b"user: more\nassistant: "
    done = run("chat", "--once", "a", env={"LMTUI_CHAT_WHEN_FULL": "shrug"})
    assert done.code == 2 and "stop, drop" in done.err
