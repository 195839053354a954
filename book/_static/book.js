// What the theme's pages lack for keyboards and screen readers, mended once for all of them.
document.addEventListener("DOMContentLoaded", () => {
  // The visible words ("Show code cell source") are the better name of these buttons.
  document.querySelectorAll("summary[aria-label]").forEach((button) => button.removeAttribute("aria-label"));
  // Entries of a bibliography have a role of their own, so their container is no plain list.
  document.querySelectorAll(".citation-list[role=list]").forEach((list) => list.removeAttribute("role"));
  // A table that scrolls sideways on a phone must be reachable by keyboard.
  document.querySelectorAll(".pst-scrollable-table-container, .cell_output .output").forEach((box) => {
    if (box.scrollWidth > box.clientWidth) box.tabIndex = 0;
  });
});
