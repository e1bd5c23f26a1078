"""Make screenshots of the explorer: ``python docs/make_screenshots.py RUN [--shot NAME=LINK …]``."""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
from pathlib import Path

from playwright.sync_api import Page, sync_playwright

IMAGES = Path(__file__).parent / "images"
FLAGS = [
    *("--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
]
SETTLED_MS = 4000  # for fonts, the tables' own layout and tiles that follow, which tell nobody when they are done
SERVE = "import sys; from nldisco_core.cli import main; main(['serve', sys.argv[1], '--port', '0', '--no-browser'])"


def main() -> None:
    """Serve a run, open each place asked for in the system's Chromium and save it in both themes."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run", type=Path, help="folder of a finished run")
    parser.add_argument(
        "--shot",
        action="append",
        help="name of the images and deep link to the place they show, such as maze-session=?page=session&latent=3",
    )
    parser.add_argument("--size", default="1440x1000", help="width and height of the window (px)")
    arguments = parser.parse_args()
    executable = shutil.which("chromium") or shutil.which("google-chrome")
    if executable is None:
        parser.error("no Chromium on this machine; install it and try again")
    width, height = map(int, arguments.size.split("x"))
    IMAGES.mkdir(exist_ok=True)
    server = subprocess.Popen([sys.executable, "-c", SERVE, str(arguments.run)], stdout=subprocess.PIPE, text=True)
    try:
        assert server.stdout is not None  # piped above
        url = next(word for word in server.stdout.readline().split() if word.startswith("http://"))
        with sync_playwright() as playwright:
            browser = playwright.chromium.launch(executable_path=executable, args=FLAGS)
            page = browser.new_page(viewport={"width": width, "height": height})
            for shot in arguments.shot or ["explorer="]:
                name, _, link = shot.partition("=")
                save_both(page, url + link, name)
            browser.close()
    finally:
        server.terminate()
        server.wait()


def save_both(page: Page, url: str, name: str) -> None:
    """Save ``NAME-light.png`` and ``NAME-dark.png``."""
    page.goto(url)
    page.locator(".tile").first.wait_for(timeout=60_000)
    page.wait_for_timeout(SETTLED_MS)
    for theme in ("light", "dark"):
        page.screenshot(path=IMAGES / f"{name}-{theme}.png")
        page.get_by_role("button", name="Toggle theme").click()
        page.mouse.move(10, 500)
        page.wait_for_timeout(SETTLED_MS)


if __name__ == "__main__":
    main()
