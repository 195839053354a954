// Looks at every page of a built site in Chromium, as readers would, and says what is wrong.
//
//   node look.mjs SITE REPORT.json [--modes desktop-light,phone-dark] [--shots FOLDER] [page.html ...]
//
// Modes are a screen and a colour scheme, or `folder`: the files themselves, with no server. The
// report holds `faults` (page, mode, kind, what) and `weights` (bytes of each page). Status 1 where
// there are faults. CHROMIUM names the browser.
import { mkdirSync, readFileSync, statSync, writeFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { join, relative } from 'node:path'
import { parseArgs } from 'node:util'
import { chromium } from 'playwright-core'
import { keyboard, read } from './checks.mjs'
import { BROWSER, serve } from './serve.mjs'

const OWN_WEIGHT = 1_000_000 // bytes of a page, without what all pages share and without large figures
const LARGE_FIGURE = 200_000 // bytes of an image that counts as large
const SCREENS = { desktop: { width: 1280, height: 900 }, phone: { width: 390, height: 844 } }
const MODES = ['desktop-light', 'desktop-dark', 'phone-light', 'phone-dark', 'folder']

const options = { modes: { type: 'string', default: MODES.join() }, shots: { type: 'string' } }
const { values, positionals: [folder, reportPath, ...wanted] } = parseArgs({ options, allowPositionals: true })
const { site, pages: all, served, lying, fileOf, isFile, close } = await serve(folder)
const pages = wanted.length ? wanted : all
const modes = values.modes.split(',')
for (const mode of modes) if (!MODES.includes(mode)) throw new Error(`no mode '${mode}'; there are ${MODES}`)

const report = { faults: [], weights: {} }
const fault = (page, mode, kind, what) => report.faults.push({ page, mode, kind, what: `${what}`.slice(0, 300) })

// ------------------------------------------------------------------------------------- one page
const axe = readFileSync(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8')
const seen = {} // page → its links and ids, from the first mode that saw it

async function visit(context, mode, name) {
  const home = mode === 'folder' ? lying : served
  const page = await context.newPage()
  const loaded = new Set()
  page.on('pageerror', (error) => fault(name, mode, 'script', error))
  page.on('console', (message) => {
    const text = message.text() // what could not be loaded is reported below, by its address
    if (message.type() === 'error' && !text.startsWith('Failed to load resource')) fault(name, mode, 'console', text)
  })
  page.on('request', (request) => {
    const url = request.url()
    if (url.startsWith(home)) loaded.add(url.split(/[?#]/)[0])
    else if (!/^(data|blob|about|chrome):/.test(url)) fault(name, mode, 'foreign', url)
  })
  try {
    await page.goto(home + name, { waitUntil: 'load' })
    await page.evaluate(() => document.fonts.ready)
    await page.waitForTimeout(150) // scripts of the page that start after it
    for (const url of loaded) if (!isFile(fileOf(url))) fault(name, mode, 'missing', url.slice(home.length))
    const found = await page.evaluate(read)
    for (const [kind, what] of found.faults) fault(name, mode, kind, what)
    seen[name] ??= found
    if (mode !== 'folder') {
      await page.evaluate(axe)
      const audit = await page.evaluate(() => window.axe.run(document, { resultTypes: ['violations'], preload: false }))
      for (const { id, help, nodes } of audit.violations)
        fault(name, mode, 'axe', `${id}: ${help}; ${nodes.length} times, first at ${nodes[0].target}: ${nodes[0].failureSummary.split('\n')[1]?.trim()}`)
      if (values.shots) {
        const image = `${name.replace(/\.html$/, '').replaceAll('/', '-')}-${mode}.png`
        await page.screenshot({ path: join(values.shots, image), fullPage: true })
      }
      for (const what of await keyboard(page)) fault(name, mode, 'keyboard', what)
    }
    if (mode === 'desktop-light') weigh(name, [...loaded].map(fileOf).filter(isFile))
  } catch (error) {
    fault(name, mode, 'broken', error)
  }
  await page.close()
}

function weigh(name, files) {
  const sum = (paths) => paths.reduce((bytes, path) => bytes + statSync(path).size, 0)
  const shared = files.filter((path) => relative(site, path).startsWith('_static'))
  const own = files.filter((path) => !shared.includes(path))
  const large = own.filter((path) => /\.(svg|png|jpe?g|webp)$/.test(path) && statSync(path).size > LARGE_FIGURE)
  const weight = { own: sum(own), large_figures: sum(large), shared: sum(shared), files: files.length }
  report.weights[name] = weight
  if (weight.own - weight.large_figures > OWN_WEIGHT) fault(name, 'desktop-light', 'heavy', `${weight.own - weight.large_figures} bytes of its own`)
}

// Links are judged once: they are the same in every mode.
function checkLinks(name, mode) {
  for (const link of new Set(seen[name]?.links)) {
    const home = link.startsWith(lying) ? lying : served
    if (!link.startsWith(home)) continue
    const [address, anchor] = link.split('#')
    const target = address.slice(home.length).split('?')[0]
    const path = fileOf(served + target)
    if (!isFile(path)) fault(name, mode, 'link', target || link)
    else if (anchor && path.endsWith('.html')) {
      const ids = seen[decodeURIComponent(target)]?.ids ?? [...readFileSync(path, 'utf8').matchAll(/\b(?:id|name)="([^"]+)"/g)].map((m) => m[1])
      if (!ids.includes(decodeURIComponent(anchor))) fault(name, mode, 'anchor', `${target}#${anchor}`)
    }
  }
}

// ------------------------------------------------------------------------------------ all pages
if (values.shots) mkdirSync(values.shots, { recursive: true })
const browser = await chromium.launch(BROWSER)
for (const mode of modes) {
  const [screen, colorScheme] = mode === 'folder' ? ['desktop', 'light'] : mode.split('-')
  const context = await browser.newContext({ viewport: SCREENS[screen], colorScheme, isMobile: screen === 'phone', hasTouch: screen === 'phone' })
  await context.route((url) => !/^(data|blob|about):/.test(url.href) && !url.href.startsWith(served) && !url.href.startsWith(lying), (route) => route.abort())
  for (const name of pages) await visit(context, mode, name)
  await context.close()
}
for (const name of pages) checkLinks(name, modes[0])
await browser.close()
close()

writeFileSync(reportPath, JSON.stringify(report, null, 1))
for (const { page, mode, kind, what } of report.faults) console.log(`${page} [${mode}] ${kind}: ${what}`)
console.log(`${pages.length} pages in ${modes.length} modes: ${report.faults.length} faults`)
process.exitCode = report.faults.length ? 1 : 0
