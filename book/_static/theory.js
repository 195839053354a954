// The explorer of the theory: two networks, one trained on coarse labels and one on fine ones, here in
// the page and by the library's formulas (theory_model.js). Its setting and the values of its dials
// stand in the page (#theory-explorer-data). α† and σ_ζ* belong to hard samples, which no network is
// trained on: these dials cost no training, k does.
(() => {
  const place = document.getElementById("theory-explorer");
  if (!place) return; // another page
  const { make, title, table, frame, addressed } = explorerParts;
  const { setting: base, dials: values, colours, tests } = JSON.parse(document.getElementById("theory-explorer-data").textContent);
  const SIGNS = ["+", "−"];
  const KINDS = ["coarse", "fine"];
  const steps = theoryModel.loggedSteps(base.steps, base.logged);

  // --- Dials --------------------------------------------------------------------------------------

  // A slider over the places of a list, whose value stands in the address under its name.
  function slider(name, label, list, start) {
    const input = make("input", { type: "range", min: 0, max: list.length - 1, step: 1 });
    const shown = make("output");
    const set = (value) => {
      const at = list.findIndex((one) => `${one}` === `${value}`);
      input.value = at < 0 ? list.indexOf(start) : at;
      tell();
    };
    const tell = () => {
      shown.textContent = list[input.value];
      input.setAttribute("aria-valuetext", shown.textContent);
    };
    input.addEventListener("input", () => { tell(); draw(); });
    input.addEventListener("change", () => moved());
    return { name, set, value: () => list[input.value], row: make("label", {}, `${label}: `, shown, input) };
  }
  const dials = [
    slider("k", "Subclasses k of each superclass (trains anew)", values.k, base.k),
    slider("alpha", "Amplitude α† of the other superclass's feature in a hard sample", values.opposing_amplitude, base.opposing_amplitude),
    slider("sigma", "Strong noise σ_ζ* in one patch of a hard sample", values.strong_noise, base.strong_noise),
    slider("step", "Training steps", steps, base.steps),
  ];
  const dial = Object.fromEntries(dials.map((one) => [one.name, one]));
  let chosen = { seed: 0, sample: 1 }; // the start of training, and which hard sample is shown
  const setting = () => ({ ...base, k: dial.k.value(), opposing_amplitude: dial.alpha.value(), strong_noise: dial.sigma.value() });
  const state = () => ({ ...Object.fromEntries(dials.map(({ name, value }) => [name, value()])), ...chosen });
  const moved = () => go(state());
  const whole = (text, least, most) => (/^\d+$/.test(text) ? Math.min(most, Math.max(least, Number(text))) : least);

  // --- Training, some steps at a time so that the page stays alive ------------------------------------

  const trained = new Map(); // k and seed → a training, done or under way
  const said = make("p", { role: "status" });
  const progress = make("p");
  const training = () => trained.get(`${dial.k.value()} ${chosen.seed}`);
  function train() {
    const name = `${dial.k.value()} ${chosen.seed}`;
    if (trained.has(name)) return;
    const run = theoryModel.training(setting(), chosen.seed);
    run.tests = theoryModel.raw(setting(), tests, theoryModel.chance(chosen.seed, 4));
    trained.set(name, run);
    (function some() {
      const until = performance.now() + 40;
      const before = run.moments.length;
      while (!run.done() && performance.now() < until) run.advance();
      if (run === training()) {
        progress.textContent = run.done() ? "" : `Training both networks: step ${run.step()} of ${base.steps}.`;
        if (run.moments.length > before) draw();
      }
      if (!run.done()) setTimeout(some);
    })();
  }

  // --- What is seen ---------------------------------------------------------------------------------

  const begin = make("button", { type: "button", class: "ex-more", onclick: moved }, "Train both networks");
  const chart = make("div");
  const sample = make("div");
  let rest; // errors take a moment: they are counted when the dials have come to rest

  function draw() {
    const run = training();
    begin.hidden = Boolean(run);
    if (!run?.moments.length) return chart.replaceChildren(), sample.replaceChildren();
    const moment = run.moments.findLast(({ step }) => step <= dial.step.value());
    chart.replaceChildren(...growth(run.moments, moment.step));
    sample.replaceChildren(...votes(run, moment));
    clearTimeout(rest);
    if (run.done()) rest = setTimeout(() => { said.textContent = errors(run, moment); }, 120);
  }

  function errors(run, moment) {
    const wrong = (hard) => {
      const drawn = theoryModel.samples(setting(), run.features, run.tests, hard);
      return KINDS.map((labels) => `${(100 * theoryModel.error(moment[labels].network, drawn, base)).toFixed(1)}%`);
    };
    const [hard, easy] = [wrong(true), wrong(false)];
    return `After ${moment.step} steps, of ${tests} hard samples wrong: ${hard[0]} with coarse labels, ${hard[1]} with fine labels. `
      + `Of easy ones: ${easy[0]} and ${easy[1]}.`;
  }

  // The responses to the common feature (solid) and to the fine one (dashed), along training.
  function growth(moments, now) {
    const [left, right, top, bottom] = [40, 385, 26, 170];
    const curves = KINDS.flatMap((labels) => ["common", "fine"].map((feature) =>
      ({ labels, feature, points: moments.map((moment) => [moment.step, moment[labels][feature]]) })));
    const most = Math.max(1, ...curves.flatMap(({ points }) => points.map(([, value]) => value)));
    const x = (step) => left + ((right - left) * step) / base.steps;
    const y = (value) => bottom - ((bottom - top) * value) / most;
    const draw = (tag, attributes, ...inside) => {
      const element = document.createElementNS("http://www.w3.org/2000/svg", tag);
      for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
      element.append(...inside);
      return element;
    };
    const line = (x1, y1, x2, y2, more = {}) => draw("line", { x1, y1, x2, y2, stroke: "currentColor", ...more });
    const text = (at, height, words, anchor) => draw("text", { x: at, y: height, "text-anchor": anchor }, words);
    const marks = [0, 0.5, 1].flatMap((value) => [line(left - 4, y(value), left, y(value)), text(left - 8, y(value) + 5, `${value}`, "end")]);
    const ticks = [0, base.steps / 2, base.steps].flatMap((step) => [line(x(step), bottom, x(step), bottom + 4), text(x(step), bottom + 20, `${step}`, "middle")]);
    const drawn = curves.map(({ labels, feature, points }) => draw("polyline", {
      points: points.map(([step, value]) => `${x(step).toFixed(1)},${y(value).toFixed(1)}`).join(" "), fill: "none",
      stroke: colours[labels], "stroke-width": 3, "stroke-dasharray": feature === "fine" ? "7 4" : "none",
    }));
    const last = moments.findLast(({ step }) => step <= now);
    const told = curves.map(({ labels, feature }) => `${labels} labels, ${feature} feature ${last[labels][feature].toFixed(2)}`);
    const picture = draw("svg", { viewBox: "0 0 400 215", role: "img", "aria-label": `Response of the best neuron at step ${now}: ${told.join("; ")}.` },
      line(left, top, left, bottom), line(left, bottom, right, bottom), ...marks, ...ticks, ...drawn,
      line(x(now), top, x(now), bottom, { "stroke-dasharray": "2 3" }), text((left + right) / 2, bottom + 40, "training step", "middle"),
      text(left, 14, "response", "middle"));
    const key = KINDS.map((labels) => make("span", {}, spot(labels), `${labels} labels `));
    return [make("p", {}, "Response of the best neuron to its common feature (solid) and its fine feature (dashed): ", ...key), picture];
  }
  const spot = (labels) => make("span", { class: "ex-spot", style: `background: ${colours[labels]}`, "aria-hidden": "true" });

  // One of the hard samples: what each network's two superclasses get from it, in all and by patch.
  function votes(run, moment) {
    const now = setting();
    const { pairs, alphas, gauss } = run.tests;
    const at = (list, i) => list.subarray((i * list.length) / tests, ((i + 1) * list.length) / tests);
    const own = { pairs: at(pairs, chosen.sample - 1), alphas: at(alphas, chosen.sample - 1), gauss: at(gauss, chosen.sample - 1) };
    const drawn = theoryModel.samples(now, run.features, own, true);
    const answers = KINDS.map((labels) => answer(moment[labels].network, drawn, now));
    const most = Math.max(...answers.flatMap(({ sums }) => sums), 1e-9);
    const bars = answers.map(({ sums }, i) => {
      const says = sums[1] > sums[0] ? 1 : 0;
      const all = sums.map((sum, y) => make("p", {}, `votes for ${SIGNS[y]}: ${sum.toFixed(2)}`,
        make("div", { class: "ex-bar", style: `--ex-share: ${((100 * sum) / most).toFixed(1)}%; background: ${colours[KINDS[i]]}` })));
      const verdict = sums[0] === sums[1] ? "no vote for either" : `says ${SIGNS[says]}, ${says === drawn.y[0] ? "right" : "wrong"}`;
      return make("div", {}, make("h4", {}, spot(KINDS[i]), `Trained on ${KINDS[i]} labels: ${verdict}`), ...all);
    });
    const rows = roles(now).map(([role, from, to]) => [role, ...answers.flatMap(({ byPatch }) =>
      [0, 1].map((y) => byPatch.slice(from, to).reduce((sum, patch) => sum + patch[y], 0).toFixed(2)))]);
    const head = ["votes by patch", ...KINDS.flatMap((labels) => SIGNS.map((sign) => `${labels}: ${sign}`))];
    const next = make("button", { type: "button", class: "ex-more", onclick: () => go({ ...state(), sample: (chosen.sample % tests) + 1 }) }, "Another hard sample");
    const anew = make("button", { type: "button", class: "ex-more", onclick: () => go({ ...state(), seed: chosen.seed + 1 }) }, "Train from another start");
    return [title(`Hard sample ${chosen.sample} of ${tests}: superclass ${SIGNS[drawn.y[0]]}, subclass ${drawn.c[0] + 1}`),
      make("div", { class: "ex-columns" }, ...bars), table(head, rows), next, anew];
  }
  function answer(network, { patches }, { d, patches: count }) {
    const scores = theoryModel.logits(network, patches, { patches: count, d });
    const sums = theoryModel.superclasses(network, scores);
    const half = network.outputs / 2;
    const winners = sums.map((sum, y) => y * half + scores.subarray(y * half, (y + 1) * half).indexOf(sum));
    const all = theoryModel.votes(network, patches, d);
    return { sums, byPatch: Array.from({ length: count }, (_, p) => winners.map((output) => all[p * network.outputs + output])) };
  }
  const roles = ({ patches, feature_patches, opposing_patches }) => [
    ["its fine feature", 0, feature_patches], ["plain noise", feature_patches, patches - 1 - opposing_patches],
    ["the other superclass's feature", patches - 1 - opposing_patches, patches - 1], ["strong noise", patches - 1, patches]];

  // --- The address ------------------------------------------------------------------------------------

  function show(asked) {
    for (const one of dials) one.set(asked[one.name]);
    chosen = { seed: whole(asked.seed, 0, 2 ** 31 - 1), sample: whole(asked.sample, 1, tests) };
    said.textContent = "";
    progress.textContent = "";
    if (Object.keys(asked).length || trained.size) train();
    draw();
  }
  frame(place, ...dials.map(({ row }) => row), begin, progress, said, chart, sample);
  const go = addressed(place, show);
})();
