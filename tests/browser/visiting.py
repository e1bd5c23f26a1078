"""A visit of the explorer in a real browser: what it should not have done, and what it has drawn; read by the tests."""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from playwright.sync_api import Page

HEADING = ".page-latent section h2"
LAST_TILE = re.compile("^Notes$")
DRAWING = """words => {
  const found = [...Bokeh.documents[0].all_models].filter(m => m.class_name == "Canvas").map(canvas => {
    const bytes = canvas.data.payload, buffer = bytes instanceof ArrayBuffer ? bytes : bytes.buffer.slice(
      bytes.byteOffset, bytes.byteOffset + bytes.byteLength)
    if (!buffer.byteLength) { return null }
    const length = new DataView(buffer).getUint32(0, true)
    const header = JSON.parse(new TextDecoder().decode(new Uint8Array(buffer, 4, length)))
    const arrays = header.arrays.map(([type, at, size]) => Array.from(
      new {f4: Float32Array, u1: Uint8Array}[type](buffer, at, size)))
    const layers = header.panels.flatMap(panel => panel.layers.map(layer => ({...layer, panel: panel.id,
      arrays: Object.fromEntries(Object.entries(layer.arrays).map(([name, number]) => [name, arrays[number]]))})))
    return {summary: header.summary, layers}
  }).filter(drawing => drawing?.summary.includes(words))
  if (found.length != 1) { throw new Error(`${found.length} drawings say ${words}`) }
  return found[0]
}"""
TEXT = """root => {
  const words = node => node.nodeType == Node.TEXT_NODE ? node.textContent
    : ["STYLE", "SCRIPT"].includes(node.tagName) ? ""
    : [...(node.shadowRoot ?? node).childNodes].map(words).join(" ")
  return words(root)
}"""
TILES = """tiles => tiles.map(tile => {
  const below = each => [each, ...(each.shadowRoot ? all(each.shadowRoot) : [])]
  const all = root => [...root.querySelectorAll("*")].flatMap(below)
  const parts = all(tile.shadowRoot ?? tile), shown = parts.filter(each => each.checkVisibility())
  const ink = canvas => {
    const copy = new OffscreenCanvas(canvas.width, canvas.height).getContext("2d", {willReadFrequently: true})
    copy.drawImage(canvas, 0, 0)
    const {data} = copy.getImageData(0, 0, canvas.width, canvas.height)
    let inked = 0, light = 0
    for (let i = 0; i < data.length; i += 4) {
      if (data[i + 3]) { inked += 1; light += data[i] + data[i + 1] + data[i + 2] }
    }
    return {inked, light}
  }
  const canvases = shown.filter(each => each.matches("canvas:not([aria-hidden=true])") && each.width && each.height)
  return {
    shown: tile.checkVisibility(),
    title: parts.find(each => each.matches("h2, h3"))?.textContent ?? "",
    words: shown.filter(each => each.matches("p, li, td, dt, dd, h2")).map(each => each.textContent).filter(Boolean),
    labels: canvases.map(each => each.getAttribute("aria-label") ?? ""),
    painted: canvases.map(each => ({...ink(each), ours: each.getAttribute("role") == "img"})),
  }
})"""
"""What the tiles of a page show: their words, what their canvases say they show, and the ink on these."""


class Visit:
    """One browser page that writes down everything it should not have done."""

    def __init__(self, page: Page, url: str) -> None:
        self.page, self.url = page, url
        self.complaints: list[str] = []
        page.on("console", lambda m: self.complaints.append(m.text) if m.type in ("error", "warning") else None)
        page.on("pageerror", lambda error: self.complaints.append(str(error)))
        page.on("request", lambda request: self._local(request.url))
        page.on("websocket", lambda socket: self._local(socket.url))

    def _local(self, url: str) -> None:
        if urlsplit(url).scheme not in ("data", "blob") and urlsplit(url).hostname != "127.0.0.1":
            self.complaints.append(f"left the machine: {url}")

    def open(self, query: str = "", waiting_for: str = HEADING) -> None:
        self.page.goto(self.url + query)
        self.page.locator(waiting_for).first.wait_for(timeout=60_000)
        if waiting_for == HEADING:
            self.page.locator(".page-latent h3", has_text=LAST_TILE).wait_for(timeout=60_000)
        self.rest()

    def rest(self) -> None:
        """Wait until neither side has anything on its way."""
        self.page.wait_for_function("() => Bokeh.documents.length && Bokeh.documents[0].is_idle", timeout=60_000)

    def whole(self, name: str, n_tiles: int) -> None:
        """Wait until all tiles of a page are there and every canvas in them is painted."""
        painted = "all => all.filter(canvas => canvas.checkVisibility() && !canvas.dataset.painted).length"
        tiles = self.page.locator(f".page-{name} .tiles > .tile")
        for _ in range(600):
            self.rest()
            waiting = self.page.locator(f".page-{name} canvas[role=img]").evaluate_all(painted)
            if tiles.count() == n_tiles and not waiting:
                return
            self.page.wait_for_timeout(100)
        raise AssertionError(f"{tiles.count()} tiles of {n_tiles} on page {name}, {waiting} canvases without paint")

    def tiles(self, name: str) -> list[dict[str, Any]]:
        """What the tiles of a page show, those of another page's left out."""
        found: list[dict[str, Any]] = self.page.locator(f".page-{name} .tiles > .tile").evaluate_all(TILES)
        return found

    def layers(self, words: str, **style: object) -> list[dict[str, list[float]]]:
        """Arrays of the layers of this style in the drawing whose summary says these words."""
        layers = self.page.evaluate(DRAWING, words)["layers"]
        return [each["arrays"] for each in layers if all(each.get(name) == value for name, value in style.items())]

    def text(self, selector: str) -> str:
        """All words under an element, shadow trees included."""
        return str(self.page.locator(selector).first.evaluate(TEXT))

    def direction(self) -> float:
        """Angle of the mean direction drawn in the polar plot (rad)."""
        (mean,) = self.layers(": mean direction", kind="line", colour="behaviour")
        return math.atan2(mean["y"][1], mean["x"][1])

    def wait_for_latent(self, latent: int) -> None:
        """Both the card and the URL, which come in their own time, name the latent."""
        self.page.locator(HEADING).filter(has_text=re.compile(rf"^Latent {latent}\b")).wait_for(timeout=20_000)
        self.page.wait_for_url(re.compile(rf"[?&]latent={latent}(&|$)"), timeout=20_000)
