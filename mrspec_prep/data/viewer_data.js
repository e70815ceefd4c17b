/* Data of the viewer: arrays that are inflated when first asked for, and what they say of a voxel or a cluster.
   Plain browser JavaScript without a library: a voxel viewer needs a canvas, typed arrays and DecompressionStream. */

const MISSING = 65535;
const BYTES = { u1: 1, u2: 2, i4: 4, f4: 4 };

/** Bytes of a compressed block of the page. */
async function inflate(id) {
  const binary = atob(document.getElementById(id).textContent.trim());
  const bytes = new Uint8Array(binary.length);
  for (let i = 0; i < bytes.length; i++) bytes[i] = binary.charCodeAt(i);
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
  return new Uint8Array(await new Response(stream).arrayBuffer());
}

/** Bytes of blocks that were asked for, by name: what several scans share is inflated once. */
const INFLATED = new Map();

/** Everything about one series. Voxels are numbered in C order of the region. */
class ViewerData {
  constructor(header) {
    this.header = header;
    this.blocks = {};
    this.arrays = new Map();
    this.nGroups = header.groups ? Math.max(...header.groups) + 1 : 0;
    const [nx, ny, nz] = header.shape;
    this.index = (x, y, z) => (x * ny + y) * nz + z;
    this.size = nx * ny * nz;
  }

  /** Inflate blocks unless they are there; names without the series. */
  async load(...names) {
    const shared = this.header.shared || {}, wanted = names.map((name) => shared[name] || `${this.header.slug}_data_${name}`);
    await Promise.all(wanted.filter((id) => !this.blocks[id] && document.getElementById(id)).map(async (id) => {
      if (!INFLATED.has(id)) INFLATED.set(id, inflate(id));
      this.blocks[id] = await INFLATED.get(id);
    }));
  }

  /** Typed array of a place in a block; bytes lie sorted by significance. */
  array(place) {
    if (this.arrays.has(place)) return this.arrays.get(place);
    const source = this.blocks[place.block], width = BYTES[place.type], { n, at } = place;
    const bytes = new Uint8Array(n * width);
    for (let byte = 0; byte < width; byte++) {
      const plane = at + byte * n;
      for (let i = 0; i < n; i++) bytes[i * width + byte] = source[plane + i];
    }
    const kinds = { u1: Uint8Array, u2: Uint16Array, i4: Int32Array, f4: Float32Array };
    const found = new kinds[place.type](bytes.buffer);
    this.arrays.set(place, found);
    return found;
  }

  /** One quantised value, without unpacking the rest. */
  at(place, i) {
    const source = this.blocks[place.block];
    const code = source[place.at + i] | (source[place.at + place.n + i] << 8);
    return code === MISSING ? NaN : place.scale[0] + code * place.scale[1];
  }

  /** All values of a quantised array. */
  values(place) {
    if (!place.decoded) {
      const codes = this.array(place), [low, step] = place.scale;
      place.decoded = Float32Array.from(codes, (code) => (code === MISSING ? NaN : low + code * step));
    }
    return place.decoded;
  }

  /** Voxel of each place in the box, -1 outside the region. */
  rows() {
    if (!this.rowOf) {
      let row = 0;
      this.rowOf = Int32Array.from(this.array(this.header.roi), (inside) => (inside ? row++ : -1));
    }
    return this.rowOf;
  }

  /** Value of a layer in a voxel, and what is known of its errors. */
  layerAt(layer, voxel) {
    const value = this.at(layer.values, voxel);
    const about = Object.fromEntries(Object.entries(layer.about).map(([kind, place]) => [kind, this.at(place, voxel)]));
    return { value: layer.log ? 10 ** value : layer.kind === "label" ? Math.round(value) : value, about };
  }

  /** Layer of a group by what it measures. */
  layer(group, symbol) {
    return this.header.layers.find((layer) => layer.group === group && layer.symbol === symbol);
  }

  /** Cluster (from 0) of a voxel, -1 where there are none. */
  clusterOf(voxel) {
    const labels = this.layer("Clusters", "cluster");
    return labels ? this.layerAt(labels, voxel).value - 1 : -1;
  }

  sigmaOf(voxel) {
    const noise = this.layer("Trust", "σ");
    return noise ? this.layerAt(noise, voxel).value : this.header.sigma || NaN;
  }

  /** Signals of a voxel: of single volumes where the page holds them, and means over equal encodings. */
  signals(voxel) {
    const { signals, groups, n } = this.header;
    if (!signals || signals.level === "cluster") return null;
    const values = Array.from({ length: signals.n / n }, (_, i) => this.at(signals, i * n + voxel));
    if (signals.level === "encoding") return { means: values, volumes: null };
    const sums = new Float64Array(this.nGroups);
    values.forEach((value, i) => { sums[groups[i]] += value; });
    return { means: Array.from(sums, (sum, g) => sum / this.counts()[g]), volumes: values };
  }

  /** Number of volumes of each group of equal encodings. */
  counts() {
    if (!this.countOf) {
      this.countOf = new Array(this.nGroups).fill(0);
      for (const group of this.header.groups || []) this.countOf[group] += 1;
    }
    return this.countOf;
  }

  /** Spectrum of a voxel, from its dual coefficients: max(0, dual x basis) / alpha. */
  spectrum(voxel) {
    const stored = this.header.spectra;
    if (!stored) return null;
    const nBins = this.header.axes.reduce((product, axis) => product * axis.values.length, 1);
    const spectrum = new Float64Array(nBins);
    if (stored.counts) {
      const counts = this.array(stored.counts), bins = this.array(stored.bins), found = this.array(stored.amplitudes);
      let start = 0;
      for (let i = 0; i < voxel; i++) start += counts[i];
      for (let i = start; i < start + counts[voxel]; i++) spectrum[bins[i]] = found[i];
      return spectrum;
    }
    const dual = this.array(stored.dual), basis = this.array(stored.basis), { rank } = stored;
    for (let k = 0; k < rank; k++) {
      const weight = dual[voxel * rank + k];
      for (let i = 0; i < nBins; i++) spectrum[i] += weight * basis[k * nBins + i];
    }
    const alpha = typeof stored.alpha === "number" ? stored.alpha : this.array(stored.alpha)[voxel];
    return spectrum.map((value) => Math.max(0, value) / alpha);
  }

  /** Signal of a spectrum at every group of equal encodings; magnitudes where these were measured. */
  predict(spectrum) {
    const { rank } = this.header.kernel, nBins = spectrum.length;
    const left = this.array(this.header.kernel.left), right = this.array(this.header.kernel.right);
    const parts = new Float64Array(rank), signal = new Array(this.nGroups).fill(0);
    for (let k = 0; k < rank; k++) for (let i = 0; i < nBins; i++) parts[k] += right[k * nBins + i] * spectrum[i];
    for (let g = 0; g < this.nGroups; g++) for (let k = 0; k < rank; k++) signal[g] += left[g * rank + k] * parts[k];
    return this.header.magnitude ? signal.map(Math.abs) : signal;
  }

  clusterSpectrum(cluster) {
    const place = cluster >= 0 && this.header.clusters[cluster] ? this.header.clusters[cluster].spectrum : null;
    return place ? Float64Array.from(this.array(place)) : null;
  }

  /** Fits that can be drawn for a voxel: [name, title]. */
  fits() {
    const { header } = this, found = [];
    if (header.spectra && header.kernel) found.push(["spectrum", "voxel's spectrum"]);
    if (header.kernel && header.clusters.some((cluster) => cluster.spectrum)) found.push(["cluster", "cluster's spectrum, scaled"]);
    (header.fits || []).forEach((fit, i) => found.push([`model${i}`, fit.title]));
    return found;
  }

  /** Fit of a voxel: values of the groups and the spectrum behind them. */
  fit(name, voxel, means) {
    if (name === "spectrum") {
      const spectrum = this.spectrum(voxel);
      return { values: this.predict(spectrum), spectrum };
    }
    if (name === "cluster") return this.scaled(this.clusterSpectrum(this.clusterOf(voxel)), means);
    const { n } = this.header, place = this.header.fits[Number(name.slice(5))];
    return { values: Array.from({ length: this.nGroups }, (_, g) => this.at(place, g * n + voxel)), spectrum: null };
  }

  /** A spectrum of free size, scaled to fit signals best, each mean by its number of volumes. */
  scaled(spectrum, means) {
    if (!spectrum || !means) return { values: null, spectrum };
    const shape = this.predict(spectrum), counts = this.counts();
    let above = 0, below = 0;
    shape.forEach((value, g) => { above += counts[g] * value * means[g]; below += counts[g] * value * value; });
    const factor = below > 0 ? above / below : 0;
    return { values: shape.map((value) => factor * value), spectrum: spectrum.map((value) => factor * value) };
  }
}
