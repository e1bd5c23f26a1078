// Draws panels on a canvas: pure functions of a payload, a theme, a width and a state. No framework, nothing fetched.
//
// A payload is what `nldisco_explorer.drawing.payload` packs: panels of axes and layers, and the arrays behind them.
// A theme holds colours by name. A state holds what a person did: `ranges` (shown range of each linked axis),
// `turn` (yaw and pitch of clouds), `at` (place of the pointer), `lasso` (corners of the polygon being drawn).

const TYPES = {f4: Float32Array, u1: Uint8Array}

// Bytes to {header, arrays}.
export function decode(bytes) {
  const buffer = bytes instanceof ArrayBuffer ? bytes : bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.byteLength)
  const length = new DataView(buffer).getUint32(0, true)
  const header = JSON.parse(new TextDecoder().decode(new Uint8Array(buffer, 4, length)))
  const arrays = header.arrays.map(([type, offset, size]) => new TYPES[type](buffer, offset, size))
  return {header, arrays, images: new Map()}
}

const LEGEND_LINE = 18, KEY = {gap: 12, width: 13}
const summed = values => values.reduce((sum, each) => sum + each, 0)

// Where each panel stands: columns that do not fit beside each other are continued below.
export function layout(header, width, font = "sans-serif") {
  const {columns, least_column: least} = header
  const fitting = Math.max(1, Math.min(columns.length, Math.floor(width / Math.max(least, 1))))
  const total = summed(columns.slice(0, fitting))
  const across = header.panels.map(panel => {
    const share = (from, to) => summed(columns.slice(from, to)) / total * width
    const left = share(Math.floor(panel.column / fitting) * fitting, panel.column), [, right, , before] = panel.margins
    const wide = share(panel.column, panel.column + Math.min(panel.span ?? 1, fitting))
    return {left, x: left + before, w: Math.max(wide - before - right, 10)}
  })
  const rows = header.rows.map((each, row) => each ?? legendHeight(header, row, across, font))
  const height = summed(rows)
  const boxes = header.panels.map((panel, i) => {
    const top = Math.floor(panel.column / fitting) * height + summed(rows.slice(0, panel.row)), [above, , below] = panel.margins
    const box = {x: across[i].x, y: top + above, w: across[i].w, h: Math.max(rows[panel.row] - above - below, 10), outer: {x: across[i].left, y: top}}
    return panel.hug ? hugged(panel, box) : box
  })
  return {width, height: height * Math.ceil(columns.length / fitting), boxes}
}

// The largest frame in the middle of a box in which a unit is as long on both axes.
function hugged(panel, box) {
  const [across, up] = [panel.x, panel.y].map(axis => Math.abs(axis.high - axis.low)), unit = Math.max(across / box.w, up / box.h) || 1
  const [w, h] = [across / unit, up / unit]
  return {...box, x: box.x + (box.w - w) / 2, y: box.y + (box.h - h) / 2, w, h}
}

// A row without a height of its own is as high as the legend in it.
function legendHeight(header, row, across, font) {
  const ruler = document.createElement("canvas").getContext("2d")
  return Math.max(0, ...header.panels.flatMap((panel, i) => panel.row !== row ? [] : panel.layers.filter(layer => layer.kind === "legend").map(
    layer => panel.margins[0] + panel.margins[2] + LEGEND_LINE * flow(ruler, layer, across[i].w, font).lines)))
}

// Left end and line of each name of a legend, and how many lines that makes.
function flow(context, layer, width, font) {
  context.font = `400 12px ${font}`
  let at = layer.title ? Math.min(context.measureText(layer.title).width, 170) + 14 : 0, line = 0
  const places = layer.names.map(name => {
    const wide = Math.min(context.measureText(name).width, 190) + 32
    if (at + wide > width + 16 && at > 0) { at = 0; line++ }
    at += wide
    return [at - wide, line]
  })
  return {places, lines: line + 1}
}

// Scales of every panel, for drawing and for finding what lies under the pointer.
export function arrange(payload, theme, width, state) {
  const placed = layout(payload.header, width, theme.font)
  const panels = payload.header.panels.map((panel, index) => {
    const box = placed.boxes[index]
    let x = state.ranges?.[panel.x.link] ?? [panel.x.low, panel.x.high]
    let y = state.ranges?.[panel.y.link] ?? [panel.y.low, panel.y.high]
    if (panel.equal) { [x, y] = squared(x, y, box) }
    const across = box.w / (x[1] - x[0] || 1), up = box.h / (y[1] - y[0] || 1)
    return {
      panel, box, x, y,
      px: value => box.x + (value - x[0]) * across,
      py: value => box.y + box.h - (value - y[0]) * up,
      vx: pixel => x[0] + (pixel - box.x) / across,
      vy: pixel => y[0] + (box.y + box.h - pixel) / up,
    }
  })
  return {payload, panels, width, height: placed.height}
}

// Ranges made larger until a unit is as long on both axes.
function squared(x, y, box) {
  const wide = (x[1] - x[0]) / box.w, high = (y[1] - y[0]) / box.h, unit = Math.max(wide, high) || 1
  const grown = ([low, high], length) => [(low + high - unit * length) / 2, (low + high + unit * length) / 2]
  return [grown(x, box.w), grown(y, box.h)]
}

export function paint(context, payload, theme, width, state) {
  const scene = arrange(payload, theme, width, state)
  context.clearRect(0, 0, width, scene.height)
  for (const view of scene.panels) { paintPanel(context, view, payload, theme, state) }
  return scene
}

function paintPanel(context, view, payload, theme, state) {
  const {panel, box} = view
  context.save()
  if (panel.grid) { paintGrid(context, view, theme) }
  context.beginPath()
  context.rect(box.x, box.y, box.w, box.h)
  context.clip()
  for (const layer of panel.layers) {
    context.globalAlpha = layer.alpha ?? 1
    LAYERS[layer.kind](context, view, layer, name => payload.arrays[layer.arrays[name]], theme, {payload, state})
    context.globalAlpha = 1
  }
  context.restore()
  for (const layer of panel.layers) { OUTSIDE[layer.kind]?.(context, view, layer, theme) }
  if (panel.frame) { paintFrame(context, view, theme) }
  if (panel.title) {
    text(context, theme, panel.title, box.x, box.y - 8, {size: 12.5, weight: 600, colour: theme.text, most: box.w})
  }
}

function text(context, theme, words, x, y, {size = 11.5, weight = 400, colour = theme.muted, align = "left", base = "alphabetic", most} = {}) {
  context.font = `${weight} ${size}px ${theme.font}`
  context.fillStyle = colour
  context.textAlign = align
  context.textBaseline = base
  context.fillText(most && context.measureText(words).width > most ? shortened(context, words, most) : words, x, y)
}

function shortened(context, words, most) {
  let kept = words
  while (kept.length > 1 && context.measureText(kept + "…").width > most) { kept = kept.slice(0, -1) }
  return kept.trimEnd() + "…"
}

// Round numbers inside a range, and how they are written.
export function ticks([low, high], count) {
  const raw = (high - low) / Math.max(count, 1)
  if (!(raw > 0) || !Number.isFinite(raw)) { return [] }
  const power = 10 ** Math.floor(Math.log10(raw))
  const step = [1, 2, 5, 10].map(each => each * power).find(each => each >= raw * 0.999)
  const found = []
  for (let i = Math.ceil(low / step - 1e-9); i * step <= high + 1e-9 * step; i++) {
    found.push([i * step, written(i * step, Math.max(0, -Math.floor(Math.log10(step) + 1e-9)))])
  }
  return found
}

function written(value, decimals) {
  const words = Math.abs(value) >= 1e6 ? value.toExponential(1) : value.toFixed(Math.min(decimals, 8))
  return (Number(words) === 0 ? words.replace("-", "") : words).replace("-", "−")
}

// A number for a reader: three significant digits.
export function number(value) {
  if (!Number.isFinite(value)) { return "–" }
  const size = Math.abs(value)
  const words = size !== 0 && (size < 1e-3 || size >= 1e6) ? value.toExponential(2)
    : value.toFixed(size === 0 ? 0 : Math.max(0, 2 - Math.floor(Math.log10(size))))
  return words.replace("-", "−")
}

// Ticks of an axis: its own, or round numbers, two of them at least where there is room for two.
function ticksOf(axis, range, pixels, apart) {
  if (axis.ticks) { return axis.ticks }
  const fitting = Math.max(Math.floor(pixels / apart), 1)
  let found = ticks(range, fitting)
  for (let more = fitting + 1; found.length < 2 && more <= 2 * fitting + 2 && pixels > apart; more++) { found = ticks(range, more) }
  return found
}

function paintGrid(context, view, theme) {
  const {box, panel} = view
  context.strokeStyle = theme.grid
  context.lineWidth = 1
  context.beginPath()
  for (const [value] of ticksOf(panel.x, view.x, box.w, 76)) { line(context, view.px(value), box.y, view.px(value), box.y + box.h, box) }
  for (const [value] of ticksOf(panel.y, view.y, box.h, 34)) { line(context, box.x, view.py(value), box.x + box.w, view.py(value), box) }
  context.stroke()
}

function line(context, x0, y0, x1, y1, box) {
  if (x0 < box.x - 0.5 || x1 > box.x + box.w + 0.5 || Math.min(y0, y1) < box.y - 0.5 || Math.max(y0, y1) > box.y + box.h + 0.5) { return }
  const crisp = x0 === x1 ? [Math.round(x0) + 0.5, 0] : [0, Math.round(y0) + 0.5]
  context.moveTo(crisp[0] || x0, crisp[1] || y0)
  context.lineTo(crisp[0] || x1, crisp[1] || y1)
}

function paintFrame(context, view, theme) {
  const {box, panel} = view
  const bottom = box.y + box.h
  if (!panel.grid) {
    context.strokeStyle = theme.grid
    context.lineWidth = 1
    context.strokeRect(Math.round(box.x) + 0.5, Math.round(box.y) + 0.5, Math.round(box.w) - 1, Math.round(box.h) - 1)
  }
  if (panel.x.shown) {
    const free = panel.x.ticks && panel.margins[2] >= 42 ? [-Infinity, -Infinity] : [-Infinity]  // names that do not fit stand in two lines
    let lowest = 0
    context.font = `400 11.5px ${theme.font}`
    for (const [value, words] of ticksOf(panel.x, view.x, box.w, 76)) {
      const at = view.px(value), half = context.measureText(words).width / 2, line = free.findIndex(each => at - half >= each)
      if (at < box.x - 0.5 || at > box.x + box.w + 0.5 || line < 0) { continue }
      text(context, theme, words, at, bottom + 6 + 12 * line, {align: "center", base: "top"})
      free[line] = at + half + 8
      lowest = Math.max(lowest, line)
    }
    if (panel.x.label) {
      text(context, theme, panel.x.label, box.x + box.w / 2, bottom + 22 + 9 * lowest, {align: "center", base: "top", size: 12, most: box.w + 40})
    }
  }
  if (panel.y.shown) {
    let above = Infinity
    for (const [value, words] of ticksOf(panel.y, view.y, box.h, 34)) {
      const at = view.py(value)
      if (at < box.y - 1 || at > bottom + 1 || at + 11 > above) { continue }
      above = at
      text(context, theme, words, box.x - 7, at, {align: "right", base: "middle", most: panel.margins[3] - (panel.y.label ? 22 : 9)})
    }
  }
  if (panel.y.label) { sideLabel(context, theme, panel, box) }
}

// What the upright axis is called; in two lines where it is long, and lying beside a panel too low for it.
function sideLabel(context, theme, panel, box) {
  const lies = box.h < 48 && !panel.y.shown, most = lies ? panel.margins[3] - 8 : box.h + 8
  context.font = `400 12px ${theme.font}`
  const words = panel.y.label, middle = words.length / 2
  const gaps = [...words.matchAll(/ /g)].map(gap => gap.index).sort((a, b) => Math.abs(a - middle) - Math.abs(b - middle))
  const isLong = context.measureText(words).width > most && gaps.length > 0
  const lines = isLong ? [words.slice(0, gaps[0]), words.slice(gaps[0] + 1)] : [words]
  context.save()
  context.translate(lies ? box.x - 7 : box.x - panel.margins[3] + (lines.length > 1 ? 15 : 12), box.y + box.h / 2)
  if (!lies) { context.rotate(-Math.PI / 2) }
  lines.forEach((line, i) => {
    const at = (i - (lines.length - 1) / 2) * 13
    text(context, theme, line, 0, at, {align: lies ? "right" : "center", base: "middle", size: 12, most})
  })
  context.restore()
}

// A colour by its name in the theme, by its number in the palette, by a scale and the place on it ("cycle@0.25"), or as it is.
export function colour(theme, key) {
  const [name, at] = String(key).split("@")
  if (at !== undefined) { return hex(scale(theme, name)[Math.round(255 * at)]) }
  return typeof key === "number" ? theme.palette[key % theme.palette.length] : theme[key] ?? key
}

const channels = hex => [1, 3, 5].map(from => parseInt(hex.slice(from, from + 2), 16))

const hex = values => "#" + values.map(each => each.toString(16).padStart(2, "0")).join("")

// Colours 0 to 255 of categories: what `keys` say of each, else its own; 255 of those means none.
const palette = (theme, keys) => Array.from({length: 256}, (_, i) => colour(theme, keys?.[i] ?? (i === 255 ? "neutral" : i)))

// Colours 0 to 255 of a scale of the theme, between its stops.
export function scale(theme, name) {
  const stops = theme.scales[name].map(channels)
  return Array.from({length: 256}, (_, i) => {
    const at = i / 255 * (stops.length - 1), low = Math.min(Math.floor(at), stops.length - 2)
    return stops[low].map((value, channel) => Math.round(value + (at - low) * (stops[low + 1][channel] - value)))
  })
}

const css = ([red, green, blue]) => `rgb(${red}, ${green}, ${blue})`

// Colour of each point: one for all, or by its value on a scale, or by its category.
function painter(layer, array, theme) {
  if (layer.arrays.values === undefined) { const one = colour(theme, layer.colour); return () => one }
  const values = array("values")
  if (layer.scale === "categories") { const own = palette(theme, layer.colours); return i => own[values[i]] }
  const table = scale(theme, layer.scale).map(css)
  return i => values[i] === 255 && layer.missing ? theme.neutral : table[values[i]]
}

function path(context, view, x, y, {step = false} = {}) {
  const [first, last] = visible(x, view.x)
  let drawing = false
  for (let i = first; i < last; i++) {
    if (Number.isNaN(y[i])) { drawing = false; continue }
    const px = view.px(x[i]), py = view.py(y[i])
    if (!drawing) { context.moveTo(px, py); drawing = true } else {
      if (step) { context.lineTo(px, view.py(y[i - 1])) }
      context.lineTo(px, py)
    }
  }
}

// A line of more points than pixels: in each column of pixels the stretch that the line runs over. Stroking such a line
// takes a hundred times as long where there is no graphics card.
function dense(context, view, layer, array, theme, first, last) {
  const x = array("x"), y = array("y"), width = layer.width ?? 1.75
  let column = NaN, low = 0, high = 0, before = NaN
  const fill = until => { if (!Number.isNaN(column)) { context.fillRect(column, low - width / 2, Math.max(until - column, 1), high - low + width) } }
  context.fillStyle = colour(theme, layer.colour)
  for (let i = first; i < last; i++) {
    if (Number.isNaN(y[i])) { fill(column + 1); column = before = NaN; continue }
    const at = Math.floor(view.px(x[i])), py = view.py(y[i])
    if (at !== column) {
      fill(at)
      column = at
      low = Number.isNaN(before) ? py : Math.min(py, before)
      high = Number.isNaN(before) ? py : Math.max(py, before)
    } else {
      low = Math.min(low, py)
      high = Math.max(high, py)
    }
    before = py
  }
  fill(column + 1)
}

// First and last index to draw of ascending places, one more on either side than is in view.
function visible(x, [low, high]) {
  return [Math.max(lower(x, low) - 1, 0), Math.min(lower(x, high) + 2, x.length)]
}

function lower(x, value) {
  let low = 0, high = x.length
  while (low < high) { const middle = (low + high) >> 1; if (x[middle] < value) { low = middle + 1 } else { high = middle } }
  return low
}

function rotation(turn) {
  const {yaw, pitch} = turn ?? {yaw: 0.5, pitch: 0.8}
  const [cy, sy, cp, sp] = [Math.cos(yaw), Math.sin(yaw), Math.cos(pitch), Math.sin(pitch)]
  return (x, y, z) => {
    const across = cy * x + sy * y, deep = -sy * x + cy * y
    return [across, cp * z + sp * deep, cp * deep - sp * z]
  }
}

// Flat places of the points of a layer, in axis units; clouds are turned and seen from afar.
function places(layer, array, state) {
  if (layer.kind !== "cloud") { return {x: array("x"), y: array("y"), depth: null} }
  const xyz = array("xyz"), n = xyz.length / 3, turn = rotation(state.turn)
  const x = new Float32Array(n), y = new Float32Array(n), depth = new Float32Array(n)
  for (let i = 0; i < n; i++) { [x[i], y[i], depth[i]] = turn(xyz[3 * i], xyz[3 * i + 1], xyz[3 * i + 2]) }
  return {x, y, depth}
}

const LAYERS = {
  line(context, view, layer, array, theme) {
    const [first, last] = visible(array("x"), view.x)
    if (last - first > 0.8 * view.box.w) { dense(context, view, layer, array, theme, first, last); return }
    context.beginPath()
    path(context, view, array("x"), array("y"), layer)
    context.strokeStyle = colour(theme, layer.colour)
    context.lineWidth = layer.width ?? 1.75
    context.lineJoin = "round"
    context.setLineDash(layer.dash ?? [])
    context.stroke()
    context.setLineDash([])
  },
  area(context, view, layer, array, theme) {
    const x = array("x"), y = array("y"), zero = view.py(layer.base ?? 0)
    const [first, last] = visible(x, view.x)
    context.fillStyle = colour(theme, layer.colour)
    context.beginPath()
    for (let i = first; i < last - 1; i++) {
      if (Number.isNaN(y[i]) || Number.isNaN(y[i + 1]) || (y[i] === 0 && (layer.step || y[i + 1] === 0))) { continue }
      const [left, right] = [view.px(x[i]), view.px(x[i + 1])]
      context.moveTo(left, zero)
      context.lineTo(left, view.py(y[i]))
      context.lineTo(right, view.py(layer.step ? y[i] : y[i + 1]))
      context.lineTo(right, zero)
    }
    context.fill()
  },
  band(context, view, layer, array, theme) {
    const x = array("x"), low = array("low"), high = array("high")
    context.fillStyle = colour(theme, layer.colour)
    let from = 0
    while (from < x.length) {
      while (from < x.length && Number.isNaN(low[from])) { from++ }
      let to = from
      while (to < x.length && !Number.isNaN(low[to])) { to++ }
      context.beginPath()
      for (let i = from; i < to; i++) { context.lineTo(view.px(x[i]), view.py(high[i])) }
      for (let i = to - 1; i >= from; i--) { context.lineTo(view.px(x[i]), view.py(low[i])) }
      context.fill()
      from = to
    }
  },
  bars(context, view, layer, array, theme) {
    const [left, right, top, bottom] = ["left", "right", "top", "bottom"].map(name => layer.arrays[name] === undefined ? null : array(name))
    const fill = painter(layer, array, theme)
    for (let i = 0; i < left.length; i++) {
      if (Number.isNaN(top[i])) { continue }
      context.fillStyle = fill(i)
      const [a, b] = [view.px(left[i]), view.px(right[i])].map(Math.round), [y, from] = [view.py(top[i]), view.py(bottom?.[i] ?? 0)]
      context.fillRect(a, Math.min(y, from), Math.max(b - a - (b - a > 6 ? 1 : 0), 1), Math.abs(from - y))
    }
  },
  image(context, view, layer, array, theme, {payload}) {
    const [left, right, bottom, top] = layer.extent
    const [x0, x1, y0, y1] = [view.px(left), view.px(right), view.py(top), view.py(bottom)]
    const made = picture(payload, layer, array("image"), theme)
    context.imageSmoothingEnabled = Math.abs(y1 - y0) < made.height || Math.abs(x1 - x0) < made.width
    context.drawImage(made, Math.min(x0, x1), Math.min(y0, y1), Math.abs(x1 - x0), Math.abs(y1 - y0))
  },
  points(context, view, layer, array, theme, {state}) {
    const {x, y, depth} = places(layer, array, state), fill = painter(layer, array, theme)
    const sizes = layer.arrays.size === undefined ? null : array("size")
    const order = depth === null ? null : Array.from(depth.keys()).sort((a, b) => depth[b] - depth[a])
    for (let k = 0; k < x.length; k++) {
      const i = order === null ? k : order[k]
      if (Number.isNaN(y[i])) { continue }
      const radius = (sizes === null ? layer.size ?? 3 : sizes[i]) * (depth === null ? 1 : 1 - 0.25 * depth[i])
      context.fillStyle = fill(i)
      const [px, py] = [view.px(x[i]), view.py(y[i])]
      if (radius < 1.6) { context.fillRect(px - radius, py - radius, 2 * radius, 2 * radius); continue }
      context.beginPath()
      context.arc(px, py, radius, 0, 7)
      context.fill()
      if (layer.edge) { context.strokeStyle = theme.ground; context.lineWidth = 1; context.stroke() }
    }
  },
  cloud(...given) { LAYERS.points(...given) },
  // Polygons or paths of any direction, apart where there is no number; filled, stroked, or both.
  shape(context, view, layer, array, theme) {
    const x = array("x"), y = array("y")
    let open = false
    context.beginPath()
    for (let i = 0; i < x.length; i++) {
      if (Number.isNaN(x[i]) || Number.isNaN(y[i])) { open = false; continue }
      if (open) { context.lineTo(view.px(x[i]), view.py(y[i])) } else { context.moveTo(view.px(x[i]), view.py(y[i])) }
      open = true
    }
    if (layer.fill !== undefined) { context.fillStyle = colour(theme, layer.fill); context.fill() }
    if (layer.colour !== undefined) {
      context.strokeStyle = colour(theme, layer.colour)
      context.lineWidth = layer.width ?? 1
      context.lineJoin = "round"
      context.stroke()
    }
  },
  path3(context, view, layer, array, theme, {state}) {
    const {x, y} = places({...layer, kind: "cloud"}, array, state)
    context.beginPath()
    for (let i = 0; i < x.length; i++) {
      if (Number.isNaN(y[i])) { continue }
      if (i === 0 || Number.isNaN(y[i - 1])) { context.moveTo(view.px(x[i]), view.py(y[i])) } else { context.lineTo(view.px(x[i]), view.py(y[i])) }
    }
    context.strokeStyle = colour(theme, layer.colour)
    context.lineWidth = layer.width ?? 1
    context.stroke()
  },
  rings(context, view, layer, array, theme) {
    const x = array("x"), y = array("y")
    context.strokeStyle = colour(theme, layer.colour)
    context.lineWidth = 2
    for (let i = 0; i < x.length; i++) {
      context.beginPath()
      context.arc(view.px(x[i]), view.py(y[i]), layer.size ?? 8, 0, 7)
      context.stroke()
    }
  },
  rules(context, view, layer, array, theme) {
    const {box} = view
    context.strokeStyle = colour(theme, layer.colour)
    context.lineWidth = layer.width ?? 1
    context.setLineDash(layer.dash ?? [])
    context.beginPath()
    for (const x of layer.x ?? []) { context.moveTo(Math.round(view.px(x)) + 0.5, box.y); context.lineTo(Math.round(view.px(x)) + 0.5, box.y + box.h) }
    for (const y of layer.y ?? []) { context.moveTo(box.x, Math.round(view.py(y)) + 0.5); context.lineTo(box.x + box.w, Math.round(view.py(y)) + 0.5) }
    context.stroke()
    context.setLineDash([])
  },
  patch(context, view, layer, array, theme) {
    const x = array("x"), y = array("y")
    context.fillStyle = colour(theme, layer.colour)
    context.beginPath()
    for (let i = 0; i < x.length; i++) { context.lineTo(view.px(x[i]), view.py(y[i])) }
    context.fill()
  },
  spans(context, view, layer, array, theme) {
    const low = array("low"), high = array("high"), {box} = view
    context.fillStyle = colour(theme, layer.colour)
    for (let i = 0; i < low.length; i++) {
      context.fillRect(view.px(low[i]), box.y, Math.max(view.px(high[i]) - view.px(low[i]), 0.5), box.h)
    }
  },
  window(context, view, layer, array, theme, {state}) {
    const [low, high] = state.ranges?.[layer.link] ?? layer.range, {box} = view
    const [a, b] = [view.px(low), Math.max(view.px(high), view.px(low) + 3)]
    context.fillStyle = theme.behaviour
    context.globalAlpha = 0.16
    context.fillRect(a, box.y, b - a, box.h)
    context.globalAlpha = 1
    context.strokeStyle = theme.behaviour
    context.lineWidth = 1.5
    context.strokeRect(a, box.y + 0.75, b - a, box.h - 1.5)
  },
  arrows(context, view, layer, array, theme) {
    const [x, y, u, v] = ["x", "y", "u", "v"].map(array), fill = painter(layer, array, theme)
    context.lineWidth = 1.5
    for (let i = 0; i < x.length; i++) {
      const [x0, y0] = [view.px(x[i]), view.py(y[i])], [dx, dy] = [view.px(x[i] + u[i]) - x0, view.py(y[i] + v[i]) - y0]
      const length = Math.hypot(dx, dy)
      if (!(length > 0.5)) { continue }
      const head = Math.min(5, length * 0.5), angle = Math.atan2(dy, dx)
      context.strokeStyle = fill(i)
      context.beginPath()
      context.moveTo(x0, y0)
      context.lineTo(x0 + dx, y0 + dy)
      for (const bend of [-0.5, 0.5]) {
        context.moveTo(x0 + dx, y0 + dy)
        context.lineTo(x0 + dx - head * Math.cos(angle + bend), y0 + dy - head * Math.sin(angle + bend))
      }
      context.stroke()
    }
  },
  words(context, view, layer, array, theme) {
    layer.text.forEach((each, i) => text(context, theme, each, view.px(layer.x[i]), view.py(layer.y[i]), {
      align: layer.align ?? "center", base: "middle", colour: colour(theme, layer.colour ?? "muted"), size: layer.size ?? 11.5,
    }))
  },
  legend(context, view, layer, array, theme) {
    const {box} = view, {places} = flow(context, layer, box.w, theme.font)
    if (layer.title) { text(context, theme, layer.title, box.x, box.y + 9, {size: 12, base: "middle", most: 170}) }
    places.forEach(([at, line], i) => {
      const x = box.x + at, y = box.y + 8 + LEGEND_LINE * line
      context.fillStyle = colour(theme, layer.colours[i])
      context.fillRect(x, y - 5, 11, 11)
      text(context, theme, layer.names[i], x + 16, y + 1, {size: 12, base: "middle", most: 190})
    })
  },
  ramp(context, view, layer, array, theme) {
    const {x, y} = view.box, long = Math.min(170, view.box.w / 2), table = scale(theme, layer.scale)
    for (let i = 0; i < 128; i++) {
      context.fillStyle = css(table[2 * i])
      context.fillRect(x + i / 128 * long, y + 20, long / 128 + 1, 9)
    }
    text(context, theme, layer.name, x, y + 12, {size: 12, most: view.box.w})
    text(context, theme, `${layer.low} to ${layer.high}`, x + long + 10, y + 25, {base: "middle"})
  },
  stripes() {},
  key() {},
}

// Layers that draw beside their frame: stripes name groups of rows, a key tells the colours of an image.
const OUTSIDE = {
  key(context, view, layer, theme) {
    const {box} = view, left = box.x + box.w + KEY.gap, table = scale(theme, layer.scale), step = box.h / table.length
    table.forEach((values, i) => {
      context.fillStyle = css(values)
      context.fillRect(left, box.y + box.h - (i + 1) * step, KEY.width, step + 0.5)
    })
    const [low, high] = [layer.bottom, layer.top]
    for (const [value, words] of ticks([low, high], Math.max(Math.floor(box.h / 44), 1))) {
      text(context, theme, words, left + KEY.width + 5, box.y + box.h - (value - low) / (high - low || 1) * box.h, {base: "middle"})
    }
  },
  stripes(context, view, layer, theme) {
    const {box} = view
    let free = -Infinity
    layer.bounds.forEach(([low, high], i) => {
      const [top, bottom] = [view.py(high), view.py(low)]
      context.fillStyle = colour(theme, layer.colours[i])
      context.fillRect(box.x - 7, top + 0.5, 4, Math.max(bottom - top - 1, 1))
      const middle = (top + bottom) / 2
      if (layer.names && middle - 6 >= free) {
        text(context, theme, layer.names[i], box.x - 12, middle, {align: "right", base: "middle", most: view.panel.margins[3] - 16})
        free = middle + 7
      }
    })
  },
}

function picture(payload, layer, values, theme) {
  const key = `${layer.arrays.image} ${theme.name}`
  if (!payload.images.has(key)) {
    const [height, width] = layer.shape, categories = layer.scale === "categories"
    const table = categories ? palette(theme, layer.colours).map(channels) : scale(theme, layer.scale ?? "ink")
    const canvas = document.createElement("canvas")
    canvas.width = width
    canvas.height = height
    const context = canvas.getContext("2d"), image = context.createImageData(width, height)
    const packed = ([red, green, blue], alpha = 255) => (alpha << 24 | blue << 16 | green << 8 | red) >>> 0
    const colours = Uint32Array.from({length: 256}, (_, i) => packed(table[layer.missing && !categories ? Math.round(Math.min(i, 254) / 254 * 255) : i]))
    if (layer.missing) { colours[255] = packed(channels(theme.neutral), 40) }
    const pixels = new Uint32Array(image.data.buffer)
    for (let i = 0; i < values.length; i++) { pixels[i] = colours[values[i]] }
    context.putImageData(image, 0, 0)
    payload.images.set(key, canvas)
  }
  return payload.images.get(key)
}

// The panel under a place, or -1.
export function panelAt(scene, px, py) {
  return scene.panels.findIndex(({box}) => px >= box.x && px <= box.x + box.w && py >= box.y && py <= box.y + box.h)
}

// What lies under a place: the panel, the values there, the nearest item of each layer, and words for a reader.
export function locate(scene, px, py, state) {
  const index = panelAt(scene, px, py)
  if (index < 0) { return null }
  const view = scene.panels[index], found = {index, id: view.panel.id, x: view.vx(px), y: view.vy(py), item: null, words: []}
  for (const layer of view.panel.layers) {
    const array = name => scene.payload.arrays[layer.arrays[name]]
    const told = FINDERS[layer.kind]?.(view, layer, array, px, py, state)
    if (told) {
      found.words.push(...told.words)
      found.item ??= told.item ?? null
    }
  }
  if (view.panel.x.hover && found.words.length) { found.words.unshift(`${view.panel.x.hover} ${number(found.x)}`) }
  return found
}

// What a row of an image stands for: its own name, or its first trial and their group.
function rowWords(layer, array, row) {
  if (layer.rows) { return [layer.rows[row]] }
  if (layer.arrays.trial === undefined) { return [] }
  const first = array("trial")[row], group = layer.groups[array("group")[row]]
  return [(layer.per_row > 1 ? `${layer.per_row} trials from ${first}` : `trial ${first}`) + (group === undefined ? "" : `, ${group}`)]
}

const FINDERS = {
  line(view, layer, array, px) {
    if (!layer.name) { return null }
    const x = array("x"), y = array("y"), value = view.vx(px)
    let i = Math.min(lower(x, value), x.length - 1)
    if (layer.step || (i > 0 && value - x[i - 1] < x[i] - value)) { i = Math.max(x[i] > value ? i - 1 : i, 0) }
    return Number.isNaN(y[i]) || i < 0 ? null : {words: [`${layer.name} ${number(y[i])}`]}
  },
  bars(view, layer, array, px, py) {
    const [left, right, top, bottom] = ["left", "right", "top", "bottom"].map(name => layer.arrays[name] === undefined ? null : array(name))
    const at = view.vx(px), up = view.vy(py)
    const within = k => bottom === null || (up - bottom[k]) * (up - top[k]) <= 0  // of bars that stand on others, the one under the pointer
    const i = left.findIndex((from, k) => at >= from && at < right[k] && within(k))
    if (i < 0 || !(layer.name || layer.tips)) { return null }
    const words = layer.tips?.[i] ?? `${layer.labels?.[i] ?? layer.name} ${number(top[i] - (bottom?.[i] ?? 0))}`
    return {words: [words], item: layer.items?.[i]}
  },
  image(view, layer, array, px, py) {
    const [left, right, bottom, top] = layer.extent, [height, width] = layer.shape
    const column = Math.floor((view.vx(px) - left) / (right - left) * width), row = Math.floor((top - view.vy(py)) / (top - bottom) * height)
    if (column < 0 || column >= width || row < 0 || row >= height || !layer.name) { return null }
    const value = array("image")[row * width + column]
    if (layer.names) { return {words: [`${layer.name} ${layer.names[value] ?? "–"}`]} }
    const amount = layer.missing && value === 255 ? "no data" : number(layer.bottom + value / (layer.missing ? 254 : 255) * (layer.top - layer.bottom))
    return {words: [...rowWords(layer, array, row), `${layer.name} ${amount}`]}
  },
  points(view, layer, array, px, py, state) {
    const {x, y} = places(layer, array, state)
    let best = -1, nearest = 12 ** 2
    for (let i = 0; i < x.length; i++) {
      const away = (view.px(x[i]) - px) ** 2 + (view.py(y[i]) - py) ** 2
      if (away < nearest) { nearest = away; best = i }
    }
    if (best < 0) { return null }
    return {words: layer.labels ? [layer.labels[best]] : [], item: layer.items?.[best]}
  },
  cloud(...given) { return FINDERS.points(...given) },
}

// Items of the points of a panel that lie inside a polygon of places.
export function within(scene, index, polygon, state) {
  const view = scene.panels[index], items = []
  for (const layer of view.panel.layers.filter(each => each.items && ["points", "cloud"].includes(each.kind))) {
    const {x, y} = places(layer, name => scene.payload.arrays[layer.arrays[name]], state)
    for (let i = 0; i < x.length; i++) {
      if (encloses(polygon, view.px(x[i]), view.py(y[i]))) { items.push(layer.items[i]) }
    }
  }
  return items
}

// Whether a polygon holds a place: an odd number of its edges lie to the right (even-odd rule).
export function encloses(polygon, px, py) {
  let inside = false
  for (let i = 0, j = polygon.length - 1; i < polygon.length; j = i++) {
    const [[xi, yi], [xj, yj]] = [polygon[i], polygon[j]]
    if ((yi > py) !== (yj > py) && px < (xj - xi) * (py - yi) / (yj - yi) + xi) { inside = !inside }
  }
  return inside
}

// Pointer and lasso, on a canvas of their own above the panels.
export function paintOver(context, scene, theme, state) {
  context.clearRect(0, 0, scene.width, scene.height)
  if (state.at) {
    const under = scene.panels[panelAt(scene, ...state.at)]
    context.strokeStyle = theme.muted
    context.lineWidth = 1
    context.globalAlpha = 0.7
    for (const view of scene.panels) {
      if (!under?.panel.x.link || view.panel.x.link !== under.panel.x.link) { continue }
      const at = Math.round(view.px(under.vx(state.at[0]))) + 0.5
      context.beginPath()
      context.moveTo(at, view.box.y)
      context.lineTo(at, view.box.y + view.box.h)
      context.stroke()
    }
    context.globalAlpha = 1
  }
  if (state.lasso?.length > 1) {
    context.beginPath()
    state.lasso.forEach(([x, y]) => context.lineTo(x, y))
    context.closePath()
    context.fillStyle = theme.activation
    context.globalAlpha = 0.14
    context.fill()
    context.globalAlpha = 1
    context.strokeStyle = theme.activation
    context.lineWidth = 1.5
    context.stroke()
  }
}
