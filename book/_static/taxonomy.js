// The explorer of the chapter on iNaturalist's taxonomy: find a species or a class of any rank, see
// the classes above it and those below. Its data stand in the page (#taxonomy-explorer-data).
(() => {
  const place = document.getElementById("taxonomy-explorer");
  if (!place) return; // another page
  const { number, make, link, title, list, button, shelf, table, explorer } = explorerParts;
  const data = JSON.parse(document.getElementById("taxonomy-explorer-data").textContent);
  const { ranks, rules, rest, colours } = data;
  const SHOWN = 3; // English names of a result

  // --- The tree -----------------------------------------------------------------------------------

  const nodes = []; // every class of every rank, coarse ones first within a path
  function grow(tree, above) {
    const below = Array.isArray(tree) ? tree.map((epithet) => [epithet, null]) : Object.entries(tree);
    return below.map(([name, deeper]) => {
      const node = { name, above, depth: above ? above.depth + 1 : 0, species: 1, kinds: {} };
      if (node.depth === 6) node.name = `${above.name} ${name}`;
      node.kingdom = above ? above.kingdom : name;
      node.english = data.english[node.kingdom]?.[ranks[node.depth]]?.[node.name] ?? [];
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
  const byPath = new Map(nodes.map((node) => [key(node), node]));
  function key(node) { // as the address has it: names are not unique, paths are
    return path(node).map(({ name }) => name).join("/");
  }
  const topsOf = (kind) => // the largest classes that lie in a supercategory as a whole
    nodes.filter((node) => pure(node) && kind in node.kinds && !(node.above && pure(node.above)));

  // --- The page -----------------------------------------------------------------------------------

  const many = (n) => `${number(n)} species`;
  const label = (node) => make("span", { class: node.depth > 4 ? "ex-latin" : "" }, node.name);
  const spot = (kind) => make("span", { class: "ex-spot", style: `background: ${colours[kind]}`, "aria-hidden": "true" });
  const spots = (node) => Object.keys(node.kinds).sort((a, b) => node.kinds[b] - node.kinds[a]).slice(0, 3).map(spot);
  const entry = (node, remark, share) => button(() => go({ taxon: key(node) }), [...spots(node), label(node)], remark, share);
  function origin(node) { // its English names, and what tells equal names apart
    const family = path(node)[4];
    const english = node.english.slice(0, SHOWN).join(", ");
    const where = node.depth > 4 ? `${family.name}, ` : "";
    const what = node.depth < 6 ? `, ${many(node.species)}` : "";
    return `${english && `${english}; `}${ranks[node.depth]}: ${where}${Object.keys(node.kinds).join(", ")}${what}`;
  }
  function classes(heading, list, whole) {
    const largest = Math.max(...list.map((node) => node.species));
    const each = (node) => {
      const [english = ""] = node.english;
      if (node.depth === 6) return entry(node, english);
      return entry(node, number(node.species) + (english && `, ${english}`), node.species / largest);
    };
    return shelf(heading, list, each, whole);
  }
  const kindButton = (kind) =>
    button(() => go({ supercategory: kind }), [spot(kind), kind], number(kinds[kind]), kinds[kind] / kinds[byKind[0]]);

  function view({ taxon, supercategory, ...others }) {
    if (Object.keys(others).length) return undefined;
    if (supercategory !== undefined) return supercategory in kinds ? ofKind(supercategory) : undefined;
    if (taxon !== undefined) return byPath.has(taxon) ? ofTaxon(byPath.get(taxon)) : undefined;
    return home();
  }
  function home() {
    return [title(`All ${many(kingdoms.reduce((sum, node) => sum + node.species, 0))}`),
      make("h4", {}, "By supercategory, the target's classes"), list(byKind.map(kindButton)), ...classes("By kingdom", kingdoms, true)];
  }
  function ofKind(kind) {
    const tops = topsOf(kind).sort((a, b) => b.species - a.species);
    const made = tops.length === 1 ? "one class" : `${tops.length} classes that no other supercategory takes`;
    return [title(spot(kind), kind, " ", make("small", {}, "supercategory")),
      make("p", {}, `${many(kinds[kind])}, in ${made}.`), ...classes("Made of", tops)];
  }
  function ofTaxon(node) {
    const line = path(node);
    const rows = line.map((at) => [at.species, ranks[at.depth], at === node ? label(at) : link(() => go({ taxon: key(at) }), label(at))]);
    for (const [kind] of Object.entries(node.kinds).sort((a, b) => b[1] - a[1])) {
      const inside = node.kinds[kind] < kinds[kind] && !pure(node) ? node.kinds[kind] : kinds[kind];
      const row = [inside, "supercategory", make("span", {}, spot(kind), link(() => go({ supercategory: kind }), kind))];
      const before = rows.findIndex(([species, rank], i) => i > 0 && rank !== "supercategory" && species <= kinds[kind]);
      pure(node) && before > 0 ? rows.splice(before, 0, row) : rows.push(row);
    }
    const remarks = [];
    if (node.english.length) remarks.push(`In English: ${node.english.join(", ")}.`);
    if (!pure(node)) remarks.push("This class crosses the target: it has species in several supercategories, which are counted as far as they lie in it.");
    if (line[0].name === "Fungi" && node.depth > 0)
      remarks.push("Fungi: the names from phylum to family were filled in, and can differ from the dataset's.");
    const below = node.below.length
      ? classes(`${number(node.below.length)} ${node.below.length > 1 ? data.plurals[node.depth + 1] : ranks[node.depth + 1]} in it`, node.below)
      : [];
    return [title(...spots(node), label(node), " ", make("small", {}, ranks[node.depth])),
      table(["rank", "class", "species"], rows.map(([species, rank, what]) => [rank, what, number(species)])),
      ...remarks.map((text) => make("p", {}, text)), ...below];
  }

  // The dataset's table has names in Latin; WordNet has English ones for some of them.
  const named = byKind.map((kind) => ({ name: kind, kind, english: [], species: kinds[kind], depth: -1 }));
  const go = explorer(place, {
    nodes: [...named, ...nodes], words: (node) => [node.name, ...node.english], order: (node) => node.depth, size: (node) => node.species, view,
    entry: (node) => (node.kind ? button(() => go({ supercategory: node.kind }), [spot(node.kind), node.kind], `supercategory, ${many(node.species)}`)
      : entry(node, origin(node))),
    prompt: () => "Find a species or a class of any rank by its Latin name or an English one, as Turdus or robin, or a supercategory, as Birds",
    nothing: `Nothing found. English names are known of ${number(nodes.filter((node) => node.english.length).length)} species and classes alone; all have a Latin one. `
      + `Or start from a supercategory: ${byKind.join(", ")}.`,
  });
})();
