"""`lmtui inspect --html`: a whole page, or the file as it was."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from lmtui import paths
from lmtui.chat.conversation import Conversation
from lmtui.chat.store import Store
from lmtui.chat.summary import ConversationMeta
from tests.analysis.html.test_writer import data_of
from tests.cli.program import run

TEXT = "Naïve café\n\tBrücke 橋 end"
OTHER = {"models": {"other": {"seed": 5, "name": "other"}}}


@pytest.fixture
def files(tmp_path: Path) -> list[str]:
    """Two texts."""
    for name, text in (("a.txt", TEXT), ("b.txt", "more")):
        (tmp_path / name).write_text(text, encoding="utf-8")
    return [str(tmp_path / "a.txt"), str(tmp_path / "b.txt")]


def test_page_of_one_text_has_the_numbers_of_json(
    files: list[str], tmp_path: Path
) -> None:
    out = tmp_path / "out.html"
    done = run("inspect", files[0], "--html", str(out))
    assert (done.code, done.out) == (0, "")
    assert done.err == f"wrote {out}\n"
    whole = out.read_text(encoding="utf-8")
    assert "<title>a.txt</title>" in whole and str(tmp_path) not in whole
    data = data_of(whole)
    text = data["text"]
    assert "".join(cell[0] for cell in text["cells"]) == TEXT
    summary = run("inspect", files[0], "--json").events[-1]
    assert text["file"] == "a.txt"
    assert text["own"].pop("figures")["tokens"] == f"{summary['tokens']:,}"
    assert text["own"].pop("known_by_heart") == ""  # it is too short to tell
    assert {"event": "summary", "file": files[0], **text["own"]} == summary
    tokens = [token for cell in text["cells"] for token in cell[3]]
    *told, _ = run("inspect", files[0], "--json").events
    assert [token[1:5] for token in tokens] == [
        [event[name] for name in ("logprob", "rank", "entropy", "typicality")]
        for event in told
    ]
    assert {len(token[5]) for token in tokens[1:]} == {5}
    assert run("inspect", files[0], "--html", str(out), "--top", "0").code == 0
    assert len(data_of(out.read_text())["text"]["cells"][-1][3][0]) == 5


def test_page_compares_two_models(files: list[str], tmp_path: Path) -> None:
    out = tmp_path / "out.html"
    ask = ("inspect", files[0], "--against", "other")
    assert run(*ask, "--html", str(out), script=OTHER).code == 0
    text = data_of(out.read_text())["text"]
    assert [text[each]["model"] for each in ("own", "other")] == ["fake", "other"]
    *_, compared = run(*ask, "--json", script=OTHER).events
    assert text["comparison"].items() <= compared.items()
    assert all(len(cell) == 5 for cell in text["cells"])


@pytest.mark.parametrize("by", ["word", "sentence", "line", "token"])
def test_page_has_the_effects_of_json(by: str, tmp_path: Path) -> None:
    file, out = tmp_path / "a.txt", tmp_path / "out.html"
    text = "The cat. It sat\non the  mat.\n\nIt ate, and slept"
    file.write_text(text, encoding="utf-8")
    ask = ("why", str(file), "4:5-4:9", "--by", by)
    done = run(*ask, "--html", str(out))
    assert (done.code, done.out, done.err) == (0, "", f"wrote {out}\n")
    *units, summary = run(*ask, "--json").events
    page = data_of(out.read_text(encoding="utf-8"))["text"]
    why = page["why"]
    assert why["logprob"] == summary["logprob"] and why["count"] == len(units)
    known = [unit["bits"] for unit in units if unit["bits"] is not None]
    strongest = sorted(known, key=abs, reverse=True)[:10]
    assert [abs(bits) for _, bits, _ in why["rows"]] == list(map(abs, strongest))
    start = 0
    for cell in page["cells"]:  # a letter is in the smallest part it was left out with
        part = cell[5]
        for place in range(start, start := start + len(cell[0])):
            if text[place].isspace() or place >= summary["end"]:
                continue
            over = [unit for unit in units if unit["start"] <= place < unit["end"]]
            least = min(over, key=lambda unit: unit["end"] - unit["start"], default={})
            if place >= summary["start"]:
                assert part == len(why["bits"])
            else:
                assert why["bits"][part] == least.get("bits")
    assert start == len(text)
    for part, bits, words in why["rows"]:
        starts = [unit["text"] for unit in units if unit["bits"] == bits]
        assert words in starts
        first = next(cell[0] for cell in page["cells"] if cell[5] == part)
        assert first.strip() in words


@pytest.mark.usefixtures("home")
def test_parts_before_a_message_are_listed_without_a_place(tmp_path: Path) -> None:
    out = tmp_path / "out.html"
    store, chat = Store(paths.chats_file()), Conversation("be brief")
    chat.say("what is it?")
    store.add("a", chat, ConversationMeta("Question"))
    store.close()
    ask = ("why", "--chat", "1", "1:6-1:7", "--by", "turn")
    assert run(*ask, "--html", str(out)).code == 0
    page = data_of(out.read_text(encoding="utf-8"))["text"]
    rows = {words: part for part, _, words in page["why"]["rows"]}
    assert rows == {"system: be brief": None, "what ": 0}


def test_ctrl_c_leaves_the_file_as_it_was(files: list[str], tmp_path: Path) -> None:
    out = tmp_path / "out.html"
    out.write_text("before")
    ask = ("inspect", files[0], "--html", str(out))
    done = run(*ask, script={"interrupt": 1})
    assert (done.code, done.out, done.err) == (130, "", "")
    assert out.read_text() == "before"
    assert run(*ask).code == 0
    assert out.read_text().startswith("<!doctype html>")
    names = {path.name for path in tmp_path.iterdir()}
    assert names <= {"a.txt", "b.txt", "out.html", "home"}


def test_unwritable_page_path_is_refused_before_a_model_loads(
    files: list[str], tmp_path: Path
) -> None:
    script = {"missing": "it must not be asked for"}
    sealed = tmp_path / "sealed.html"
    sealed.touch(0o444)
    places = [str(tmp_path), str(tmp_path / "none" / "out.html")]
    if os.geteuid():
        places.append(str(sealed))
    for place in places:
        done = run("inspect", files[0], "--html", place, script=script)
        assert (done.code, done.out) == (2, "")
        assert done.err.startswith(f"error: the page can't be written: {place}: ")
        assert "\nhint: " in done.err
