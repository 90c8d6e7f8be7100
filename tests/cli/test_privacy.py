"""What the program leaves in its folders is the user's alone, whatever the umask."""

from __future__ import annotations

from pathlib import Path

from lmtui import log, state
from lmtui.cli.main import main
from lmtui.config import load
from lmtui.models.adapters.import_adapter import import_adapter
from tests.models import learned, tiny
from tests.modes import entries, loosen, not_private, umask


def use_all(model: Path, out: Path) -> None:
    """Run the verbs that leave something, and what leaves something beside them."""
    text = out / "text.txt"
    text.write_text("the quick brown fox")
    chosen = ("--model", str(model), "--device", "cpu", "--threads", "1")
    short = ("--max-tokens", "2")
    for verb in (
        ("chat", "--once", "the fox", *short, *chosen),
        ("complete", str(text), "--print", *short, *chosen),
        ("inspect", str(text), "--html", str(out / "page.html"), *chosen),
        ("history", "export", "last", str(out / "talk.md")),
        ("history", "list"),
    ):
        assert main(verb) == 0
    state.remember([str(text)])
    load.remember("theme", "nord")
    log.record_bug(ValueError("a test"))


def test_files_that_verbs_leave_are_private(
    home: Path, model: Path, tmp_path: Path
) -> None:
    home.chmod(0o755)
    with umask(0):
        use_all(model, tmp_path)
    kinds = {entry.relative_to(home).parts[0] for entry in entries(home)}
    assert kinds >= {"cache", "data", "state", "logs", "config.toml"}
    assert not_private(home) == {}
    assert home.stat().st_mode & 0o777 == 0o755  # was there before
    for name in ("page.html", "talk.md"):  # named by the user
        assert (tmp_path / name).stat().st_mode & 0o777 == 0o666


def test_loose_permissions_are_mended_on_use(
    home: Path, model: Path, tmp_path: Path
) -> None:
    (own := home / "models" / "own.gguf").parent.mkdir()
    own.write_bytes(model.read_bytes())
    (elsewhere := tmp_path / "elsewhere").mkdir()
    (outside := elsewhere / "outside").touch()
    use_all(own, tmp_path)
    (entry,) = (home / "cache" / "packed").iterdir()
    for link, target in (
        (entry / "link", outside),
        (home / "data" / "chats.db.broken-1", outside),
        (home / "state" / "link", elsewhere),
    ):
        link.symlink_to(target)
    loosen(home)
    loosen(tmp_path)
    (tmp_path / "talk.md").unlink()
    use_all(own, tmp_path)
    assert not_private(home) == {
        "config.toml": "-rw-r--r--",  # may be the user's own
        "models": "drwxr-xr-x",
        "models/own.gguf": "-rw-r--r--",
    }
    assert outside.stat().st_mode & 0o777 == 0o644
    assert elsewhere.stat().st_mode & 0o777 == 0o755


def test_imported_adapter_is_private(home: Path, tmp_path: Path) -> None:
    with umask(0):
        base = tiny.save_llama(tmp_path / "base")
        lora = learned.save_lora(tmp_path / "lora", base)
        import_adapter(lora, "notes")
    assert not_private(home) == {}
