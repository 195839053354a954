// The explorer of the chapter on iNaturalist's taxonomy: find a species or a class of any rank, see
// the classes above it and those below. Its data stand in the page (#taxonomy-names); it asks no
// server. The chapter puts this file into its page, so it works in Jupyter too.
(() => {
  const place = document.getElementById("taxonomy-explorer");
  if (!place) return; // another page
  const data = JSON.parse(document.getElementById("taxonomy-names").textContent);
  const { ranks, rules, rest, colours } = data;
  const FOUND = 12; // results of a search
  const BELOW = 24; // classes below, until the reader asks for all

  // --- The tree -----------------------------------------------------------------------------------

  const nodes = []; // every class of every rank, coarse ones first within a path
  function grow(tree, above) {
    const below = Array.isArray(tree) ? tree.map((epithet) => [epithet, null]) : Object.entries(tree);
    return below.map(([name, deeper]) => {
      const node = { name, above, depth: above ? above.depth + 1 : 0, species: 1, kinds: {} };
      if (node.depth === 6) node.name = `${above.name} ${name}`;
      nodes.push(node);
      node.below = deeper ? grow(deeper, node) : [];
      if (deeper) {
        node.species = node.below.reduce((sum, child) => sum + child.species, 0);
        for (const child of node.below)
          for (const [kind, n] of Object.entries(child.kinds)) node.kinds[kind] = (node.kinds[kind] ?? 0) + n;
      } else node.kinds[kindOf(path(node))] = 1;
      node.below.sort((a, b) => b.species - a.species || (a.name < b.name ? -1 : 1));
      return node;
    });
  }
  function path(node) {
    return node ? [...path(node.above), node] : [];
  }
  function kindOf(line) { // the first rule that holds decides
    const rule = rules.find(([rank, name]) => line[ranks.indexOf(rank)].name === name);
    return rule ? rule[2] : rest;
  }
  const kingdoms = grow(data.tree, null);
  const kinds = {};
  for (const node of kingdoms)
    for (const [kind, n] of Object.entries(node.kinds)) kinds[kind] = (kinds[kind] ?? 0) + n;
  const byKind = Object.keys(kinds).sort((a, b) => kinds[b] - kinds[a]);
  const pure = (node) => Object.keys(node.kinds).length === 1;
  const topsOf = (kind) => // the largest classes that lie in a supercategory as a whole
    nodes.filter((node) => pure(node) && kind in node.kinds && !(node.above && pure(node.above)));

  // --- The page -----------------------------------------------------------------------------------

  const number = (n) => n.toLocaleString("en");
  const many = (n) => `${number(n)} species`;
  function make(tag, attributes = {}, ...inside) {
    const element = document.createElement(tag);
    for (const [name, value] of Object.entries(attributes))
      name === "onclick" ? element.addEventListener("click", value) : element.setAttribute(name, value);
    element.append(...inside);
    return element;
  }
  const label = (node) => make("span", { class: node.depth > 4 ? "tx-latin" : "" }, node.name);
  const spot = (kind) => make("span", { class: "tx-spot", style: `background: ${colours[kind]}`, "aria-hidden": "true" });
  const spots = (node) => Object.keys(node.kinds).sort((a, b) => node.kinds[b] - node.kinds[a]).slice(0, 3).map(spot);
  function button(node, remark, share) {
    const style = share === undefined ? "" : `--tx-share: ${(100 * share).toFixed(1)}%`;
    const small = make("small", {}, remark);
    return make("button", { type: "button", style, onclick: () => show(node) }, ...spots(node), label(node), " ", small);
  }
  const items = (list) => list.map((element) => make("li", {}, element));

  const search = make("input", {
    type: "search", id: "tx-search", autocomplete: "off", autocapitalize: "off", spellcheck: "false",
    "aria-describedby": "tx-status",
  });
  const status = make("p", { id: "tx-status", role: "status" });
  const results = make("ul", { class: "tx-list", "aria-label": "Found" });
  const view = make("div");
  const form = make("form", { role: "search", "aria-label": "Search the taxonomy" },
    make("label", { for: "tx-search" }, "Find a species, or a class of any rank"), search, status, results);

  function find() {
    const wanted = search.value.trim().toLowerCase();
    results.replaceChildren();
    status.textContent = "";
    if (wanted.length < 2) return [];
    const rate = (node) => {
      const at = node.name.toLowerCase().indexOf(wanted);
      if (at < 0) return null;
      if (node.name.length === wanted.length) return -1;
      return (at === 0 ? 0 : node.name[at - 1] === " " || node.name[at - 1] === "-" ? 10 : 20) + node.depth;
    };
    const found = nodes.map((node) => [rate(node), node]).filter(([rated]) => rated !== null);
    found.sort(([a, one], [b, other]) => a - b || other.species - one.species || (one.name < other.name ? -1 : 1));
    const shown = found.slice(0, FOUND).map(([, node]) => node);
    results.append(...items(shown.map((node) => button(node, origin(node)))));
    status.textContent = found.length === 0 ? "Nothing found."
      : `${number(found.length)} found${found.length > FOUND ? `, the first ${FOUND} shown` : ""}.`;
    return shown;
  }
  function origin(node) { // what tells equal names apart
    const family = path(node)[4];
    const where = node.depth > 4 ? `${family.name}, ` : "";
    const what = node.depth < 6 ? `, ${many(node.species)}` : "";
    return `${ranks[node.depth]}: ${where}${Object.keys(node.kinds).join(", ")}${what}`;
  }

  function shelf(title, list, whole) {
    const largest = Math.max(...list.map((node) => node.species));
    const remark = (node) => (node.depth < 6 ? number(node.species) : "");
    const each = (node) => button(node, remark(node), node.depth < 6 ? node.species / largest : undefined);
    const shelfList = make("ul", { class: "tx-list" }, ...items((whole ? list : list.slice(0, BELOW)).map(each)));
    const parts = [make("h4", {}, title), shelfList];
    if (!whole && list.length > BELOW) {
      const all = make("button", { type: "button", class: "tx-more" }, `Show all ${number(list.length)}`);
      all.addEventListener("click", () => {
        shelfList.append(...items(list.slice(BELOW).map(each)));
        shelfList.children[BELOW].firstChild.focus();
        all.remove();
      });
      parts.push(all);
    }
    return parts;
  }
  function kindButton(kind) {
    const small = make("small", {}, number(kinds[kind]));
    const style = `--tx-share: ${(100 * kinds[kind]) / kinds[byKind[0]]}%`;
    return make("button", { type: "button", style, onclick: () => showKind(kind) }, spot(kind), kind, " ", small);
  }
  function title(...inside) {
    return make("h3", { tabindex: "-1", id: "tx-title" }, ...inside);
  }
  function put(...parts) {
    const home = make("button", { type: "button", class: "tx-more", onclick: () => showAll(true) }, "Back to the start");
    results.replaceChildren(); // what was looked for is found
    status.textContent = "";
    view.replaceChildren(...parts, home);
    view.querySelector("h3").focus();
  }

  function showAll(focus) {
    view.replaceChildren(title(`All ${many(kingdoms.reduce((sum, node) => sum + node.species, 0))}`),
      make("h4", {}, "By supercategory, the target's classes"),
      make("ul", { class: "tx-list" }, ...items(byKind.map(kindButton))), ...shelf("By kingdom", kingdoms, true));
    if (focus) view.querySelector("h3").focus();
  }
  function showKind(kind) {
    const tops = topsOf(kind).sort((a, b) => b.species - a.species);
    const made = tops.length === 1 ? "one class" : `${tops.length} classes that no other supercategory takes`;
    put(title(spot(kind), kind, " ", make("small", {}, "supercategory")),
      make("p", {}, `${many(kinds[kind])}, in ${made}.`), ...shelf("Made of", tops));
  }
  function show(node) {
    const line = path(node);
    const rows = line.map((at) => [at.species, ranks[at.depth], at === node ? label(at)
      : make("button", { type: "button", class: "tx-link", onclick: () => show(at) }, label(at))]);
    for (const [kind] of Object.entries(node.kinds).sort((a, b) => b[1] - a[1])) {
      const link = make("button", { type: "button", class: "tx-link", onclick: () => showKind(kind) }, kind);
      const inside = node.kinds[kind] < kinds[kind] && !pure(node) ? node.kinds[kind] : kinds[kind];
      const row = [inside, "supercategory", make("span", {}, spot(kind), link)];
      const before = rows.findIndex(([species, rank], i) => i > 0 && rank !== "supercategory" && species <= kinds[kind]);
      pure(node) && before > 0 ? rows.splice(before, 0, row) : rows.push(row);
    }
    const body = rows.map(([species, rank, what]) => make("tr", {},
      make("th", { scope: "row" }, rank), make("td", {}, what), make("td", { class: "tx-number" }, number(species))));
    const head = make("tr", {}, ...["rank", "class", "species"].map((text) => make("th", { scope: "col" }, text)));
    const table = make("table", { class: "tx-table", "aria-labelledby": "tx-title" },
      make("thead", {}, head), make("tbody", {}, ...body));
    const remarks = [];
    if (!pure(node)) remarks.push("This class crosses the target: it has species in several supercategories, which are counted as far as they lie in it.");
    if (line[0].name === "Fungi" && node.depth > 0)
      remarks.push("Fungi: the names from phylum to family were filled in, and can differ from the dataset's.");
    const below = node.below.length
      ? shelf(`${number(node.below.length)} ${node.below.length > 1 ? data.plurals[node.depth + 1] : ranks[node.depth + 1]} in it`, node.below)
      : [];
    put(title(...spots(node), label(node), " ", make("small", {}, ranks[node.depth])), table,
      ...remarks.map((text) => make("p", {}, text)), ...below);
  }

  const style = `
    html[data-theme=dark] .bd-content div.cell_output .text_html:has(#taxonomy-explorer) {
      color: inherit; background: none; padding: 0; }
    .tx { border: 1px solid var(--pst-color-border, #c9c9c9); border-radius: 6px; padding: 0.8rem 1rem; }
    .tx label { display: block; font-weight: 600; }
    .tx input { width: 100%; max-width: 28rem; min-height: 2.75rem; padding: 0.3rem 0.6rem; font: inherit;
      color: inherit; background: var(--pst-color-background, #fff); border: 1px solid var(--pst-color-text-muted, #666);
      border-radius: 4px; }
    .tx h3 { margin: 1rem 0 0.5rem; font-size: 1.3rem; outline-offset: 4px; }
    .tx h4 { margin: 1rem 0 0.4rem; font-size: 1rem; }
    .tx p { margin: 0.4rem 0; }
    .tx small { font-size: 0.85em; font-weight: normal; color: var(--pst-color-text-base, inherit); }
    .tx ul.tx-list { list-style: none; margin: 0; padding: 0; display: grid; gap: 4px;
      grid-template-columns: repeat(auto-fill, minmax(min(15rem, 100%), 1fr)); }
    .tx #tx-status:empty, .tx ul.tx-list:empty { display: none; }
    .tx ul.tx-list li { margin: 0; }
    .tx ul.tx-list button, .tx-more { width: 100%; height: 100%; min-height: 2.75rem; padding: 0.25rem 0.6rem; font: inherit;
      text-align: left; color: inherit; cursor: pointer; border: 1px solid var(--pst-color-border, #c9c9c9);
      border-radius: 4px; overflow-wrap: anywhere; background-color: transparent;
      background-image: linear-gradient(var(--pst-color-text-base, #222), var(--pst-color-text-base, #222));
      background-repeat: no-repeat; background-position: left bottom; background-size: var(--tx-share, 0%) 3px; }
    .tx button.tx-more { width: auto; height: auto; margin: 0.8rem 0.4rem 0 0; }
    .tx button:hover { border-color: currentColor; text-decoration: underline; }
    .tx button:focus-visible, .tx input:focus-visible { outline: 3px solid var(--pst-color-link, #0072b2); outline-offset: 1px; }
    .tx .tx-link { border: 0; padding: 0; font: inherit; min-height: 1.8rem; background: none; cursor: pointer;
      color: var(--pst-color-link, #0072b2); text-decoration: underline; text-align: left; }
    .tx .tx-latin { font-style: italic; }
    .tx .tx-spot { display: inline-block; width: 0.75em; height: 0.75em; margin-right: 0.4em; border-radius: 2px;
      border: 1px solid var(--pst-color-text-base, #222); }
    .tx .tx-table { width: 100%; margin: 0; border-collapse: collapse; }
    .tx .tx-table th, .tx .tx-table td { padding: 0.2rem 0.5rem 0.2rem 0; text-align: left; vertical-align: baseline;
      border-bottom: 1px solid var(--pst-color-border, #c9c9c9); overflow-wrap: break-word; }
    .tx .tx-table th[scope=row] { font-weight: normal; }
    .tx .tx-table .tx-number, .tx .tx-table th:last-child { text-align: right; padding-right: 0; }`;

  search.addEventListener("input", find);
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    const [first] = find();
    if (first) show(first);
  });
  showAll(false);
  place.replaceChildren(make("style", {}, style), make("div", { class: "tx" }, form, view));
})();
