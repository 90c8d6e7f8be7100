"""The picture of the page that `lmtui inspect --html` writes; it needs a Chromium."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parent.parent
PICTURE = ROOT / ".github" / "screenshots" / "page.png"
SIZE = "1240,900"
PROSE = """\
It is a truth universally acknowledged, that a single man in possession of a good
fortune, must be in want of a wife.

However little known the feelings or views of such a man may be on his first entering
a neighbourhood, this truth is so well fixed in the minds of the surrounding families,
that he is considered as the rightful property of some one or other of their daughters.

"My dear Mr. Bennet," said his lady to him one day, "have you heard that Netherfield
Park is let at last?"
"""  # Jane Austen, 1813
OTHER = """\
吾輩は猫である。名前はまだ無い。どこで生れたかとんと見当がつかぬ。🐈
"""  # Natsume Sōseki, 1905


def main() -> None:
    """Write three texts of different kinds as a page, and draw its beginning."""
    browser = shutil.which("chromium") or shutil.which("google-chrome")
    if browser is None:
        sys.exit("error: there is no Chromium to draw the page with")
    with tempfile.TemporaryDirectory() as folder:
        texts = {"prose.txt": PROSE, "neko.txt": OTHER}
        texts["windows.py"] = (ROOT / "lmtui/engine/windows.py").read_text("utf-8")
        for name, text in texts.items():
            Path(folder, name).write_text(text, encoding="utf-8")
        ours = [sys.executable, "-m", "lmtui", "inspect", *texts, "--html", "page.html"]
        subprocess.run(ours, check=True, cwd=folder)
        flags = ["--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars"]
        flags += [f"--window-size={SIZE}", f"--screenshot={PICTURE}"]
        page = Path(folder, "page.html").as_uri()
        profile = f"--user-data-dir={folder}/profile"
        subprocess.run([browser, *flags, profile, page], check=True, timeout=60)


main()
