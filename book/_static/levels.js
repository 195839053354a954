// The explorer of the chapter on ImageNet-21k's levels: pick a leaf, see its labels at each level,
// how many leaves share them and which. Its data stand in the page (#levels-explorer-data): a row
// for each synset with its number, its name and its hypernyms; the levels are climbed here.
(() => {
  const place = document.getElementById("levels-explorer");
  if (!place) return; // another page
  const { number, make, link, title, list, button, shelf, table, explorer } = explorerParts;
  const data = JSON.parse(document.getElementById("levels-explorer-data").textContent);

  // --- The hierarchy ------------------------------------------------------------------------------

  let id = 0; // rows hold differences, of numbers and of places, in base 36
  const synsets = data.rows.split(",").map((row, at) => {
    const [step, name, ...up] = row.split(" ");
    id += parseInt(step, 36);
    return {
      id: `n${String(id).padStart(8, "0")}`, name: name.replace("*", "").replaceAll("_", " "), leaf: name[0] !== "*",
      up: up.map((back) => at - parseInt(back, 36)), down: [], at,
    };
  });
  for (const synset of synsets) {
    for (const above of synset.up) synsets[above].down.push(synset);
    if (!synset.up.length) synset.up = [synset.at]; // one without hypernyms stays where it is
  }
  const leaves = synsets.filter((synset) => synset.leaf);

  // The labels of all synsets at a level: k steps from a synset are k - 1 steps from those above it.
  const reached = [synsets.map(({ at }) => [at])];
  function labels(level) {
    while (reached.length <= level) {
      const before = reached[reached.length - 1];
      reached.push(synsets.map(({ up }) => (up.length === 1 ? before[up[0]] : [...new Set(up.flatMap((above) => before[above]))])));
    }
    return reached[level];
  }
  const grouped = []; // of each level: a class's place → its leaves
  function classes(level) {
    if (!grouped[level]) {
      grouped[level] = new Map();
      for (const leaf of leaves)
        for (const at of labels(level)[leaf.at])
          grouped[level].has(at) ? grouped[level].get(at).push(leaf) : grouped[level].set(at, [leaf]);
    }
    return grouped[level];
  }
  const sizeOf = (level, synset) => classes(level).get(synset.at)?.length ?? 0;
  const byName = (a, b) => (a.name.toLowerCase() < b.name.toLowerCase() ? -1 : 1);
  const levels = data.counts.map((count, level) => level);

  // --- The page -----------------------------------------------------------------------------------

  const many = (n) => `${number(n)} ${n === 1 ? "leaf" : "leaves"}`;
  const parents = (synset) => synset.up.filter((at) => at !== synset.at).map((at) => synsets[at].name).join(", ");
  const leafButton = (leaf) => button(() => show(leaf), [leaf.name], leaf.id);
  const found = (leaf) => button(() => show(leaf), [leaf.name], `${leaf.id}: ${parents(leaf) || "has no hypernym"}`);
  function shelfOf(heading, level, some, from) { // classes of a level, by size
    const sorted = [...some].sort((a, b) => sizeOf(level, b) - sizeOf(level, a) || byName(a, b));
    const largest = sorted.length ? sizeOf(level, sorted[0]) : 1;
    const each = (synset) => button(() => showClass(level, synset, from), [synset.name],
      number(sizeOf(level, synset)), sizeOf(level, synset) / largest);
    return shelf(heading, sorted, each);
  }

  function home() {
    const examples = data.examples.map((wanted) => leaves.find((leaf) => leaf.id === wanted));
    const level = (at) => button(() => showLevel(at), [`level ${at}`], `${number(data.counts[at])} classes`);
    return [title(`${many(leaves.length)}, ${levels.length} levels`), make("h4", {}, "Leaves to start with"),
      list(examples.map(found)), make("h4", {}, "Or a level, from fine to coarse"), list(levels.map(level))];
  }
  function showLevel(level) {
    const some = [...classes(level).keys()].map((at) => synsets[at]);
    put(title(`Level ${level}`), ...shelfOf(`Its ${number(some.length)} classes, with their leaves`, level, some));
  }
  function show(leaf) {
    const rows = levels.flatMap((level) => {
      const sorted = labels(level)[leaf.at].map((at) => synsets[at]).sort((a, b) => sizeOf(level, a) - sizeOf(level, b) || byName(a, b));
      return sorted.map((synset, i) => [i ? null : { text: `${level}`, rows: sorted.length },
        link(() => showClass(level, synset, leaf), synset.name), number(sizeOf(level, synset))]);
    });
    put(title(leaf.name, " ", make("small", {}, leaf.id)), table(["level", "label", "leaves with it"], rows), ...company(leaf));
  }
  function company(leaf) { // the first level at which a leaf shares a label, and with whom
    const level = levels.find((at) => labels(at)[leaf.at].some((label) => classes(at).get(label).length > 1));
    if (level === undefined) return [make("p", {}, "It shares no label with another leaf at any of these levels.")];
    const shared = labels(level)[leaf.at].map((at) => synsets[at]).filter((synset) => sizeOf(level, synset) > 1);
    const others = (synset) => classes(level).get(synset.at).filter((other) => other !== leaf).sort(byName);
    return [
      make("p", {}, level > 1 ? `Alone in its classes below level ${level}.` : "It shares a label from the first step on."),
      ...shared.flatMap((synset) =>
        shelf(`At level ${level} it merges with ${many(others(synset).length)} in “${synset.name}”`, others(synset), leafButton)),
    ];
  }
  function showClass(level, synset, from) {
    const inside = classes(level).get(synset.at);
    const other = levels.filter((at) => at !== level && sizeOf(at, synset));
    const also = other.map((at) => make("li", {}, link(() => showClass(at, synset, from), `level ${at}`), ` (${number(sizeOf(at, synset))})`));
    const made = level === 0 ? [] // a root, which stays where it is, is among its own
      : [...synset.down, ...(synset.up[0] === synset.at ? [synset] : [])].filter((below) => sizeOf(level - 1, below));
    const way = [];
    if (from) way.push(make("p", {}, "Back to ", link(() => show(from), from.name)));
    if (also.length) way.push(make("p", {}, "The same synset is a class at"), make("ul", { class: "ex-line" }, ...also));
    put(title(synset.name, " ", make("small", {}, `${synset.id}, class of level ${level}`)),
      make("p", {}, `${many(inside.length)} of ${number(leaves.length)} ${inside.length === 1 ? "carries" : "carry"} this label at level ${level}.`),
      ...way, ...(made.length ? shelfOf(`Made of these classes of level ${level - 1}`, level - 1, made, from) : []),
      ...shelf("Leaves in it", [...inside].sort(byName), leafButton));
  }

  const { put, start } = explorer(place, {
    prompt: "Find a leaf by its name or number, as dog or n02084071", nodes: leaves, words: (leaf) => [leaf.name, leaf.id],
    order: () => 0, size: (leaf) => leaf.down.length, entry: found, show, home,
  });
  start();
})();
