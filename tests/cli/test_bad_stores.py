"""Conversations on a bad day: a broken file, a full disk, hostile and huge texts."""

from __future__ import annotations

import sqlite3
import subprocess
import time
from pathlib import Path

import pytest

from lmtui import paths
from lmtui.chat.conversation import Conversation
from lmtui.chat.store import Store
from lmtui.chat.summary import ConversationMeta
from lmtui.cli.main import main
from tests.chat.making import exchange, full
from tests.cli.program import REPOSITORY, command, run, run_in_terminal, stored_texts

PARIS = {"engine": {"answers": ["It is Paris."]}}
HOSTILE = "\x1b]0;owned\x07\x1b[31mred [bold]\u202e\x9b1m"


def test_damaged_store_is_replaced_and_reported_by_any_verb(home: Path) -> None:
    file = paths.chats_file()
    file.parent.mkdir(parents=True)
    verbs = (("history", "list"), ("history", "search", "x"), ("history", "show", "1"),
             ("history", "export", "--all"), ("chat", "--once", "a"))  # fmt: skip
    for number, verb in enumerate(verbs, 1):
        file.write_bytes(b"no database" * 1000)
        done = run(*verb, script=PARIS)
        aside = file.with_name(f"chats.db.broken-{number}")
        assert done.code == (2 if "show" in verb else 0)
        assert "was damaged. 0 messages in 0 conversations" in done.err
        assert str(aside) in done.err.replace("\n", "")
        assert aside.read_bytes() == b"no database" * 1000
    assert done.out == "It is Paris.\n"
    assert stored_texts() == [["", "a", "It is Paris."]]


def test_damaged_search_index_loses_no_message(home: Path) -> None:
    for question in ("one", "two"):
        assert run("chat", "--once", question, script=PARIS).code == 0
    connection = sqlite3.connect(paths.chats_file())
    with connection:
        connection.execute("UPDATE words_data SET block = x'ffffffffffffffff'")
    connection.close()
    done = run("chat", "--once", "three", script=PARIS)
    assert (done.code, done.out) == (0, "It is Paris.\n")
    assert "4 messages in 2 conversations could be read" in done.err.replace("\n", " ")
    assert sorted(texts[1] for texts in stored_texts()) == ["one", "three", "two"]
    found = run("history", "search", "three")
    assert (found.code, found.err) == (0, "") and "three" in found.out


def test_folder_in_place_of_the_store_is_named(home: Path) -> None:
    paths.chats_file().mkdir(parents=True)
    done = run("history", "list")
    assert done.code == 2 and "is a folder" in done.err and "hint: Move it" in done.err
    done = run("chat", "--once", "a", script=PARIS)
    assert (done.code, done.out) == (0, "It is Paris.\n")
    assert "note: not saved: " in done.err and "is a folder" in done.err


def test_full_disk_costs_no_answer(home: Path) -> None:
    """No file may grow beyond 64 KiB: the question can be kept, the answer can't."""
    assert run("chat", "--once", "before", script=PARIS).code == 0
    long = " ".join(["word" * 20] * 900)
    script = {"engine": {"answers": [long], "context": 100_000}}
    arguments = ["chat", "--once", "a", "--max-tokens", "9000"]
    done = subprocess.run(
        ["sh", "-c", 'ulimit -f 128 && exec "$@"', "sh", *command(arguments, script)],
        capture_output=True,
        cwd=REPOSITORY,
        timeout=120,
        check=False,
    )
    assert (done.returncode, done.stdout.decode()) == (0, f"{long}\n")
    assert b"note: not saved: " in done.stderr
    assert stored_texts()[-1] == ["", "before", "It is Paris."]
    assert run("chat", "--once", "after", script=PARIS).err == ""
    assert stored_texts()[0] == ["", "after", "It is Paris."]


def test_a_clock_that_goes_backwards_loses_nothing(
    capsys: pytest.CaptureFixture[str], home: Path, tmp_path: Path
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        clock = iter(float(2_000_000_000 - 40_000 * n) for n in range(10_000))
        patch.setattr(time, "time", lambda: next(clock))
        store = Store(paths.chats_file())
        for text in ("one", "two", "three"):
            chat = full()
            exchange(chat, text)
            store.save({text: chat.take_changes()})
        again = store.load(1).conversation
        exchange(again, "later, and yet before")
        store.save({"one": again.take_changes()})
        store.mark(2, "deleted", True)
        store.purge()  # a day by no clock is over
        store.mark(2, "deleted", False)
        about = {each.id: each for each in store.listed()}
        assert list(about) == [1, 3, 2]
        assert about[1].created > about[1].updated
        store.close()
    out = tmp_path / "all.jsonl"
    assert main(["history", "export", "--all", str(out)]) == 0
    assert main(["history", "import", str(out)]) == 0
    capsys.readouterr()
    assert main(["history", "export", "4"]) == 0
    assert "later, and yet before" not in capsys.readouterr().out
    assert main(["history", "list"]) == 0
    assert len(capsys.readouterr().out.splitlines()) == 7


def test_imported_control_sequences_never_reach_a_terminal(
    home: Path, tmp_path: Path
) -> None:
    store = Store(paths.chats_file())
    chat = full()
    exchange(chat, HOSTILE, HOSTILE)
    store.add("a", chat, ConversationMeta(HOSTILE, named=True))
    store.close()
    file = tmp_path / "talk.json"
    assert run("history", "export", "1", str(file)).code == 0
    for verb in (("import", str(file)), ("list",), ("show", "last"),
                 ("search", "red")):  # fmt: skip
        code, written = run_in_terminal("history", *verb)
        assert code == 0
        assert b"\x1b]0;owned" not in written and b"\x1b[31mred" not in written
        assert "\u202e".encode() not in written


def test_large_files_are_imported(home: Path, tmp_path: Path) -> None:
    big = "word \x1b[31m " * 100_000
    store, chat = Store(paths.chats_file()), Conversation()
    exchange(chat, big, "Yes.")
    store.add("a", chat, ConversationMeta("big"))
    store.close()
    assert run("history", "export", "1", str(tmp_path / "big.json")).code == 0
    done = run("history", "import", str(tmp_path / "big.json"))
    assert done.code == 0 and done.out.startswith("2  big")
    assert stored_texts() == [["", big, "Yes."], ["", big, "Yes."]]
    assert len(run("history", "search", "word").out) < 2_000
