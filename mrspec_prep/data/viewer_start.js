/* Viewers open when they come near the screen, or at a press of their button. */

function startViewers() {
  const near = new IntersectionObserver((entries) => {
    for (const entry of entries) if (entry.isIntersecting) { near.unobserve(entry.target); entry.target.viewer.open(); }
  }, { rootMargin: "200px" });
  for (const root of document.querySelectorAll(".viewer")) {
    const about = JSON.parse(document.getElementById(`${root.dataset.slug}_viewer_header`).textContent);
    root.viewer = about.scans ? new GroupViewer(root, about) : new Viewer(root, about);
    root.dataset.state = "waiting"; // holds the room it will need: what lies below does not jump
    const button = root.querySelector("button");
    button.hidden = false;
    button.addEventListener("click", () => root.viewer.open());
    near.observe(root);
  }
}

/** Rows of tables that name a cluster or a scan show it in the viewer. */
function startRows() {
  for (const button of document.querySelectorAll("button.show")) {
    const root = document.querySelector(`.viewer[data-slug="${CSS.escape(button.dataset.viewer)}"]`), row = button.closest("tr");
    if (!root) continue;
    const show = async () => {
      root.scrollIntoView({ block: "start" });
      await root.viewer.open();
      if (root.dataset.state === "open") await root.viewer.reveal(button.dataset.what, Number(button.dataset.index));
    };
    button.hidden = false;
    row.classList.add("shows");
    row.addEventListener("click", (event) => { if (!event.target.closest("a") && !window.getSelection().toString()) show(); });
  }
}

startViewers();
startRows();
