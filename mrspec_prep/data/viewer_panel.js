/* The right-hand side of the viewer: signal, fit, residual, spectrum and numbers of a voxel or a cluster. */

Object.assign(Viewer.prototype, {
  describe() {
    const { state } = this;
    const shown = state.cluster >= 0 ? this.aboutCluster(state.cluster) : this.voxel >= 0 ? this.aboutVoxel(this.voxel) : null;
    this.root.dataset.shown = state.cluster >= 0 ? `cluster ${state.cluster + 1}` : this.original().join(",");
    this.live.textContent = shown ? shown.title : `Voxel ${this.original().join(", ")}: outside the region that was fitted.`;
    const open = new Set([...this.panel.querySelectorAll("details[open]")].map((details) => details.dataset.name));
    this.panel.replaceChildren(...(shown ? this.panelOf(shown) : []));
    this.panel.querySelectorAll("details").forEach((details) => { if (open.has(details.dataset.name)) details.open = true; });
  },

  /** Indices of the cursor in the file, whose axes may run otherwise than those of the viewer. */
  original() {
    return this.header.file.map(([axis, first, step]) => first + step * this.state.at[axis]);
  },

  aboutVoxel(voxel) {
    const { data, header, state } = this, signals = data.signals(voxel), sigma = data.sigmaOf(voxel), cluster = data.clusterOf(voxel);
    const fits = data.fits().filter(([name]) => name !== "cluster" || cluster >= 0);
    if (!fits.some(([name]) => name === state.fit)) state.fit = fits.length ? fits[0][0] : null;
    const fit = state.fit ? data.fit(state.fit, voxel, signals && signals.means) : { values: null, spectrum: null };
    const place = this.position(state.at).map((v, axis) => `${"xyz"[axis]} ${millimetres(v)}`).join(", ");
    const probability = cluster >= 0 ? header.layers.filter((layer) => layer.group === "Clusters" && layer.kind === "probability")[cluster] : null;
    const certain = probability ? `, probability ${short(data.layerAt(probability, voxel).value)}` : "";
    return {
      title: `Voxel ${this.original().join(", ")}${cluster >= 0 ? `: cluster ${cluster + 1}${certain}` : ""}`, more: `${place} mm`,
      color: cluster >= 0 ? data.layer("Clusters", "cluster").colors[cluster] : NEUTRAL,
      signals: signals && { ...signals, fit: fit.values, sigma }, fits, sigma, spectrum: fit.spectrum || data.spectrum(voxel), peaks: [],
      residuals: signals && fit.values && fit.values.map((value, g) => ((signals.means[g] - value) * Math.sqrt(data.counts()[g])) / sigma),
      unit: "σ", rows: this.numbers(voxel),
    };
  },

  aboutCluster(m) {
    const { data, header } = this, cluster = header.clusters[m], spectrum = data.clusterSpectrum(m);
    const fit = header.kernel && cluster.mean ? data.scaled(spectrum, cluster.mean) : { values: null, spectrum };
    const signals = cluster.mean ? { means: cluster.mean, volumes: null, errors: cluster.spread, fit: fit.values } : null;
    const peaks = cluster.peaks.map((peak, i) => [["Largest peak", "Second peak", "Third peak"][i], peak.text]);
    return {
      title: `Cluster ${m + 1}${this.around ? ` in scan ${header.title}` : ""}: ${cluster.n} voxels${cluster.share ? ` (${cluster.share})` : ""}`,
      more: cluster.whole ? `of the whole group ${cluster.whole}` : "",
      color: (data.layer("Clusters", "cluster") || { colors: {} }).colors[m] || NEUTRAL, signals, fits: [], sigma: NaN, spectrum: fit.spectrum || spectrum, peaks: cluster.peaks,
      residuals: signals && fit.values && fit.values.map((value, g) => (cluster.mean[g] - value) / cluster.spread[g]),
      unit: "SD", note: "Bars and SD: standard deviation over the voxels of the cluster.", rows: [["Voxels", String(cluster.n)], ...peaks],
    };
  },

  /** Numbers of a voxel: [name, value with its errors]. */
  numbers(voxel) {
    return this.header.layers.filter((layer) => !/^Standard deviation:/.test(layer.title)).map((layer) => {
      const { value, about } = this.data.layerAt(layer, voxel), unit = layer.unit ? ` ${layer.unit}` : "";
      if (layer.kind === "label") return [layer.title, layer.names[value - layer.first] || "none", layer.group];
      let text = short(value);
      if (Number.isFinite(about.std)) text += ` ± ${short(about.std)}`;
      text += unit;
      if (Number.isFinite(about.low)) text += ` (${short(about.low)} to ${short(about.high)})`;
      if (Number.isFinite(about.min)) text += `; bounds ${short(about.min)} to ${short(about.max)}`;
      return [layer.title, text, layer.group];
    });
  },

  panelOf(shown) {
    const { data, state } = this, parts = [element("p", { class: "where" }, element("i", { style: `background:${shown.color}` }), element("span", {}, shown.title, " ", element("small", {}, shown.more || "")))];
    const key = ["Noise", "Signal-to-noise ratio", "Residual relative to noise"].map((name) => shown.rows.find((row) => row[0] === name && row[2] === "Trust"));
    const layer = this.layer(), current = layer && shown.rows.find((row) => row[0] === layer.title && row[2] === layer.group);
    const list = [current, ...key].filter((row, i, all) => row && all.indexOf(row) === i);
    const figures = list.length ? list : shown.rows.filter((row) => /peak/.test(row[0]));
    if (figures.length) parts.push(element("dl", { class: "few" }, ...figures.map(([name, value]) => element("div", {}, element("dt", {}, name), element("dd", {}, value)))));
    if (shown.signals) {
      parts.push(this.signalHead(shown), signalPlot(data, shown.signals, state.logarithmic));
      if (shown.residuals) parts.push(residualPlot(data, shown.residuals, shown.unit));
      if (shown.note) parts.push(element("p", { class: "note" }, shown.note));
    }
    if (shown.spectrum) parts.push(element("h4", {}, state.cluster >= 0 ? "Spectrum of the cluster" : state.fit === "cluster" ? "Spectrum of its cluster" : "Spectrum of the voxel"), spectrumPlot(data, shown.spectrum, shown.color, shown.peaks));
    if (this.around) parts.push(...this.around.panel(state.cluster));
    if (shown.rows.length) parts.push(this.table("numbers", "All numbers", ["", "value"], this.grouped(shown.rows), !shown.signals));
    if (shown.signals) parts.push(this.table("signals", "Signals as a table", this.signalNames(shown), this.signalRows(shown)));
    return parts;
  },

  signalHead(shown) {
    const { state } = this, head = element("div", { class: "controls" }, element("h4", {}, (state.cluster >= 0 ? "Mean signal of the cluster" : "Signal") + (shown.signals.fit ? " and fit" : "")));
    const redraw = (input, act) => input.addEventListener("change", () => {
      const { id } = input;
      act();
      this.describe();
      document.getElementById(id).focus();
    });
    if (shown.fits.length > 1) {
      const select = element("select", { id: `${this.header.slug}_v_fit` }, ...shown.fits.map(([name, title]) => element("option", { value: name, selected: name === state.fit }, title)));
      redraw(select, () => { state.fit = select.value; });
      head.append(element("label", { for: select.id }, element("span", {}, "Fit by"), select));
    }
    const logarithmic = element("input", { type: "checkbox", id: `${this.header.slug}_v_log`, checked: state.logarithmic });
    redraw(logarithmic, () => { state.logarithmic = logarithmic.checked; });
    head.append(element("label", { for: logarithmic.id }, element("span", {}, "logarithmic"), logarithmic));
    return head;
  },

  /** Rows with a heading row before each group. */
  grouped(rows) {
    return rows.flatMap((row, i) => (row[2] && (!i || rows[i - 1][2] !== row[2]) ? [[row[2]], row.slice(0, 2)] : [row.slice(0, 2)]));
  },

  signalNames(shown) {
    const names = this.header.contrasts.map(named);
    return [...names, "volumes", "mean signal", ...(shown.signals.fit ? ["fit"] : []), ...(shown.residuals ? [`residual [${shown.unit}]`] : [])];
  },

  signalRows(shown) {
    const { contrasts, groups } = this.header;
    return shown.signals.means.map((mean, g) => [
      ...contrasts.map((contrast) => short(contrast.values[groups.indexOf(g)])), String(this.data.counts()[g]), short(mean),
      ...(shown.signals.fit ? [short(shown.signals.fit[g])] : []), ...(shown.residuals ? [short(shown.residuals[g])] : []),
    ]);
  },

  table(name, summary, headers, rows, open = false) {
    const body = rows.map((row) => element("tr", {}, ...(row.length === 1 && headers.length > 1
      ? [element("th", { colspan: headers.length, scope: "colgroup", class: "group" }, row[0])] : row.map((cell) => element("td", {}, cell)))));
    const head = element("thead", {}, element("tr", {}, ...headers.map((header) => element("th", { scope: "col" }, header))));
    return element("details", { "data-name": name, open }, element("summary", {}, summary), element("div", { class: "scroll" }, element("table", { class: "numbers" }, head, element("tbody", {}, ...body))));
  },
});
