// The explorer of the theory: sliders over precomputed runs. Its data lie in the page, in a script
// element of type application/json; nothing is asked of any host.
(() => {
  const COLOURS = { coarse: "#D55E00", fine: "#0072B2" }; // as in the figures
  const NAMES = { k: "subclasses k", noise: "noise σ_ζ" };
  const BARS = [
    ["response_common", "response to the common feature", 1.25],
    ["response_fine", "response to the fine feature", 1.25],
    ["hard_error", "error on hard samples", 1],
    ["easy_error", "error on easy samples", 1],
  ];

  const make = (tag, properties = {}, ...children) => {
    const element = Object.assign(document.createElement(tag), properties);
    element.append(...children);
    return element;
  };

  // A slider over the places of a list; its text says the value, for eyes and for screen readers.
  const slider = (label, values, start, changed) => {
    const input = make("input", { type: "range", min: 0, max: values.length - 1, step: 1, value: start });
    const shown = make("output");
    const tell = () => {
      shown.textContent = values[input.value];
      input.setAttribute("aria-valuetext", `${values[input.value]}`);
    };
    input.style.cssText = "width:100%;min-height:2.75rem"; // a finger's width
    input.addEventListener("input", () => { tell(); changed(); });
    tell();
    const row = make("label", {}, `${label}: `, shown, input);
    row.style.cssText = "display:block;margin:.4rem 0";
    return { row, place: () => Number(input.value) };
  };

  const bar = (colour) => {
    const fill = make("div");
    fill.style.cssText = `height:100%;width:0;background:${colour};border-radius:2px`;
    const track = make("div", {}, fill);
    track.style.cssText = "height:.9rem;background:rgba(128,128,128,.2);border-radius:2px";
    const text = make("span");
    text.style.cssText = "font-variant-numeric:tabular-nums";
    return { track, text, fill };
  };

  const build = (box) => {
    const data = JSON.parse(box.querySelector("script").textContent);
    const base = (box.dataset.base || "").split(",").map(Number);
    const inputs = data.names.map((name, index) => slider(
      NAMES[name] || name, data.values[index], Math.max(0, data.values[index].indexOf(base[index])), () => draw(),
    ));
    const time = slider("training steps", data.step, data.step.length - 1, () => draw());
    const cards = Object.keys(data.curves).map((labels) => {
      const heading = make("p", { textContent: `Trained on ${labels} labels` });
      heading.style.cssText = `font-weight:600;margin:.2rem 0;border-left:.4rem solid ${COLOURS[labels]};padding-left:.5rem`;
      const bars = BARS.map(([, text]) => {
        const one = bar(COLOURS[labels]);
        const line = make("div", {}, `${text}: `, one.text, one.track);
        line.style.cssText = "margin:.45rem 0;font-size:.95em";
        return { ...one, line };
      });
      const loss = make("div");
      loss.style.cssText = "margin:.45rem 0;font-size:.95em;font-variant-numeric:tabular-nums";
      const card = make("div", {}, heading, ...bars.map((one) => one.line), loss);
      card.style.cssText = "flex:1 1 16rem";
      return { labels, bars, loss, card };
    });
    const said = make("p", { ariaLive: "polite" });
    said.style.cssText = "margin:.2rem 0 .8rem"; // next to the sliders: on a phone the bars are below the screen

    const draw = () => {
      const place = inputs.reduce((sum, input, index) => sum * data.values[index].length + input.place(), 0);
      const step = time.place();
      const value = (labels, curve) => data.curves[labels][curve][place][step];
      cards.forEach(({ labels, bars, loss }) => {
        BARS.forEach(([curve, , top], index) => {
          const found = value(labels, curve);
          bars[index].text.textContent = found.toFixed(3);
          bars[index].fill.style.width = `${Math.max(0, Math.min(100, (100 * found) / top))}%`;
        });
        loss.textContent = `training loss: ${value(labels, "training_loss").toPrecision(2)}`;
      });
      const errors = cards.map(({ labels }) => `${(100 * value(labels, "hard_error")).toFixed(0)}% after ${labels} training`);
      said.textContent = `Hard samples wrong: ${errors.join(", ")}.`;
    };

    const panel = make("div", {}, ...cards.map(({ card }) => card));
    panel.style.cssText = "display:flex;flex-wrap:wrap;gap:1rem 2rem";
    const form = make("fieldset", {}, make("legend", { textContent: "Explorer" }), ...inputs.map(({ row }) => row), time.row, said, panel);
    form.style.cssText = "border:1px solid rgba(128,128,128,.5);border-radius:6px;padding:.6rem 1rem;margin:0";
    box.replaceChildren(form);
    draw();
  };

  const start = () => document.querySelectorAll(".theory-explorer").forEach((box) => {
    if (!box.querySelector("fieldset")) build(box); // once, however often this file is loaded
  });
  if (document.readyState === "loading") document.addEventListener("DOMContentLoaded", start);
  else start();
})();
