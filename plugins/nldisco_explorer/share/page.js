// The page of a shared run: a table that sorts and filters, and tiles drawn from payloads. Stands below panels.js and
// canvas.js in one module; asks for nothing.

const data = JSON.parse(document.getElementById("data").textContent)
const at = id => document.getElementById(id)
const dark = () => document.documentElement.dataset.theme === "dark"

// Text to tiles with their drawings in place.
async function unpack(text) {
  const packed = Uint8Array.from(atob(text), each => each.charCodeAt(0))
  const stream = new Blob([packed]).stream().pipeThrough(new DecompressionStream("gzip"))
  const bytes = new Uint8Array(await new Response(stream).arrayBuffer())
  const length = new DataView(bytes.buffer).getUint32(0, true), start = 4 + length
  const tiles = JSON.parse(new TextDecoder().decode(bytes.subarray(4, start)))
  for (const tile of tiles) { tile.drawings = tile.drawings.map(([from, size]) => bytes.slice(start + from, start + from + size)) }
  return tiles
}

// Tiles are made once; canvases stay and are shown the next payload.
class Tiles {
  constructor(root) {
    this.root = root
    this.made = new Map()
  }
  show(tiles) {
    const seen = new Set()
    for (const tile of tiles) {
      seen.add(tile.name)
      if (!this.made.has(tile.name)) { this.made.set(tile.name, this.make(tile)) }
      const {article, words, hosts} = this.made.get(tile.name)
      article.hidden = false
      words.innerHTML = tile.html.join("")  // written by the views, with all that people or files say escaped
      while (hosts.length < tile.drawings.length) { hosts.push(this.host(article, tile.title)) }
      hosts.forEach(({element, mounted}, i) => {
        element.hidden = i >= tile.drawings.length
        if (!element.hidden) { mounted.show(tile.drawings[i]) }
      })
    }
    for (const [name, {article}] of this.made) { if (!seen.has(name)) { article.hidden = true } }
  }
  make(tile) {
    const article = document.createElement("article"), words = document.createElement("div")
    article.className = `tile ${tile.wide ? "wide" : "narrow"}`
    article.dataset.tile = tile.name
    if (tile.headed) {
      const heading = document.createElement("h2")
      heading.textContent = tile.title
      article.append(heading)
    }
    words.className = "words"
    article.append(words)
    this.root.append(article)
    return {article, words, hosts: []}
  }
  host(article) {
    const element = document.createElement("div")
    article.append(element)
    return {element, mounted: mount(element, {themes: data.themes, dark})}
  }
}

const tiles = {latent: new Tiles(at("latent")), overview: new Tiles(at("overview"))}
const latentColumn = data.columns.indexOf("latent")
let order = data.rows.map((_, i) => i), sorted = {column: -1, down: false}, chosen = 0, page = "latent"

// Whether a row has what was typed: part of any cell, or a comparison such as q < 0.05.
function fits(row, words) {
  const asked = words.match(/^\s*(.+?)\s*(<=|>=|<|>|=)\s*(-?[\d.]+(?:e-?\d+)?)\s*$/i)
  const column = asked ? data.columns.findIndex(name => name.toLowerCase() === asked[1].toLowerCase()) : -1
  if (column >= 0) {
    const [value, limit] = [row[column], Number(asked[3])]
    if (typeof value !== "number") { return false }
    return {"<": value < limit, ">": value > limit, "<=": value <= limit, ">=": value >= limit, "=": value === limit}[asked[2]]
  }
  return row.some(cell => cell !== null && String(cell).toLowerCase().includes(words.trim().toLowerCase()))
}

function compare(a, b) {
  if (a === null || b === null) { return a === b ? 0 : a === null ? 1 : -1 }  // what is not known comes last either way
  const ascending = typeof a === "number" && typeof b === "number" ? a - b : String(a).localeCompare(String(b), "en", {numeric: true})
  return sorted.down ? -ascending : ascending
}

function arrange_rows() {
  order = data.rows.map((_, i) => i).filter(i => fits(data.rows[i], at("filter").value))
  if (sorted.column >= 0) { order.sort((i, j) => compare(data.rows[i][sorted.column], data.rows[j][sorted.column])) }
}

function fill() {
  arrange_rows()
  const head = document.createElement("thead"), line = head.insertRow(), body = document.createElement("tbody")
  data.columns.forEach((name, column) => {
    const cell = document.createElement("th"), button = document.createElement("button")
    cell.scope = "col"
    cell.setAttribute("aria-sort", sorted.column !== column ? "none" : sorted.down ? "descending" : "ascending")
    button.type = "button"
    button.textContent = name.replaceAll("_", " ") + (sorted.column !== column ? "" : sorted.down ? " ↓" : " ↑")
    button.addEventListener("click", () => { sorted = {column, down: sorted.column === column && !sorted.down}; fill() })
    cell.append(button)
    line.append(cell)
  })
  for (const i of order) {
    const row = body.insertRow()
    row.dataset.row = i
    row.tabIndex = 0
    row.setAttribute("aria-selected", String(i === chosen))
    for (const value of data.rows[i]) { row.insertCell().textContent = value === null ? "–" : String(value) }
    row.addEventListener("click", () => go("latent", i))
    row.addEventListener("keydown", event => { if (event.key === "Enter") { go("latent", i) } })
  }
  at("table").replaceChildren(head, body)
  at("count").textContent = `${order.length} of ${data.rows.length} rows shown. ${data.chosen}`
}

let asked = 0
async function draw() {
  const mine = ++asked
  at("latent").hidden = page !== "latent"
  at("overview").hidden = page !== "overview"
  document.querySelector("aside").hidden = page !== "latent"
  document.querySelector("main").classList.toggle("whole", page !== "latent")
  for (const name of ["latent", "overview"]) {
    if (name === page) { at(`to-${name}`).setAttribute("aria-current", "page") } else { at(`to-${name}`).removeAttribute("aria-current") }
  }
  for (const row of at("table").querySelectorAll("tbody tr")) { row.setAttribute("aria-selected", String(Number(row.dataset.row) === chosen)) }
  const packed = page === "overview" ? data.overview : data.latents[chosen]
  if (packed === undefined) { return }
  const unpacked = await unpack(packed)
  if (mine === asked) {  // a later click has not overtaken this one
    tiles[page].show(unpacked)
    document.title = page === "overview" ? data.run : `${data.names[chosen]} · ${data.run}`
    document.body.dataset.drawn = page === "overview" ? "overview" : data.names[chosen]
  }
}

function go(to, row = chosen) {
  page = to
  chosen = row
  const hash = to === "overview" ? "#overview" : `#latent=${data.names[row].replace("Latent ", "")}`
  if (location.hash !== hash && data.rows.length) { history.pushState(null, "", hash) }
  draw()
}

function follow() {
  const named = decodeURIComponent(location.hash).match(/^#latent=(.+)$/)
  const found = named ? data.names.indexOf(`Latent ${named[1]}`) : -1
  page = location.hash === "#overview" || !data.rows.length ? "overview" : "latent"
  if (found >= 0) { chosen = found }
  draw()
}

function step(by) {
  const next = order[Math.min(Math.max(order.indexOf(chosen) + by, 0), order.length - 1)]
  if (next !== undefined) {
    go("latent", next)
    at("table").querySelector(`tr[data-row="${next}"]`)?.scrollIntoView({block: "nearest"})
  }
}

function csv() {
  const quoted = cell => cell === null ? "" : /[",\n]/.test(String(cell)) ? `"${String(cell).replaceAll('"', '""')}"` : String(cell)
  const lines = [data.columns, ...order.map(i => data.rows[i])].map(row => row.map(quoted).join(","))
  const link = document.createElement("a")
  link.href = URL.createObjectURL(new Blob([lines.join("\n") + "\n"], {type: "text/csv"}))
  link.download = `${data.run}.csv`
  link.click()
}

function theme(name) {
  document.documentElement.dataset.theme = name
  at("theme").textContent = name === "dark" ? "Light" : "Dark"
}

at("run").textContent = data.run
at("filter").addEventListener("input", fill)
at("csv").addEventListener("click", csv)
at("to-latent").addEventListener("click", () => go("latent"))
at("to-overview").addEventListener("click", () => go("overview"))
at("theme").addEventListener("click", () => theme(dark() ? "light" : "dark"))
window.addEventListener("popstate", follow)
document.addEventListener("keydown", event => {
  if (["INPUT", "CANVAS"].includes(event.target.tagName) || event.ctrlKey || event.metaKey || event.altKey) { return }
  if (event.key === "j" || event.key === "ArrowDown") { step(1); event.preventDefault() }
  if (event.key === "k" || event.key === "ArrowUp") { step(-1); event.preventDefault() }
})
theme(window.matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light")
fill()
follow()
