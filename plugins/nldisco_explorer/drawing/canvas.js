// A canvas in a page that shows payloads, follows its width and the page's theme, and tells what a person does on it.
// Stands below panels.js in one module.

const STYLE = `
  .drawing { position: relative; width: 100%; }
  .drawing canvas { display: block; width: 100%; }
  .drawing canvas + canvas { position: absolute; left: 0; top: 0; pointer-events: none; }
  .drawing canvas:focus-visible { outline: 2px solid var(--mui-palette-primary-main, #2b86c5); outline-offset: 2px; border-radius: 4px; }
  .drawing output { position: absolute; pointer-events: none; z-index: 2; padding: 5px 9px; border-radius: 6px; font-size: 12px;
    line-height: 1.45; white-space: pre; max-width: 320px; overflow: hidden; text-overflow: ellipsis; font-variant-numeric: tabular-nums; }
  .drawing p { margin: 4px 0 0; font-size: 12.5px; line-height: 1.45; color: var(--mui-palette-text-secondary, inherit); }
`
const SETTLED_MS = 60

// Shows payloads in `host`. `themes`: light and dark; `tell`: called with what a person did; `dark`: says which theme is in force.
export function mount(host, {themes, tell = () => {}, dark = () => darkGround(host)}) {
  const frame = document.createElement("div"), style = document.createElement("style")
  const [base, over] = [document.createElement("canvas"), document.createElement("canvas")]
  const tip = document.createElement("output"), caption = document.createElement("p")
  frame.className = "drawing"
  style.textContent = STYLE
  tip.hidden = true
  tip.setAttribute("aria-hidden", "true")
  base.setAttribute("role", "img")
  over.setAttribute("aria-hidden", "true")
  caption.setAttribute("aria-hidden", "true")  // the canvas has the same words as its label
  frame.append(base, over, tip, caption)
  host.append(style, frame)

  const state = {ranges: {}}
  let payload = null, scene = null, theme = themes.light, isDark = null, asked = 0, drag = null, timer = null, moved = false
  const pointers = new Map()

  function repaint() { if (!asked) { asked = requestAnimationFrame(paintNow) } }

  function paintNow() {
    asked = 0
    const width = Math.round(frame.clientWidth)
    if (payload === null || width < 20) { return }
    isDark = dark()
    theme = {...themes[isDark ? "dark" : "light"], font: getComputedStyle(frame).fontFamily}
    const ratio = window.devicePixelRatio || 1, {height} = layout(payload.header, width, theme.font)
    for (const canvas of [base, over]) {
      if (canvas.width !== Math.round(width * ratio) || canvas.height !== Math.round(height * ratio)) {
        canvas.width = Math.round(width * ratio)
        canvas.height = Math.round(height * ratio)
        canvas.style.height = `${height}px`
      }
    }
    const context = base.getContext("2d")
    context.setTransform(ratio, 0, 0, ratio, 0, 0)
    scene = paint(context, payload, theme, width, state)
    paintPointer()
    base.dataset.painted = payload.header.stamp
  }

  function paintPointer() {
    const context = over.getContext("2d"), ratio = window.devicePixelRatio || 1
    context.setTransform(ratio, 0, 0, ratio, 0, 0)
    paintOver(context, scene, theme, state)
  }

  function show(bytes) {
    if (!bytes || !bytes.byteLength) { return }
    payload = decode(bytes)
    if (!moved) { state.ranges = {} }
    const [yaw, pitch] = payload.header.turn
    state.turn ??= {yaw, pitch}
    base.setAttribute("aria-label", payload.header.summary)
    caption.textContent = payload.header.summary
    const links = Object.keys(payload.header.limits)
    if (links.length) { base.tabIndex = 0 } else { base.removeAttribute("tabindex") }
    const free = payload.header.panels.some(panel => ["lasso", "turn"].includes(panel.drag))
    base.style.touchAction = free ? "none" : links.length ? "pan-y" : "auto"
    repaint()
  }

  // A linked range moved: drawn at once from what is here, and told when it rests.
  function range(link, low, high) {
    const [least, most, span] = payload.header.limits[link]
    const width = Math.min(Math.max(high - low, span), most - least)
    const middle = (low + high) / 2, from = Math.min(Math.max(middle - width / 2, least), most - width)
    state.ranges[link] = [from, from + width]
    moved = true
    repaint()
    clearTimeout(timer)
    timer = setTimeout(() => { moved = false; tell({kind: "range", link, low: from, high: from + width}) }, SETTLED_MS)
  }

  const shown = link => {
    const panel = payload.header.panels.find(each => each.x.link === link)
    return state.ranges[link] ?? [panel.x.low, panel.x.high]
  }

  function zoom(link, factor, about) {
    const [low, high] = shown(link), middle = about ?? (low + high) / 2
    range(link, middle - (middle - low) * factor, middle + (high - middle) * factor)
  }

  const place = event => { const box = base.getBoundingClientRect(); return [event.clientX - box.left, event.clientY - box.top] }

  function hover(event) {
    const at = place(event), found = scene && locate(scene, ...at, state)
    state.at = found ? at : null
    paintPointer()
    const panel = found && scene.panels[found.index].panel
    base.style.cursor = !panel ? "default" : found.item !== null && panel.click ? "pointer"
      : panel.drag === "lasso" ? "crosshair" : panel.drag === "pan" || panel.drag === "turn" ? "grab" : panel.strip ? "pointer" : "default"
    tip.hidden = !found?.words.length
    if (tip.hidden) { return }
    tip.textContent = found.words.join("\n")
    Object.assign(tip.style, {background: theme.tip, color: theme.tip_text})
    const width = tip.offsetWidth, beyond = at[0] + 16 + width > frame.clientWidth
    tip.style.left = `${beyond ? Math.max(at[0] - 16 - width, 0) : at[0] + 16}px`
    tip.style.top = `${Math.max(at[1] - tip.offsetHeight - 8, 0)}px`
  }

  function down(event) {
    if (event.button || !scene) { return }
    const at = place(event), index = panelAt(scene, ...at)
    pointers.set(event.pointerId, at)
    if (index < 0) { return }
    const view = scene.panels[index], kind = view.panel.strip ? "strip" : view.panel.drag
    drag = {index, kind, from: at, last: at, far: false, range: view.panel.x.link && payload.header.limits[view.panel.x.link] ? shown(view.panel.x.link) : null}
    base.setPointerCapture(event.pointerId)
    if (kind === "lasso") { state.lasso = [at] }
    if (kind === "strip") { centre(view, at) }
  }

  function centre(view, at) {
    const link = view.panel.strip, [low, high] = shown(link), middle = view.vx(at[0])
    range(link, middle - (high - low) / 2, middle + (high - low) / 2)
  }

  function move(event) {
    if (!scene) { return }
    if (!drag) { hover(event); return }
    const at = place(event), view = scene.panels[drag.index]
    if (pointers.has(event.pointerId)) { pointers.set(event.pointerId, at) }
    if (pointers.size === 2 && drag.range) { pinch(view); return }
    drag.far ||= Math.hypot(at[0] - drag.from[0], at[1] - drag.from[1]) > 4
    if (!drag.far) { return }
    tip.hidden = true
    if (drag.kind === "pan" && drag.range) {
      const by = (drag.from[0] - at[0]) / view.box.w * (drag.range[1] - drag.range[0])
      range(view.panel.x.link, drag.range[0] + by, drag.range[1] + by)
    } else if (drag.kind === "turn") {
      state.turn.yaw += (at[0] - drag.last[0]) * 0.01
      state.turn.pitch = Math.max(-1.57, Math.min(1.57, state.turn.pitch + (at[1] - drag.last[1]) * 0.01))
      repaint()
    } else if (drag.kind === "lasso") {
      state.lasso.push(at)
      paintPointer()
    } else if (drag.kind === "strip") { centre(view, at) }
    drag.last = at
  }

  function pinch(view) {
    const [a, b] = [...pointers.values()], apart = Math.max(Math.abs(a[0] - b[0]), 10)
    drag.far = true
    drag.apart ??= apart
    const factor = drag.apart / apart, middle = view.vx((a[0] + b[0]) / 2)
    range(view.panel.x.link, middle - (middle - drag.range[0]) * factor, middle + (drag.range[1] - middle) * factor)
  }

  function up(event) {
    pointers.delete(event.pointerId)
    if (!drag) { return }
    const {index, far, kind} = drag, view = scene.panels[index], at = place(event)
    drag = null
    if (kind === "turn" && far) { tell({kind: "turn", ...state.turn}) }
    if (kind === "lasso" && far) {
      tell({kind: "lasso", panel: view.panel.id, items: within(scene, index, state.lasso, state)})
    } else if (!far && view.panel.click) {
      const found = locate(scene, ...at, state)
      tell({kind: "click", panel: view.panel.id, item: found?.item ?? null, x: view.vx(at[0]), y: view.vy(at[1])})
    }
    state.lasso = null
    paintPointer()
  }

  function wheel(event) {
    const index = scene ? panelAt(scene, ...place(event)) : -1
    const view = scene?.panels[index], link = view?.panel.strip || view?.panel.x.link
    if (!link || !payload.header.limits[link]) { return }
    const [low, high] = shown(link)
    if (event.ctrlKey || event.metaKey || event.shiftKey && event.deltaY) {
      zoom(link, Math.exp((event.deltaY || event.deltaX) * (event.ctrlKey ? 0.006 : 0.002)), view.panel.strip ? null : view.vx(place(event)[0]))
    } else if (Math.abs(event.deltaX) > Math.abs(event.deltaY)) {
      range(link, low + event.deltaX / 800 * (high - low), high + event.deltaX / 800 * (high - low))
    } else { return }
    event.preventDefault()
  }

  function key(event) {
    const link = payload && Object.keys(payload.header.limits)[0]
    if (!link || event.ctrlKey || event.metaKey || event.altKey) { return }
    const [low, high] = shown(link), step = 0.2 * (high - low)
    if (event.key === "ArrowLeft") { range(link, low - step, high - step) }
    else if (event.key === "ArrowRight") { range(link, low + step, high + step) }
    else if (event.key === "+" || event.key === "=") { zoom(link, 0.6) }
    else if (event.key === "-") { zoom(link, 1 / 0.6) }
    else { return }
    event.preventDefault()
    event.stopPropagation()
  }

  function whole(event) {
    const index = scene ? panelAt(scene, ...place(event)) : -1, link = scene?.panels[index]?.panel.x.link
    if (link && payload.header.limits[link]) { range(link, ...payload.header.limits[link]) }
  }

  base.addEventListener("pointerdown", down)
  base.addEventListener("pointermove", move)
  base.addEventListener("pointerup", up)
  base.addEventListener("pointercancel", event => { pointers.delete(event.pointerId); drag = null; state.lasso = null; paintPointer() })
  base.addEventListener("pointerleave", () => { if (!drag && scene) { state.at = null; tip.hidden = true; paintPointer() } })
  base.addEventListener("wheel", wheel, {passive: false})
  base.addEventListener("keydown", key)
  base.addEventListener("dblclick", whole)
  const sizes = new ResizeObserver(repaint)
  sizes.observe(frame)
  const follow = () => { if (dark() !== isDark) { repaint() } }
  // once when the theme is likely there, and once when the slowest page has put it on
  const looks = new MutationObserver(() => { setTimeout(repaint, 60); setTimeout(follow, 600) })
  for (const element of [document.documentElement, document.body]) {
    looks.observe(element, {attributes: true, attributeFilter: ["class", "style", "data-theme", "data-mui-color-scheme"]})
  }
  return {
    show,
    repaint,
    zoom: factor => { const link = payload && Object.keys(payload.header.limits)[0]; if (link) { zoom(link, factor) } },
    remove: () => { sizes.disconnect(); looks.disconnect(); clearTimeout(timer) },
  }
}

// Whether the ground that an element stands on is dark.
function darkGround(element) {
  const sample = document.createElement("i")
  sample.style.color = "var(--mui-palette-background-paper, var(--panel-surface-color, var(--panel-background-color, #ffffff)))"
  element.append(sample)
  const [red, green, blue] = (getComputedStyle(sample).color.match(/[\d.]+/g) ?? [255, 255, 255]).map(Number)
  sample.remove()
  return 0.299 * red + 0.587 * green + 0.114 * blue < 128
}
