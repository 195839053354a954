// The theory's data, network and training, in double precision, as the library has them: the same
// formulas as granularity.theory's samples, network and measures, whose docstrings give their sources.
// A test feeds both the same draws and compares every number. Settings are the library's, with its
// names; there are two superclasses. Matrices are flat, row after row.
const theoryModel = (() => {
  // --- Chance: sfc32, a stream for each seed and purpose --------------------------------------------

  function chance(seed, purpose) {
    let [a, b, c, counter] = [seed, purpose, 0x9e3779b9, 1];
    const next = () => {
      const sum = (((a + b) | 0) + counter) | 0;
      counter = (counter + 1) | 0;
      a = b ^ (b >>> 9);
      b = (c + (c << 3)) | 0;
      c = (((c << 21) | (c >>> 11)) + sum) | 0;
      return (sum >>> 0) / 2 ** 32;
    };
    for (let i = 0; i < 20; i++) next(); // until the seed has reached every bit
    let spare;
    function normal() { // two at a time, by Box and Muller
      if (spare !== undefined) {
        const kept = spare;
        spare = undefined;
        return kept;
      }
      const radius = Math.sqrt(-2 * Math.log(1 - next()));
      const angle = 2 * Math.PI * next();
      spare = radius * Math.sin(angle);
      return radius * Math.cos(angle);
    }
    const list = (count, one) => Float64Array.from({ length: count }, one);
    return { integers: (count, below) => list(count, () => Math.floor(below * next())), uniforms: (count) => list(count, next), normals: (count) => list(count, normal) };
  }

  // --- Data -----------------------------------------------------------------------------------------

  function dot(a, at, b, bt, d) {
    let sum = 0;
    for (let i = 0; i < d; i++) sum += a[at + i] * b[bt + i];
    return sum;
  }
  function add(target, at, factor, source, from, d) {
    for (let i = 0; i < d; i++) target[at + i] += factor * source[from + i];
  }

  // Orthonormal features (2 + 2k, d) of as many Gaussian rows, by Gram and Schmidt, twice for rounding:
  // v_+, v_-, then v_{+,1} … v_{+,k}, v_{-,1} …
  function dictionary({ k, d }, gauss) {
    const features = gauss.slice();
    for (let row = 0; row < 2 + 2 * k; row++) {
      for (let pass = 0; pass < 2; pass++)
        for (let before = 0; before < row; before++)
          add(features, row * d, -dot(features, row * d, features, before * d, d), features, before * d, d);
      const length = Math.sqrt(dot(features, row * d, features, row * d, d));
      for (let i = 0; i < d; i++) features[row * d + i] /= length;
    }
    return features;
  }

  // What chance gives for samples: their pairs (y, c), amplitudes in [0, 1) and noise of deviation 1.
  const raw = ({ k, d, patches, feature_patches }, count, rng) => ({
    pairs: rng.integers(count, 2 * k), alphas: rng.uniforms(count * 2 * feature_patches), gauss: rng.normals(count * patches * d),
  });

  // Samples of what chance gave, easy or hard: patches (N, P, d), superclasses y, subclasses c. Patches
  // are in the library's order: s* with the fine feature, s* with the common one, the rest; of a hard
  // sample the last is the strong one and the s† before it hold the other superclass's feature.
  function samples(setting, features, { pairs, alphas, gauss }, hard) {
    const { k, d, patches: P, feature_patches: wanted } = setting;
    const patches = gauss.slice();
    for (let n = 0; n < pairs.length; n++) {
      const y = Math.floor(pairs[n] / k);
      for (let p = 0; p < P; p++) {
        const at = (n * P + p) * d;
        const noise = hard && p === P - 1 ? setting.strong_noise : setting.noise;
        for (let i = 0; i < d; i++) patches[at + i] *= noise;
        const alpha = 1 + setting.amplitude_spread * (2 * alphas[n * 2 * wanted + p] - 1);
        if (p < wanted) add(patches, at, alpha, features, (2 + pairs[n]) * d, d);
        else if (!hard && p < 2 * wanted) add(patches, at, alpha, features, y * d, d);
        if (hard && p < P - 1 && p >= P - 1 - setting.opposing_patches)
          add(patches, at, setting.opposing_amplitude, features, (1 - y) * d, d);
      }
    }
    return { patches, y: pairs.map((pair) => Math.floor(pair / k)), c: pairs.map((pair) => pair % k) };
  }
  const targets = (setting, labels, { y, c }) => (labels === "coarse" ? y : y.map((one, n) => one * setting.k + c[n]));

  // --- The network ----------------------------------------------------------------------------------

  // w ~ N(0, σ_0² I), b = -τ σ_0 √ln d; neurons m c … m (c + 1) - 1 are those of output c.
  function initial(setting, labels, gauss) {
    const outputs = labels === "coarse" ? 2 : 2 * setting.k;
    const bias = -setting.threshold * setting.initial_scale * Math.sqrt(Math.log(setting.d));
    const weights = gauss.map((one) => one * setting.initial_scale);
    return { weights, biases: new Float64Array(outputs * setting.width).fill(bias), outputs, width: setting.width };
  }
  const copied = (network) => ({ ...network, weights: network.weights.slice(), biases: network.biases.slice() });

  // What every neuron answers to every patch, max(0, ⟨w, x⟩ + b): (patches, n). Two neurons and two
  // patches at a time: four sums that need not wait for one another, of numbers that are at hand.
  function answers({ weights, biases }, patches, d) {
    const n = biases.length;
    const found = new Float64Array((patches.length / d) * n);
    for (let one = 0; one < patches.length; one += 2 * d) {
      const other = Math.min(one + d, patches.length - d); // of an odd number the last is taken twice
      const [first, second] = [(one / d) * n, (other / d) * n];
      for (let r = 0; r < n; r += 2) {
        const low = r * d, high = low + d;
        let a = biases[r], b = biases[r + 1];
        let c = a, e = b;
        for (let i = 0; i < d; i++) {
          const x = patches[one + i], y = patches[other + i];
          const w = weights[low + i], v = weights[high + i];
          a += w * x;
          b += v * x;
          c += w * y;
          e += v * y;
        }
        found[first + r] = a > 0 ? a : 0;
        found[first + r + 1] = b > 0 ? b : 0;
        found[second + r] = c > 0 ? c : 0;
        found[second + r + 1] = e > 0 ? e : 0;
      }
    }
    return found;
  }

  // Sums of runs of so many neighbours.
  function summed(values, run) {
    const sums = new Float64Array(values.length / run);
    for (let i = 0, at = 0; i < sums.length; i++)
      for (const end = at + run; at < end; at++) sums[i] += values[at];
    return sums;
  }

  // What each patch adds to each output (patches, K), and a sample's logits (N, K): sums over patches.
  const votes = (network, patches, d) => summed(answers(network, patches, d), network.width);
  const logits = (network, patches, { patches: P, d }) => overPatches(votes(network, patches, d), P, network.outputs);
  function overPatches(values, P, outputs) {
    const sums = new Float64Array(values.length / P);
    for (let at = 0; at < values.length; at++) sums[Math.floor(at / (P * outputs)) * outputs + (at % outputs)] += values[at];
    return sums;
  }

  // One step of gradient descent in place, by softmax cross-entropy; each bias sinks by ‖Δw‖ / ln⁵ d.
  // Returns the loss before the step.
  function descend(network, { patches }, wanted, setting) {
    const { d, patches: P, learning_rate: rate } = setting;
    const { outputs, width, weights, biases } = network;
    const count = wanted.length, n = biases.length;
    const active = answers(network, patches, d);
    const all = overPatches(summed(active, width), P, outputs);
    const change = new Float64Array(weights.length);
    let loss = 0;
    for (let sample = 0; sample < count; sample++) {
      const scores = all.subarray(sample * outputs, (sample + 1) * outputs);
      const top = Math.max(...scores);
      const total = scores.reduce((sum, score) => sum + Math.exp(score - top), 0);
      loss += (Math.log(total) + top - scores[wanted[sample]]) / count;
      const residual = scores.map((score, output) => Math.exp(score - top) / total - (output === wanted[sample] ? 1 : 0));
      for (let patch = sample * P; patch < (sample + 1) * P; patch++)
        for (let output = 0, r = 0; output < outputs; output++)
          for (const factor = (rate * residual[output]) / count; r < (output + 1) * width; r++)
            if (active[patch * n + r] > 0) add(change, r * d, factor, patches, patch * d, d);
    }
    for (let r = 0; r < n; r++) {
      add(weights, r * d, -1, change, r * d, d);
      biases[r] -= Math.sqrt(dot(change, r * d, change, r * d, d)) / Math.log(d) ** 5;
    }
    return loss;
  }

  // --- Measures -------------------------------------------------------------------------------------

  // The scores of the two superclasses, each the largest of its outputs: pairs (+, -).
  function superclasses(network, scores) {
    const half = network.outputs / 2;
    return Array.from({ length: scores.length / half }, (_, i) => Math.max(...scores.subarray(i * half, (i + 1) * half)));
  }
  function error(network, { patches, y }, setting) { // share of samples whose superclass is missed
    const scores = superclasses(network, logits(network, patches, setting));
    return y.filter((one, n) => one !== (scores[2 * n + 1] > scores[2 * n] ? 1 : 0)).length / y.length;
  }

  // max_r ⟨w_r, v⟩ over the neurons that samples of (y, c) are trained to, the mean over (y, c), for
  // the common and the fine feature.
  function responses(setting, labels, { weights, width }, features) {
    const { k, d } = setting;
    const found = { common: 0, fine: 0 };
    for (let pair = 0; pair < 2 * k; pair++) {
      const y = Math.floor(pair / k), output = labels === "coarse" ? y : pair;
      const best = (feature) => Math.max(...Array.from({ length: width }, (_, r) => dot(weights, (output * width + r) * d, features, feature * d, d)));
      found.common += best(y) / (2 * k);
      found.fine += best(2 + pair) / (2 * k);
    }
    return found;
  }

  // --- Training -------------------------------------------------------------------------------------

  // About `count` steps from 0 to the last, denser at the start.
  const loggedSteps = (steps, count) =>
    [...new Set(Array.from({ length: count }, (_, i) => Math.round(steps * (i / (count - 1)) ** 1.5)))];

  // Two networks, one for each kind of labels, side by side on the same samples. `advance` makes one
  // step; `moments` has what they were at the logged steps.
  function training(setting, seed) {
    const { k, d, width, steps, batch_size } = setting;
    const features = dictionary(setting, chance(seed, 1).normals((2 + 2 * k) * d));
    const networks = Object.fromEntries(["coarse", "fine"].map((labels) => {
      const gauss = chance(seed, 2).normals((labels === "coarse" ? 2 : 2 * k) * width * d);
      return [labels, initial(setting, labels, gauss)];
    }));
    const rng = chance(seed, 3);
    const logged = loggedSteps(steps, setting.logged);
    const moments = [];
    let step = 0;
    function advance() {
      const batch = samples(setting, features, raw(setting, batch_size, rng), false);
      const moment = logged.includes(step) ? { step } : {};
      for (const [labels, network] of Object.entries(networks)) {
        if ("step" in moment) moment[labels] = { network: copied(network), ...responses(setting, labels, network, features) };
        const loss = descend(network, batch, targets(setting, labels, batch), setting);
        if ("step" in moment) moment[labels].loss = loss;
      }
      if ("step" in moment) moments.push(moment);
      step += 1;
    }
    return { features, moments, advance, done: () => step > steps, step: () => Math.min(step, steps) };
  }

  return { chance, dictionary, raw, samples, targets, initial, copied, votes, logits, descend, superclasses, error, responses, loggedSteps, training };
})();
if (typeof module !== "undefined") module.exports = theoryModel; // for the test, which runs it in Node
