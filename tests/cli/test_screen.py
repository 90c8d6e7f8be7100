"""The chat's screen on a real pseudo-terminal: opened, used and left."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest

from lmtui.cli import main as command
from tests.cli.program import hang_up, read_until, run_in_terminal, started

QUIT = b"\x11"
HOSTILE = "\x1b]52;c;QUFB\x07 \x1b[2J \x9b31m \u202eabc [bold]x[/x] \x00 HELLO"


def test_chat_screen_draws_a_hostile_answer_and_restores_the_terminal() -> None:
    code, written = run_in_terminal(
        "chat",
        script={"engine": {"answers": [HOSTILE], "name": "m\x1b]0;owned\x07"}},
        size=(40, 120),
        typed=[(b"ready", b"hi\r"), (b"HELLO", QUIT)],
    )
    assert code == 0
    # The alternate screen is left and the cursor is back.
    assert written.rindex(b"\x1b[?1049l") > written.rindex(b"\x1b[?1049h")
    assert written.rindex(b"\x1b[?25h") > written.rindex(b"\x1b[?25l")
    for obeyed in (b"\x1b]52", b"\x1b]0;owned", "\x9b".encode(), "\u202e".encode()):
        assert obeyed not in written
    assert b"[bold]x[/x]" in written


def test_inspect_opens_a_text_and_leaves(tmp_path: Path) -> None:
    file = tmp_path / "letter.txt"
    file.write_text(f"Dear Anna {HOSTILE[:-7]}".replace("\0", ""))
    code, written = run_in_terminal(
        "inspect",
        str(file),
        size=(40, 120),
        typed=[("⌷".encode(), b"o"), (b"Most surprising", QUIT)],
    )
    assert code == 0
    assert b"\x1b]52" not in written
    assert written.rindex(b"\x1b[?1049l") > written.rindex(b"\x1b[?1049h")


def test_a_crash_restores_the_terminal_and_names_the_log(home: Path) -> None:
    # A model without a name is a bug that no screen is prepared for.
    code, written = run_in_terminal("chat", script={"engine": {"name": None}})
    assert code == 1
    after = written[written.rindex(b"\x1b[?1049l") :]
    assert b"error: this is a bug in lmtui" in after
    assert b"Traceback" not in after
    assert "Traceback" in (home / "logs" / "lmtui.log").read_text("utf-8")


def test_chat_screen_ends_when_its_terminal_hangs_up(home: Path) -> None:
    with started("chat") as (child, terminal):
        read_until(terminal, b"ready")
        hang_up(terminal)
        assert child.wait(timeout=20) == 129
    assert "unexpected error" not in (home / "logs" / "lmtui.log").read_text("utf-8")


@pytest.mark.parametrize("name", [signal.SIGHUP, signal.SIGINT, signal.SIGTERM])
def test_signal_ends_the_screen_and_restores_the_terminal(name: signal.Signals) -> None:
    with started("chat") as (child, terminal):
        read_until(terminal, b"ready")
        child.send_signal(name)
        assert b"\x1b[?1049l" in read_until(terminal, b"\x1b[?1049l")
        assert child.wait(timeout=20) == 128 + name


@pytest.mark.parametrize("wanted", [True, False])
def test_mouse_setting_switches_mouse_reporting(home: Path, wanted: bool) -> None:
    home.mkdir(exist_ok=True)
    (home / "config.toml").write_text(f"mouse = {str(wanted).lower()}\n")
    code, written = run_in_terminal("chat", typed=[(b"ready", QUIT)])
    assert code == 0
    assert (b"\x1b[?1000h" in written) == wanted


def test_ctrl_z_does_not_suspend_without_a_shell() -> None:
    code, _ = run_in_terminal(
        typed=[(b"see a language model", b"\x1a"), (b"No shell is waiting", QUIT)]
    )
    assert code == 0


F5, F9, ESC = b"\x1b[15~", b"\x1b[20~", b"\x1b"


def test_lmtui_alone_opens_the_start_screen_and_the_others() -> None:
    code, written = run_in_terminal(
        script={"engine": {"answers": ["HELLO"]}},
        typed=[
            (b"ready", b"c"),
            (b"Three things", b"hi\r"),
            (b"HELLO", F9),
            (b"see a language model think", b"m"),
            (b"NAME", ESC),
            (b"Chat", b"c"),
            (b"HELLO", F5),
            (b"NAME", QUIT),
        ],
    )
    assert code == 0
    assert b"\x1b[?1049h" in written


def test_missing_model_is_explained_on_the_screen() -> None:
    code, written = run_in_terminal(
        script={"missing": "a file"},
        typed=[(b"Try again", b"r"), (b"Try again", ESC), (b"see a", QUIT)],
    )
    assert code == 0
    assert b"a file" in written


def test_a_screen_loads_its_models_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    """With progress on the screen, and for many answers; and not as a command does."""
    given: list[object] = []

    def opened(*args: object, open_engine: object, **how: object) -> None:
        given.append(open_engine)

    for module in ("screen", "chat", "complete"):
        monkeypatch.setattr(f"lmtui.cli.{module}.is_interactive", lambda: True)
        monkeypatch.setattr(f"lmtui.cli.{module}.open_screen", opened)
    for arguments in ([], ["chat"], ["complete", "new.txt"]):
        assert command.main(arguments) == 0
    assert given == [None] * 3
