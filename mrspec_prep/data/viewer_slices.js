/* Slices of the viewer: the image, the map over it, outline, cursor and colour bar. */

Object.assign(Viewer.prototype, {
  draw() {
    for (const [canvas, { axis }] of this.canvases) this.drawSlice(canvas, axis);
    this.drawBar();
  },

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
  },

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
  },

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
  },

  /** Function of a stored value: its place on the colour scale, 0 to 1. */
  ramp(layer) {
    let range = this.range();
    if (layer.log) range = range.map(Math.log10);
    const clip = (t) => Math.min(1, Math.max(0, t));
    if (range.length === 2) return (value) => clip((value - range[0]) / (range[1] - range[0]));
    const [low, middle, high] = range;
    return (value) => clip(value < middle ? (0.5 * (value - low)) / (middle - low) : 0.5 + (0.5 * (value - middle)) / (high - middle));
  },

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
  },

  drawBar() {
    const layer = this.layer(), range = this.range();
    this.bar.hidden = !range;
    const [black, white] = this.state.window.map(short);
    this.caption.textContent = this.header.image_title ? `Behind: ${this.header.image_title.toLowerCase()}, black at ${black}, white at ${white}.` : "";
    if (!layer || !range) { this.barText.textContent = layer && layer.kind === "probability" ? "Transparent: 0; full colour: probability 1." : ""; return; }
    const context = this.bar.getContext("2d"), pixels = context.createImageData(256, 1), table = this.tables[layer.map];
    for (let i = 0; i < 256; i++) { for (let c = 0; c < 3; c++) pixels.data[4 * i + c] = table[3 * i + c]; pixels.data[4 * i + 3] = 255; }
    context.putImageData(pixels, 0, 0);
    this.barText.replaceChildren(...range.map((end) => element("span", {}, `${short(end)} ${layer.unit}`.trim())));
  },
});
