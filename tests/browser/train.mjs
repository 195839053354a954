// Runs the page's theory (theory_model.js) on what chance gave elsewhere and writes down every number.
//
//   node train.mjs theory_model.js GIVEN.json NUMBERS.json
import { readFileSync, writeFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { resolve } from 'node:path'

const [program, given, path] = process.argv.slice(2)
const model = createRequire(import.meta.url)(resolve(program))
const { setting, labels, gauss, weights, draws, test } = JSON.parse(readFileSync(given, 'utf8'))
const flat = (raw) => Object.fromEntries(Object.entries(raw).map(([name, list]) => [name, Float64Array.from(list)]))
const plain = (list) => Array.from(list)

const features = model.dictionary(setting, Float64Array.from(gauss))
const network = model.initial(setting, labels, Float64Array.from(weights))
const logged = model.loggedSteps(setting.steps, setting.logged)
const moments = draws.flatMap((raw, step) => {
  const batch = model.samples(setting, features, flat(raw), false)
  const before = model.copied(network)
  const loss = model.descend(network, batch, model.targets(setting, labels, batch), setting)
  if (!logged.includes(step)) return []
  const kinds = [false, true].map((hard) => model.samples(setting, features, flat(test), hard))
  return [{
    step, loss, weights: plain(before.weights), biases: plain(before.biases),
    ...model.responses(setting, labels, before, features),
    logits: kinds.map((samples) => plain(model.logits(before, samples.patches, setting))),
    errors: kinds.map((samples) => model.error(before, samples, setting)),
  }]
})
const { patches, y, c } = model.samples(setting, features, flat(test), true)
const drawn = { patches: plain(patches), y: plain(y), c: plain(c) }
const [first, second, third] = [[1, 1], [1, 2], [2, 1]].map(([seed, purpose]) => model.chance(seed, purpose))
const chance = { normals: plain(first.normals(20000)), uniforms: plain(first.uniforms(20000)), integers: plain(first.integers(2000, 5)), others: [plain(second.normals(20000)), plain(third.normals(20000))] }
writeFileSync(path, JSON.stringify({ features: plain(features), moments, drawn, chance }))
