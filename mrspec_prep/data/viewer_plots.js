/* Plots of the viewer as SVG: signals with their fit, residuals, spectra. They print as sharply as they show. */

const WIDE = 520; // of every plot [pixel of its view box]

const MANY = 80; // means beyond which a plot draws them small and without bars

/** Element with attributes and children; text is text, never markup. */
function element(tag, attributes = {}, ...children) {
  const svg = /^(svg|g|path|line|circle|rect|text|image|tspan|title)$/.test(tag);
  const made = svg ? document.createElementNS("http://www.w3.org/2000/svg", tag) : document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value !== undefined && value !== null && value !== false) made.setAttribute(name, value === true ? "" : value);
  }
  made.append(...children.filter((child) => child !== null && child !== undefined));
  return made;
}

/** Millimetres to a tenth, as the figures give them. */
function millimetres(value) {
  return String(Number(value.toFixed(1))).replace("-", "\u2212");
}

/** Three significant digits, without an exponent where a reader can do without. */
function short(value) {
  if (!Number.isFinite(value)) return "–";
  if (value === 0) return "0";
  const size = Math.abs(value);
  if (size >= 1e5 || size < 1e-3) return value.toExponential(1).replace("e+", "e").replace("-", "−");
  return (size >= 100 ? Math.round(value).toString() : Number(value.toPrecision(3)).toString()).replace("-", "−");
}

/** Scale of an axis: place of a value and ticks. */
function scaleOf(low, high, from, to, log) {
  if (log) {
    const [a, b] = [Math.log10(low), Math.log10(high)], ticks = [];
    for (let decade = Math.floor(a); decade <= Math.ceil(b); decade++) {
      for (const digit of b - a < 2.2 ? [1, 2, 5] : [1]) {
        const tick = digit * 10 ** decade;
        if (tick >= low * 0.999 && tick <= high * 1.001) ticks.push(Number(tick.toPrecision(3)));
      }
    }
    return { place: (v) => from + ((Math.log10(v) - a) / (b - a || 1)) * (to - from), ticks };
  }
  const rough = (high - low) / 4 || 1, power = 10 ** Math.floor(Math.log10(rough));
  const step = power * [1, 2, 5, 10].find((digit) => digit * power >= rough * 0.99), ticks = [];
  for (let tick = Math.ceil(low / step - 1e-9) * step; tick <= high + step * 1e-9; tick += step) ticks.push(Number(tick.toPrecision(6)));
  return { place: (v) => from + ((v - low) / (high - low || 1)) * (to - from), ticks };
}

/** Axes of a plot: ticks, names with units. */
function frame(svg, box, x, y, xName, yName) {
  const [left, top, right, bottom] = box;
  for (const tick of x.ticks) {
    svg.append(element("line", { x1: x.place(tick), x2: x.place(tick), y1: bottom, y2: bottom + 4, class: "axis" }));
    svg.append(element("text", { x: x.place(tick), y: bottom + 16, "text-anchor": "middle" }, short(tick)));
  }
  for (const tick of y.ticks) {
    svg.append(element("line", { x1: left, x2: right, y1: y.place(tick), y2: y.place(tick), class: "grid" }));
    svg.append(element("text", { x: left - 6, y: y.place(tick) + 4, "text-anchor": "end" }, short(tick)));
  }
  svg.append(element("line", { x1: left, x2: right, y1: bottom, y2: bottom, class: "axis" }));
  if (xName) svg.append(element("text", { x: (left + right) / 2, y: bottom + 33, "text-anchor": "middle" }, xName));
  const middle = (top + bottom) / 2;
  svg.append(element("text", { x: 11, y: middle, "text-anchor": "middle", transform: `rotate(-90 11 ${middle})` }, yName));
}

function named(contrast) {
  return contrast.unit ? `${contrast.symbol} [${contrast.unit}]` : contrast.symbol;
}

/** Colour of one of several curves, from blue over grey to orange. */
function curveColor(index, n) {
  const stops = [[22, 130, 160], [132, 120, 172], [214, 88, 30]], t = n > 1 ? (2 * index) / (n - 1) : 0;
  const low = Math.min(1, Math.floor(t)), part = t - low;
  return `rgb(${stops[low].map((value, i) => Math.round(value + part * (stops[low + 1][i] - value))).join(",")})`;
}

/** Curves of a plot over the encodings: the contrast with most values along x, one curve for each combination of the others. */
function curvesOf(data) {
  const { contrasts, groups } = data.header;
  const first = Array.from({ length: data.nGroups }, (_, g) => groups.indexOf(g));
  const distinct = contrasts.map((contrast) => new Set(contrast.values).size);
  const x = contrasts[distinct.indexOf(Math.max(...distinct))], others = contrasts.filter((contrast) => contrast !== x);
  const curves = new Map();
  first.forEach((volume, group) => {
    const key = others.map((other) => other.values[volume]);
    const name = key.map((value, i) => `${others[i].symbol} ${short(value)} ${others[i].unit}`.trim()).join(", ");
    if (!curves.has(name)) curves.set(name, { name, key, points: [] });
    curves.get(name).points.push({ group, x: x.values[volume] });
  });
  const sorted = [...curves.values()].sort((a, b) => a.key.reduce((found, value, i) => found || value - b.key[i], 0));
  sorted.forEach((curve, i) => {
    curve.points.sort((a, b) => a.x - b.x);
    curve.color = curveColor(i, sorted.length);
  });
  const values = first.map((volume) => x.values[volume]), low = Math.min(...values), high = Math.max(...values);
  return { curves: sorted, x, range: [low, high], log: low > 0 && high > 30 * low };
}

/** Signals (dots), means with the noise they have (bars) and the fit (lines) over the encodings. */
function signalPlot(data, shown, logarithmic) {
  const { curves, x: contrast, range, log } = curvesOf(data), height = 190, box = [58, 8, WIDE - 10, height - (shown.fit ? 20 : 38)];
  const ends = shown.errors ? shown.means.flatMap((mean, g) => [mean - shown.errors[g], mean + shown.errors[g]]) : [];
  const values = [...shown.means, ...ends, ...(shown.volumes || []), ...(shown.fit || [])].filter(Number.isFinite);
  const positive = values.filter((value) => value > 0), upright = logarithmic && positive.length > 0;
  const top = Math.max(...values), bottom = upright ? Math.min(...positive) : Math.min(0, ...values);
  const x = scaleOf(...padded(range, log), box[0], box[2], log);
  const y = scaleOf(bottom, upright ? top * 1.1 : top + (top - bottom) * 0.04, box[3], box[1], upright);
  const svg = element("svg", { viewBox: `0 0 ${WIDE} ${height}`, class: "plot", role: "img", "aria-label": "Signal and fit over the encodings" });
  frame(svg, box, x, y, shown.fit ? "" : named(contrast), "signal [a.u.]");
  const there = (value) => Number.isFinite(value) && (!upright || value > 0);
  const counts = data.counts(), many = shown.means.length > MANY;
  for (const curve of curves) {
    for (const { group, x: at } of curve.points) {
      if (shown.volumes) {
        data.header.groups.forEach((g, volume) => {
          if (g === group && there(shown.volumes[volume])) svg.append(element("circle", { cx: x.place(at), cy: y.place(shown.volumes[volume]), r: 1.8, fill: curve.color, opacity: 0.28 }));
        });
      }
      const mean = shown.means[group], error = shown.errors ? shown.errors[group] : shown.sigma / Math.sqrt(counts[group]);
      if (!there(mean)) continue;
      const [low, high] = [mean - error, mean + error].map((v) => y.place(upright ? Math.max(v, bottom) : v));
      if (Number.isFinite(error) && !many) svg.append(element("line", { x1: x.place(at), x2: x.place(at), y1: low, y2: high, stroke: curve.color, "stroke-width": 1.4 }));
      svg.append(element("circle", { cx: x.place(at), cy: y.place(mean), r: many ? 1.8 : 3.2, fill: curve.color, opacity: many ? 0.75 : 1 }));
    }
    const line = curve.points.filter((point) => shown.fit && there(shown.fit[point.group]));
    if (line.length) svg.append(element("path", { d: path(line.map((point) => [x.place(point.x), y.place(shown.fit[point.group])])), stroke: curve.color, class: many && curves.length === 1 ? "fit over" : "fit" }));
  }
  return element("figure", {}, svg, legend(curves));
}

/** What the fit leaves of each mean, in standard errors of that mean. */
function residualPlot(data, residuals, unit) {
  const { curves, x: contrast, range, log } = curvesOf(data), height = 112, box = [58, 4, WIDE - 10, height - 36];
  const most = Math.max(3, ...residuals.filter(Number.isFinite).map(Math.abs)) * 1.05;
  const x = scaleOf(...padded(range, log), box[0], box[2], log), y = scaleOf(-most, most, box[3], box[1], false);
  const svg = element("svg", { viewBox: `0 0 ${WIDE} ${height}`, class: "plot", role: "img", "aria-label": `Residual over the encodings, in ${unit}` });
  svg.append(element("rect", { x: box[0], width: box[2] - box[0], y: y.place(2), height: y.place(-2) - y.place(2), class: "band" }));
  frame(svg, box, x, y, named(contrast), `residual [${unit}]`);
  curves.forEach((curve, i) => {
    for (const { group, x: at } of curve.points) {
      if (!Number.isFinite(residuals[group])) continue;
      const place = x.place(at) + (i - (curves.length - 1) / 2) * Math.min(4, 40 / curves.length);
      svg.append(element("line", { x1: place, x2: place, y1: y.place(0), y2: y.place(residuals[group]), stroke: curve.color, "stroke-width": Math.min(2.4, 300 / residuals.length) }));
    }
  });
  return element("figure", {}, svg);
}

/** Spectrum over its axes: a curve, a plane, or the three planes of a volume. */
function spectrumPlot(data, spectrum, color, peaks) {
  const { axes } = data.header;
  if (axes.length === 1) return element("figure", {}, spectrumCurve(axes[0], spectrum, color));
  const sizes = axes.map((axis) => axis.values.length), planes = axes.length === 2 ? [[0, 1]] : [[0, 1], [0, 2], [1, 2]];
  const figures = planes.map(([row, column]) => {
    const sums = new Float64Array(sizes[row] * sizes[column]);
    spectrum.forEach((value, bin) => {
      const index = sizes.map((size, a) => Math.floor(bin / sizes.slice(a + 1).reduce((p, n) => p * n, 1)) % size);
      sums[index[row] * sizes[column] + index[column]] += value;
    });
    return spectrumPlane(axes[row], axes[column], sums, color, peaks.map((peak) => [peak.at[row], peak.at[column]]));
  });
  return element("figure", { class: planes.length > 1 ? "planes" : "" }, ...figures);
}

function spectrumCurve(axis, spectrum, color) {
  const height = 200, box = [58, 10, WIDE - 10, height - 40], top = Math.max(...spectrum) || 1, log = isLog(axis);
  const x = scaleOf(axis.values[0], axis.values.at(-1), box[0], box[2], log), y = scaleOf(0, top * 1.05, box[3], box[1], false);
  const svg = element("svg", { viewBox: `0 0 ${WIDE} ${height}`, class: "plot", role: "img", "aria-label": `Spectrum over ${axis.symbol}` });
  frame(svg, box, x, y, named(axis), "amplitude [a.u.]");
  const points = axis.values.map((value, i) => [x.place(value), y.place(spectrum[i])]);
  svg.append(element("path", { d: path([[points[0][0], box[3]], ...points, [points.at(-1)[0], box[3]]]), fill: color, opacity: 0.18 }));
  svg.append(element("path", { d: path(points), stroke: color, class: "fit" }));
  return svg;
}

/** Plane of a spectrum as an image, the square root of its amplitude from paper to ink. */
function spectrumPlane(rows, columns, sums, color, peaks) {
  const height = 236, box = [58, 6, WIDE - 10, height - 38], [nRows, nColumns] = [rows.values.length, columns.values.length];
  const canvas = element("canvas", { width: nColumns, height: nRows }), context = canvas.getContext("2d");
  const image = context.createImageData(nColumns, nRows), top = Math.max(...sums) || 1, ink = rgb(color);
  for (let row = 0; row < nRows; row++) {
    for (let column = 0; column < nColumns; column++) {
      const part = Math.sqrt(sums[row * nColumns + column] / top), at = 4 * ((nRows - 1 - row) * nColumns + column);
      for (let c = 0; c < 3; c++) image.data[at + c] = 255 + part * (ink[c] - 255);
      image.data[at + 3] = 255;
    }
  }
  context.putImageData(image, 0, 0);
  const edge = (values, log) => {
    const [a, b] = log ? [Math.log(values[0]), Math.log(values.at(-1))] : [values[0], values.at(-1)], half = (b - a) / Math.max(1, values.length - 1) / 2;
    return log ? [Math.exp(a - half), Math.exp(b + half)] : [a - half, b + half];
  };
  const x = scaleOf(...edge(columns.values, isLog(columns)), box[0], box[2], isLog(columns));
  const y = scaleOf(...edge(rows.values, isLog(rows)), box[3], box[1], isLog(rows));
  const svg = element("svg", { viewBox: `0 0 ${WIDE} ${height}`, class: "plot plane", role: "img", "aria-label": `Spectrum over ${rows.symbol} and ${columns.symbol}` });
  svg.append(element("image", { href: canvas.toDataURL(), x: box[0], y: box[1], width: box[2] - box[0], height: box[3] - box[1], preserveAspectRatio: "none", style: "image-rendering:pixelated" }));
  frame(svg, box, x, y, named(columns), named(rows));
  for (const [row, column] of peaks) svg.append(element("circle", { cx: x.place(column), cy: y.place(row), r: 5, class: "peak" }));
  return svg;
}

function isLog(axis) {
  const { values } = axis, n = values.length;
  return n > 2 && values[0] > 0 && Math.abs(values[1] / values[0] - values[n - 1] / values[n - 2]) < 1e-6 * (values[1] / values[0]);
}

function padded([low, high], log) {
  const part = 0.03;
  if (log) return [low / (high / low) ** part, high * (high / low) ** part];
  return [low - part * (high - low || 1), high + part * (high - low || 1)];
}

function path(points) {
  return points.map(([x, y], i) => `${i ? "L" : "M"}${x.toFixed(1)} ${y.toFixed(1)}`).join("");
}

function rgb(color) {
  return [1, 3, 5].map((at) => parseInt(color.slice(at, at + 2), 16));
}

/** Names of curves; of many, the first and the last. */
function legend(curves) {
  if (curves.length < 2) return null;
  const shown = curves.length <= 8 ? curves : [curves[0], curves.at(-1)];
  const items = shown.map((curve, i) => element("span", {}, element("i", { style: `background:${curve.color}` }), i && curves.length > 8 ? `to ${curve.name}` : curve.name));
  return element("figcaption", { class: "legend" }, ...items);
}
