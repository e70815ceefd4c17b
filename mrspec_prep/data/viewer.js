/* The viewer: slices with overlays on the left, what is known of the chosen voxel or cluster on the right. */

const SIDES = [["P", "A"], ["L", "R"], ["L", "R"]]; // at the left and right edge, by the axis across which a slice is cut
const NAMES = ["sagittal", "coronal", "axial"];
const NEUTRAL = "#1b2733";
const TALLEST = 520; // pixels, of the main slice
const SMALLEST_SIDE = 8; // voxels: below it a volume is shown from one side only

class Viewer {
  constructor(root) {
    this.root = root;
    const { slug } = root.dataset;
    this.header = JSON.parse(document.getElementById(`${slug}_viewer_header`).textContent);
    this.data = new ViewerData(this.header);
    const { shape, plane, image } = this.header, enough = (axis) => shape.every((n, other) => other === axis || n > 1);
    this.planes = [0, 1, 2].filter((axis) => axis === plane || (enough(axis) && Math.min(...shape) >= SMALLEST_SIDE));
    this.state = {
      plane, layer: 0, opacity: 0.65, window: image ? [...image.window] : [0, 1], range: null, cluster: -1, outline: false,
      logarithmic: false, fit: null, at: shape.map((n) => Math.floor(n / 2)),
    };
  }

  /** Inflate what the slices need and build the controls. */
  async open() {
    if (this.root.dataset.state !== "waiting") return;
    this.root.dataset.state = "opening";
    try {
      if (typeof DecompressionStream === "undefined") throw new Error("it lacks DecompressionStream; any browser of 2023 or later has it");
      await this.data.load("images");
      this.tables = Object.fromEntries(Object.entries(this.header.maps).map(([name, text]) => [name, Uint8Array.from(atob(text), (c) => c.charCodeAt(0))]));
      this.rows = this.data.rows();
      this.state.at = this.start();
      this.build();
      this.root.dataset.state = "open";
      await this.show();
    } catch (error) {
      this.root.dataset.state = "failed";
      this.root.replaceChildren(element("p", { class: "alert caution" }, `This browser cannot open the viewer: ${error.message}. The figures below show the same maps.`));
    }
  }

  /** A voxel of the region, near its middle. */
  start() {
    const { shape } = this.header, middle = shape.map((n) => (n - 1) / 2);
    let best = Infinity, found = middle.map(Math.floor);
    for (let x = 0; x < shape[0]; x++) for (let y = 0; y < shape[1]; y++) for (let z = 0; z < shape[2]; z++) {
      if (this.rows[this.data.index(x, y, z)] < 0) continue;
      const far = (x - middle[0]) ** 2 + (y - middle[1]) ** 2 + 9 * (z - middle[2]) ** 2;
      if (far < best) [best, found] = [far, [x, y, z]];
    }
    return found;
  }

  get voxel() {
    return this.rows[this.data.index(...this.state.at)];
  }

  /** In-plane axes, horizontal and vertical, of a slice. */
  across(plane) {
    return [0, 1, 2].filter((axis) => axis !== plane);
  }

  build() {
    const { header, state } = this, id = (name) => `${header.slug}_v_${name}`;
    this.canvases = new Map();
    const views = element("div", { class: "views" });
    const help = element("p", { class: "note help", id: id("help") }, "Click or drag in the image. Then arrow keys move by a voxel (with Shift by five), Page up and Page down or the wheel by a slice.");
    const addCanvas = (axis, main) => {
      const canvas = element("canvas", { tabindex: 0, role: "application", "aria-describedby": id("help"), "aria-roledescription": "slice", class: main ? "main" : "side" });
      canvas.addEventListener("pointerdown", (event) => { canvas.setPointerCapture(event.pointerId); this.point(event, canvas); });
      canvas.addEventListener("pointermove", (event) => { if (event.buttons) this.point(event, canvas); });
      canvas.addEventListener("wheel", (event) => this.wheel(event, canvas), { passive: false });
      canvas.addEventListener("keydown", (event) => this.key(event, canvas));
      this.canvases.set(canvas, { axis, main });
      views.append(canvas);
    };
    addCanvas(state.plane, true);
    for (const axis of this.planes) if (axis !== state.plane) addCanvas(axis, false);
    this.bar = element("canvas", { width: 256, height: 1, class: "bar" });
    this.barText = element("p", { class: "bar-text" });
    this.caption = element("p", { class: "note" });
    const controls = this.controls(id);
    this.live = element("p", { class: "aside", role: "status", "aria-live": "polite" });
    this.panel = element("div", { class: "panel" });
    const left = element("div", { class: "stage" }, ...controls.top, views, ...controls.below, this.bar, this.barText, this.caption, help);
    this.root.replaceChildren(left, element("div", { class: "about" }, this.clusterButtons(), this.live, this.panel));
    new ResizeObserver(() => this.draw()).observe(views);
  }

  controls(id) {
    const { header, state } = this, labelled = (text, input, name) => {
      input.id = id(name);
      return element("label", { for: input.id }, element("span", {}, text), input);
    };
    const maps = element("select"), groups = new Map();
    maps.append(element("option", { value: -1 }, "none"));
    header.layers.forEach((layer, i) => {
      if (!groups.has(layer.group)) { groups.set(layer.group, element("optgroup", { label: layer.group })); maps.append(groups.get(layer.group)); }
      groups.get(layer.group).append(element("option", { value: i, selected: i === state.layer }, layer.title));
    });
    if (!header.layers.length) state.layer = -1;
    maps.addEventListener("change", () => { state.layer = Number(maps.value); state.range = null; this.rangeInputs(); this.show(); });
    this.mapSelect = maps;
    const slider = (low, high, step, value, act) => {
      const input = element("input", { type: "range", min: low, max: high, step, value });
      input.addEventListener("input", () => { act(Number(input.value)); this.draw(); });
      return input;
    };
    const opacity = slider(0, 1, 0.05, state.opacity, (value) => { state.opacity = value; });
    this.slice = element("input", { type: "range", min: 0, step: 1 });
    this.slice.addEventListener("input", () => { state.at[state.plane] = Number(this.slice.value); this.show(); });
    this.sliceText = element("output", { for: id("slice") });
    const slice = labelled("Slice", this.slice, "slice");
    slice.append(this.sliceText);
    const top = [element("div", { class: "controls" }, labelled("Map", maps, "map"), labelled("Opacity", opacity, "opacity"))];
    if (this.planes.length > 1) {
      const plane = element("select", {}, ...this.planes.map((axis) => element("option", { value: axis, selected: axis === state.plane }, NAMES[axis])));
      plane.addEventListener("change", () => this.turn(Number(plane.value)));
      top[0].append(labelled("Plane", plane, "plane"));
    }
    const below = [element("div", { class: "controls" }, slice)];
    const more = element("details", { class: "more" }, element("summary", {}, "Brightness and colour range"));
    const inside = element("div", { class: "controls" });
    if (header.image) {
      const [low, high] = header.image.window, most = Math.max(high * 2, low + 1e-6);
      inside.append(
        labelled("Black at", slider(0, most, most / 200, low, (value) => { state.window[0] = value; }), "black"),
        labelled("White at", slider(0, most, most / 200, high, (value) => { state.window[1] = value; }), "white"),
      );
    }
    this.ends = ["from", "to"].map((name) => {
      const input = element("input", { type: "number", step: "any" });
      input.addEventListener("change", () => {
        const values = this.ends.map((end) => (end.value === "" ? NaN : Number(end.value)));
        if (values.every(Number.isFinite) && values[0] < values[1]) { state.range = values; this.draw(); }
      });
      inside.append(labelled(`Colours ${name}`, input, name));
      return input;
    });
    const outline = element("input", { type: "checkbox" });
    outline.addEventListener("change", () => { state.outline = outline.checked; this.draw(); });
    inside.append(labelled("Outline of the region", outline, "outline"));
    more.append(inside);
    below.push(more);
    this.rangeInputs();
    return { top, below };
  }

  /** Ends of the colour scale in the number fields. */
  rangeInputs() {
    const range = this.range();
    this.ends.forEach((end, i) => { end.disabled = !range; end.value = range ? Number(range[i ? range.length - 1 : 0].toPrecision(4)) : ""; });
  }

  layer() {
    return this.header.layers[this.state.layer];
  }

  range() {
    const layer = this.layer();
    if (!layer || layer.kind !== "value") return null;
    return this.state.range || (layer.log ? layer.range.map((v) => 10 ** v) : layer.range);
  }

  clusterButtons() {
    const { clusters } = this.header, labels = this.data.layer("Clusters", "cluster");
    if (!labels || !clusters.length) return null;
    const row = element("div", { class: "clusters", role: "group", "aria-label": "Clusters" });
    this.buttons = clusters.map((cluster, m) => {
      const button = element("button", { type: "button", "aria-pressed": "false", title: cluster.peaks[0] ? cluster.peaks[0].text : "" },
        element("i", { style: `background:${labels.colors[m]}` }), `${m + 1}`, element("small", {}, cluster.share));
      button.addEventListener("click", () => this.chooseCluster(this.state.cluster === m ? -1 : m));
      row.append(button);
      return button;
    });
    return row;
  }

  chooseCluster(cluster) {
    this.state.cluster = cluster;
    if (cluster >= 0 && this.layer() && this.layer().kind !== "label") {
      this.state.layer = this.header.layers.findIndex((layer) => layer.group === "Clusters" && layer.kind === "label");
      this.mapSelect.value = this.state.layer;
      this.rangeInputs();
    }
    return this.show();
  }

  /** Show slices across another axis in the main view. */
  turn(plane) {
    const before = this.state.plane;
    this.state.plane = plane;
    for (const view of this.canvases.values()) view.axis = view.main ? plane : view.axis === plane ? before : view.axis;
    return this.show();
  }

  point(event, canvas) {
    event.preventDefault();
    canvas.focus({ preventScroll: true });
    const { axis } = this.canvases.get(canvas), [h, v] = this.across(axis), { shape } = this.header, box = canvas.getBoundingClientRect();
    const place = (n, part) => Math.min(n - 1, Math.max(0, Math.floor(n * part)));
    this.state.at[h] = place(shape[h], (event.clientX - box.left) / box.width);
    this.state.at[v] = place(shape[v], 1 - (event.clientY - box.top) / box.height);
    this.state.cluster = -1;
    this.show();
  }

  wheel(event, canvas) {
    if (event.ctrlKey || document.activeElement !== canvas) return; // the page scrolls until the image was chosen
    const { axis } = this.canvases.get(canvas);
    if (this.move(axis, event.deltaY > 0 ? -1 : 1)) event.preventDefault();
  }

  key(event, canvas) {
    const [h, v] = this.across(this.canvases.get(canvas).axis), { axis } = this.canvases.get(canvas);
    const moves = { ArrowLeft: [h, -1], ArrowRight: [h, 1], ArrowUp: [v, 1], ArrowDown: [v, -1], PageUp: [axis, 1], PageDown: [axis, -1] };
    if (!(event.key in moves) || event.altKey || event.ctrlKey || event.metaKey) return;
    event.preventDefault();
    this.state.cluster = -1;
    const [along, step] = moves[event.key];
    this.move(along, event.shiftKey ? 5 * step : step);
  }

  /** Move the cursor along an axis; whether it could. */
  move(axis, step) {
    const { at } = this.state, to = Math.min(this.header.shape[axis] - 1, Math.max(0, at[axis] + step));
    if (to === at[axis]) return false;
    at[axis] = to;
    this.show();
    return true;
  }

  /** Draw everything that depends on the cursor; details follow when their data are inflated. */
  async show() {
    const { state, header } = this, turn = (this.turnNumber = (this.turnNumber || 0) + 1);
    this.slice.max = header.shape[state.plane] - 1;
    this.slice.value = state.at[state.plane];
    this.sliceText.textContent = `${"xyz"[state.plane]} ${this.position(state.at)[state.plane].toFixed(0)} mm, ${state.at[state.plane] + 1} of ${header.shape[state.plane]}`;
    (this.buttons || []).forEach((button, m) => button.setAttribute("aria-pressed", m === state.cluster));
    this.draw();
    await this.data.load("spectra", "signals");
    if (turn === this.turnNumber) this.describe();
  }

  /** Place in space [mm]. */
  position(at) {
    return this.header.affine.map((row) => row[0] * at[0] + row[1] * at[1] + row[2] * at[2] + row[3]);
  }

  draw() {
    for (const [canvas, { axis }] of this.canvases) this.drawSlice(canvas, axis);
    this.drawBar();
  }

  drawSlice(canvas, axis) {
    const { shape, size } = this.header, [h, v] = this.across(axis);
    const { main } = this.canvases.get(canvas), ratio = (shape[v] * size[v]) / (shape[h] * size[h]), dots = window.devicePixelRatio || 1;
    const room = (canvas.parentElement.clientWidth - 8) * (main ? 1 : 0.49), width = Math.max(1, Math.floor(Math.min(room, (main ? TALLEST : TALLEST / 2) / ratio)));
    canvas.style.width = `${width}px`;
    canvas.style.height = `${Math.round(width * ratio)}px`;
    canvas.width = Math.round(width * dots);
    canvas.height = Math.round(width * ratio * dots);
    const context = canvas.getContext("2d"), scale = [canvas.width / shape[h], canvas.height / shape[v]];
    context.imageSmoothingEnabled = false;
    context.drawImage(this.paint(axis), 0, 0, canvas.width, canvas.height);
    if (this.state.outline) this.drawOutline(context, axis, scale, dots);
    const x = (this.state.at[h] + 0.5) * scale[0], y = canvas.height - (this.state.at[v] + 0.5) * scale[1];
    const half = Math.max(4 * dots, Math.max(...scale) / 2);
    for (const [color, line] of [["#000", 3.5], ["#fff", 1.5]]) {
      context.strokeStyle = color;
      context.lineWidth = line * dots;
      context.strokeRect(x - half, y - half, 2 * half, 2 * half);
    }
    context.font = `${12 * dots}px system-ui, sans-serif`;
    context.fillStyle = "#fff";
    context.textBaseline = "middle";
    context.fillText(SIDES[axis][0], 5 * dots, canvas.height / 2);
    context.textAlign = "right";
    context.fillText(SIDES[axis][1], canvas.width - 5 * dots, canvas.height / 2);
    canvas.setAttribute("aria-label", `${NAMES[axis]} slice, ${this.layer() ? this.layer().title : "image"}`);
  }

  /** One slice at one pixel a voxel. */
  paint(axis) {
    const { shape, image } = this.header, [h, v] = this.across(axis), { at, window: [low, high], opacity, cluster } = this.state;
    const canvas = element("canvas", { width: shape[h], height: shape[v] }), context = canvas.getContext("2d"), pixels = context.createImageData(shape[h], shape[v]);
    const grey = image ? this.data.values(image) : null, color = this.painter(cluster), place = [...at];
    for (let j = 0; j < shape[v]; j++) {
      for (let i = 0; i < shape[h]; i++) {
        [place[h], place[v], place[axis]] = [i, j, at[axis]];
        const index = this.data.index(...place), to = 4 * ((shape[v] - 1 - j) * shape[h] + i), row = this.rows[index];
        const dark = grey ? 255 * Math.min(1, Math.max(0, (grey[index] - low) / (high - low || 1))) : 0;
        const over = row < 0 ? null : color(row), part = over ? opacity * (over[3] === undefined ? 1 : over[3]) : 0;
        for (let c = 0; c < 3; c++) pixels.data[to + c] = over ? dark + part * (over[c] - dark) : dark;
        pixels.data[to + 3] = 255;
      }
    }
    context.putImageData(pixels, 0, 0);
    return canvas;
  }

  /** Function of a voxel: its colour [r, g, b(, weight)], or null for none. */
  painter(cluster) {
    const layer = this.layer();
    if (!layer) return () => null;
    const values = this.data.values(layer.values);
    if (layer.kind === "label") {
      const colors = layer.colors.map(rgb);
      return (row) => {
        const label = Math.round(values[row]) - layer.first;
        return colors[label] && (cluster < 0 || layer.group !== "Clusters" || label === cluster) ? colors[label] : null;
      };
    }
    if (layer.kind === "probability") {
      const ink = rgb(layer.colors[0]);
      return (row) => [...ink, values[row]];
    }
    const table = this.tables[layer.map], part = this.ramp(layer);
    return (row) => {
      if (!Number.isFinite(values[row])) return null;
      const entry = 3 * Math.round(255 * part(values[row]));
      return [table[entry], table[entry + 1], table[entry + 2]];
    };
  }

  /** Function of a stored value: its place on the colour scale, 0 to 1. */
  ramp(layer) {
    let range = this.range();
    if (layer.log) range = range.map(Math.log10);
    const clip = (t) => Math.min(1, Math.max(0, t));
    if (range.length === 2) return (value) => clip((value - range[0]) / (range[1] - range[0]));
    const [low, middle, high] = range;
    return (value) => clip(value < middle ? (0.5 * (value - low)) / (middle - low) : 0.5 + (0.5 * (value - middle)) / (high - middle));
  }

  drawOutline(context, axis, scale, dots) {
    const { shape } = this.header, [h, v] = this.across(axis), place = [...this.state.at];
    const inside = (i, j) => {
      if (i < 0 || j < 0 || i >= shape[h] || j >= shape[v]) return false;
      [place[h], place[v]] = [i, j];
      return this.rows[this.data.index(...place)] >= 0;
    };
    context.strokeStyle = "#ffd166";
    context.lineWidth = 1.5 * dots;
    context.beginPath();
    for (let i = 0; i <= shape[h]; i++) for (let j = 0; j <= shape[v]; j++) {
      const here = inside(i, j), x = i * scale[0], y = (shape[v] - j) * scale[1];
      if (here !== inside(i - 1, j)) { context.moveTo(x, y); context.lineTo(x, y - scale[1]); }
      if (here !== inside(i, j - 1)) { context.moveTo(x, y); context.lineTo(x + scale[0], y); }
    }
    context.stroke();
  }

  drawBar() {
    const layer = this.layer(), range = this.range();
    this.bar.hidden = !range;
    this.caption.textContent = this.header.image_title ? `Behind: ${this.header.image_title.toLowerCase()}.` : "";
    if (!layer || !range) { this.barText.textContent = layer && layer.kind === "probability" ? "Transparent: 0; full colour: probability 1." : ""; return; }
    const context = this.bar.getContext("2d"), pixels = context.createImageData(256, 1), table = this.tables[layer.map];
    for (let i = 0; i < 256; i++) { for (let c = 0; c < 3; c++) pixels.data[4 * i + c] = table[3 * i + c]; pixels.data[4 * i + 3] = 255; }
    context.putImageData(pixels, 0, 0);
    this.barText.replaceChildren(...range.map((end) => element("span", {}, `${short(end)} ${layer.unit}`.trim())));
  }
}
