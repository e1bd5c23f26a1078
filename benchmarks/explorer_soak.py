"""Twenty visitors click in the explorer at once for a minute: no error, and nobody waits long."""

from __future__ import annotations

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")

import asyncio
import random
import runpy
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from explorer import CHROMIUM_FLAGS, ROOT, WATCH, Served, chromium, served
from reporting import announce, conclude

if TYPE_CHECKING:
    from playwright.async_api import Browser, Page

N_VISITORS = 20
LASTS_S = 60.0
LOOKS_S = 3.0
MOST_MS = 500.0

CLICK = """async row => {
  const below = each => [each, ...(each.shadowRoot ? all(each.shadowRoot) : [])]
  const all = root => [...root.querySelectorAll("*")].flatMap(below)
  const others = ".tabulator-row:not(.tabulator-selected) [tabulator-field=latent]"
  const cells = all(document).filter(each => each.matches(others) && each.offsetParent !== null)
  const cell = cells[row % cells.length], latent = cell.textContent.trim(), began = performance.now()
  cell.click()
  const named = () => new URLSearchParams(location.search).get("latent") === latent
  for (;;) {
    await new Promise(requestAnimationFrame)
    const {last, now} = watched()
    if (named() && last > began && now - last > 150) { return last - began }
    if (performance.now() - began > 30000) { throw new Error(`latent ${latent} was not drawn in 30 s`) }
  }
}"""
"""Clicks a row and waits for the last stroke of the latent's plots (ms)."""


async def visit(page: Page, number: int, until: float, waits_ms: list[float]) -> None:
    """Click a row, look, and click another."""
    chance = random.Random(number)
    while time.monotonic() < until:
        waits_ms.append(float(await page.evaluate(CLICK, chance.randrange(10_000))))
        await asyncio.sleep(LOOKS_S * chance.uniform(0.5, 1.5))


async def entered(browser: Browser, url: str, errors: list[str]) -> Page:
    """A visitor of their own, with the page drawn."""
    context = await browser.new_context(viewport={"width": 1440, "height": 1000})
    await context.add_init_script(WATCH)
    page = await context.new_page()
    page.on("console", lambda said: errors.append(said.text) if said.type in ("error", "warning") else None)
    page.on("pageerror", lambda error: errors.append(str(error)))
    await page.goto(url, timeout=180_000)
    await page.locator(".page-latent section h2").first.wait_for(timeout=180_000)
    await page.wait_for_function(
        "() => { const s = watched(); return s.last && s.now - s.last > 300 }", timeout=180_000
    )
    return page


async def soak(server: Served, executable: str) -> tuple[list[float], list[str], float]:
    """Waits (ms), errors, and the CPU time of the server for each click (ms)."""
    from playwright.async_api import async_playwright

    errors, waits_ms = list[str](), list[float]()
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=executable, args=list(CHROMIUM_FLAGS))
        pages = [await entered(browser, server.url, errors) for _ in range(N_VISITORS)]
        before, until = server.cpu_s(), time.monotonic() + LASTS_S
        ended = await asyncio.gather(
            *(visit(page, number, until, waits_ms) for number, page in enumerate(pages)), return_exceptions=True
        )
        errors += [str(outcome) for outcome in ended if outcome is not None]
        spent_ms = 1000 * (server.cpu_s() - before)
        await browser.close()
    return waits_ms, errors, spent_ms / max(len(waits_ms), 1)


def main() -> None:
    announce(f"Explorer: {N_VISITORS} visitors at once for {LASTS_S:g} s")
    executable = chromium()
    if executable is None:
        print("no Chromium on this machine; nothing was measured")
        sys.exit(1)
    write: Any = runpy.run_path(str(ROOT / "tests" / "explorer" / "full_size_run.py"))["write_full_size_run"]
    with tempfile.TemporaryDirectory() as folder:
        write(Path(folder) / "2026-03-01T10-22-05_maze_matryoshka-sae_7f3a")
        with served(Path(folder)) as server:
            before_mb = server.memory_mb()
            waits_ms, errors, server_ms = asyncio.run(soak(server, executable))
            grown_mb = (server.memory_mb() - before_mb) / N_VISITORS
    if not waits_ms:
        sys.exit(f"nobody was served: {errors[:1]}")
    ordered = sorted(waits_ms)
    print(
        f"{len(waits_ms)} clicks, a visitor every {LOOKS_S:g} s or so: median {statistics.median(ordered):.0f} ms, "
        f"19 of 20 within {ordered[int(0.95 * len(ordered))]:.0f} ms, slowest {ordered[-1]:.0f} ms"
    )
    print(f"server: {server_ms:.0f} ms of CPU a click, {grown_mb:.1f} MB a visitor; load {os.getloadavg()[0]:.1f}")
    for error in dict.fromkeys(errors):
        print("ERROR", error[:300])
    conclude(
        {
            "no error": not errors,
            f"median at most {MOST_MS:g} ms": statistics.median(ordered) <= MOST_MS,
            "every visitor was served": len(waits_ms) >= N_VISITORS * LASTS_S / (3 * LOOKS_S),
        }
    )


if __name__ == "__main__":
    main()
