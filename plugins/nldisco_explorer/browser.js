// What the page does by itself: keys, history, clipboard, the list of keys, and the word that the server is gone.

const STYLE = `
  dialog { border: 1px solid rgba(128, 138, 150, 0.4); border-radius: 12px; padding: 20px 24px; max-width: 460px; font: 14px/1.5 system-ui, sans-serif;
    background: var(--mui-palette-background-paper, #ffffff); color: var(--mui-palette-text-primary, #1b232c); }
  dialog::backdrop { background: rgba(8, 14, 20, 0.45); }
  h2 { margin: 0 0 12px; font-size: 17px; font-weight: 600; }
  dl { display: grid; grid-template-columns: max-content 1fr; gap: 7px 18px; margin: 0 0 16px; }
  dd { margin: 0; }
  kbd { font: 12.5px ui-monospace, monospace; border: 1px solid rgba(128, 138, 150, 0.55); border-bottom-width: 2px; border-radius: 5px; padding: 1px 6px; }
  label { display: block; margin-bottom: 14px; }
  input { display: block; margin-top: 6px; font: inherit; padding: 7px 10px; width: 12em; border-radius: 6px; border: 1px solid rgba(128, 138, 150, 0.7);
    background: transparent; color: inherit; }
  button { font: inherit; font-weight: 500; padding: 6px 16px; border-radius: 6px; border: 0; cursor: pointer;
    background: var(--mui-palette-primary-main, #1a6aa5); color: var(--mui-palette-primary-contrastText, #ffffff); }
  .say { position: fixed; left: 50%; bottom: 22px; transform: translateX(-50%); z-index: 2000; display: flex; gap: 16px; align-items: center;
    padding: 11px 18px; border-radius: 10px; font: 14px/1.45 system-ui, sans-serif; background: #26323d; color: #ffffff; box-shadow: 0 6px 24px rgba(0, 0, 0, 0.35); }
  .say.gone { background: #8a2b1c; }
  .say button { background: #ffffff; color: #1b232c; white-space: nowrap; }
  [hidden] { display: none !important; }
`

const KEYS = [
  [["j", "↓"], "next latent of the table"],
  [["k", "↑"], "latent before"],
  [["/"], "search in the table, or turn to the one of mappings"],
  [["g"], "go to a latent by its number"],
  [["p"], "pin the latent, or unpin it"],
  [["l"], "name the latent"],
  [["c"], "copy a link to what is in view"],
  [["?"], "this list"],
]

const PATIENCE_MS = 1500  // a step that is not answered by then is given up

const FIELD_MS = 50, FIELD_PATIENCE_MS = 8000  // how often, and how long, a field that a key asked for is looked for

const CALM_MS = 200  // how often tables are looked after

// Panel's tables ask again and again, without a pause, whether their style sheets have loaded. Those that were replaced on their way, as by the
// theme, never tell: half a core was spent on waiting for them.
function calm(views) {
  for (const table of views.query(each => each._resize_pending && each._initialized_stylesheets instanceof Map)) {
    for (const link of table.shadow_el.querySelectorAll("link")) {
      if (link.sheet) { table._initialized_stylesheets.set(link.href, true) }
    }
  }
}

const keysHeld = event => event.ctrlKey || event.metaKey || event.altKey

// The element that a key is pressed in, inside any shadow root.
const pressedIn = event => event.composedPath().find(each => each instanceof HTMLElement)

function isWriting(event) {
  const element = pressedIn(event)
  return Boolean(element) && (["INPUT", "TEXTAREA", "SELECT"].includes(element.tagName) && element.type !== "checkbox" && element.type !== "radio"
    || element.isContentEditable)
}

// Whether arrow keys belong to what has the focus: a canvas with an axis of its own, a menu, a slider, a row of buttons.
const keepsArrows = event => event.composedPath().some(each => each instanceof HTMLElement && each !== document.body
  && (each.matches("canvas[tabindex], [role=slider], [role=listbox], [role=menu], [role=combobox], [role=radiogroup], [role=grid] [role=columnheader]")))

export function query(root, selector) {
  const found = root.querySelector(selector)
  if (found) { return found }
  for (const element of root.querySelectorAll("*")) {
    const inside = element.shadowRoot && query(element.shadowRoot, selector)
    if (inside) { return inside }
  }
  return null
}

export function render({model, el, view}) {
  el.innerHTML = `<style>${STYLE}</style>
    <dialog class="help" aria-labelledby="keys"><h2 id="keys">Keys</h2><dl>${KEYS.map(([keys, what]) =>
      `<dt>${keys.map(key => `<kbd>${key}</kbd>`).join(" ")}</dt><dd>${what}</dd>`).join("")}</dl><button>Close</button></dialog>
    <dialog class="go" aria-labelledby="goto"><form method="dialog"><h2 id="goto">Go to a latent</h2>
      <label>number <input inputmode="numeric" pattern="[0-9]*" autocomplete="off"></label><button>Show</button></form></dialog>
    <div class="say" role="status" hidden><span></span><button hidden>Reload</button></div>`
  const [help, go, say] = [".help", ".go", ".say"].map(name => el.querySelector(name))
  const field = go.querySelector("input")
  help.querySelector("button").addEventListener("click", () => help.close())
  say.querySelector("button").addEventListener("click", () => window.location.reload())
  go.querySelector("form").addEventListener("submit", () => { if (field.value.trim()) { tell({kind: "latent", number: field.value.trim()}) } })

  const tell = message => model.send_msg(message)
  let hiding = null
  function announce(words, {gone = false} = {}) {
    clearTimeout(hiding)
    say.hidden = false
    say.classList.toggle("gone", gone)
    say.querySelector("span").textContent = words
    say.querySelector("button").hidden = !gone
    say.setAttribute("role", gone ? "alert" : "status")
    if (!gone) { hiding = setTimeout(() => { say.hidden = true }, 2200) }
  }

  // Steps asked for while the last one is still being drawn are added up, so that a held key never runs ahead.
  let owed = 0, asked = false, patience = null
  function step(by) { owed += by; if (!asked) { send() } }
  function send() {
    if (!owed) { return }
    asked = true
    tell({kind: "step", by: owed})
    owed = 0
    clearTimeout(patience)
    patience = setTimeout(() => { asked = false }, PATIENCE_MS)
  }
  model.on("handled", () => { asked = false; clearTimeout(patience); send() })

  function show(dialog) { if (!help.open && !go.open) { dialog.showModal() } }
  function copy() {
    const link = window.location.href
    navigator.clipboard?.writeText(link).then(() => announce("Link copied."), () => announce(link))
    if (!navigator.clipboard) { announce(link) }  // browsers withhold the clipboard from pages without TLS
  }
  // A field that a key asked for may have to be made first; keys pressed meanwhile were meant for it and do nothing.
  let seeking = null
  function seek(selector) {
    const until = Date.now() + FIELD_PATIENCE_MS
    clearInterval(seeking)
    function look() {
      const made = query(document, selector), input = made && query(made.shadowRoot ?? made, "input")
      const there = input?.checkVisibility()
      if (there) { input.focus() }
      if (there || Date.now() > until) { clearInterval(seeking); seeking = null }
      return there
    }
    if (!look()) { seeking = setInterval(look, FIELD_MS) }
  }
  function search() {
    const own = `.search-${model.page}`, here = query(document, own)
    if (!here) { tell({kind: "search"}) }
    seek(here ? own : ".search-mappings")
  }
  const acts = {
    j: () => step(1), ArrowDown: () => step(1), k: () => step(-1), ArrowUp: () => step(-1),
    "/": search,
    g: () => { field.value = ""; show(go); field.focus() },
    p: () => tell({kind: "pin"}), l: () => { tell({kind: "name"}); seek(".note-name") }, c: copy, "?": () => show(help),
  }
  function pressed(event) {
    if (event.key === "Escape" && isWriting(event)) { pressedIn(event).blur(); return }
    if (keysHeld(event) || isWriting(event) || help.open || go.open || !acts[event.key]) { return }
    if (event.key.startsWith("Arrow") && keepsArrows(event)) { return }
    event.preventDefault()
    if (seeking === null) { acts[event.key]() }
  }

  // Where back and forward led stands in the address already: what is drawn of it takes its place and is no new entry.
  let travelling = true
  function travelled() { travelling = true; tell({kind: "visit", search: window.location.search}) }
  function record() {
    if (!model.linked || !model.search) { return }
    document.title = model.title
    if (window.location.search === model.search) { return }
    const url = `${window.location.pathname}${model.search}${window.location.hash}`
    window.history[travelling || model.replaces ? "replaceState" : "pushState"](null, "", url)
    travelling = false
  }
  record()
  travelling = false
  model.on("search", record)
  function told(message) { clearInterval(seeking); seeking = null; announce(message) }
  model.on("msg:custom", message => message.copy ? copy() : message.help ? show(help) : told(message.say))
  window.addEventListener("keydown", pressed)
  if (model.linked) { window.addEventListener("popstate", travelled) }
  const calming = setInterval(() => calm(view.owner), CALM_MS)
  const document_ = view.model.document
  document_?.on_event("connection_lost", () => announce("The server does not answer. What you see stays, nothing new can be drawn. Start it again, or log in again, then reload.", {gone: true}))
  document_?.on_event("client_reconnected", () => { say.hidden = true })
  model.on("remove", () => { clearInterval(calming); clearInterval(seeking); window.removeEventListener("keydown", pressed); window.removeEventListener("popstate", travelled) })
}
