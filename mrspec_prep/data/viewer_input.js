/* What the reader does in an image of the viewer: cursor, slices, brightness and contrast; mouse, touch and keys. */

const DRAGS = [["cursor", "moves the cursor"], ["image", "sets brightness and contrast"], ["colours", "sets the colour range"]];
const PIXELS = 250; // of a drag that shifts the level by a window's width, or stretches the width by e
const HELP = "Click or drag: another voxel. Right button and drag: brightness (up and down) and contrast (left and right), with Shift the colour range. Double click: both as they were.";
const KEYS = [
  ["Arrow keys", "next voxel (with Shift the fifth)"],
  ["Page up, Page down, wheel", "next slice"],
  ["B, D", "brighter, darker (with Shift: the colour range)"],
  ["C, V", "more, less contrast (with Shift: the colour range)"],
  ["R", "brightness and contrast as they were (with Shift: the colours)"],
  ["Touch", "choose above what a drag does"],
];

Object.assign(Viewer.prototype, {
  /** Answer to pointers, wheel and keys in a canvas. */
  listen(canvas) {
    canvas.addEventListener("pointerdown", (event) => this.press(event, canvas));
    canvas.addEventListener("pointermove", (event) => this.pull(event, canvas));
    for (const end of ["pointerup", "pointercancel"]) canvas.addEventListener(end, () => { this.held = null; });
    canvas.addEventListener("contextmenu", (event) => event.preventDefault());
    canvas.addEventListener("dblclick", () => this.reset());
    canvas.addEventListener("wheel", (event) => this.wheel(event, canvas), { passive: false });
    canvas.addEventListener("keydown", (event) => this.key(event, canvas));
  },

  press(event, canvas) {
    event.preventDefault();
    canvas.setPointerCapture(event.pointerId);
    canvas.focus({ preventScroll: true });
    const right = event.button === 2, kind = right ? (event.shiftKey ? "colours" : "image") : this.state.drag;
    this.held = { kind, x: event.clientX, y: event.clientY, ends: this.endsOf(kind) };
    if (kind === "cursor") this.point(event, canvas);
  },

  pull(event, canvas) {
    if (!event.buttons || !this.held) return;
    const { kind, x, y, ends } = this.held;
    if (kind === "cursor") this.point(event, canvas);
    else this.stretch(kind, ends, (event.clientX - x) / PIXELS, (event.clientY - y) / PIXELS);
  },

  point(event, canvas) {
    const { axis } = this.canvases.get(canvas), [h, v] = this.across(axis), { shape } = this.header, box = canvas.getBoundingClientRect();
    const place = (n, part) => Math.min(n - 1, Math.max(0, Math.floor(n * part)));
    this.state.at[h] = place(shape[h], (event.clientX - box.left) / box.width);
    this.state.at[v] = place(shape[v], 1 - (event.clientY - box.top) / box.height);
    this.state.cluster = -1;
    this.show();
  },

  wheel(event, canvas) {
    if (event.ctrlKey || document.activeElement !== canvas) return; // the page scrolls until the image was chosen
    const { axis } = this.canvases.get(canvas);
    if (this.move(axis, event.deltaY > 0 ? -1 : 1)) event.preventDefault();
  },

  key(event, canvas) {
    if (event.altKey || event.ctrlKey || event.metaKey) return;
    const [h, v] = this.across(this.canvases.get(canvas).axis), { axis } = this.canvases.get(canvas);
    const moves = { ArrowLeft: [h, -1], ArrowRight: [h, 1], ArrowUp: [v, 1], ArrowDown: [v, -1], PageUp: [axis, 1], PageDown: [axis, -1] };
    const stretches = { b: [0, -0.1], d: [0, 0.1], c: [-0.15, 0], v: [0.15, 0] }, letter = event.key.toLowerCase();
    const kind = event.shiftKey ? "colours" : "image";
    if (event.key in moves) {
      this.state.cluster = -1;
      const [along, step] = moves[event.key];
      this.move(along, event.shiftKey ? 5 * step : step);
    } else if (letter in stretches) {
      this.stretch(kind, this.endsOf(kind), ...stretches[letter]);
      this.live.textContent = this.endsInWords(kind);
    } else if (letter === "r") {
      this.reset(kind);
      this.live.textContent = this.endsInWords(kind);
    } else return;
    event.preventDefault();
  },

  /** Move the cursor along an axis; whether it could. */
  move(axis, step) {
    const { at } = this.state, to = Math.min(this.header.shape[axis] - 1, Math.max(0, at[axis] + step));
    if (to === at[axis]) return false;
    at[axis] = to;
    this.show();
    return true;
  },

  /** Ends of the grey scale of the image or of the colours of the map, as they are stretched; null where there are none. */
  endsOf(kind) {
    if (kind === "image") return this.header.image ? [...this.state.window] : null;
    const range = kind === "colours" ? this.range() : null;
    return range && [range[0], range.at(-1)].map(this.layer().log ? Math.log10 : Number);
  },

  /** Window (the distance of the ends) and level (their middle), changed from where they were. */
  stretch(kind, ends, wider, higher) {
    if (!ends) return;
    const width = ends[1] - ends[0], middle = (ends[0] + ends[1]) / 2 + higher * width, half = (width * Math.exp(wider)) / 2;
    const changed = [middle - half, middle + half];
    if (kind === "image") this.state.window = changed;
    else this.state.range = this.layer().log ? changed.map((end) => 10 ** end) : changed;
    this.redrawEnds();
  },

  /** Brightness and colour range as they were first; of one kind or of both. */
  reset(kind) {
    if (kind !== "colours" && this.header.image) this.state.window = [...this.header.image.window];
    if (kind !== "image") this.state.range = null;
    this.redrawEnds();
  },

  redrawEnds() {
    this.windowInputs();
    this.rangeInputs();
    this.draw();
  },

  endsInWords(kind) {
    const range = kind === "image" ? this.endsOf(kind) : this.range();
    if (!range) return kind === "image" ? "There is no image behind." : "This map has no colour range.";
    return kind === "image" ? `Black at ${short(range[0])}, white at ${short(range[1])}.` : `Colours from ${short(range[0])} to ${short(range.at(-1))} ${this.layer().unit}.`;
  },
});
