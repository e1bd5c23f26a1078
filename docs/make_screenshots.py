"""Make the screenshots of the explorer in README and docs: ``python docs/make_screenshots.py RUN [--query …]``."""

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
SERVE = "import sys; from nldisco_core.cli import main; main(['serve', sys.argv[1], '--port', '0', '--no-browser'])"


def main() -> None:
    """Serve a run, open its home page in the system's Chromium and save it in both themes."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run", type=Path, help="folder of a finished run")
    parser.add_argument("--query", default="", help="deep link to the place to show, such as ?latent=3")
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
            save_both(browser.new_page(viewport={"width": width, "height": height}), url + arguments.query)
            browser.close()
    finally:
        server.terminate()
        server.wait()


def save_both(page: Page, url: str) -> None:
    """Save ``explorer-light.png`` and ``explorer-dark.png``."""
    page.goto(url)
    page.locator(".page-latent section h2").wait_for(timeout=60_000)
    page.wait_for_timeout(3000)  # for fonts and the table's own layout, which tell nobody when they are done
    page.screenshot(path=IMAGES / "explorer-light.png")
    page.get_by_role("button", name="Toggle theme").click()
    page.mouse.move(10, 500)
    page.wait_for_timeout(2000)
    page.screenshot(path=IMAGES / "explorer-dark.png")


if __name__ == "__main__":
    main()
