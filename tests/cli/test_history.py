"""`lmtui history`: what was kept, found, taken along and deleted."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from lmtui import paths
from lmtui.chat.conversation import Conversation
from lmtui.chat.database import Damaged
from lmtui.chat.store import Store
from lmtui.chat.summary import ConversationMeta
from lmtui.cli.main import main
from tests.chat.making import exchange, full
from tests.cli.program import run, run_in_terminal

HOSTILE = "\x1b[31mred \u202e[bold]"


@pytest.fixture
def kept(home: Path) -> Path:
    """Three conversations: 1 full, 2 with a hostile title, 3 another."""
    store = Store(paths.chats_file())
    store.add(
        "a", full(), ConversationMeta("Capitals", named=True, created=1.0, updated=2.0)
    )
    for uid, text in (("b", f"lighthouse {HOSTILE}"), ("c", "put away")):
        chat = Conversation()
        exchange(chat, text)
        store.save({uid: chat.take_changes()})
    store.close()
    return home


def said(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    """What a run that goes well writes."""
    assert main(["history", *arguments]) == 0
    return capsys.readouterr().out


def refused(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    """What a run says that ends with 2."""
    assert main(["history", *arguments]) == 2
    out, err = capsys.readouterr()
    assert out == "" and "hint: " in err
    return err


def test_history_without_conversations_points_to_chat(
    capsys: pytest.CaptureFixture[str], home: Path
) -> None:
    assert "lmtui chat" in said(capsys, "list")
    assert said(capsys, "list", "--json") == ""
    assert said(capsys, "search", "x") == ""
    assert said(capsys, "export", "--all") == ""
    assert "no conversation yet" in refused(capsys, "show", "last")
    assert list(home.iterdir()) == []


def test_list_shows_conversations_by_their_last_use(
    capsys: pytest.CaptureFixture[str], kept: Path
) -> None:
    lines = said(capsys, "list").splitlines()
    assert lines[0].split() == ["ID", "USED", "MESSAGES", "MODEL", "TITLE"]
    assert [line.split()[0] for line in lines[1:]] == ["3", "2", "1"]
    assert "\x1b" not in "".join(lines)
    events = [json.loads(line) for line in said(capsys, "list", "--json").splitlines()]
    assert [event["id"] for event in events] == [3, 2, 1]
    assert events[2]["title"] == "Capitals"
    assert main(["history", "list", "--limit", "1"]) == 0
    assert "1 of 3" in capsys.readouterr().err


def test_the_model_is_listed_where_there_is_room(kept: Path) -> None:
    for columns, shown in ((80, False), (120, True)):
        code, written = run_in_terminal("history", "list", size=(24, columns))
        assert code == 0 and b"lighthouse" in written
        assert (b"MODEL" in written) == shown


def test_search_shows_where_the_words_stand(
    capsys: pytest.CaptureFixture[str], kept: Path
) -> None:
    assert main(["history", "search", "xyzzy"]) == 0
    assert capsys.readouterr() == ("", "no conversation found\n")
    text = said(capsys, "search", "lighth")
    assert text.startswith("2:1  lighthouse") and "\x1b" not in text
    (hit,) = [
        json.loads(x)
        for x in said(capsys, "search", "paris", "--json").split("\n")[:-1]
    ]
    ((start, end),) = hit["places"]
    assert hit["text"][start:end] == "Paris"
    assert (hit["conversation"], hit["message"], hit["role"]) == (1, 2, "assistant")


def test_a_hit_is_marked_on_a_terminal(kept: Path) -> None:
    code, written = run_in_terminal("history", "search", "lighthouse")
    assert code == 0 and b"\x1b[1;7mlighthouse" in written
    assert b"\x1b[31mred" not in written
    _, plain = run_in_terminal("history", "search", "lighthouse", "--no-color")
    assert b"lighthouse" in plain and b"\x1b[31m" not in plain


def test_show_prints_the_branch_and_json_the_whole_tree(
    capsys: pytest.CaptureFixture[str], kept: Path
) -> None:
    text = said(capsys, "show", "1")
    assert text.startswith("# Capitals\n\n## System\n\nbe brief\n")
    whole = json.loads(said(capsys, "show", "1", "--json"))
    assert whole["lmtui"] == "conversation" and len(whole["messages"]) == 8
    assert "put away" in said(capsys, "show", "last")


def test_unknown_conversation_number_is_refused(
    capsys: pytest.CaptureFixture[str], kept: Path
) -> None:
    assert "no such conversation: 99" in refused(capsys, "show", "99")
    assert "not a conversation number" in refused(capsys, "show", "first")
    assert "no such conversation" in refused(capsys, "delete", "1", "99", "--yes")
    assert said(capsys, "show", "1")


def test_exported_conversations_survive_an_import(
    capsys: pytest.CaptureFixture[str], kept: Path, tmp_path: Path
) -> None:
    first, second = tmp_path / "all.jsonl", tmp_path / "again.jsonl"
    said(capsys, "export", "--all", str(first))
    assert len(first.read_text().splitlines()) == 3
    said(capsys, "delete", "1", "2", "3", "--yes")
    assert "lmtui chat" in said(capsys, "list")
    assert "Capitals  (7 messages)" in said(capsys, "import", str(first))
    said(capsys, "export", "--all", str(second))
    assert second.read_bytes() == first.read_bytes()


def test_export_format_follows_the_file_ending(
    capsys: pytest.CaptureFixture[str], kept: Path, tmp_path: Path
) -> None:
    for name, begins in (("a.md", "# Capitals"), ("a.html", "<!doctype"),
                         ("a.json", '{"lmtui"')):  # fmt: skip
        said(capsys, "export", "1", str(tmp_path / name))
        assert (tmp_path / name).read_text().startswith(begins)
    assert said(capsys, "export", "1", "--format", "html").startswith("<!doctype")
    assert "already exists" in refused(capsys, "export", "1", str(tmp_path / "a.md"))
    assert "format" in refused(capsys, "export", "1", str(tmp_path / "a.doc"))
    assert "can't be written" in refused(capsys, "export", "1", "/nowhere/a.md")
    assert "named" in refused(capsys, "export")


def test_import_refuses_what_is_not_an_export(
    capsys: pytest.CaptureFixture[str], home: Path, tmp_path: Path
) -> None:
    file = tmp_path / "talk.md"
    file.write_text("# Rivers\n\n## You\n\nName one.\n")
    assert "lmtui history export" in refused(capsys, "import", str(file))


@pytest.mark.parametrize("data", [b"\0\1\2" * 9, "ä".encode("utf-16")])
def test_import_refuses_binary_files(
    capsys: pytest.CaptureFixture[str], home: Path, tmp_path: Path, data: bytes
) -> None:
    file = tmp_path / "talk.md"
    file.write_bytes(data)
    refused(capsys, "import", str(file))
    assert "lmtui chat" in said(capsys, "list")


def test_a_file_with_one_broken_line_is_refused_as_a_whole(
    capsys: pytest.CaptureFixture[str], kept: Path, tmp_path: Path
) -> None:
    whole = said(capsys, "show", "1", "--json")
    file = tmp_path / "two.jsonl"
    file.write_text(whole + whole[:200] + "\n")
    assert "can't be imported" in refused(capsys, "import", str(file))
    assert len(said(capsys, "list", "--json").splitlines()) == 3
    assert "no such file" in refused(capsys, "import", "/nowhere")


def test_delete_asks_first_and_is_permanent(kept: Path) -> None:
    done = run("history", "delete", "1")
    assert done.code == 2 and "--yes" in done.err
    code, written = run_in_terminal(
        "history", "delete", "2", typed=[(b"permanently?", b"n\n")]
    )
    assert code == 130 and b"\x1b[31m" not in written
    code, _ = run_in_terminal(
        "history", "delete", "2", typed=[(b"permanently?", b"y\n")]
    )
    assert code == 0
    store = Store(paths.chats_file())
    assert [found.id for found in store.listed()] == [3, 1]
    store.close()


def test_damaged_store_is_reported(
    capsys: pytest.CaptureFixture[str], kept: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object, **__: object) -> None:
        raise Damaged("malformed")

    monkeypatch.setattr(Store, "listed", broken)
    assert "damaged" in refused(capsys, "list")
