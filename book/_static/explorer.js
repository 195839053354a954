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

  const frame = (place, ...parts) => place.replaceChildren(make("style", {}, style), make("div", { class: "ex" }, ...parts));

  // --- The state in the address: #leaf=n07753592&with=n02537085 ---------------------------------

  const asked = () => (location.hash.includes("=") ? Object.fromEntries(new URLSearchParams(location.hash.slice(1))) : {});
  const address = (state) => `#${new URLSearchParams(state)}`;

  // Shows what the address asks for, now and whenever the reader goes back or forth: `show(state,
  // moved)` is given its names and values, `moved` where the reader pressed something in here. What
  // is returned goes to another state, as a step of its own or instead of the last one.
  function addressed(place, show) {
    let last = asked();
    window.addEventListener("popstate", () => {
      const next = asked();
      if (address(next) !== address(last)) show((last = next), false); // or it is a link within the page
    });
    if (Object.keys(last).length) requestAnimationFrame(() => place.scrollIntoView());
    show(last, false);
    return (state, replaced = false) => {
      show((last = state), true);
      const to = Object.keys(state).length ? address(state) : location.pathname + location.search;
      replaced ? history.replaceState(null, "", to) : history.pushState(null, "", to);
    };
  }

  // Builds an explorer in its place. `nodes` are what can be found, by any of `words(node)`; those
  // of smaller `order(node)` come first, then larger `size(node)`. `view(state, go)` gives the parts
  // of the view for what the address says, or nothing where it says what is not here; an empty state
  // is the start. `entry(node, state)` is the button of a result, `prompt(state)` what to look for,
  // `nothing` what is said where nothing is found. Returns `go(state)`, which moves to another view.
  function explorer(place, { prompt, nothing, nodes, words, order, size, entry, view }) {
    const search = make("input", {
      type: "search", id: "ex-search", autocomplete: "off", autocapitalize: "off", spellcheck: "false",
      "aria-describedby": "ex-status",
    });
    const label = make("label", { for: "ex-search" });
    const status = make("p", { id: "ex-status", role: "status" });
    const results = make("ul", { class: "ex-list", "aria-label": "Found" });
    const shown = make("div");
    const form = make("form", { role: "search" }, label, search, status, results);
    let state = {};
    let small; // the words of all nodes in small letters, made when somebody searches

    function find() {
      const wanted = search.value.trim().toLowerCase();
      shown.hidden = wanted !== ""; // nothing of an older search stays below a new one
      results.replaceChildren();
      status.textContent = "";
      if (wanted.length < 2) return 0;
      small ??= nodes.map((node) => words(node).map((word) => word.toLowerCase()));
      const rate = (word) => { // the whole, its start, the start of a word in it, anything else
        const at = word.indexOf(wanted);
        if (at < 0) return Infinity;
        return word === wanted ? -1 : at === 0 ? 0 : " -".includes(word[at - 1]) ? 10 : 20;
      };
      const rated = small.map((all, i) => [Math.min(...all.map(rate)), nodes[i]]).filter(([rating]) => rating < Infinity);
      const found = rated.map(([rating, node]) => [rating < 0 ? rating : rating + order(node), node]);
      found.sort(([a, one], [b, other]) => a - b || size(other) - size(one) || (one.name < other.name ? -1 : 1));
      const whole = found.filter(([rating]) => rating < 0).length; // all senses of a name are listed
      const listed = found.slice(0, Math.max(FOUND, whole));
      results.append(...items(listed.map(([, node]) => entry(node, state))));
      const among = found.length > listed.length ? `, the first ${listed.length} shown` : "";
      const senses = whole > 1 ? `, ${whole} of just this name` : "";
      status.textContent = found.length === 0 ? nothing : `${number(found.length)} found${senses}${among}.`;
      return found.length;
    }
    function open(next, moved) {
      const parts = view(next);
      state = parts ? next : {};
      search.value = "";
      find();
      label.textContent = prompt(state);
      form.setAttribute("aria-label", label.textContent);
      if (!parts) status.textContent = `This page has nothing for ${decodeURIComponent(address(next))}.`;
      const back = make("button", { type: "button", class: "ex-more", onclick: () => go({}) }, "Back to the start");
      shown.replaceChildren(...(parts ?? view({})), ...(Object.keys(state).length ? [back] : []));
      if (moved) shown.querySelector("h3").focus();
    }
    search.addEventListener("input", find);
    form.addEventListener("submit", (event) => { // opens what is found where there is no choice
      event.preventDefault();
      const found = find();
      const first = results.querySelector("button");
      if (found === 1) first.click();
      else if (found) {
        status.textContent += " Choose one.";
        first.focus();
      }
    });
    frame(place, form, shown);
    const go = addressed(place, open);
    return go;
  }

  const style = `
    html[data-theme=dark] body .bd-content div.cell_output .text_html:has(.ex) {
      color: inherit; background: none; padding: 0; }
    .ex { border: 1px solid var(--pst-color-border, #c9c9c9); border-radius: 6px; padding: 0.8rem 1rem; }
    .ex label { display: block; font-weight: 600; }
    .ex input { width: 100%; max-width: 28rem; min-height: 2.75rem; padding: 0.3rem 0.6rem; font: inherit;
      color: inherit; background: var(--pst-color-background, transparent); border: 1px solid var(--pst-color-text-muted, #666);
      border-radius: 4px; }
    .ex h3 { margin: 1rem 0 0.5rem; font-size: 1.3rem; outline-offset: 4px; }
    .ex h4 { margin: 1rem 0 0.4rem; font-size: 1rem; }
    .ex p { margin: 0.4rem 0; }
    .ex small { font-size: 0.85em; font-weight: normal; color: var(--pst-color-text-base, inherit); }
    .ex ul.ex-list { list-style: none; margin: 0; padding: 0; display: grid; gap: 4px;
      grid-template-columns: repeat(auto-fill, minmax(min(15rem, 100%), 1fr)); }
    .ex textarea { width: 100%; box-sizing: border-box; font: inherit; color: inherit; background: var(--pst-color-background, transparent);
      border: 1px solid var(--pst-color-text-muted, #666); border-radius: 4px; padding: 0.3rem 0.6rem; }
    .ex input[type=range] { display: block; border: 0; padding: 0; max-width: none; }
    .ex svg { display: block; width: 100%; max-width: 32rem; height: auto; }
    .ex svg text { fill: currentColor; font-size: 14px; }
    .ex .ex-bar { height: 0.9rem; width: var(--ex-share, 0%); border-radius: 2px; }
    .ex .ex-columns { display: grid; gap: 0 2rem; grid-template-columns: repeat(auto-fit, minmax(min(15rem, 100%), 1fr)); }
    .ex input[type=file] { display: block; border: 0; padding: 0.5rem 0; }
    .ex .ex-shared { font-weight: 600; }
    .ex #ex-status:empty, .ex ul.ex-list:empty { display: none; }
    .ex ul.ex-list li { margin: 0; }
    .ex ul.ex-list button, .ex-more { width: 100%; height: 100%; min-height: 2.75rem; padding: 0.25rem 0.6rem; font: inherit;
      text-align: left; color: inherit; cursor: pointer; border: 1px solid var(--pst-color-border, #c9c9c9);
      border-radius: 4px; overflow-wrap: anywhere; background-color: transparent;
      background-image: linear-gradient(var(--pst-color-text-base, #222), var(--pst-color-text-base, #222));
      background-repeat: no-repeat; background-position: left bottom; background-size: var(--ex-share, 0%) 3px; }
    .ex button.ex-more { width: auto; height: auto; margin: 0.8rem 0.4rem 0 0; }
    .ex button:hover { border-color: currentColor; text-decoration: underline; }
    .ex button:focus-visible, .ex :is(input, textarea):focus-visible { outline: 3px solid var(--pst-color-link, #0072b2); outline-offset: 1px; }
    .ex .ex-link { border: 0; padding: 0; font: inherit; min-height: 1.8rem; background: none; cursor: pointer;
      color: var(--pst-color-link, inherit); text-decoration: underline; text-align: left; }
    .ex ul.ex-line { list-style: none; margin: 0; padding: 0; display: flex; flex-wrap: wrap; gap: 0 1rem; }
    .ex .ex-latin { font-style: italic; }
    .ex .ex-spot { display: inline-block; width: 0.75em; height: 0.75em; margin-right: 0.4em; border-radius: 2px;
      border: 1px solid var(--pst-color-text-base, #222); }
    .ex .ex-table { width: 100%; margin: 0; border-collapse: collapse; }
    .ex .ex-table th, .ex .ex-table td { padding: 0.2rem 0.5rem 0.2rem 0; text-align: left; vertical-align: baseline;
      border-bottom: 1px solid var(--pst-color-border, #c9c9c9); overflow-wrap: break-word; }
    .ex .ex-table th[scope=row] { font-weight: normal; }
    .ex .ex-table .ex-number, .ex .ex-table th[scope=col]:last-child { text-align: right; padding-right: 0; }`;

  return { number, make, link, title, list, button, shelf, table, frame, addressed, explorer };
})();
