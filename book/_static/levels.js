// The explorer of the chapter on ImageNet-21k's levels: pick a leaf, see its labels at each level,
// how many leaves share them and which; compare two; label a list of one's own. Its data stand in the page (#levels-explorer-data): a row
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
  const known = new Map(synsets.map((synset) => [synset.id, synset]));
  const leafOf = (wanted) => (known.get(wanted)?.leaf ? known.get(wanted) : undefined);

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
  const leafButton = (leaf) => button(() => go({ leaf: leaf.id }), [leaf.name], leaf.id);
  const origin = (leaf) => `${leaf.id}: ${parents(leaf) || "has no hypernym"}`;
  const found = (leaf) => button(() => go({ leaf: leaf.id }), [leaf.name], origin(leaf));
  const toClass = (level, synset, from) => () => go({ level, class: synset.id, ...(from && { leaf: from.id }) });
  function shelfOf(heading, level, some, from) { // classes of a level, by size
    const sorted = [...some].sort((a, b) => sizeOf(level, b) - sizeOf(level, a) || byName(a, b));
    const largest = sorted.length ? sizeOf(level, sorted[0]) : 1;
    const each = (synset) => button(toClass(level, synset, from), [synset.name],
      number(sizeOf(level, synset)), sizeOf(level, synset) / largest);
    return shelf(heading, sorted, each);
  }

  // What the address says as the parts of the view; nothing where it names what is not here.
  function view({ leaf: one, with: two, class: wanted, level, labels, ...others }) {
    const [leaf, other, synset, at] = [leafOf(one), leafOf(two), known.get(wanted), levels.find((at) => `${at}` === `${level}`)];
    if ((one && !leaf) || (two && !other) || Object.keys(others).length) return undefined;
    if (labels !== undefined) return ownList();
    if (two !== undefined) return other && leaf ? compared(leaf, other) : toCompare(leaf);
    if (wanted !== undefined) return at !== undefined && synset && sizeOf(at, synset) ? ofClass(at, synset, leaf) : undefined;
    if (level !== undefined) return at !== undefined ? ofLevel(at) : undefined;
    return leaf ? ofLeaf(leaf) : home();
  }
  function home() {
    const level = (at) => button(() => go({ level: at }), [`level ${at}`], `${number(data.counts[at])} classes`);
    return [title(`${many(leaves.length)}, ${levels.length} levels`), make("h4", {}, "Leaves to start with"),
      list(data.examples.map((wanted) => found(leafOf(wanted)))), make("h4", {}, "Or"),
      list([button(() => go({ leaf: "", with: "" }), ["Compare two leaves"], "when do they share a class?"),
        button(() => go({ labels: "mine" }), ["Label a list of your own"], "a CSV to download")]),
      make("h4", {}, "Or a level, from fine to coarse"), list(levels.map(level))];
  }
  function ofLevel(level) {
    const some = [...classes(level).keys()].map((at) => synsets[at]);
    return [title(`Level ${level}`), ...shelfOf(`Its ${number(some.length)} classes, with their leaves`, level, some)];
  }
  const labelsOf = (level, leaf) => // the smallest class first
    labels(level)[leaf.at].map((at) => synsets[at]).sort((a, b) => sizeOf(level, a) - sizeOf(level, b) || byName(a, b));
  function ofLeaf(leaf) {
    const rows = levels.flatMap((level) => labelsOf(level, leaf).map((synset, i, all) => [
      i ? null : { text: `${level}`, rows: all.length },
      link(toClass(level, synset, leaf), synset.name), number(sizeOf(level, synset))]));
    return [title(leaf.name, " ", make("small", {}, leaf.id)),
      make("p", {}, link(() => go({ leaf: leaf.id, with: "" }), "Compare it with another leaf")),
      table(["level", "label", "leaves with it"], rows), ...company(leaf)];
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
  function ofClass(level, synset, from) {
    const inside = classes(level).get(synset.at);
    const other = levels.filter((at) => at !== level && sizeOf(at, synset));
    const also = other.map((at) => make("li", {}, link(toClass(at, synset, from), `level ${at}`), ` (${number(sizeOf(at, synset))})`));
    const made = level === 0 ? [] // a root, which stays where it is, is among its own
      : [...synset.down, ...(synset.up[0] === synset.at ? [synset] : [])].filter((below) => sizeOf(level - 1, below));
    const way = [];
    if (from) way.push(make("p", {}, "Back to ", link(() => go({ leaf: from.id }), from.name)));
    if (also.length) way.push(make("p", {}, "The same synset is a class at"), make("ul", { class: "ex-line" }, ...also));
    return [title(synset.name, " ", make("small", {}, `${synset.id}, class of level ${level}`)),
      make("p", {}, `${many(inside.length)} of ${number(leaves.length)} ${inside.length === 1 ? "carries" : "carry"} this label at level ${level}.`),
      ...way, ...(made.length ? shelfOf(`Made of these classes of level ${level - 1}`, level - 1, made, from) : []),
      ...shelf("Leaves in it", [...inside].sort(byName), leafButton)];
  }

  // --- Two leaves ---------------------------------------------------------------------------------

  function toCompare(leaf) {
    const which = leaf ? `the leaf to compare with ${leaf.name}, ${leaf.id}` : "the first of two leaves";
    return [title(leaf ? `${leaf.name} and …` : "Two leaves"), make("p", {}, `Search above for ${which}.`)];
  }
  function compared(one, other) {
    const names = one.name === other.name ? [one, other].map((leaf) => `${leaf.name} ${leaf.id}`) : [one.name, other.name];
    const common = levels.map((level) => labelsOf(level, one).filter((synset) => labels(level)[other.at].includes(synset.at)));
    const first = common.findIndex((some) => some.length);
    const rows = levels.map((level) => {
      const cell = (leaf) => labelsOf(level, leaf).flatMap((synset, i) => [...(i ? [", "] : []),
        make("span", { class: common[level].includes(synset) ? "ex-shared" : "" }, link(toClass(level, synset, leaf), synset.name))]);
      return [`${level}`, cell(one), cell(other), common[level].map((synset) => number(sizeOf(level, synset))).join(", ")];
    });
    const answer = first < 0 ? `They share no class at any level from 0 to ${levels.length - 1}.`
      : `They first share a class at level ${first}: ${common[first].map((synset) => synset.name).join(", ")}.`;
    return [title(names.join(" and ")), make("p", {}, answer), ...meeting(one, other, names, first), table(["level", ...names, "leaves in the shared class"], rows),
      make("p", {}, link(() => go({ leaf: one.id, with: "" }), `Compare ${one.name} with another leaf`))];
  }

  // Paths of unequal length pass the same synset at unequal levels, and no level merges the two there.
  function meeting(one, other, names, first) {
    const reach = (leaf, at) => levels.find((level) => labels(level)[leaf.at].includes(at));
    const both = [...new Set(levels.flatMap((level) => labels(level)[one.at]))].filter((at) => reach(other, at) !== undefined);
    const last = (at) => Math.max(reach(one, at), reach(other, at));
    const at = both.sort((a, b) => last(a) - last(b) || a - b)[0];
    if (at === undefined || last(at) === first) return [];
    return [make("p", {}, `Both come to ${synsets[at].name}, but ${names[0]} at level ${reach(one, at)} and ${names[1]} at level ${reach(other, at)}: `
      + "a level counts the steps from each leaf.")];
  }

  // --- A list of the reader's own -------------------------------------------------------------------

  // The synsets of a text, one a line or several; lines without a known one and repetitions are named.
  function read(text) {
    const mine = new Map(), strange = [];
    text.split(/\r?\n/).forEach((line, at) => {
      const ids = line.match(/\bn\d{8}\b/g) ?? (line.trim() ? [line.trim()] : []);
      for (const id of ids) {
        if (!known.has(id)) strange.push(`${id} (line ${at + 1})`);
        else if (mine.has(id)) strange.push(`${id} again (line ${at + 1})`);
        else mine.set(id, known.get(id));
      }
    });
    return { mine: [...mine.values()], strange };
  }
  function csv(mine) { // a row for each label of each synset at each level
    const rows = mine.flatMap((synset) => levels.flatMap((level) =>
      labels(level)[synset.at].map((at) => [synset.id, synset.name, level, synsets[at].id, synsets[at].name].join(","))));
    return ["synset,name,level,label,label_name", ...rows, ""].join("\n");
  }
  function ownList() {
    const text = make("textarea", { id: "ex-own", rows: "6", spellcheck: "false", placeholder: "n02084071\nn07753592" });
    const file = make("input", { id: "ex-file", type: "file", accept: ".txt,.csv,.tsv,text/*" });
    const said = make("p", { role: "status" });
    const made = make("div");
    function work() {
      const { mine, strange } = read(text.value);
      const left = strange.length ? ` Left out, ${number(strange.length)}: ${strange.slice(0, 50).join(", ")}${strange.length > 50 ? " …" : ""}.` : "";
      said.textContent = `${number(mine.length)} ${mine.length === 1 ? "synset" : "synsets"} labelled.${left}`;
      made.replaceChildren();
      if (!mine.length) return;
      const rows = levels.map((level) => {
        const all = mine.map((synset) => labels(level)[synset.at]);
        return [`${level}`, number(new Set(all.flat()).size), number(all.filter((some) => some.length > 1).length)];
      });
      const href = `data:text/csv;charset=utf-8,${encodeURIComponent(csv(mine))}`;
      made.append(make("p", {}, make("a", { href, download: "labels.csv" }, "Download the labels as CSV")),
        table(["level", "classes", "synsets with several labels"], rows));
    }
    file.addEventListener("change", async () => {
      text.value = await file.files[0].text();
      work();
    });
    return [title("Labels for your own list"),
      make("p", {}, "Synsets of ImageNet-21k, or above them, one on each line. The list stays in this page."),
      make("label", { for: "ex-own" }, "Your synsets"), text, make("label", { for: "ex-file" }, "Or a file of them"), file,
      make("button", { type: "button", class: "ex-more", onclick: work }, "Make the labels"), said, made];
  }

  const toPick = ({ leaf, with: other }) => other === "" || (other !== undefined && !leaf);
  const go = explorer(place, {
    nodes: leaves, words: (leaf) => [leaf.name, leaf.id], order: () => 0, size: (leaf) => leaf.down.length, view,
    nothing: "Nothing found. A leaf is found by its number and by the first word of its synset.",
    prompt: (state) => (toPick(state) ? (state.leaf ? "Find the leaf to compare with" : "Find the first leaf")
      : "Find a leaf by its name or number, as dog or n02084071"),
    entry: (leaf, state) => {
      if (!toPick(state)) return found(leaf);
      return button(() => go(state.leaf ? { leaf: state.leaf, with: leaf.id } : { leaf: leaf.id, with: "" }), [leaf.name], origin(leaf));
    },
  });
})();
