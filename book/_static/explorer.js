// What the book's explorers share: a search, lists of buttons, a view that changes, one style. An
// explorer's own program (taxonomy.js, levels.js) says what is found and what is shown. A chapter
// puts both into its page, with the data, so they work in Jupyter too and ask no server.
const explorerParts = (() => {
  const FOUND = 12; // results of a search
  const BELOW = 24; // entries of a list, until the reader asks for more
  const MORE = 480; // and so many with each further press

  const number = (n) => n.toLocaleString("en");
  function make(tag, attributes = {}, ...inside) {
    const element = document.createElement(tag);
    for (const [name, value] of Object.entries(attributes))
      name === "onclick" ? element.addEventListener("click", value) : element.setAttribute(name, value);
    element.append(...inside);
    return element;
  }
  const items = (list) => list.map((element) => make("li", {}, element));
  const link = (onclick, ...inside) => make("button", { type: "button", class: "ex-link", onclick }, ...inside);
  const title = (...inside) => make("h3", { tabindex: "-1", id: "ex-title" }, ...inside);
  const list = (elements) => make("ul", { class: "ex-list" }, ...items(elements));

  // A button of a list: what it is, a remark, and a bar for its share of the largest beside it.
  function button(onclick, face, remark, share) {
    const style = share === undefined ? "" : `--ex-share: ${(100 * share).toFixed(1)}%`;
    return make("button", { type: "button", style, onclick }, ...face, " ", make("small", {}, remark));
  }

  // A list under a heading; `each` makes an entry's button.
  function shelf(heading, entries, each, whole) {
    const element = list(entries.slice(0, whole ? entries.length : BELOW).map(each));
    const parts = [make("h4", {}, heading), element];
    const left = () => entries.length - element.children.length;
    const words = () => (left() > MORE ? `Show ${MORE} more of ${number(entries.length)}` : `Show all ${number(entries.length)}`);
    if (left()) {
      const more = make("button", { type: "button", class: "ex-more" }, words());
      more.addEventListener("click", () => {
        const shown = element.children.length;
        element.append(...items(entries.slice(shown, shown + MORE).map(each)));
        element.children[shown].firstChild.focus();
        left() ? more.replaceChildren(words()) : more.remove();
      });
      parts.push(more);
    }
    return parts;
  }

  // A table of an explorer: words of its head, and rows of cells, the first of which heads the row.
  function table(head, rows) {
    const cell = (tag, content, attributes) => make(tag, attributes, ...[content].flat());
    const body = rows.map(([first, ...others]) => make("tr", {},
      ...(first === null ? [] : [cell("th", first.text ?? first, { scope: "row", rowspan: first.rows ?? 1 })]),
      ...others.map((content, i) => cell("td", content, { class: i === others.length - 1 ? "ex-number" : "" }))));
    const top = make("tr", {}, ...head.map((text) => make("th", { scope: "col" }, text)));
    return make("table", { class: "ex-table", "aria-labelledby": "ex-title" }, make("thead", {}, top), make("tbody", {}, ...body));
  }

  // Builds an explorer in its place. `nodes` are what can be found, by any of `words(node)`; those
  // of smaller `order(node)` come first, then larger `size(node)`. `entry(node)` is the button of a
  // result, `show(node)` opens one, `home()` gives the parts of the view at the start.
  function explorer(place, { prompt, nodes, words, order, size, entry, show, home }) {
    const search = make("input", {
      type: "search", id: "ex-search", autocomplete: "off", autocapitalize: "off", spellcheck: "false",
      "aria-describedby": "ex-status",
    });
    const status = make("p", { id: "ex-status", role: "status" });
    const results = make("ul", { class: "ex-list", "aria-label": "Found" });
    const view = make("div");
    const form = make("form", { role: "search", "aria-label": prompt },
      make("label", { for: "ex-search" }, prompt), search, status, results);
    let small; // the words of all nodes in small letters, made when somebody searches

    function find() {
      const wanted = search.value.trim().toLowerCase();
      results.replaceChildren();
      status.textContent = "";
      if (wanted.length < 2) return [];
      small ??= nodes.map((node) => words(node).map((word) => word.toLowerCase()));
      const rate = (word) => { // the whole, its start, the start of a word in it, anything else
        const at = word.indexOf(wanted);
        if (at < 0) return Infinity;
        return word === wanted ? -1 : at === 0 ? 0 : " -".includes(word[at - 1]) ? 10 : 20;
      };
      const rated = small.map((all, i) => [Math.min(...all.map(rate)), nodes[i]]).filter(([rating]) => rating < Infinity);
      const found = rated.map(([rating, node]) => [rating < 0 ? rating : rating + order(node), node]);
      found.sort(([a, one], [b, other]) => a - b || size(other) - size(one) || (one.name < other.name ? -1 : 1));
      const shown = found.slice(0, FOUND).map(([, node]) => node);
      results.append(...items(shown.map(entry)));
      status.textContent = found.length === 0 ? "Nothing found."
        : `${number(found.length)} found${found.length > FOUND ? `, the first ${FOUND} shown` : ""}.`;
      return shown;
    }
    function put(...parts) { // what was looked for is found
      results.replaceChildren();
      status.textContent = "";
      view.replaceChildren(...parts, make("button", { type: "button", class: "ex-more", onclick: start }, "Back to the start"));
      view.querySelector("h3").focus();
    }
    function start(event) {
      view.replaceChildren(...home());
      if (event) view.querySelector("h3").focus();
    }
    search.addEventListener("input", find);
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      const [first] = find();
      if (first) show(first);
    });
    place.replaceChildren(make("style", {}, style), make("div", { class: "ex" }, form, view));
    return { put, start };
  }

  const style = `
    html[data-theme=dark] .bd-content div.cell_output .text_html:has(#ex-search) {
      color: inherit; background: none; padding: 0; }
    .ex { border: 1px solid var(--pst-color-border, #c9c9c9); border-radius: 6px; padding: 0.8rem 1rem; }
    .ex label { display: block; font-weight: 600; }
    .ex input { width: 100%; max-width: 28rem; min-height: 2.75rem; padding: 0.3rem 0.6rem; font: inherit;
      color: inherit; background: var(--pst-color-background, #fff); border: 1px solid var(--pst-color-text-muted, #666);
      border-radius: 4px; }
    .ex h3 { margin: 1rem 0 0.5rem; font-size: 1.3rem; outline-offset: 4px; }
    .ex h4 { margin: 1rem 0 0.4rem; font-size: 1rem; }
    .ex p { margin: 0.4rem 0; }
    .ex small { font-size: 0.85em; font-weight: normal; color: var(--pst-color-text-base, inherit); }
    .ex ul.ex-list { list-style: none; margin: 0; padding: 0; display: grid; gap: 4px;
      grid-template-columns: repeat(auto-fill, minmax(min(15rem, 100%), 1fr)); }
    .ex #ex-status:empty, .ex ul.ex-list:empty { display: none; }
    .ex ul.ex-list li { margin: 0; }
    .ex ul.ex-list button, .ex-more { width: 100%; height: 100%; min-height: 2.75rem; padding: 0.25rem 0.6rem; font: inherit;
      text-align: left; color: inherit; cursor: pointer; border: 1px solid var(--pst-color-border, #c9c9c9);
      border-radius: 4px; overflow-wrap: anywhere; background-color: transparent;
      background-image: linear-gradient(var(--pst-color-text-base, #222), var(--pst-color-text-base, #222));
      background-repeat: no-repeat; background-position: left bottom; background-size: var(--ex-share, 0%) 3px; }
    .ex button.ex-more { width: auto; height: auto; margin: 0.8rem 0.4rem 0 0; }
    .ex button:hover { border-color: currentColor; text-decoration: underline; }
    .ex button:focus-visible, .ex input:focus-visible { outline: 3px solid var(--pst-color-link, #0072b2); outline-offset: 1px; }
    .ex .ex-link { border: 0; padding: 0; font: inherit; min-height: 1.8rem; background: none; cursor: pointer;
      color: var(--pst-color-link, #0072b2); text-decoration: underline; text-align: left; }
    .ex ul.ex-line { list-style: none; margin: 0; padding: 0; display: flex; flex-wrap: wrap; gap: 0 1rem; }
    .ex .ex-latin { font-style: italic; }
    .ex .ex-spot { display: inline-block; width: 0.75em; height: 0.75em; margin-right: 0.4em; border-radius: 2px;
      border: 1px solid var(--pst-color-text-base, #222); }
    .ex .ex-table { width: 100%; margin: 0; border-collapse: collapse; }
    .ex .ex-table th, .ex .ex-table td { padding: 0.2rem 0.5rem 0.2rem 0; text-align: left; vertical-align: baseline;
      border-bottom: 1px solid var(--pst-color-border, #c9c9c9); overflow-wrap: break-word; }
    .ex .ex-table th[scope=row] { font-weight: normal; }
    .ex .ex-table .ex-number, .ex .ex-table th[scope=col]:last-child { text-align: right; padding-right: 0; }`;

  return { number, make, link, title, list, button, shelf, table, explorer };
})();
