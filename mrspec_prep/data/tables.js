/* Tables whose rows the reader can sort by a column and filter by a word. */

function liven(table) {
  const body = table.tBodies[0], rows = [...body.rows];
  const key = (row, column) => {
    const text = row.cells[column].textContent.trim(), number = parseFloat(text.replace(/[\s\u202f]/g, "").replace("\u2212", "-"));
    return /^[-\u2212]?[\d.]/.test(text) ? number : text.toLowerCase();
  };
  const compare = (a, b) => (typeof a === typeof b ? (a > b) - (a < b) : typeof a === "number" ? -1 : 1);
  [...table.tHead.rows[0].cells].forEach((head, column) => {
    const button = document.createElement("button");
    button.type = "button";
    button.textContent = head.textContent;
    head.replaceChildren(button);
    button.addEventListener("click", () => {
      const down = head.getAttribute("aria-sort") === "ascending";
      for (const other of table.tHead.rows[0].cells) other.removeAttribute("aria-sort");
      head.setAttribute("aria-sort", down ? "descending" : "ascending");
      rows.sort((a, b) => (down ? -1 : 1) * compare(key(a, column), key(b, column)));
      body.append(...rows);
    });
  });
  const filter = document.createElement("input"), label = document.createElement("label"), count = document.createElement("output");
  filter.type = "search";
  label.className = "filter";
  label.append("Show rows with ", filter, " ", count);
  table.closest(".scroll").before(label);
  filter.addEventListener("input", () => {
    const words = filter.value.toLowerCase().split(/\s+/).filter(Boolean);
    for (const row of rows) row.hidden = !words.every((word) => row.textContent.toLowerCase().includes(word));
    const shown = rows.filter((row) => !row.hidden).length;
    count.textContent = words.length ? `${shown} of ${rows.length}` : "";
  });
}

document.querySelectorAll("table.sortable").forEach(liven);
