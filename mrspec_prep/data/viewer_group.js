/* The viewer of a group: it opens a scan's viewer in its place and adds what the scan is among the others. */

class GroupViewer {
  constructor(root, about) {
    Object.assign(this, { root, about, scan: -1, shown: null });
  }

  open() {
    this.opened ||= opening(this.root, () => this.choose(this.about.scans.findIndex((scan) => scan.packed)));
    return this.opened;
  }

  /** Show another scan; map, cluster and settings stay. */
  async choose(index, cluster) {
    const turn = (this.turn = (this.turn || 0) + 1), { root, about } = this, before = this.shown;
    const header = JSON.parse(new TextDecoder().decode(await inflate(`${about.slug}${index}_data_header`)));
    if (turn !== this.turn) return;
    const viewer = new Viewer(root, header), focused = root.contains(document.activeElement) ? document.activeElement.id : "";
    if (before) {
      const { opacity, outline, logarithmic, fit, drag, cluster: chosen } = before.state, layer = before.layer() || {};
      const same = header.layers.findIndex((other) => other.group === layer.group && other.title === layer.title);
      Object.assign(viewer.state, { opacity, outline, logarithmic, fit, drag, cluster: chosen, layer: same });
      before.observer.disconnect();
    }
    if (cluster !== undefined) viewer.state.cluster = cluster;
    Object.assign(this, { shown: viewer, scan: index });
    viewer.around = this;
    delete root.dataset.shown;
    await viewer.unpack();
    if (focused && document.getElementById(focused)) document.getElementById(focused).focus({ preventScroll: true });
  }

  reveal(what, index) {
    return what === "scan" ? this.choose(index) : this.shown.chooseCluster(index);
  }

  /** Which scan is shown, how to come to another, what is known of it. */
  head() {
    const { about } = this, scan = about.scans[this.scan], groups = new Map(), slug = `${about.slug}_v_`;
    const select = element("select", { id: `${slug}scan` });
    about.scans.forEach(({ name, group, packed }, i) => {
      if (group && !groups.has(group)) { groups.set(group, element("optgroup", { label: group })); select.append(groups.get(group)); }
      (groups.get(group) || select).append(element("option", { value: i, selected: i === this.scan, disabled: !packed }, packed ? name : `${name} (no maps here)`));
    });
    select.addEventListener("change", () => this.choose(Number(select.value)));
    const order = [...select.options].filter((option) => !option.disabled).map((option) => Number(option.value)), at = order.indexOf(this.scan);
    const step = (by, sign, name) => {
      const button = element("button", { type: "button", id: `${slug}${name}`, "aria-label": `${name} scan` }, sign);
      button.addEventListener("click", () => this.choose(order.at((at + by) % order.length)));
      return button;
    };
    return element("div", { class: "scans" }, element("label", { for: select.id }, element("span", {}, "Scan"), select), step(-1, "‹", "previous"), step(1, "›", "next"),
      element("span", { class: "facts" }, scan.facts), scan.href ? element("a", { href: scan.href }, `Report of ${scan.participant}`) : null);
  }

  /** Shares of the clusters in this scan against all others; of a chosen cluster its share in every scan. */
  panel(cluster) {
    const { about } = this, parts = [element("h4", {}, `Shares of voxels: scan ${about.scans[this.scan].name} among all`), sharesPlot(about, this.scan, cluster, (i) => this.choose(i))];
    if (cluster >= 0) parts.push(this.table(cluster));
    return parts;
  }

  table(cluster) {
    const { about } = this, order = about.scans.map((_, i) => i).sort((a, b) => about.scans[b].shares[cluster] - about.scans[a].shares[cluster]);
    const rows = order.map((i) => {
      const { name, group, shares, packed, residual } = about.scans[i], share = `${(100 * shares[cluster]).toFixed(1)} %`;
      const button = element("button", { type: "button", id: `${about.slug}_v_row${i}`, "aria-pressed": String(i === this.scan) }, name);
      button.addEventListener("click", () => this.choose(i));
      return [packed ? button : name, ...(about.compared ? [group || "–"] : []), share, residual || "–"];
    });
    const names = ["scan", ...(about.compared ? [about.compared] : []), "share", "residual / noise"];
    return this.shown.table("scans", `Share of cluster ${cluster + 1} in every scan`, names, rows, true);
  }
}

/** A strip per cluster: the share of its voxels in every scan, this one ringed. */
function sharesPlot(about, scan, cluster, choose) {
  const step = 18, height = about.clusters.length * step + 42, box = [58, 4, WIDE - 10, height - 38];
  const top = Math.max(...about.scans.flatMap((one) => one.shares)) * 100, x = scaleOf(0, top * 1.03, box[0], box[2], false);
  const svg = element("svg", { viewBox: `0 0 ${WIDE} ${height}`, class: "plot shares", role: "img", "aria-label": `Shares of the clusters in scan ${about.scans[scan].name} and in all scans` });
  frame(svg, box, x, { ticks: [], place: Number }, "share of the scan's voxels [%]", "cluster");
  about.clusters.forEach(({ color }, m) => {
    const y = box[1] + (m + 0.5) * step, faint = cluster >= 0 && cluster !== m ? 0.25 : 1;
    svg.append(element("line", { x1: box[0], x2: box[2], y1: y, y2: y, class: "grid" }));
    svg.append(element("text", { x: box[0] - 8, y: y + 4, "text-anchor": "end", style: m === cluster ? "font-weight:700" : "" }, String(m + 1)));
    about.scans.forEach((one, i) => {
      const place = { cx: x.place(100 * one.shares[m]), cy: y + (((i * 7) % 5) - 2) * 1.3 }, own = i === scan;
      const mark = element("circle", { ...(own ? { ...place, cy: y } : place), r: own ? 5.5 : 3, fill: color, opacity: faint * (own ? 1 : 0.45), class: own ? "own" : one.packed ? "other" : "" });
      mark.append(element("title", {}, `${one.name}: ${(100 * one.shares[m]).toFixed(1)} %`));
      if (one.packed && !own) mark.addEventListener("click", () => choose(i));
      svg.append(mark);
    });
  });
  for (const own of svg.querySelectorAll("circle.own")) svg.append(own); // above the others
  return element("figure", {}, svg);
}
