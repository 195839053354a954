// What the theme's pages lack for keyboards and screen readers, mended once for all of them.
document.addEventListener("DOMContentLoaded", () => {
  const each = (selector, mend) => document.querySelectorAll(selector).forEach(mend);
  // The visible words ("Show code cell source") are the better name of these buttons.
  each("summary[aria-label]", (button) => button.removeAttribute("aria-label"));
  // Entries of a bibliography are a plain list of items; the roles that they come with are out of use.
  each(".citation-list[role=list], .citation[role]", (element) => element.removeAttribute("role"));
  // The book's name above the contents stands in no landmark.
  const home = document.querySelector(".sidebar-primary-item:has(.navbar-brand)");
  home?.setAttribute("role", "navigation");
  home?.setAttribute("aria-label", "Home");
  // The corner of a table heads nothing.
  each("th", (corner) => {
    if (corner.textContent.trim() || corner.querySelector("img, svg")) return;
    const cell = document.createElement("td");
    for (const { name, value } of corner.attributes) if (name !== "scope") cell.setAttribute(name, value);
    corner.replaceWith(cell);
  });
  // A table that scrolls sideways on a phone must be reachable by keyboard.
  each(".pst-scrollable-table-container, .cell_output .output", (box) => {
    if (box.scrollWidth > box.clientWidth) box.tabIndex = 0;
  });
});
