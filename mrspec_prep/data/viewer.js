/* The viewer: slices with overlays on the left, what is known of the chosen voxel or cluster on the right. */

const SIDES = [["P", "A"], ["L", "R"], ["L", "R"]]; // at the left and right edge, by the axis across which a slice is cut
const NAMES = ["sagittal", "coronal", "axial"];
const NEUTRAL = "#4f6b80";
const TALLEST = 520; // pixels, of the main slice
const SMALLEST_SIDE = 8; // voxels: below it a volume is shown from one side only

class Viewer {
  constructor(root, header) {
    this.root = root;
    this.header = header;
    this.data = new ViewerData(header);
    const { shape, plane, image } = this.header, enough = (axis) => shape.every((n, other) => other === axis || n > 1);
    this.planes = [0, 1, 2].filter((axis) => axis === plane || (enough(axis) && Math.min(...shape) >= SMALLEST_SIDE));
    this.state = {
      plane, layer: 0, opacity: 0.65, window: image ? [...image.window] : [0, 1], range: null, cluster: -1, outline: false,
      logarithmic: false, fit: null, drag: "cursor", at: shape.map((n) => Math.floor(n / 2)),
    };
  }

  open() {
    this.opened ||= opening(this.root, () => this.unpack());
    return this.opened;
  }

  /** Show what a row of a table names. */
  reveal(what, index) {
    return this.chooseCluster(index);
  }

  /** Inflate what the slices need and build the controls. */
  async unpack() {
    await this.data.load("images");
    this.tables = Object.fromEntries(Object.entries(this.header.maps).map(([name, text]) => [name, Uint8Array.from(atob(text), (c) => c.charCodeAt(0))]));
    this.rows = this.data.rows();
    this.state.at = this.start();
    this.build();
    this.root.dataset.state = "open";
    await this.show();
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
    const help = element("p", { class: "note help", id: id("help") }, HELP);
    const keys = element("details", { class: "help" }, element("summary", {}, "Keys of the image, and touch"), element("dl", {}, ...KEYS.flatMap(([key, what]) => [element("dt", {}, key), element("dd", {}, what)])));
    const addCanvas = (axis, main) => {
      const canvas = element("canvas", { tabindex: 0, role: "application", "aria-describedby": id("help"), "aria-roledescription": "slice", class: main ? "main" : "side" });
      this.listen(canvas);
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
    const left = element("div", { class: "stage" }, ...controls.top, views, ...controls.below, this.bar, this.barText, this.caption, help, keys);
    this.root.replaceChildren(...(this.around ? [this.around.head()] : []), left, element("div", { class: "about" }, this.clusterButtons(), this.live, this.panel));
    this.observer = new ResizeObserver(() => this.draw());
    this.observer.observe(views);
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
    const drag = element("select", {}, ...DRAGS.map(([name, text]) => element("option", { value: name, selected: name === state.drag }, text)));
    const touch = () => { for (const canvas of this.canvases.keys()) canvas.style.touchAction = state.drag === "cursor" ? "" : "none"; };
    drag.addEventListener("change", () => { state.drag = drag.value; touch(); });
    touch();
    const below = [element("div", { class: "controls" }, slice, labelled("A drag", drag, "drag"))];
    const more = element("details", { class: "more" }, element("summary", {}, "Brightness and colour range"));
    const inside = element("div", { class: "controls" });
    if (header.image) {
      const [low, high] = header.image.window, most = Math.max(high * 2, low + 1e-6);
      this.blackWhite = [low, high].map((end, i) => slider(0, most, most / 200, end, (value) => { state.window[i] = value; }));
      inside.append(labelled("Black at", this.blackWhite[0], "black"), labelled("White at", this.blackWhite[1], "white"));
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
    const outline = element("input", { type: "checkbox", checked: state.outline });
    outline.addEventListener("change", () => { state.outline = outline.checked; this.draw(); });
    const reset = element("button", { type: "button" }, "As it was");
    reset.addEventListener("click", () => this.reset());
    inside.append(labelled("Outline of the region", outline, "outline"), reset);
    more.append(inside);
    below.push(more);
    this.rangeInputs();
    return { top, below };
  }

  /** Ends of the grey scale in the sliders. */
  windowInputs() {
    (this.blackWhite || []).forEach((input, i) => { input.value = this.state.window[i]; });
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
    const { range } = this.state, own = layer.log ? layer.range.map((v) => 10 ** v) : layer.range, middle = own[1];
    if (range && own.length === 3 && range[0] < middle && middle < range[1]) return [range[0], middle, range[1]]; // its colour stays where it is
    return range || own;
  }

  clusterButtons() {
    const { clusters } = this.header, labels = this.data.layer("Clusters", "cluster");
    if (!labels || !clusters.length) return null;
    const row = element("div", { class: "clusters", role: "group", "aria-label": "Clusters" });
    this.buttons = clusters.map((cluster, m) => {
      const button = element("button", { type: "button", "aria-pressed": "false", title: cluster.peaks[0] ? cluster.peaks[0].text : "" },
        element("i", { style: `background:${labels.colors[m]}` }), `${m + 1}`, element("small", {}, cluster.whole || cluster.share));
      button.addEventListener("click", () => this.chooseCluster(this.state.cluster === m ? -1 : m));
      row.append(button);
      return button;
    });
    return row;
  }

  chooseCluster(cluster) {
    this.state.cluster = cluster;
    if (cluster >= 0 && this.layer() && this.layer().kind !== "label") {
      const labels = this.header.layers.findIndex((layer) => layer.group === "Clusters" && layer.kind === "label");
      if (labels >= 0) {
        this.state.layer = labels;
        this.mapSelect.value = labels;
        this.rangeInputs();
      }
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

  /** Draw everything that depends on the cursor; details follow when their data are inflated. */
  async show() {
    const { state, header } = this, turn = (this.turnNumber = (this.turnNumber || 0) + 1);
    this.slice.max = header.shape[state.plane] - 1;
    this.slice.value = state.at[state.plane];
    this.sliceText.textContent = `${"xyz"[state.plane]} ${millimetres(this.position(state.at)[state.plane])} mm, ${state.at[state.plane] + 1} of ${header.shape[state.plane]}`;
    (this.buttons || []).forEach((button, m) => button.setAttribute("aria-pressed", m === state.cluster));
    this.draw();
    await this.data.load("spectra", "signals");
    if (turn === this.turnNumber) this.describe();
  }

  /** Place in space [mm]. */
  position(at) {
    return this.header.affine.map((row) => row[0] * at[0] + row[1] * at[1] + row[2] * at[2] + row[3]);
  }
}

/** Open a viewer once; what hinders it is said in its place. */
async function opening(root, act) {
  root.dataset.state = "opening";
  try {
    if (typeof DecompressionStream === "undefined") throw new Error("it lacks DecompressionStream; any browser of 2023 or later has it");
    await act();
  } catch (error) {
    root.dataset.state = "failed";
    root.replaceChildren(element("p", { class: "alert caution" }, `This browser cannot open the viewer: ${error.message}. The figures below show the same maps.`));
  }
}
